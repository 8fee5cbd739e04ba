//! Following across every kind of loss.

use etcd_client::Client;
use model::{Action, Change, ClusterStore, Records};
use registry::embedded::Embedded;
use registry::{Follow, FollowEvent, Registry, Scope, View};
use tokio_util::sync::CancellationToken;

use crate::etcd::{Etcd, PREFIX, connect, soon};
use crate::proxy::Proxy;
use crate::sample::{file, id, name, request};

/// What a follower that obeys the contract knows.
#[derive(Default)]
struct Known {
    records: Records,
    snapshots: usize,
    disconnects: usize,
    synced: usize,
    live: bool,
}

impl Known {
    fn take_in(&mut self, event: FollowEvent) {
        match event {
            FollowEvent::Snapshot { revision, changes } => {
                println!("snapshot at {revision:?}, {} records", changes.len());
                self.records = Records {
                    revision,
                    ..Records::default()
                };
                changes
                    .into_iter()
                    .for_each(|change| self.records.apply(change));
                self.snapshots += 1;
                self.live = true;
            }
            FollowEvent::Changes { revision, changes } => {
                println!("{} changes at {revision:?}", changes.len());
                assert!(
                    revision > self.records.revision,
                    "{revision:?} after {:?}",
                    self.records.revision
                );
                self.records.revision = revision;
                changes
                    .into_iter()
                    .for_each(|change| self.records.apply(change));
            }
            FollowEvent::Disconnected { reason } => {
                println!("disconnected: {reason}");
                assert!(!reason.is_empty());
                self.disconnects += 1;
                self.live = false;
            }
            FollowEvent::Synced { revision } => {
                println!("synced at {revision:?}");
                assert!(!self.live);
                self.records.revision = revision;
                self.synced += 1;
                self.live = true;
            }
        }
    }

    async fn until(&mut self, follow: &mut Follow, what: &str, holds: impl Fn(&Known) -> bool) {
        soon(what, async {
            while !holds(self) {
                let event = follow.next().await;
                self.take_in(event);
            }
        })
        .await;
    }
}

async fn submit(registry: &Registry, unit: &str) {
    let view = View::new(registry.clone(), CancellationToken::new());
    let answers = view
        .apply(vec![request(unit, Action::Submit, Some(file(unit)))])
        .await
        .unwrap();
    assert!(answers[0].is_ok(), "{answers:?}");
}

#[tokio::test]
async fn the_embedded_store_is_followed() {
    let store = Embedded::in_memory();
    follows_writes(Registry::embedded(&store, PREFIX)).await;
}

#[tokio::test]
async fn etcd_is_followed() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    follows_writes(etcd.registry().await).await;
}

async fn follows_writes(registry: Registry) {
    let (mut follow, mut known) = (registry.follow(Scope::Cluster), Known::default());
    known
        .until(&mut follow, "the snapshot", |known| known.snapshots == 1)
        .await;
    for unit in ["a.service", "b.service"] {
        submit(&registry, unit).await;
        known
            .until(&mut follow, unit, |known| {
                known.records.units.contains_key(&name(unit))
            })
            .await;
    }
    assert_eq!(known.records.files.len(), 2);
    assert_eq!((known.snapshots, known.disconnects), (1, 0));
    let (mut again, mut afresh) = (registry.follow(Scope::Cluster), Known::default());
    afresh
        .until(&mut again, "another snapshot", |known| known.snapshots == 1)
        .await;
    assert_eq!(afresh.records, known.records);
    let mut schedule = registry.follow(Scope::Schedule(id("m1")));
    let event = soon("an empty schedule", schedule.next()).await;
    assert!(
        matches!(event, FollowEvent::Snapshot { ref changes, .. } if changes.is_empty()),
        "{event:?}"
    );
}

#[tokio::test]
async fn a_restart_of_etcd_is_survived() {
    let Some(mut etcd) = Etcd::start().await else {
        return;
    };
    let registry = etcd.registry().await;
    let (mut follow, mut known) = (registry.follow(Scope::Cluster), Known::default());
    let (mut schedule, mut assigned) =
        (registry.follow(Scope::Schedule(id("m1"))), Known::default());
    known
        .until(&mut follow, "the snapshot", |known| known.live)
        .await;
    assigned
        .until(&mut schedule, "the schedule", |known| known.live)
        .await;
    submit(&registry, "a.service").await;
    for round in 1..=3 {
        etcd.kill();
        known
            .until(&mut follow, "the loss", |known| !known.live)
            .await;
        assigned
            .until(&mut schedule, "the loss", |known| !known.live)
            .await;
        etcd.boot().await;
        let unit = format!("round{round}.service");
        submit(&etcd.registry().await, &unit).await;
        known
            .until(&mut follow, "the unit", |known| {
                known.records.units.contains_key(&name(&unit))
            })
            .await;
        known
            .until(&mut follow, "being synced", |known| known.live)
            .await;
        assigned
            .until(&mut schedule, "the schedule anew", |known| known.live)
            .await;
    }
    assert_eq!(
        (known.snapshots, known.disconnects, known.synced),
        (1, 3, 3),
        "resumed, not read again"
    );
    assert_eq!(
        (assigned.snapshots, assigned.disconnects, assigned.synced),
        (4, 3, 0),
        "read again"
    );
}

