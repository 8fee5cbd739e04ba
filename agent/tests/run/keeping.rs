//! A machine that comes back, and what runs on it that is not in its schedule yet, also if fleetd was killed since it was granted its lease.

use std::time::Duration;

use model::{Action, TargetState::Launched};
use tokio::time::sleep;

use crate::bed::{Bed, file, name};

/// The engine puts it back in time.
const SOON: Duration = Duration::from_secs(1);

/// Longer than anything is kept.
const LATER: Duration = Duration::from_secs(5);

#[tokio::test(start_paused = true)]
async fn a_global_unit_runs_on_until_it_is_scheduled_again() {
    let bed = Bed::new().await;
    let every = name("every.service");
    let global = file("[Service]\nExecStart=/bin/sleep infinity\n[X-Fleet]\nGlobal=true\n");
    let agent = bed.agent_with_view();
    bed.request(&every, &global, Action::Start).await;
    bed.schedule(&every, &global, Launched, 5).await;
    bed.answered(&every, 5).await;
    let before = bed.systemd.running();
    agent.end().await;

    println!("taken from the schedule while fleetd was away");
    bed.unassign(&every).await;
    let agent = bed.agent_with_view();
    sleep(SOON).await;
    assert_eq!(bed.systemd.running(), before, "it runs on");
    println!("put back");
    bed.schedule(&every, &global, Launched, 6).await;
    bed.answered(&every, 6).await;
    sleep(LATER).await;
    assert_eq!(bed.systemd.running(), before, "the same activation");
    agent.end().await;

    println!("taken from the schedule for good");
    bed.unassign(&every).await;
    let agent = bed.agent_with_view();
    sleep(LATER).await;
    assert!(bed.systemd.running().is_empty(), "it is stopped in the end");
    agent.end().await;
}
