//! Leading: one at a time, and none writes after it was deposed.

use std::time::Duration;

use model::{Decision, Hold, HoldReason, Obstacle, Revision};
use registry::embedded::Embedded;
use registry::{Campaign, FollowEvent, Leadership, Registry, Scope, View, WriteError};
use tokio_util::sync::CancellationToken;

use crate::etcd::{Etcd, PREFIX, soon};
use crate::sample::{assign, file, id, name, request};

#[tokio::test]
async fn leading_over_the_embedded_store() {
    let store = Embedded::in_memory();
    one_leads(Registry::embedded(&store, PREFIX)).await;
}

#[tokio::test]
async fn leading_over_etcd() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    one_leads(etcd.registry().await).await;
}

fn won(campaign: Campaign) -> Leadership {
    match campaign {
        Campaign::Won(leadership) => leadership,
        Campaign::Lost(other) => panic!("lost to {other:?}"),
    }
}

pub(crate) async fn records(registry: &Registry) -> model::Records {
    let mut follow = registry.follow(Scope::Cluster);
    let event = soon("the snapshot", follow.next()).await;
    let FollowEvent::Snapshot { changes, revision } = event else {
        panic!("{event:?}")
    };
    let mut records = model::Records {
        revision,
        ..model::Records::default()
    };
    changes.into_iter().for_each(|change| records.apply(change));
    records
}

async fn one_leads(registry: Registry) {
    let ttl = Duration::from_secs(60);
    let (lease1, lease2) = (
        registry.lease(ttl, None).await.unwrap(),
        registry.lease(ttl, None).await.unwrap(),
    );
    let first = won(registry.campaign(&id("m1"), &lease1).await.unwrap());
    match registry.campaign(&id("m2"), &lease2).await.unwrap() {
        Campaign::Lost(Some(leader)) => assert_eq!(leader.machine, id("m1")),
        other => panic!("{other:?}"),
    }
    let again = won(registry.campaign(&id("m1"), &lease1).await.unwrap());

    println!("500 decisions");
    let mut decisions: Vec<Decision> = (0..500)
        .map(|n| assign(&format!("u{n}.service"), "m1"))
        .collect();
    let obstacles = vec![(
        id("m1"),
        Obstacle::Conflict {
            with: name("u1.service"),
        },
    )];
    let hold = Hold {
        reason: HoldReason::NothingFits,
        obstacles,
        machines: 1,
    };
    decisions.push(Decision::Hold {
        unit: name("held.service"),
        hold: hold.clone(),
    });
    first.write(&decisions).await.unwrap();
    let known = records(&registry).await;
    assert_eq!(
        (known.schedule.len(), &known.holds[&name("held.service")]),
        (500, &hold)
    );
    again
        .write(&[Decision::Release {
            unit: name("held.service"),
        }])
        .await
        .unwrap();

    println!("the first loses its lease, the second leads, the first may not write");
    lease1.revoke().await.unwrap();
    let second = won(registry.campaign(&id("m2"), &lease2).await.unwrap());
    assert_eq!(
        first.write(&[assign("late.service", "m1")]).await,
        Err(WriteError::Deposed)
    );
    assert_eq!(
        first
            .collect_files(&[file("x").file_hash()], Revision(1))
            .await,
        Err(WriteError::Deposed)
    );
    first.resign().await.unwrap();
    second.write(&[assign("good.service", "m1")]).await.unwrap();
    let known = records(&registry).await;
    assert!(!known.schedule.contains_key(&name("late.service")) && known.holds.is_empty());
    assert_eq!(
        known.leader.unwrap().machine,
        id("m2"),
        "resigning twice does no harm"
    );

    println!("files that nobody wants are collected, unless they were wanted again meanwhile");
    let view = View::new(registry.clone(), CancellationToken::new());
    use model::{Action, ClusterStore};
    for unit in ["a.service", "b.service"] {
        let answers = view
            .apply(vec![request(unit, Action::Submit, Some(file(unit)))])
            .await
            .unwrap();
        assert!(answers[0].is_ok());
        view.apply(vec![request(unit, Action::Destroy, None)])
            .await
            .unwrap();
    }
    let seen = records(&registry).await;
    assert_eq!((seen.units.len(), seen.files.len()), (0, 2));
    view.apply(vec![request(
        "a2.service",
        Action::Submit,
        Some(file("a.service")),
    )])
    .await
    .unwrap();
    second
        .collect_files(&[file("a.service").file_hash()], seen.revision)
        .await
        .unwrap();
    second
        .collect_files(&[file("b.service").file_hash()], seen.revision)
        .await
        .unwrap();
    let left = records(&registry).await;
    assert_eq!(
        left.files.keys().collect::<Vec<_>>(),
        [&file("a.service").file_hash()]
    );
    let fetched = registry.file(&file("a.service").file_hash()).await.unwrap();
    assert_eq!(fetched.unwrap().raw(), file("a.service").raw());
    assert_eq!(
        registry.file(&file("b.service").file_hash()).await.unwrap(),
        None
    );

    second.resign().await.unwrap();
    won(registry.campaign(&id("m3"), &lease2).await.unwrap());
}

