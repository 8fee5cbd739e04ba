//! A unit is taken away from the machine again while its agent is about to begin with it: by then it may be another machine's.

use std::collections::BTreeSet;

use model::{Change, TargetState::Launched};
use registry::{FollowEvent, Scope};
use unitfile::UnitName;

use crate::bed::{Bed, name, server};

#[tokio::test(start_paused = true)]
async fn no_unit_is_begun_that_the_schedule_has_no_longer() {
    let bed = Bed::new().await;
    let agent = bed.agent();
    let web = name("web.service");
    bed.assign(&web, &server(), Launched, 5).await;
    bed.answered(&web, 5).await;
    let mut follow = bed.registry.follow(Scope::Cluster);
    for round in 0..20 {
        let units: Vec<UnitName> = (0..10)
            .map(|n| name(&format!("u{round}-{n}.service")))
            .collect();
        bed.assign_and_take_back(&units, &server()).await;
    }
    let last = name("last.service");
    bed.assign(&last, &server(), Launched, 6).await;
    bed.answered(&last, 6).await;

    let mut scheduled: BTreeSet<UnitName> = BTreeSet::new();
    let mut reported: BTreeSet<UnitName> = BTreeSet::new();
    let mut begun = Vec::new();
    while !reported.contains(&last) {
        let event = follow.next().await;
        let (FollowEvent::Snapshot { changes, .. } | FollowEvent::Changes { changes, .. }) = event
        else {
            continue;
        };
        for change in changes {
            match change {
                Change::Assignment(_, unit, Some(_)) => drop(scheduled.insert(unit)),
                Change::Assignment(_, unit, None) => drop(scheduled.remove(&unit)),
                Change::Status(_, unit, Some(_))
                    if reported.insert(unit.clone()) && !scheduled.contains(&unit) =>
                {
                    begun.push(unit);
                }
                Change::Status(_, unit, None) => drop(reported.remove(&unit)),
                _ => {}
            }
        }
    }
    assert!(begun.is_empty(), "begun though taken away: {begun:?}");
    let running: Vec<UnitName> = bed.systemd.running().into_keys().collect();
    assert_eq!(running, [last, web], "nothing else runs");
    agent.end().await;
}
