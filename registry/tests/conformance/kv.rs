//! Reads, writes, deletions, compaction, status.

use etcd_client::{Client, CompactionOptions, DeleteOptions, GetOptions, PutOptions};
use etcd_client::{SortOrder, SortTarget};
use tonic::Code;

use crate::answers::{all, put, refused, revision, value};

pub(crate) async fn a_put_is_read_back_with_its_revisions(mut client: Client) {
    let first = client.put("kv/put/a", "1", None).await.unwrap();
    assert!(first.prev_key().is_none());
    let header = first.header().unwrap().clone();
    assert!(header.cluster_id() != 0 && header.member_id() != 0 && header.raft_term() > 0);
    let created = header.revision();
    let options = PutOptions::new().with_prev_key();
    let second = client.put("kv/put/a", "2", Some(options)).await.unwrap();
    assert_eq!(second.header().unwrap().revision(), created + 1);
    assert_eq!(second.prev_key().unwrap().value(), b"1");

    let found = client.get("kv/put/a", None).await.unwrap();
    assert_eq!(found.header().unwrap().cluster_id(), header.cluster_id());
    assert_eq!(
        (found.count(), found.more(), found.kvs().len()),
        (1, false, 1)
    );
    let found = found.kvs().first().unwrap();
    assert_eq!(found.value(), b"2");
    assert_eq!(found.create_revision(), created);
    assert_eq!(found.mod_revision(), created + 1);
    assert_eq!((found.version(), found.lease()), (2, 0));

    put(&mut client, "kv/put/empty", "").await;
    assert_eq!(
        value(&mut client, "kv/put/empty").await.as_deref(),
        Some("")
    );
    assert_eq!(value(&mut client, "kv/put/none").await, None);
}

pub(crate) async fn ranges_and_prefixes_name_keys_as_etcd_does(mut client: Client) {
    for key in ["kv/r/a", "kv/r/b", "kv/r/bb", "kv/r/c", "kv/s"] {
        put(&mut client, key, "1").await;
    }
    let keys = async |client: &mut Client, key: &str, options: GetOptions| -> Vec<String> {
        let found = client
            .get(key, Some(options.with_keys_only()))
            .await
            .unwrap();
        assert!(found.kvs().iter().all(|found| found.value().is_empty()));
        assert_eq!(usize::try_from(found.count()).unwrap(), found.kvs().len());
        found
            .kvs()
            .iter()
            .map(|found| found.key_str().unwrap().to_owned())
            .collect()
    };
    let client = &mut client;
    let get = GetOptions::new;
    assert_eq!(keys(client, "kv/r/b", get()).await, ["kv/r/b"]);
    assert_eq!(
        keys(client, "kv/r/b", get().with_prefix()).await,
        ["kv/r/b", "kv/r/bb"]
    );
    let two = keys(client, "kv/r/a", get().with_range("kv/r/bb")).await;
    assert_eq!(two, ["kv/r/a", "kv/r/b"]);
    assert!(
        keys(client, "kv/r/c", get().with_range("kv/r/a"))
            .await
            .is_empty()
    );
    assert!(
        keys(client, "kv/r/c", get().with_range("kv/r/c"))
            .await
            .is_empty()
    );
    let from = keys(client, "kv/r/c", get().with_from_key()).await;
    assert_eq!(from.first().unwrap(), "kv/r/c");
    assert!(from.contains(&"kv/s".to_owned()));
    let everything = keys(client, "", get().with_all_keys()).await;
    assert!(everything.len() >= 5 && everything.is_sorted());

    let count = get().with_prefix().with_count_only();
    let counted = client.get("kv/r/", Some(count)).await.unwrap();
    assert_eq!(
        (counted.count(), counted.kvs().len(), counted.more()),
        (4, 0, false)
    );
}

