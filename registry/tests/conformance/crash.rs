//! kill -9 at random moments: nothing acknowledged is lost, nothing is half there, history has no
//! gaps and a watch goes on where it was.
//!
//! The store runs in a child: this test binary, started again for one test alone.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use etcd_client::{Client, GetOptions, Txn, TxnOp, WatchOptions};
use registry::embedded::Embedded;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::answers::next;
use crate::dice::Dice;

const STORE: &str = "FLEET_TEST_CRASH_STORE";
const LISTENING: &str = "LISTENING ON ";
const ROUNDS: u64 = 12;
const WRITERS: usize = 8;

/// In one round out of so many the kill may come before anything is acknowledged.
const EARLY_EVERY: u64 = 4;
const SEED: u64 = 7;

/// Not a test by itself: the child of the tests here. Serves until it is killed.
#[tokio::test]
async fn a_store_to_be_killed() {
    let Some(path) = std::env::var_os(STORE) else {
        return;
    };
    let embedded = Embedded::open(Path::new(&path)).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("\n{LISTENING}{}", listener.local_addr().unwrap());
    embedded
        .serve(listener, CancellationToken::new())
        .await
        .unwrap();
}

/// A store in a process of its own.
pub(crate) struct Served {
    pub(crate) process: Child,
    pub(crate) client: Client,
}

/// Starts the store at `path`; `wrapper` is a command to start it with.
pub(crate) async fn serve(path: &Path, wrapper: &[&str]) -> Served {
    let binary = std::env::current_exe().unwrap();
    let test = [
        "crash::a_store_to_be_killed",
        "--exact",
        "--nocapture",
        "--test-threads=1",
    ];
    let mut command = match wrapper {
        [] => Command::new(&binary),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(&binary);
            command
        }
    };
    let mut process = command
        .args(test)
        .env(STORE, path)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let address = loop {
        let line = tokio::time::timeout(Duration::from_secs(30), lines.next_line());
        let line = line
            .await
            .expect("the store does not start")
            .unwrap()
            .expect("it ended");
        if let Some(address) = line.strip_prefix(LISTENING) {
            break address.to_owned();
        }
    };
    let client = Client::connect([address], None).await.unwrap();
    Served { process, client }
}

/// What one writer knows of its key.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    attempted: u64,
    acknowledged: u64,
    at: i64,
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_by_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let mut dice = Dice::new(SEED);
    let mut progress = vec![Progress::default(); WRITERS];
    // The last revision that has been watched, and the value of each key there.
    let mut watched = 1;
    let mut values = BTreeMap::new();
    for round in 1..=ROUNDS {
        let mut served = serve(&path, &[]).await;
        check(&mut served.client, &progress, &mut watched, &mut values).await;
        let shared = Arc::new(Mutex::new(progress));
        let first = Arc::new(Notify::new());
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let (shared, first) = (Arc::clone(&shared), Arc::clone(&first));
            writers.spawn(write(served.client.clone(), writer, shared, first));
        }
        writers.spawn(compact(served.client.clone(), watched));
        if round % EARLY_EVERY != 1 {
            let acknowledged = tokio::time::timeout(Duration::from_secs(30), first.notified());
            acknowledged.await.expect("no write is acknowledged");
        }
        // The moment is the random input of this test, not a way to wait for something.
        tokio::time::sleep(Duration::from_millis(5 + dice.below(150))).await;
        served.process.start_kill().unwrap();
        served.process.wait().await.unwrap();
        while let Some(ended) = writers.join_next().await {
            ended.unwrap();
        }
        progress = Arc::into_inner(shared).unwrap().into_inner().unwrap();
        let acknowledged: u64 = progress.iter().map(|it| it.acknowledged).sum();
        println!("seed {SEED}, round {round}: killed after {acknowledged} acknowledged writes");
    }
    let mut served = serve(&path, &[]).await;
    check(&mut served.client, &progress, &mut watched, &mut values).await;
    let acknowledged: u64 = progress.iter().map(|it| it.acknowledged).sum();
    assert!(
        acknowledged > ROUNDS,
        "{acknowledged} writes are too few to tell anything"
    );
    println!("{acknowledged} acknowledged writes, all there; history seen to revision {watched}");
    served.process.kill().await.unwrap();
}

/// Counts up in two keys at once until the store is gone.
async fn write(
    mut client: Client,
    writer: usize,
    progress: Arc<Mutex<Vec<Progress>>>,
    first: Arc<Notify>,
) {
    loop {
        let next = {
            let mut progress = progress.lock().unwrap();
            progress[writer].attempted += 1;
            progress[writer].attempted.to_string()
        };
        let txn = Txn::new().and_then([
            TxnOp::put(format!("left/{writer}"), next.clone(), None),
            TxnOp::put(format!("right/{writer}"), next.clone(), None),
        ]);
        let Ok(answer) = client.txn(txn).await else {
            return;
        };
        let mut progress = progress.lock().unwrap();
        progress[writer].acknowledged = next.parse().unwrap();
        progress[writer].at = answer.header().unwrap().revision();
        first.notify_one();
    }
}

/// Compacts what has been watched, so that a crash may hit that, too.
async fn compact(mut client: Client, watched: i64) {
    if watched > 1 {
        // It may be cut off by the kill, and then not have happened; both are fine.
        match client.compact(watched, None).await {
            Ok(_) | Err(etcd_client::Error::GRpcStatus(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

async fn check(
    client: &mut Client,
    progress: &[Progress],
    watched: &mut i64,
    values: &mut BTreeMap<Vec<u8>, u64>,
) {
    let options = GetOptions::new().with_all_keys();
    let found = client.get("", Some(options)).await.unwrap();
    let newest = found.header().unwrap().revision();
    let mut now = BTreeMap::new();
    for found in found.kvs() {
        now.insert(
            found.key().to_vec(),
            found.value_str().unwrap().parse::<u64>().unwrap(),
        );
    }
    for (writer, progress) in progress.iter().enumerate() {
        let left = now
            .get(format!("left/{writer}").as_bytes())
            .copied()
            .unwrap_or(0);
        let right = now
            .get(format!("right/{writer}").as_bytes())
            .copied()
            .unwrap_or(0);
        assert_eq!(left, right, "a transaction is whole");
        assert!(
            left >= progress.acknowledged,
            "writer {writer}: {progress:?} but {left}"
        );
        assert!(
            left <= progress.attempted,
            "writer {writer}: {progress:?} but {left}"
        );
        assert!(newest >= progress.at, "revisions do not go back");
    }
    if newest > *watched {
        let options = WatchOptions::new()
            .with_all_keys()
            .with_start_revision(*watched + 1);
        let mut stream = client.watch("", Some(options)).await.unwrap();
        assert!(next(&mut stream).await.created());
        while *watched < newest {
            let response = next(&mut stream).await;
            assert!(!response.canceled(), "{response:?}");
            for event in response.events() {
                let event = event.kv().unwrap();
                let at = event.mod_revision();
                assert!(
                    at == *watched || at == *watched + 1,
                    "a gap: {at} after {watched}"
                );
                *watched = at;
                values.insert(
                    event.key().to_vec(),
                    event.value_str().unwrap().parse::<u64>().unwrap(),
                );
            }
        }
    }
    assert_eq!(&now, values, "history ends where the keys are");
}
