//! What is the embedded etcd's own: virtual time, restarts, one owner of the file, bounded history.

use std::time::Duration;

use etcd_client::{Client, GetOptions, LeaseGrantOptions, PutOptions, WatchOptions};
use registry::embedded::{Embedded, EmbeddedError, Refusal};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::answers::{collect, events, next, put, refused, revision, value, watch};

async fn client(embedded: &Embedded) -> Client {
    Client::from_channel(embedded.channel(), None)
        .await
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn leases_and_progress_follow_virtual_time() {
    let embedded = Embedded::in_memory();
    let mut client = client(&embedded).await;
    let started = Instant::now();
    let lease = client.lease_grant(3_600, None).await.unwrap().id();
    let options = PutOptions::new().with_lease(lease);
    client.put("virtual", "1", Some(options)).await.unwrap();
    let (mut keeper, mut kept) = client.lease_keep_alive(lease).await.unwrap();
    let notices = WatchOptions::new().with_progress_notify();
    let mut stream = client.watch("virtual", Some(notices)).await.unwrap();
    assert!(next(&mut stream).await.created());
    tokio::time::sleep(Duration::from_secs(1_800)).await;
    assert_eq!(
        client.lease_time_to_live(lease, None).await.unwrap().ttl(),
        1_800
    );
    keeper.keep_alive().await.unwrap();
    assert_eq!(kept.message().await.unwrap().unwrap().ttl(), 3_600);

    let mut notices = 0;
    let deleted = loop {
        let response = stream.message().await.unwrap().unwrap();
        if response.events().is_empty() {
            assert_eq!(response.watch_id(), 0);
            notices += 1;
        } else {
            break response;
        }
    };
    assert_eq!(events(&deleted), ["-virtual"]);
    assert_eq!(started.elapsed().as_secs(), 1_800 + 3_600, "to the second");
    // Six in the hour that was listened to; those of the half hour before became one.
    assert_eq!(notices, 7, "a notice every ten minutes");
    println!(
        "a lease of an hour, kept once, ended after {:?} of virtual time",
        started.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_watch_asked_for_before_a_write_sees_it() {
    let embedded = Embedded::in_memory();
    let mut client = client(&embedded).await;
    let mut stream = client.watch("at-once", None).await.unwrap();
    put(&mut client, "at-once", "1").await;
    assert!(next(&mut stream).await.created());
    assert_eq!(collect(&mut stream, 1).await, ["+at-once=1"]);
}

#[tokio::test]
async fn the_same_requests_give_the_same_ids() {
    let mut ids = Vec::new();
    for _ in 0..2 {
        let mut client = client(&Embedded::in_memory()).await;
        ids.push(client.lease_grant(60, None).await.unwrap().id());
    }
    assert_eq!(ids.first(), ids.last(), "a simulation must repeat");
}

#[tokio::test]
async fn a_restart_keeps_all_but_the_clocks_of_leases() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let embedded = Embedded::open(&path).await.unwrap();
    let mut before = client(&embedded).await;
    put(&mut before, "plain", "1").await;
    let lease = Some(LeaseGrantOptions::new().with_id(42));
    before.lease_grant(60, lease).await.unwrap();
    let options = PutOptions::new().with_lease(42);
    before.put("leased", "1", Some(options)).await.unwrap();
    let first = put(&mut before, "plain", "2").await;
    before.delete("plain", None).await.unwrap();
    let last = put(&mut before, "plain", "3").await;
    let identity = before
        .get("plain", None)
        .await
        .unwrap()
        .header()
        .unwrap()
        .clone();

    // What it would go on with, if its clock were kept.
    while before.lease_time_to_live(42, None).await.unwrap().ttl() > 57 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    let second = Embedded::open(&path).await;
    assert!(
        matches!(second, Err(EmbeddedError::InUse { .. })),
        "{second:?}"
    );
    println!("a second owner: {}", second.unwrap_err());
    let mut stream = watch(&mut before, "plain", WatchOptions::new()).await;
    embedded.shutdown().await;
    assert_eq!(
        refused(stream.message().await).0,
        Code::Unavailable,
        "streams are ended"
    );
    assert_eq!(
        refused(before.put("plain", "4", None).await).0,
        Code::Unavailable
    );

    let opened = Instant::now();
    let embedded = Embedded::open(&path).await.unwrap();
    let mut after = client(&embedded).await;
    assert_eq!(
        (embedded.revision(), revision(&mut after).await),
        (last, last)
    );
    let header = after
        .get("plain", None)
        .await
        .unwrap()
        .header()
        .unwrap()
        .clone();
    assert_eq!(header.cluster_id(), identity.cluster_id());
    assert_eq!(header.member_id(), identity.member_id());
    assert_eq!(
        header.raft_term(),
        identity.raft_term() + 1,
        "one term further"
    );
    let status = after.lease_time_to_live(42, None).await.unwrap();
    assert_eq!(status.granted_ttl(), 60);
    let left = 59 - i64::try_from(opened.elapsed().as_secs()).unwrap();
    assert!(status.ttl() >= left, "it runs its full time again");
    let options = WatchOptions::new().with_start_revision(first);
    let mut stream = watch(&mut after, "plain", options).await;
    assert_eq!(
        collect(&mut stream, 3).await,
        ["+plain=2", "-plain", "+plain=3"]
    );
    after.lease_revoke(42).await.unwrap();
    assert_eq!(
        value(&mut after, "leased").await,
        None,
        "the key still hung on it"
    );

    embedded.compact_now(last).await.unwrap();
    let again = embedded.compact_now(last).await;
    assert!(
        matches!(again, Err(EmbeddedError::Refused(Refusal::Compacted))),
        "{again:?}"
    );
    embedded.shutdown().await;
    let embedded = Embedded::open(&path).await.unwrap();
    let mut client = client(&embedded).await;
    let options = GetOptions::new().with_revision(first);
    assert_eq!(
        refused(client.get("plain", Some(options)).await).0,
        Code::OutOfRange
    );
    embedded.shutdown().await;
}

#[tokio::test]
async fn writes_at_once_are_committed_together_and_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(&folder.path().join("store.redb"))
        .await
        .unwrap();
    let mut observer = client(&embedded).await;
    let options = WatchOptions::new().with_prefix();
    let mut stream = watch(&mut observer, "at-once/", options).await;
    let mut writers = JoinSet::new();
    for writer in 0..500 {
        let mut client = client(&embedded).await;
        writers.spawn(async move { put(&mut client, &format!("at-once/{writer}"), "1").await });
    }
    let mut revisions: Vec<i64> = writers.join_all().await;
    revisions.sort_unstable();
    assert_eq!(revisions, (2..502).collect::<Vec<_>>(), "one revision each");
    assert_eq!(collect(&mut stream, 500).await.len(), 500);
    embedded.shutdown().await;
}

#[tokio::test]
async fn churn_leaves_file_and_history_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let embedded = Embedded::open(&path).await.unwrap();
    let mut observer = client(&embedded).await;
    // It asks and then never reads: the first event it is due will be compacted away.
    let mut stuck = watch(&mut observer, "churn/0", WatchOptions::new()).await;
    let mut sizes = Vec::new();
    for _ in 0..4 {
        let mut writers = JoinSet::new();
        for writer in 0..32 {
            let mut client = client(&embedded).await;
            writers.spawn(async move {
                for turn in 0..250 {
                    let value = format!("{turn} {}", "x".repeat(1_000));
                    client
                        .put(format!("churn/{writer}"), value, None)
                        .await
                        .unwrap();
                }
            });
        }
        writers.join_all().await;
        sizes.push(std::fs::metadata(&path).unwrap().len());
    }
    println!("file after each 8,000 writes of 1 kB: {sizes:?}");
    let (second, last) = (sizes[1], sizes[3]);
    assert!(
        last <= second + second / 4,
        "the file grows for ever: {sizes:?}"
    );
    let gone = next(&mut stuck).await;
    assert!(gone.canceled() && gone.compact_revision() > 0, "{gone:?}");
    assert_eq!(
        value(&mut observer, "churn/0")
            .await
            .unwrap()
            .split(' ')
            .next(),
        Some("249")
    );
    embedded.shutdown().await;
}