#[tokio::test]
async fn a_leader_record_that_was_written_by_hand_is_nobodys_over_etcd() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    written_by_hand(etcd.registry().await, etcd.raw().await).await;
}

#[tokio::test]
async fn a_leader_record_that_was_written_by_hand_is_nobodys_over_the_embedded_store() {
    let store = Embedded::in_memory();
    let raw = etcd_client::Client::from_channel(store.channel(), None);
    written_by_hand(Registry::embedded(&store, PREFIX), raw.await.unwrap()).await;
}

async fn written_by_hand(registry: Registry, mut raw: etcd_client::Client) {
    let ttl = Duration::from_secs(60);
    let lease = registry.lease(ttl, None).await.unwrap();
    let mut leads = won(registry.campaign(&id("m0"), &lease).await.unwrap());
    let mut kept = vec![lease];
    let key = format!("{PREFIX}leader");
    let readable = raw.get(key.as_str(), None).await.unwrap().kvs()[0]
        .value_str()
        .unwrap()
        .to_owned();
    let release = [Decision::Release {
        unit: name("web.service"),
    }];
    for (number, by_hand) in ["{rubbish", "", readable.as_str()].iter().enumerate() {
        println!("somebody writes {by_hand:?}, under no lease");
        raw.put(key.as_str(), *by_hand, None).await.unwrap();
        let known = records(&registry).await;
        assert!(known.leader.is_none() && known.quarantine.contains_key(&key));
        let another = registry.lease(ttl, None).await.unwrap();
        let machine = id(&format!("m{}", number + 1));
        let next = won(registry.campaign(&machine, &another).await.unwrap());
        let refused = leads.write(&release).await;
        assert!(matches!(refused, Err(WriteError::Deposed)), "{refused:?}");
        next.write(&release).await.unwrap();
        let known = records(&registry).await;
        assert_eq!(known.leader.unwrap().machine, machine);
        assert!(known.quarantine.is_empty());
        leads = next;
        kept.push(another);
    }

    println!("one that cannot be read but is kept alive, as by another version, is left alone");
    let theirs = raw.lease_grant(60, None).await.unwrap().id();
    let options = etcd_client::PutOptions::new().with_lease(theirs);
    raw.put(key.as_str(), "{rubbish", Some(options))
        .await
        .unwrap();
    let ours = registry.lease(ttl, None).await.unwrap();
    let lost = registry.campaign(&id("m9"), &ours).await.unwrap();
    assert!(matches!(lost, Campaign::Lost(None)), "{lost:?}");
    raw.lease_revoke(theirs).await.unwrap();
    won(registry.campaign(&id("m9"), &ours).await.unwrap());
}