pub(crate) async fn a_limit_says_more_and_counts_all(mut client: Client) {
    for number in 0..5 {
        put(&mut client, &format!("kv/limit/{number}"), "1").await;
    }
    for (limit, found_keys, more) in [(0, 5, false), (2, 2, true), (5, 5, false), (9, 5, false)] {
        let options = GetOptions::new().with_prefix().with_limit(limit);
        let found = client.get("kv/limit/", Some(options)).await.unwrap();
        assert_eq!(
            (found.kvs().len(), found.more(), found.count()),
            (found_keys, more, 5),
            "limit {limit}"
        );
    }
}

pub(crate) async fn answers_are_ordered_as_asked(mut client: Client) {
    put(&mut client, "kv/order/b", "2").await;
    put(&mut client, "kv/order/a", "3").await;
    put(&mut client, "kv/order/c", "1").await;
    put(&mut client, "kv/order/b", "2").await;
    let cases = [
        (SortTarget::Key, SortOrder::Ascend, "abc"),
        (SortTarget::Key, SortOrder::Descend, "cba"),
        (SortTarget::Value, SortOrder::Ascend, "cba"),
        (SortTarget::Create, SortOrder::Ascend, "bac"),
        (SortTarget::Mod, SortOrder::Ascend, "acb"),
        (SortTarget::Mod, SortOrder::Descend, "bca"),
        (SortTarget::Value, SortOrder::None, "cba"),
    ];
    for (target, order, expected) in cases {
        let options = GetOptions::new().with_prefix().with_sort(target, order);
        let found = client.get("kv/order/", Some(options)).await.unwrap();
        let keys: String = found
            .kvs()
            .iter()
            .map(|found| {
                found
                    .key_str()
                    .unwrap()
                    .trim_start_matches("kv/order/")
                    .to_owned()
            })
            .collect();
        assert_eq!(keys, expected, "{target:?} {order:?}");
    }
    let newest = GetOptions::new()
        .with_prefix()
        .with_sort(SortTarget::Version, SortOrder::Descend)
        .with_limit(1);
    let found = client.get("kv/order/", Some(newest)).await.unwrap();
    assert_eq!(
        (found.kvs().first().unwrap().key(), found.more()),
        (&b"kv/order/b"[..], true)
    );
}

pub(crate) async fn bounds_on_revisions_filter_but_do_not_count(mut client: Client) {
    let first = put(&mut client, "kv/bounds/a", "1").await;
    put(&mut client, "kv/bounds/b", "1").await;
    put(&mut client, "kv/bounds/a", "2").await;
    let cases = [
        (GetOptions::new().with_min_mod_revision(first + 2), "a"),
        (GetOptions::new().with_max_mod_revision(first + 1), "b"),
        (GetOptions::new().with_min_create_revision(first + 1), "b"),
        (GetOptions::new().with_max_create_revision(first), "a"),
    ];
    for (options, expected) in cases {
        let found = client
            .get("kv/bounds/", Some(options.with_prefix()))
            .await
            .unwrap();
        let keys: Vec<_> = found
            .kvs()
            .iter()
            .map(|found| found.key().to_vec())
            .collect();
        assert_eq!(keys, [format!("kv/bounds/{expected}").into_bytes()]);
        assert_eq!((found.count(), found.more()), (2, false));
    }
}

pub(crate) async fn the_past_can_be_read(mut client: Client) {
    let first = put(&mut client, "kv/past/a", "1").await;
    put(&mut client, "kv/past/a", "2").await;
    let deleted = client
        .delete("kv/past/a", None)
        .await
        .unwrap()
        .header()
        .unwrap()
        .revision();
    let again = put(&mut client, "kv/past/a", "3").await;
    for (at, expected) in [
        (first, Some("1")),
        (first + 1, Some("2")),
        (deleted, None),
        (again, Some("3")),
    ] {
        let options = GetOptions::new().with_revision(at);
        let found = client.get("kv/past/a", Some(options)).await.unwrap();
        assert_eq!(
            found.header().unwrap().revision(),
            again,
            "the header tells the newest"
        );
        let found = found
            .kvs()
            .first()
            .map(|found| found.value_str().unwrap().to_owned());
        assert_eq!(found.as_deref(), expected);
    }
    let found = client.get("kv/past/a", None).await.unwrap();
    let found = found.kvs().first().unwrap();
    assert_eq!(
        (found.create_revision(), found.version()),
        (again, 1),
        "created anew"
    );

    let future = GetOptions::new().with_revision(again + 100);
    assert_eq!(
        refused(client.get("kv/past/a", Some(future)).await),
        (
            Code::OutOfRange,
            "etcdserver: mvcc: required revision is a future revision".to_owned()
        )
    );
}

