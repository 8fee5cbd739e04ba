//! One suite of what fleet expects of an etcd, run against the embedded etcd in this process, the
//! embedded etcd over TCP with its file, and a real etcd. Where they differ, the embedded one is
//! wrong: every expectation here was first seen to hold on etcd 3.4.
//!
//! The cases of one target share one store, so each uses keys of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test a surprise is a failure; clippy's own exception misses helper functions"
)]

#[path = "conformance/answers.rs"]
mod answers;
#[path = "conformance/crash.rs"]
mod crash;
#[path = "conformance/dice.rs"]
mod dice;
#[path = "conformance/disk.rs"]
mod disk;
#[path = "conformance/embedded.rs"]
mod embedded;
#[path = "conformance/etcd.rs"]
mod etcd;
#[path = "conformance/etcdctl.rs"]
mod etcdctl;
#[path = "conformance/kv.rs"]
mod kv;
#[path = "conformance/leases.rs"]
mod leases;
#[path = "store/ports.rs"]
mod ports;
#[path = "conformance/random.rs"]
mod random;
#[path = "conformance/txns.rs"]
mod txns;
#[path = "conformance/watches.rs"]
mod watches;

use std::future::Future;
use std::pin::Pin;

use etcd_client::Client;
use registry::embedded::Embedded;
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;

type Case = fn(Client) -> Pin<Box<dyn Future<Output = ()> + Send>>;

macro_rules! cases {
    ($($module:ident :: $case:ident),* $(,)?) => {
        &[$((
            concat!(stringify!($module), "::", stringify!($case)),
            |client| Box::pin($module::$case(client)),
        )),*]
    };
}

const CASES: &[(&str, Case)] = cases![
    kv::a_put_is_read_back_with_its_revisions,
    kv::ranges_and_prefixes_name_keys_as_etcd_does,
    kv::a_limit_says_more_and_counts_all,
    kv::answers_are_ordered_as_asked,
    kv::bounds_on_revisions_filter_but_do_not_count,
    kv::the_past_can_be_read,
    kv::a_put_can_keep_value_or_lease,
    kv::deletions_count_and_return_what_was_there,
    kv::bad_requests_are_refused_in_etcds_words,
    kv::requests_above_the_limit_are_refused,
    kv::compaction_forgets_the_past_only,
    txns::every_target_and_relation_compares,
    txns::a_compare_can_cover_a_range,
    txns::branches_see_their_own_writes_at_one_revision,
    txns::a_refused_txn_changes_nothing,
    txns::limits_of_operations_and_duplicates,
    txns::reads_alone_make_no_revision,
    watches::puts_and_deletes_arrive_in_order,
    watches::a_watch_resumes_from_a_revision,
    watches::one_txn_is_one_answer,
    watches::one_stream_carries_several_watchers,
    watches::filters_and_previous_values,
    watches::a_future_revision_is_waited_for,
    watches::compaction_cancels_a_watch_that_is_too_late,
    watches::progress_is_told_on_request,
    watches::ids_and_ranges_are_checked,
    watches::a_slow_reader_loses_nothing,
    leases::grants_choose_or_take_an_id,
    leases::revoking_deletes_all_keys_in_one_revision,
    leases::an_unkept_lease_ends_and_takes_its_keys,
    leases::keep_alive_answers_the_ttl_and_0_for_none,
    leases::time_to_live_tells_keys,
    leases::a_key_moves_between_leases,
    kv::status_and_members_answer,
];

/// Runs every case, prints each, and fails at the end if any failed.
async fn run(target: &str, client: Client) {
    let mut failed = Vec::new();
    for (name, case) in CASES {
        // A case that hangs is a failure with a name.
        let limit = std::time::Duration::from_secs(60);
        let outcome = tokio::spawn(tokio::time::timeout(limit, case(client.clone()))).await;
        match outcome {
            Ok(Ok(())) => println!("{target}: {name}: ok"),
            Ok(Err(_)) => {
                println!("{target}: {name}: HANGS");
                failed.push(*name);
            }
            Err(error) => {
                println!("{target}: {name}: FAILED: {error}");
                failed.push(*name);
            }
        }
    }
    assert!(failed.is_empty(), "{target} failed {failed:?}");
}

#[tokio::test]
async fn embedded_in_this_process() {
    let embedded = Embedded::in_memory();
    let client = Client::from_channel(embedded.channel(), None)
        .await
        .unwrap();
    run("embedded in memory", client).await;
}

#[tokio::test]
async fn embedded_over_tcp_with_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(&folder.path().join("store.redb"))
        .await
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let serving = tokio::spawn({
        let (embedded, stop) = (embedded.clone(), stop.clone());
        async move { embedded.serve(listener, stop).await }
    });
    let client = Client::connect([address.to_string()], None).await.unwrap();
    run("embedded over TCP", client).await;
    stop.cancel();
    serving.await.unwrap().unwrap();
    embedded.shutdown().await;
}

#[tokio::test]
async fn embedded_over_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("etcd.sock");
    let embedded = Embedded::in_memory();
    let listener = UnixListener::bind(&path).unwrap();
    let stop = CancellationToken::new();
    let serving = tokio::spawn({
        let (embedded, stop) = (embedded.clone(), stop.clone());
        async move { embedded.serve_unix(listener, stop).await }
    });
    let endpoint = format!("unix:{}", path.display());
    let channel = tonic::transport::Endpoint::try_from(endpoint)
        .unwrap()
        .connect()
        .await
        .unwrap();
    let channel = etcd_client::Channel::Tonic(channel);
    let mut client = Client::from_channel(channel, None).await.unwrap();
    client.put("over-a-unix-socket", "1", None).await.unwrap();
    let found = client.get("over-a-unix-socket", None).await.unwrap();
    assert_eq!(found.kvs().first().unwrap().value(), b"1");
    println!("embedded over a unix socket: put and get");
    stop.cancel();
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn real_etcd() {
    let Some(etcd) = etcd::RealEtcd::start().await else {
        return;
    };
    let client = Client::connect([etcd.endpoint()], None).await.unwrap();
    run("real etcd", client).await;
}
