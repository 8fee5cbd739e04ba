//! Events that etcd loses while a watch stands are made good: on virtual time, over the embedded store, which loses them on request.

use std::collections::BTreeMap;
use std::time::Duration;

use etcd_client::Client;
use registry::embedded::Embedded;
use registry::{Follow, FollowEvent, Registry, Scope};
use tokio::time::{Instant, sleep, timeout};

use crate::etcd::PREFIX;
use crate::sample::id;

/// The longest time after which what was lost is known, and some for the answer.
const SEEN_BY: Duration = Duration::from_secs(121);

struct Bed {
    store: Embedded,
    client: Client,
    follow: Follow,
    /// Keys that are known, with how often each was told.
    known: BTreeMap<String, usize>,
    snapshots: usize,
}

impl Bed {
    async fn new(scope: Scope) -> Bed {
        let store = Embedded::in_memory();
        let registry = Registry::embedded(&store, PREFIX);
        let client = Client::from_channel(store.channel(), None).await.unwrap();
        let mut bed = Bed {
            store,
            client,
            follow: registry.follow(scope),
            known: BTreeMap::new(),
            snapshots: 0,
        };
        bed.put("a").await;
        bed.put("b").await;
        bed.hear_all().await;
        assert_eq!(bed.names(), ["a", "b"]);
        bed
    }

    /// An entry that cannot be read is told like any other, with its key.
    async fn put(&mut self, unit: &str) {
        self.client.put(key(unit), "damaged", None).await.unwrap();
    }

    async fn delete(&mut self, unit: &str) {
        self.client.delete(key(unit), None).await.unwrap();
    }

    /// What is written next is not told.
    fn lose_next(&self) {
        self.store.lose_next_event();
    }

    /// Takes in all that comes at once.
    async fn hear_all(&mut self) {
        while let Ok(event) = timeout(Duration::from_millis(200), self.follow.next()).await {
            self.take_in(event);
        }
    }

    fn take_in(&mut self, event: FollowEvent) {
        let changes = match event {
            FollowEvent::Snapshot { changes, .. } => {
                self.known.clear();
                self.snapshots += 1;
                changes
            }
            FollowEvent::Changes { changes, .. } => changes,
            FollowEvent::Disconnected { .. } | FollowEvent::Synced { .. } => {
                panic!("the store was never away: {event:?}")
            }
        };
        for change in changes {
            match change {
                model::Change::Quarantined { problem, .. } => {
                    *self.known.entry(problem.key).or_default() += 1;
                }
                model::Change::Healed { key } => {
                    self.known.remove(&key);
                }
                // What is left of a damaged entry once it is gone.
                model::Change::Assignment(_, _, None) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn names(&self) -> Vec<&str> {
        let names = self.known.keys().filter_map(|key| key.rsplit('/').next());
        names
            .filter_map(|name| name.strip_suffix(".service"))
            .collect()
    }

    /// Waits for everything to be read again.
    async fn until_read_again(&mut self) {
        let began = Instant::now();
        let before = self.snapshots;
        while self.snapshots == before {
            let left = SEEN_BY.saturating_sub(began.elapsed());
            let event = timeout(left, self.follow.next()).await;
            self.take_in(event.expect("what was lost is never seen"));
        }
        println!("read again after {:?}", began.elapsed());
    }
}

fn key(unit: &str) -> String {
    format!("{PREFIX}schedule/m1/{unit}.service")
}

fn scopes() -> [Scope; 2] {
    [Scope::Schedule(id("m1")), Scope::Cluster]
}

#[tokio::test(start_paused = true)]
async fn an_entry_whose_event_is_lost_is_found() {
    for scope in scopes() {
        let mut bed = Bed::new(scope).await;
        bed.lose_next();
        bed.put("c").await;
        bed.hear_all().await;
        assert_eq!(bed.names(), ["a", "b"], "the event was lost");
        bed.until_read_again().await;
        assert_eq!(bed.names(), ["a", "b", "c"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_change_is_found_though_later_ones_were_heard() {
    for scope in scopes() {
        let mut bed = Bed::new(scope).await;
        bed.lose_next();
        bed.put("a").await;
        bed.put("b").await;
        bed.hear_all().await;
        let told: Vec<usize> = bed.known.values().copied().collect();
        assert_eq!(told, [1, 2], "only the later was heard");
        bed.until_read_again().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_deletion_is_found_though_as_many_keys_are_there() {
    for scope in scopes() {
        let mut bed = Bed::new(scope).await;
        bed.lose_next();
        bed.delete("a").await;
        bed.put("c").await;
        bed.hear_all().await;
        bed.lose_next();
        bed.put("d").await;
        bed.hear_all().await;
        assert_eq!(bed.names(), ["a", "b", "c"]);
        bed.until_read_again().await;
        assert_eq!(bed.names(), ["b", "c", "d"]);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_read_again_while_nothing_is_lost() {
    for scope in scopes() {
        let mut bed = Bed::new(scope).await;
        let read = bed.snapshots;
        // Two hours, with keys that come, change and go at all moments, some within those of a comparison.
        for turn in 0..1_200_u64 {
            bed.put("a").await;
            bed.put("d").await;
            bed.put("d").await;
            bed.delete("d").await;
            if turn % 3 == 0 {
                bed.put("e").await;
            } else {
                bed.delete("e").await;
            }
            bed.hear_all().await;
            sleep(Duration::from_millis(turn * 7_919 % 11_000)).await;
        }
        assert_eq!(bed.snapshots, read);
        // It would have been noticed.
        bed.lose_next();
        bed.put("f").await;
        bed.until_read_again().await;
    }
}
