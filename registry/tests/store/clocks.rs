//! Asking machines what their wall clocks say: clocks that differ by minutes are seen, in both directions.

use std::sync::Arc;
use std::time::Duration;

use model::{Clock, ClusterStore};
use registry::embedded::Embedded;
use registry::{Asked, Join, Lease, Matter, Membership, Registry, Unanswerable, View};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::etcd::{Etcd, PREFIX};
use crate::sample::{id, machine};

const MINUTE_MS: i64 = 60_000;

/// A wall clock that somebody has set wrong.
struct Wrong {
    ahead_ms: i64,
    since: tokio::time::Instant,
}

impl Clock for Wrong {
    fn unix_ms(&self) -> u64 {
        let ms = i64::try_from(self.boot_ms()).unwrap() + 1_000 * MINUTE_MS + self.ahead_ms;
        u64::try_from(ms).unwrap()
    }
    fn boot_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap()
    }
}

async fn joined(registry: &Registry, name: &str) -> (Lease, Membership) {
    let lease = registry.lease(Duration::from_secs(30), None).await.unwrap();
    let joined = registry.join(&machine(name, "10.0.0.1", "b"), &lease).await;
    match joined.unwrap() {
        Join::Joined(membership) => (lease, membership),
        Join::Occupied { other } => panic!("{other:?}"),
    }
}

/// Answers as an agent does, or, as an earlier version, that it does not understand.
async fn answer(registry: Registry, name: &'static str, understands: bool) {
    let mut inbox = registry.inbox(id(name));
    loop {
        let Asked { matter, reply } = inbox.next().await;
        assert_eq!(matter, Ok(Matter::Clock));
        let answered = match understands {
            true => reply.tell_clock().await,
            false => reply.refuse(Unanswerable::Unknown("?".to_owned())).await,
        };
        answered.unwrap();
    }
}

async fn clocks_are_read(registry: &Registry) {
    let since = tokio::time::Instant::now();
    let set = |ahead_ms| {
        let clock = Arc::new(Wrong { ahead_ms, since });
        registry.clone().with_clock(clock)
    };
    let mut answering = JoinSet::new();
    let mut memberships = Vec::new();
    for (name, ahead_ms, understands) in [
        ("m1", 0, true),
        ("m2", 5 * MINUTE_MS, true),
        ("m3", -5 * MINUTE_MS, true),
        ("m4", 0, false),
    ] {
        let of_machine = set(ahead_ms);
        memberships.push(joined(&of_machine, name).await);
        answering.spawn(answer(of_machine, name, understands));
    }
    let view = View::new(set(0), CancellationToken::new());
    let all = ["m1", "m2", "m3", "m4", "gone"].map(id);
    let found = view.clocks(all.into()).await.unwrap();
    println!("{found:?}");
    let names: Vec<_> = found.keys().cloned().collect();
    assert_eq!(names, ["m1", "m2", "m3"].map(id), "others do not say");
    for (name, ahead_ms) in [("m1", 0), ("m2", 5 * MINUTE_MS), ("m3", -5 * MINUTE_MS)] {
        let reading = found[&id(name)];
        let wrong = (reading.ahead_ms - ahead_ms).unsigned_abs();
        assert!(wrong <= reading.within_ms, "{name}: {reading:?}");
        // The answer's time is not taken for a difference.
        let certain = reading.certain_ms();
        assert_eq!(certain.signum(), ahead_ms.signum(), "{name}: {reading:?}");
        assert!(certain.abs() <= ahead_ms.abs(), "{name}: {reading:?}");
    }
    assert_eq!(view.clocks(Vec::new()).await, Ok([].into()));
}

#[tokio::test]
async fn clocks_are_read_on_the_embedded_store() {
    let store = Embedded::in_memory();
    clocks_are_read(&Registry::embedded(&store, PREFIX)).await;
}

#[tokio::test]
async fn clocks_are_read_on_etcd() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    clocks_are_read(&etcd.registry().await).await;
}
