//! A machine that comes back, and what runs on it that is not in its schedule: it runs on until it is up elsewhere, or an engine that
//! is well has had its time.

use std::time::Duration;

use model::{Action, ActiveState, JobResult, MachineId, TargetState::Launched, UnitStatus};
use tokio::time::{Instant, sleep};
use unitfile::{UnitFile, UnitName};

use crate::bed::{Bed, Running, file, name, server};

/// Longer than an engine that is well is given, many times.
const LONG: Duration = Duration::from_secs(50);

/// How soon a unit is stopped that is up elsewhere: the promise is 5 s with joining.
const SOON: Duration = Duration::from_secs(1);

fn global() -> UnitFile {
    file("[Service]\nExecStart=/bin/sleep infinity\n[X-Fleet]\nGlobal=true\n")
}

/// A unit that is to run, runs here under the earlier lease, and is in no schedule when the agent begins under the new one.
async fn back(bed: &Bed, unit: &UnitName, file: &UnitFile) -> (Running, UnitStatus) {
    let agent = bed.agent();
    bed.request(unit, file, Action::Start).await;
    bed.schedule(unit, file, Launched, 5).await;
    let status = bed.answered(unit, 5).await;
    agent.end().await;
    bed.unassign(unit).await;
    (bed.agent_with_view(), status)
}

/// How long it runs on, at most `limit`.
async fn runs_on(bed: &Bed, limit: Duration) -> Duration {
    let since = Instant::now();
    while !bed.systemd.running().is_empty() && since.elapsed() < limit {
        sleep(Duration::from_millis(100)).await;
    }
    println!("it ran on for {:?}", since.elapsed());
    since.elapsed()
}

#[tokio::test(start_paused = true)]
async fn what_no_machine_has_is_stopped_after_an_engine_has_had_its_time() {
    for file in [server(), global()] {
        let bed = Bed::new().await;
        let (agent, _) = back(&bed, &name("web.service"), &file).await;
        let took = runs_on(&bed, LONG).await;
        assert!(Duration::from_secs(5) < took && took < Duration::from_secs(15));
        agent.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_no_machine_has_runs_on_while_nobody_leads() {
    let bed = Bed::new().await;
    let web = name("web.service");
    let (agent, _) = back(&bed, &web, &server()).await;
    bed.depose().await;
    assert!(runs_on(&bed, LONG).await >= LONG);
    agent.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_moved_is_stopped_only_once_it_is_up_there() {
    let bed = Bed::new().await;
    let web = name("web.service");
    let (lease, there) = bed.join_another("m2").await;
    let (agent, status) = back(&bed, &web, &server()).await;
    let m2 = MachineId::parse("m2").unwrap();
    bed.schedule_on(m2, &web, &server(), Launched, 6).await;
    assert!(runs_on(&bed, LONG).await >= LONG, "it is up nowhere else");
    println!("its file cannot be written there, which is tried again");
    let mut refused = status.clone();
    refused.active = ActiveState::Inactive;
    refused.job.as_mut().unwrap().result = JobResult::Failed;
    there
        .publish(vec![(web.clone(), Some(refused))])
        .await
        .unwrap();
    assert!(runs_on(&bed, LONG).await >= LONG);
    there.publish(vec![(web, Some(status))]).await.unwrap();
    assert!(runs_on(&bed, LONG).await <= SOON);
    agent.end().await;
    drop(lease);
}

#[tokio::test(start_paused = true)]
async fn a_global_unit_that_is_up_on_other_machines_is_not_taken_for_moved() {
    let bed = Bed::new().await;
    let web = name("web.service");
    let (lease, there) = bed.join_another("m2").await;
    let m2 = MachineId::parse("m2").unwrap();
    let (agent, status) = back(&bed, &web, &global()).await;
    let before = bed.systemd.running();
    bed.schedule_on(m2, &web, &global(), Launched, 5).await;
    there
        .publish(vec![(web.clone(), Some(status))])
        .await
        .unwrap();
    assert!(runs_on(&bed, Duration::from_secs(4)).await >= Duration::from_secs(4));
    bed.schedule(&web, &global(), Launched, 5).await;
    assert!(
        runs_on(&bed, LONG).await >= LONG,
        "it is in the schedule again"
    );
    assert_eq!(bed.systemd.running(), before, "it was not touched");
    agent.end().await;
    drop(lease);
}

#[tokio::test(start_paused = true)]
async fn a_global_unit_runs_on_until_it_is_scheduled_again() {
    let bed = Bed::new().await;
    let every = name("every.service");
    let global = global();
    let agent = bed.agent_with_view();
    bed.request(&every, &global, Action::Start).await;
    bed.schedule(&every, &global, Launched, 5).await;
    bed.answered(&every, 5).await;
    let before = bed.systemd.running();
    agent.end().await;

    println!("taken from the schedule while fleetd was away");
    bed.unassign(&every).await;
    let agent = bed.agent_with_view();
    sleep(SOON * 5).await;
    assert_eq!(bed.systemd.running(), before, "it runs on");
    println!("put back");
    bed.schedule(&every, &global, Launched, 6).await;
    bed.answered(&every, 6).await;
    sleep(LONG).await;
    assert_eq!(bed.systemd.running(), before, "the same activation");
    agent.end().await;

    println!("taken from the schedule for good");
    bed.unassign(&every).await;
    let agent = bed.agent_with_view();
    sleep(LONG).await;
    assert!(bed.systemd.running().is_empty(), "it is stopped in the end");
    agent.end().await;
}
