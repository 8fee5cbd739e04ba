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
    let ttl = Duration::from_secs(10);
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