#[tokio::test]
async fn a_frozen_etcd_is_noticed() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    let registry = etcd.registry().await;
    let (mut follow, mut known) = (registry.follow(Scope::Cluster), Known::default());
    known
        .until(&mut follow, "the snapshot", |known| known.live)
        .await;
    etcd.freeze();
    known
        .until(&mut follow, "the loss", |known| !known.live)
        .await;
    etcd.thaw();
    known
        .until(&mut follow, "being synced", |known| known.live)
        .await;
    assert_eq!((known.snapshots, known.synced), (1, 1));
}

#[tokio::test]
async fn following_starts_before_etcd_does() {
    let Some(mut etcd) = Etcd::prepare(&[]) else {
        return;
    };
    let registry = etcd.registry().await;
    let (mut follow, mut known) = (registry.follow(Scope::Cluster), Known::default());
    known
        .until(&mut follow, "the first loss", |known| {
            known.disconnects == 1
        })
        .await;
    etcd.boot().await;
    known
        .until(&mut follow, "the snapshot", |known| known.live)
        .await;
    assert_eq!(
        (known.snapshots, known.disconnects, known.synced),
        (1, 1, 0)
    );
}

#[tokio::test]
async fn what_was_compacted_meanwhile_is_read_again() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    let proxy = Proxy::to(etcd.address()).await;
    let far = connect(&proxy.endpoint()).await;
    let near = etcd.registry().await;
    let (mut follow, mut known) = (far.follow(Scope::Cluster), Known::default());
    known
        .until(&mut follow, "the snapshot", |known| known.live)
        .await;
    submit(&near, "gone.service").await;
    known
        .until(&mut follow, "the unit", |known| {
            known.records.units.len() == 1
        })
        .await;
    proxy.cut();
    known
        .until(&mut follow, "the loss", |known| !known.live)
        .await;
    let view = View::new(near.clone(), CancellationToken::new());
    view.apply(vec![request("gone.service", Action::Destroy, None)])
        .await
        .unwrap();
    submit(&near, "new.service").await;
    compact(&mut etcd.raw().await).await;
    proxy.mend();
    known
        .until(&mut follow, "the second snapshot", |known| known.live)
        .await;
    assert_eq!((known.snapshots, known.synced), (2, 0));
    assert_eq!(
        known.records.units.keys().collect::<Vec<_>>(),
        [&name("new.service")]
    );
}

async fn compact(client: &mut Client) {
    let revision = client
        .get("x", None)
        .await
        .unwrap()
        .header()
        .unwrap()
        .revision();
    client.compact(revision, None).await.unwrap();
}

#[tokio::test]
async fn deletions_alone_are_caught_up_with() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    let proxy = Proxy::to(etcd.address()).await;
    let far = connect(&proxy.endpoint()).await;
    let near = etcd.registry().await;
    for unit in ["a.service", "b.service"] {
        submit(&near, unit).await;
    }
    let (mut follow, mut known) = (far.follow(Scope::Cluster), Known::default());
    known
        .until(&mut follow, "the snapshot", |known| known.live)
        .await;
    proxy.cut();
    known
        .until(&mut follow, "the loss", |known| !known.live)
        .await;
    let view = View::new(near, CancellationToken::new());
    view.apply(vec![request("a.service", Action::Destroy, None)])
        .await
        .unwrap();
    let mut raw = etcd.raw().await;
    raw.put("/not/ours", "x", None).await.unwrap();
    proxy.mend();
    known
        .until(&mut follow, "being synced", |known| known.live)
        .await;
    assert_eq!(
        known.records.units.keys().collect::<Vec<_>>(),
        [&name("b.service")],
        "before Synced, not after"
    );
    assert_eq!((known.snapshots, known.synced), (1, 1));
}