pub(crate) async fn a_put_can_keep_value_or_lease(mut client: Client) {
    let lease = client.lease_grant(60, None).await.unwrap().id();
    let with_lease = PutOptions::new().with_lease(lease);
    client
        .put("kv/keep/a", "1", Some(with_lease))
        .await
        .unwrap();
    client
        .put(
            "kv/keep/a",
            "2",
            Some(PutOptions::new().with_ignore_lease()),
        )
        .await
        .unwrap();
    let found = client.get("kv/keep/a", None).await.unwrap();
    let found = found.kvs().first().unwrap();
    assert_eq!((found.value(), found.lease()), (&b"2"[..], lease));

    client
        .put("kv/keep/a", "", Some(PutOptions::new().with_ignore_value()))
        .await
        .unwrap();
    let found = client.get("kv/keep/a", None).await.unwrap();
    let found = found.kvs().first().unwrap();
    assert_eq!(
        (found.value(), found.lease(), found.version()),
        (&b"2"[..], 0, 3)
    );
    client.lease_revoke(lease).await.unwrap();
    assert_eq!(
        value(&mut client, "kv/keep/a").await.as_deref(),
        Some("2"),
        "no longer on it"
    );
}

pub(crate) async fn deletions_count_and_return_what_was_there(mut client: Client) {
    for key in ["kv/del/a", "kv/del/b", "kv/del/c"] {
        put(&mut client, key, key).await;
    }
    let before = revision(&mut client).await;
    let nothing = client.delete("kv/del/none", None).await.unwrap();
    assert_eq!(
        (nothing.deleted(), nothing.header().unwrap().revision()),
        (0, before)
    );

    let options = DeleteOptions::new().with_range("kv/del/c").with_prev_key();
    let deleted = client.delete("kv/del/a", Some(options)).await.unwrap();
    assert_eq!(
        (deleted.deleted(), deleted.header().unwrap().revision()),
        (2, before + 1)
    );
    let values: Vec<_> = deleted
        .prev_kvs()
        .iter()
        .map(|it| it.value_str().unwrap())
        .collect();
    assert_eq!(values, ["kv/del/a", "kv/del/b"]);
    assert_eq!(all(&mut client, "kv/del/").await, ["kv/del/c=kv/del/c"]);
    let rest = client
        .delete("kv/del/", Some(DeleteOptions::new().with_prefix()))
        .await
        .unwrap();
    assert_eq!((rest.deleted(), rest.prev_kvs().len()), (1, 0));
}

pub(crate) async fn bad_requests_are_refused_in_etcds_words(mut client: Client) {
    let before = revision(&mut client).await;
    let invalid = |text: &str| (Code::InvalidArgument, text.to_owned());
    let no_key = invalid("etcdserver: key is not provided");
    assert_eq!(refused(client.put("", "1", None).await), no_key);
    assert_eq!(refused(client.get("", None).await), no_key);
    assert_eq!(refused(client.delete("", None).await), no_key);

    let keep_value = PutOptions::new().with_ignore_value();
    let keep_lease = PutOptions::new().with_ignore_lease();
    let unknown = invalid("etcdserver: key not found");
    assert_eq!(
        refused(client.put("kv/bad/x", "", Some(keep_value.clone())).await),
        unknown
    );
    assert_eq!(
        refused(client.put("kv/bad/x", "1", Some(keep_lease.clone())).await),
        unknown
    );
    assert_eq!(
        refused(client.put("kv/bad/x", "1", Some(keep_value)).await),
        invalid("etcdserver: value is provided")
    );
    assert_eq!(
        refused(
            client
                .put("kv/bad/x", "1", Some(keep_lease.with_lease(7)))
                .await
        ),
        invalid("etcdserver: lease is provided")
    );
    assert_eq!(
        refused(
            client
                .put("kv/bad/x", "1", Some(PutOptions::new().with_lease(4711)))
                .await
        ),
        (
            Code::NotFound,
            "etcdserver: requested lease not found".to_owned()
        )
    );
    assert_eq!(revision(&mut client).await, before, "nothing was written");
}

