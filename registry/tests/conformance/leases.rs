//! Leases.

use std::time::Duration;

use etcd_client::{Client, LeaseGrantOptions, LeaseTimeToLiveOptions, PutOptions, WatchOptions};
use tonic::Code;

use crate::answers::{all, collect, events, next, put, refused, revision, value, watch};

async fn put_on(client: &mut Client, key: &str, lease: i64) {
    let options = PutOptions::new().with_lease(lease);
    client.put(key, "1", Some(options)).await.unwrap();
}

pub(crate) async fn grants_choose_or_take_an_id(mut client: Client) {
    let before = revision(&mut client).await;
    let chosen = client.lease_grant(60, None).await.unwrap();
    assert!(chosen.id() > 0);
    assert_eq!((chosen.ttl(), chosen.error()), (60, ""));
    assert_eq!(
        chosen.header().unwrap().revision(),
        before,
        "a lease is no revision"
    );
    let given = Some(LeaseGrantOptions::new().with_id(77_001));
    let taken = client.lease_grant(60, given.clone()).await.unwrap();
    assert_eq!(taken.id(), 77_001);
    assert_eq!(
        refused(client.lease_grant(60, given).await),
        (
            Code::FailedPrecondition,
            "etcdserver: lease already exists".to_owned()
        )
    );
    assert_eq!(
        refused(client.lease_grant(9_000_000_001, None).await),
        (
            Code::OutOfRange,
            "etcdserver: too large lease TTL".to_owned()
        )
    );
    let short = client.lease_grant(1, None).await.unwrap();
    assert_eq!(short.ttl(), 2, "etcd's shortest");
    assert_eq!(client.lease_grant(0, None).await.unwrap().ttl(), 2);
    assert_eq!(client.lease_grant(-5, None).await.unwrap().ttl(), 2);
    let leases = client.leases().await.unwrap();
    let ids: Vec<_> = leases
        .leases()
        .iter()
        .map(etcd_client::LeaseStatus::id)
        .collect();
    assert!(ids.contains(&chosen.id()) && ids.contains(&77_001));
    client.lease_revoke(chosen.id()).await.unwrap();
    client.lease_revoke(77_001).await.unwrap();
}

pub(crate) async fn revoking_deletes_all_keys_in_one_revision(mut client: Client) {
    let lease = client.lease_grant(60, None).await.unwrap().id();
    for key in ["lease/revoke/b", "lease/revoke/a", "lease/revoke/c"] {
        put_on(&mut client, key, lease).await;
    }
    let options = WatchOptions::new().with_prefix();
    let mut stream = watch(&mut client, "lease/revoke/", options).await;
    let before = revision(&mut client).await;
    let revoked = client.lease_revoke(lease).await.unwrap();
    assert_eq!(revoked.header().unwrap().revision(), before + 1);
    let response = next(&mut stream).await;
    assert_eq!(
        events(&response),
        ["-lease/revoke/a", "-lease/revoke/b", "-lease/revoke/c"]
    );
    assert!(
        response
            .events()
            .iter()
            .all(|it| it.kv().unwrap().mod_revision() == before + 1)
    );
    assert!(all(&mut client, "lease/revoke/").await.is_empty());
    assert_eq!(
        refused(client.lease_revoke(lease).await),
        (
            Code::NotFound,
            "etcdserver: requested lease not found".to_owned()
        )
    );
    let empty = client.lease_grant(60, None).await.unwrap().id();
    client.lease_revoke(empty).await.unwrap();
    assert_eq!(
        revision(&mut client).await,
        before + 1,
        "without keys there is no revision"
    );
}

pub(crate) async fn an_unkept_lease_ends_and_takes_its_keys(mut client: Client) {
    let mut stream = watch(&mut client, "lease/ends", WatchOptions::new()).await;
    // Before it begins, and long enough for the put on a busy machine.
    let asked = tokio::time::Instant::now();
    let lease = client.lease_grant(5, None).await.unwrap().id();
    put_on(&mut client, "lease/ends", lease).await;
    assert_eq!(collect(&mut stream, 1).await, ["+lease/ends=1"]);
    assert_eq!(collect(&mut stream, 1).await, ["-lease/ends"]);
    assert!(
        asked.elapsed() >= Duration::from_millis(4_500),
        "not before its time"
    );
    assert_eq!(
        client.lease_time_to_live(lease, None).await.unwrap().ttl(),
        -1
    );
}

pub(crate) async fn keep_alive_answers_the_ttl_and_0_for_none(mut client: Client) {
    let lease = client.lease_grant(30, None).await.unwrap().id();
    let (mut keeper, mut stream) = client.lease_keep_alive(lease).await.unwrap();
    for _ in 0..3 {
        keeper.keep_alive().await.unwrap();
        let kept = stream.message().await.unwrap().unwrap();
        assert_eq!((kept.id(), kept.ttl()), (lease, 30));
        assert!(kept.header().unwrap().revision() > 0);
    }
    client.lease_revoke(lease).await.unwrap();
    keeper.keep_alive().await.unwrap();
    let gone = stream.message().await.unwrap().unwrap();
    assert_eq!((gone.id(), gone.ttl()), (lease, 0));
}

pub(crate) async fn time_to_live_tells_keys(mut client: Client) {
    let asked = tokio::time::Instant::now();
    let lease = client.lease_grant(60, None).await.unwrap().id();
    put_on(&mut client, "lease/ttl/a", lease).await;
    put_on(&mut client, "lease/ttl/b", lease).await;
    let options = LeaseTimeToLiveOptions::new().with_keys();
    let status = client
        .lease_time_to_live(lease, Some(options))
        .await
        .unwrap();
    assert_eq!((status.id(), status.granted_ttl()), (lease, 60));
    // Less what has passed, in whole seconds.
    let left = 59 - i64::try_from(asked.elapsed().as_secs()).unwrap();
    assert!((left..=60).contains(&status.ttl()), "{}", status.ttl());
    let mut keys = status.keys().to_vec();
    keys.sort();
    assert_eq!(keys, [b"lease/ttl/a".to_vec(), b"lease/ttl/b".to_vec()]);
    let without = client.lease_time_to_live(lease, None).await.unwrap();
    assert!(without.keys().is_empty());
    client.lease_revoke(lease).await.unwrap();
    let gone = client.lease_time_to_live(lease, None).await.unwrap();
    assert_eq!((gone.id(), gone.ttl(), gone.granted_ttl()), (lease, -1, 0));
}

pub(crate) async fn a_key_moves_between_leases(mut client: Client) {
    let first = client.lease_grant(60, None).await.unwrap().id();
    let second = client.lease_grant(60, None).await.unwrap().id();
    put_on(&mut client, "lease/move/a", first).await;
    put_on(&mut client, "lease/move/a", second).await;
    put_on(&mut client, "lease/move/b", first).await;
    put(&mut client, "lease/move/b", "free").await;
    put_on(&mut client, "lease/move/c", first).await;
    client.delete("lease/move/c", None).await.unwrap();
    put(&mut client, "lease/move/c", "again").await;
    client.lease_revoke(first).await.unwrap();
    let left = all(&mut client, "lease/move/").await;
    assert_eq!(
        left,
        ["lease/move/a=1", "lease/move/b=free", "lease/move/c=again"]
    );
    client.lease_revoke(second).await.unwrap();
    assert_eq!(value(&mut client, "lease/move/a").await, None);
}
