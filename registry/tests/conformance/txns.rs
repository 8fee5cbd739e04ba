//! Transactions.

use etcd_client::{
    Client, Compare, CompareOp, DeleteOptions, GetOptions, PutOptions, Txn, TxnOp, TxnOpResponse,
};
use tonic::Code;

use crate::answers::{all, put, refused, revision, value};

async fn holds(client: &mut Client, compare: Compare) -> bool {
    client
        .txn(Txn::new().when([compare]))
        .await
        .unwrap()
        .succeeded()
}

pub(crate) async fn every_target_and_relation_compares(mut client: Client) {
    let client = &mut client;
    let lease = client.lease_grant(60, None).await.unwrap().id();
    let created = put(client, "txn/cmp", "m").await;
    let options = PutOptions::new().with_lease(lease);
    client.put("txn/cmp", "m", Some(options)).await.unwrap();
    let number = [
        (CompareOp::Equal, 0),
        (CompareOp::Greater, -1),
        (CompareOp::Less, 1),
    ];
    for (relation, offset) in number {
        let key = "txn/cmp";
        for (name, right, wrong) in [
            (
                "version",
                Compare::version(key, relation, 2 + offset),
                Compare::version(key, relation, 2 - offset - i64::from(offset == 0)),
            ),
            (
                "create",
                Compare::create_revision(key, relation, created + offset),
                Compare::create_revision(key, relation, created - offset - i64::from(offset == 0)),
            ),
            (
                "mod",
                Compare::mod_revision(key, relation, created + 1 + offset),
                Compare::mod_revision(key, relation, created + 1 - offset - i64::from(offset == 0)),
            ),
            (
                "lease",
                Compare::lease(key, relation, lease + offset),
                Compare::lease(key, relation, lease - offset - i64::from(offset == 0)),
            ),
        ] {
            assert!(holds(client, right).await, "{name} {relation:?}");
            assert!(!holds(client, wrong).await, "{name} not {relation:?}");
        }
    }
    assert!(holds(client, Compare::version("txn/cmp", CompareOp::NotEqual, 9)).await);
    assert!(!holds(client, Compare::version("txn/cmp", CompareOp::NotEqual, 2)).await);
    for (relation, given, expected) in [
        (CompareOp::Equal, "m", true),
        (CompareOp::Equal, "n", false),
        (CompareOp::NotEqual, "n", true),
        (CompareOp::Greater, "l", true),
        (CompareOp::Greater, "m", false),
        (CompareOp::Less, "mm", true),
    ] {
        assert_eq!(
            holds(client, Compare::value("txn/cmp", relation, given)).await,
            expected
        );
    }
    // A key that is not there: numbers are 0, a value compares to nothing.
    assert!(
        holds(
            client,
            Compare::create_revision("txn/none", CompareOp::Equal, 0)
        )
        .await
    );
    assert!(holds(client, Compare::lease("txn/none", CompareOp::Equal, 0)).await);
    assert!(!holds(client, Compare::version("txn/none", CompareOp::Greater, 0)).await);
    assert!(!holds(client, Compare::value("txn/none", CompareOp::Equal, "")).await);
    assert!(!holds(client, Compare::value("txn/none", CompareOp::NotEqual, "x")).await);
    client.lease_revoke(lease).await.unwrap();
}

pub(crate) async fn a_compare_can_cover_a_range(mut client: Client) {
    let client = &mut client;
    put(client, "txn/range/a", "1").await;
    put(client, "txn/range/b", "1").await;
    let same = |value: &str| Compare::value("txn/range/", CompareOp::Equal, value).with_prefix();
    assert!(holds(client, same("1")).await);
    put(client, "txn/range/b", "2").await;
    assert!(!holds(client, same("1")).await);
    let none = Compare::create_revision("txn/empty/", CompareOp::Equal, 0).with_prefix();
    assert!(holds(client, none).await);
    let none = Compare::create_revision("txn/range/", CompareOp::Equal, 0).with_prefix();
    assert!(!holds(client, none).await);
}