#[tokio::test]
async fn a_listener_stops_with_open_streams_and_another_takes_over() {
    let embedded = Embedded::in_memory();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let serving = tokio::spawn({
        let (embedded, stop) = (embedded.clone(), stop.clone());
        async move { embedded.serve(listener, stop).await }
    });
    let mut over_tcp = Client::connect([address.to_string()], None).await.unwrap();
    let mut stream = watch(&mut over_tcp, "served", WatchOptions::new()).await;
    let lease = over_tcp.lease_grant(60, None).await.unwrap().id();
    let (_keeper, mut kept) = over_tcp.lease_keep_alive(lease).await.unwrap();
    stop.cancel();
    assert_eq!(refused(stream.message().await).0, Code::Unavailable);
    assert_eq!(refused(kept.message().await).0, Code::Unavailable);
    serving.await.unwrap().unwrap();

    // The store itself goes on.
    let mut inside = client(&embedded).await;
    let written = put(&mut inside, "served", "1").await;
    let listener = TcpListener::bind(address).await.unwrap();
    let serving = tokio::spawn({
        let embedded = embedded.clone();
        async move { embedded.serve(listener, CancellationToken::new()).await }
    });
    // The client's old connection may be found dead by one request.
    while over_tcp.get("served", None).await.is_err() {
        tokio::task::yield_now().await;
    }
    let options = WatchOptions::new().with_start_revision(written);
    let mut stream = watch(&mut over_tcp, "served", options).await;
    assert_eq!(collect(&mut stream, 1).await, ["+served=1"]);
    // Shutting the store down ends the listener, too.
    embedded.shutdown().await;
    serving.await.unwrap().unwrap();
}