#[tokio::test]
async fn a_large_cluster_is_read_in_pages_at_one_revision() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    let registry = etcd.registry().await;
    let view = View::new(registry.clone(), CancellationToken::new());
    let padding = "# padding\n".repeat(3000);
    let large = |n: usize| {
        unitfile::UnitFile::parse(format!("{padding}[Service]\nExecStart=/bin/{n}\n")).unwrap()
    };
    let mut requests: Vec<_> = (0..150)
        .map(|n| request(&format!("large{n}.service"), Action::Submit, Some(large(n))))
        .collect();
    requests.extend((0..2500).map(|n| {
        request(
            &format!("small{n}.service"),
            Action::Submit,
            Some(file("true")),
        )
    }));
    let answers = view.apply(requests).await.unwrap();
    assert!(answers.iter().all(Result::is_ok));
    let (mut follow, mut known) = (registry.follow(Scope::Cluster), Known::default());
    known
        .until(&mut follow, "the snapshot", |known| known.live)
        .await;
    assert_eq!(
        (known.records.units.len(), known.records.files.len()),
        (2650, 151)
    );
}

#[tokio::test]
async fn a_damaged_record_is_set_aside_and_its_last_good_value_kept() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    let registry = etcd.registry().await;
    submit(&registry, "a.service").await;
    submit(&registry, "b.service").await;
    let (mut follow, mut known) = (registry.follow(Scope::Cluster), Known::default());
    known
        .until(&mut follow, "the snapshot", |known| known.live)
        .await;
    let mut raw = etcd.raw().await;
    let key = format!("{PREFIX}units/a.service");
    let good = raw.get(key.as_str(), None).await.unwrap().kvs()[0]
        .value()
        .to_vec();
    raw.put(key.as_str(), "{\"file\":", None).await.unwrap();
    known
        .until(&mut follow, "the damage", |known| {
            known.records.quarantine.contains_key(&key)
        })
        .await;
    assert!(
        known.records.units.contains_key(&name("a.service")),
        "the old value stays in force"
    );
    assert!(known.records.quarantined_units.contains(&name("a.service")));
    raw.put(key.as_str(), good, None).await.unwrap();
    known
        .until(&mut follow, "the cure", |known| {
            known.records.quarantine.is_empty()
        })
        .await;
    assert!(known.records.quarantined_units.is_empty());
    let odd = format!("{PREFIX}units/not a unit");
    raw.put(odd.as_str(), "x", None).await.unwrap();
    known
        .until(&mut follow, "the odd key", |known| {
            known.records.quarantine.contains_key(&odd)
        })
        .await;
    raw.delete(odd.as_str(), None).await.unwrap();
    known
        .until(&mut follow, "its end", |known| {
            known.records.quarantine.is_empty()
        })
        .await;
    let event = {
        raw.put(format!("{PREFIX}later-version/x"), "x", None)
            .await
            .unwrap();
        raw.delete(format!("{PREFIX}units/b.service"), None)
            .await
            .unwrap();
        soon("the deletion", follow.next()).await
    };
    let FollowEvent::Changes { changes, .. } = event else {
        panic!("{event:?}")
    };
    assert_eq!(changes, [Change::Unit(name("b.service"), None)]);
}

#[tokio::test]
async fn a_store_that_went_back_in_time_is_read_again() {
    let Some(mut etcd) = Etcd::start().await else {
        return;
    };
    let registry = etcd.registry().await;
    for unit in ["a.service", "b.service", "c.service"] {
        submit(&registry, unit).await;
    }
    let (mut follow, mut known) = (registry.follow(Scope::Cluster), Known::default());
    known
        .until(&mut follow, "the snapshot", |known| known.live)
        .await;
    etcd.kill();
    known
        .until(&mut follow, "the loss", |known| !known.live)
        .await;
    etcd.wipe();
    etcd.boot().await;
    known
        .until(&mut follow, "another snapshot", |known| known.live)
        .await;
    assert_eq!((known.snapshots, known.records.units.len()), (2, 0));
}

#[tokio::test]
async fn values_too_large_for_a_page_are_read_one_by_one() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    let mut raw = etcd.raw().await;
    for n in 0..20 {
        raw.put(
            format!("{PREFIX}units/u{n}.service"),
            vec![b'x'; 1024 * 1024],
            None,
        )
        .await
        .unwrap();
    }
    let registry = etcd.registry().await;
    submit(&registry, "good.service").await;
    let (mut follow, mut known) = (registry.follow(Scope::Cluster), Known::default());
    known
        .until(&mut follow, "the snapshot", |known| known.live)
        .await;
    assert_eq!(
        (known.records.quarantine.len(), known.records.units.len()),
        (20, 1)
    );
}
