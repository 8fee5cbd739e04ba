//! What one unit costs does not depend on how many others there are: requests, bytes, and what the store is asked, counted at 50
//! units and at 5,000.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use insta::assert_snapshot;
use model::{Action, ClusterStore, OnDifference, UnitRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use unitfile::{UnitFile, UnitName};

use crate::cluster::{Cluster, FILE, cluster};

/// What the answers to one command may have: how many states on the way are told is a matter of time. 5,000 units would be a
/// hundred times as much.
const ANSWERED_BYTES_MAX: usize = 10_000;

/// Stands between fleetctl and fleetd and counts.
struct Relay {
    address: String,
    seen: Arc<Mutex<Seen>>,
    accepting: JoinHandle<()>,
}

#[derive(Clone, Default, Debug)]
struct Seen {
    /// The first lines of the requests, with what a unit's name may be made of.
    requests: Vec<String>,
    answered_bytes: usize,
}

impl Relay {
    async fn start(to: &str) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (to, counting) = (to.to_owned(), Arc::clone(&seen));
        let accepting = tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let far = TcpStream::connect(&to).await.unwrap();
                let ((near_in, near_out), (far_in, far_out)) =
                    (near.into_split(), far.into_split());
                tokio::spawn(relay(near_in, far_out, Arc::clone(&counting), requests));
                tokio::spawn(relay(far_in, near_out, Arc::clone(&counting), answers));
            }
        });
        Relay {
            address,
            seen,
            accepting,
        }
    }
}

/// Heads are written in one piece by our own client, so none is cut in two here.
fn requests(seen: &mut Seen, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let lines = text
        .lines()
        .filter_map(|line| line.strip_suffix(" HTTP/1.1"));
    seen.requests.extend(lines.map(str::to_owned));
}

fn answers(seen: &mut Seen, bytes: &[u8]) {
    seen.answered_bytes += bytes.len();
}

async fn relay(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    seen: Arc<Mutex<Seen>>,
    count: fn(&mut Seen, &[u8]),
) {
    let mut buffer = vec![0; 64 * 1024];
    // A connection that is reset has ended as well as one that is closed.
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        count(&mut seen.lock().unwrap(), &buffer[..read]);
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

/// What a command cost: its requests, the calls at the store by name, the bytes it was answered.
struct Cost {
    requests: String,
    store: BTreeMap<&'static str, usize>,
    answered_bytes: usize,
}

/// Makes and starts `count` units beside those of the test.
async fn populate(cluster: &Cluster, count: usize) {
    let file = UnitFile::parse(FILE).unwrap();
    let request = |number: usize| UnitRequest {
        name: UnitName::parse(&format!("other{number}.service")).unwrap(),
        action: Action::Start,
        file: Some(file.clone()),
        template: None,
        on_difference: OnDifference::Keep,
    };
    let made = cluster.store.apply((0..count).map(request).collect()).await;
    assert!(made.unwrap().iter().all(Result::is_ok));
    cluster
        .until_reported(&format!("other{}.service", count - 1), 1)
        .await;
}

async fn costs(units: usize) -> Vec<(&'static str, Cost)> {
    let cluster = cluster().await;
    cluster.file("web.service", FILE);
    populate(&cluster, units).await;
    let relay = Relay::start(&cluster.address).await;
    let endpoint = format!("http://{}", relay.address);
    let mut costs = Vec::new();
    for line in [
        "fleetctl start web",
        "fleetctl status web",
        "fleetctl journal web",
        "fleetctl cat web",
        "fleetctl restart web",
        "fleetctl stop web",
        "fleetctl unload web",
        "fleetctl destroy web",
    ] {
        cluster.store.take_calls();
        let seen = cluster.run_at(&endpoint, line).await;
        assert!(seen.ends_with("[exit 0]"), "{seen}");
        let Seen {
            requests,
            answered_bytes,
        } = std::mem::take(&mut *relay.seen.lock().unwrap());
        let cost = Cost {
            requests: requests.join("\n"),
            store: cluster.store.take_calls(),
            answered_bytes,
        };
        costs.push((line, cost));
    }
    relay.accepting.abort();
    cluster.end().await;
    costs
}

#[tokio::test(flavor = "multi_thread")]
async fn one_unit_among_5000_costs_what_it_costs_among_50() {
    let (few, many) = (costs(50).await, costs(5_000).await);
    let mut told = String::new();
    for ((line, few), (_, many)) in few.iter().zip(&many) {
        println!(
            "{line}: {} and {} bytes",
            few.answered_bytes, many.answered_bytes
        );
        assert_eq!(few.requests, many.requests, "{line}");
        assert_eq!(few.store, many.store, "{line}");
        assert!(many.answered_bytes <= ANSWERED_BYTES_MAX, "{line}");
        told += &format!("{line}\n{}\nstore: {:?}\n\n", many.requests, many.store);
    }
    assert_snapshot!(told.trim_end(), @r#"
    fleetctl start web
    POST /fleet/v1/batch
    GET /fleet/v1/events?unitName=web.service
    store: {"apply": 1, "read": 1, "subscribe": 1}

    fleetctl status web
    GET /fleet/v1/overview?unitName=web.service
    GET /fleet/v1/units/web.service/status?lines=10&machineID=aaaaaaaa000000000000000000000001
    store: {"read": 2}

    fleetctl journal web
    GET /fleet/v1/overview?unitName=web.service
    GET /fleet/v1/units/web.service/journal?lines=10&machineID=aaaaaaaa000000000000000000000001&output=short
    store: {"read": 2}

    fleetctl cat web
    GET /fleet/v1/units/web.service/file
    store: {"read": 1}

    fleetctl restart web
    POST /fleet/v1/batch
    GET /fleet/v1/events?unitName=web.service
    store: {"apply": 1, "read": 1, "subscribe": 1}

    fleetctl stop web
    POST /fleet/v1/batch
    GET /fleet/v1/events?unitName=web.service
    store: {"apply": 1, "read": 1, "subscribe": 1}

    fleetctl unload web
    POST /fleet/v1/batch
    GET /fleet/v1/events?unitName=web.service
    store: {"apply": 1, "read": 1, "subscribe": 1}

    fleetctl destroy web
    POST /fleet/v1/batch
    GET /fleet/v1/events?unitName=web.service
    store: {"apply": 1, "read": 1, "subscribe": 1}
    "#);
}