pub(crate) async fn branches_see_their_own_writes_at_one_revision(mut client: Client) {
    put(&mut client, "txn/own/b", "old").await;
    let before = revision(&mut client).await;
    let prefix = || Some(GetOptions::new().with_prefix());
    let txn = Txn::new()
        .when([Compare::version("txn/own/a", CompareOp::Equal, 0)])
        .and_then([
            TxnOp::get("txn/own/", prefix()),
            TxnOp::put("txn/own/a", "1", None),
            TxnOp::get("txn/own/", prefix()),
            TxnOp::delete("txn/own/b", Some(DeleteOptions::new().with_prev_key())),
            TxnOp::delete("txn/own/b", None),
            TxnOp::get("txn/own/", prefix()),
        ]);
    let answer = client.txn(txn.clone()).await.unwrap();
    assert!(answer.succeeded());
    let header = answer.header().unwrap();
    assert_eq!(header.revision(), before + 1);
    assert!(header.cluster_id() != 0);
    let steps: Vec<String> = answer
        .op_responses()
        .iter()
        .map(|step| match step {
            TxnOpResponse::Get(found) => {
                let keys: Vec<_> = found.kvs().iter().map(|it| it.key_str().unwrap()).collect();
                let inner = found.header().unwrap();
                assert_eq!(inner.cluster_id(), 0, "only the outer header is filled in");
                format!("get {} at +{}", keys.join(","), inner.revision() - before)
            }
            TxnOpResponse::Put(put) => {
                format!("put at +{}", put.header().unwrap().revision() - before)
            }
            TxnOpResponse::Delete(deleted) => format!(
                "deleted {} ({}) at +{}",
                deleted.deleted(),
                deleted.prev_kvs().len(),
                deleted.header().unwrap().revision() - before
            ),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        steps,
        [
            "get txn/own/b at +0",
            "put at +1",
            "get txn/own/a,txn/own/b at +1",
            "deleted 1 (1) at +1",
            "deleted 0 (0) at +1",
            "get txn/own/a at +1",
        ]
    );
    let again = client
        .txn(txn.or_else([TxnOp::put("txn/own/c", "1", None)]))
        .await
        .unwrap();
    assert!(!again.succeeded());
    assert_eq!(
        all(&mut client, "txn/own/").await,
        ["txn/own/a=1", "txn/own/c=1"]
    );
}

pub(crate) async fn a_refused_txn_changes_nothing(mut client: Client) {
    let before = revision(&mut client).await;
    let missing = PutOptions::new().with_lease(4711);
    let txn = Txn::new().and_then([
        TxnOp::put("txn/refused/a", "1", None),
        TxnOp::put("txn/refused/b", "1", Some(missing)),
    ]);
    assert_eq!(
        refused(client.txn(txn).await),
        (
            Code::NotFound,
            "etcdserver: requested lease not found".to_owned()
        )
    );
    let future = GetOptions::new().with_revision(before + 100);
    let txn = Txn::new().and_then([
        TxnOp::put("txn/refused/a", "1", None),
        TxnOp::get("txn/refused/a", Some(future)),
    ]);
    assert_eq!(
        refused(client.txn(txn).await),
        (
            Code::OutOfRange,
            "etcdserver: mvcc: required revision is a future revision".to_owned()
        )
    );
    let keep = PutOptions::new().with_ignore_value();
    let txn = Txn::new().and_then([
        TxnOp::put("txn/refused/a", "1", None),
        TxnOp::put("txn/refused/b", "", Some(keep)),
    ]);
    assert_eq!(
        refused(client.txn(txn).await),
        (
            Code::InvalidArgument,
            "etcdserver: key not found".to_owned()
        )
    );
    assert_eq!(
        refused(
            client
                .txn(Txn::new().and_then([TxnOp::put("", "1", None)]))
                .await
        ),
        (
            Code::InvalidArgument,
            "etcdserver: key is not provided".to_owned()
        )
    );
    assert_eq!(value(&mut client, "txn/refused/a").await, None);
    assert_eq!(revision(&mut client).await, before);
}

pub(crate) async fn limits_of_operations_and_duplicates(mut client: Client) {
    let puts = |count: usize| -> Vec<TxnOp> {
        (0..count)
            .map(|it| TxnOp::put(format!("txn/limit/{it:03}"), "1", None))
            .collect()
    };
    let before = revision(&mut client).await;
    let answer = client.txn(Txn::new().and_then(puts(128))).await.unwrap();
    assert_eq!(
        answer.header().unwrap().revision(),
        before + 1,
        "one revision"
    );
    assert_eq!(all(&mut client, "txn/limit/").await.len(), 128);
    let too_many = (
        Code::InvalidArgument,
        "etcdserver: too many operations in txn request".to_owned(),
    );
    assert_eq!(
        refused(client.txn(Txn::new().and_then(puts(129))).await),
        too_many
    );
    assert_eq!(
        refused(client.txn(Txn::new().or_else(puts(129))).await),
        too_many
    );
    let compares: Vec<_> = (0..129)
        .map(|it| Compare::version(it.to_string(), CompareOp::Equal, 0))
        .collect();
    assert_eq!(
        refused(client.txn(Txn::new().when(compares)).await),
        too_many
    );

    let duplicate = (
        Code::InvalidArgument,
        "etcdserver: duplicate key given in txn request".to_owned(),
    );
    let put = |key: &str| TxnOp::put(key, "1", None);
    let twice = Txn::new().and_then([put("txn/dup"), put("txn/dup")]);
    assert_eq!(refused(client.txn(twice).await), duplicate);
    let prefix = Some(DeleteOptions::new().with_prefix());
    let put_deleted = Txn::new().and_then([TxnOp::delete("txn/d", prefix), put("txn/dup")]);
    assert_eq!(refused(client.txn(put_deleted).await), duplicate);
    let deleted_put = Txn::new().or_else([put("txn/dup"), TxnOp::delete("txn/dup", None)]);
    assert_eq!(
        refused(client.txn(deleted_put).await),
        duplicate,
        "also where it is not taken"
    );
    let apart = Txn::new()
        .and_then([put("txn/dup")])
        .or_else([put("txn/dup")]);
    client.txn(apart).await.unwrap();
}

pub(crate) async fn reads_alone_make_no_revision(mut client: Client) {
    let before = revision(&mut client).await;
    let txn = Txn::new().and_then([
        TxnOp::get("txn/reads", None),
        TxnOp::delete("txn/reads", None),
        TxnOp::get("txn/reads", None),
    ]);
    let answer = client.txn(txn).await.unwrap();
    assert_eq!(answer.header().unwrap().revision(), before);
    assert_eq!(
        client
            .txn(Txn::new())
            .await
            .unwrap()
            .header()
            .unwrap()
            .revision(),
        before
    );
    assert_eq!(revision(&mut client).await, before);
}