pub(crate) async fn requests_above_the_limit_are_refused(mut client: Client) {
    let fits = "x".repeat(1536 * 1024 - 512);
    client.put("kv/large", fits.clone(), None).await.unwrap();
    let found = client.get("kv/large", None).await.unwrap();
    assert_eq!(found.kvs().first().unwrap().value().len(), fits.len());
    client.delete("kv/large", None).await.unwrap();

    let large = "x".repeat(1536 * 1024 + 1);
    assert_eq!(
        refused(client.put("kv/large", large, None).await),
        (
            Code::InvalidArgument,
            "etcdserver: request is too large".to_owned()
        )
    );
    let (code, _) = refused(
        client
            .put("kv/large", "x".repeat(3 * 1024 * 1024), None)
            .await,
    );
    assert_eq!(code, Code::ResourceExhausted);
    assert_eq!(value(&mut client, "kv/large").await, None);
}

pub(crate) async fn compaction_forgets_the_past_only(mut client: Client) {
    let first = put(&mut client, "kv/compact/a", "1").await;
    let second = put(&mut client, "kv/compact/a", "2").await;
    put(&mut client, "kv/compact/b", "1").await;
    client.delete("kv/compact/b", None).await.unwrap();
    let last = put(&mut client, "kv/compact/c", "1").await;

    let too_far = client.compact(last + 100, None).await;
    let future = "etcdserver: mvcc: required revision is a future revision";
    assert_eq!(refused(too_far), (Code::OutOfRange, future.to_owned()));
    let physical = Some(CompactionOptions::new().with_physical());
    let compacted = client.compact(second, physical).await.unwrap();
    assert_eq!(compacted.header().unwrap().revision(), last);
    let gone = (
        Code::OutOfRange,
        "etcdserver: mvcc: required revision has been compacted".to_owned(),
    );
    assert_eq!(refused(client.compact(second, None).await), gone);
    let at = |revision| Some(GetOptions::new().with_revision(revision));
    assert_eq!(refused(client.get("kv/compact/a", at(first)).await), gone);
    let found = client.get("kv/compact/a", at(second)).await.unwrap();
    assert_eq!(found.kvs().first().unwrap().value(), b"2");
    let found = client.get("kv/compact/b", at(second + 1)).await.unwrap();
    assert_eq!(found.kvs().first().unwrap().value(), b"1");

    client.compact(last, None).await.unwrap();
    assert_eq!(
        refused(client.get("kv/compact/b", at(second + 1)).await),
        gone
    );
    let left = all(&mut client, "kv/compact/").await;
    assert_eq!(left, ["kv/compact/a=2", "kv/compact/c=1"]);
    let found = client.get("kv/compact/a", None).await.unwrap();
    let found = found.kvs().first().unwrap();
    assert_eq!((found.create_revision(), found.version()), (first, 2));
}

pub(crate) async fn status_and_members_answer(mut client: Client) {
    let status = client.status().await.unwrap();
    assert!(status.version().starts_with("3."), "{status:?}");
    assert_eq!(status.leader(), status.header().unwrap().member_id());
    let members = client.member_list().await.unwrap();
    assert_eq!(members.members().len(), 1);
    assert_eq!(members.members().first().unwrap().id(), status.leader());
}
