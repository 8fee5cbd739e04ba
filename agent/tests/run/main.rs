//! The agent between an embedded store and a fake systemd: what becomes of a unit, and what is never done to one.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod bed;
mod copying;
mod exclusive;
mod joining;
mod keeping;
mod lacking;
mod living;
mod mishaps;
mod taking;

use std::sync::Arc;

use agent::fake::Reachable;
use bed::{Bed, file, mark, name, server};
use model::{
    ActiveState, JobKind, JobResult, ServiceError, ServiceManager,
    TargetState::{Launched, Loaded},
};

#[tokio::test]
async fn a_scheduled_unit_runs_and_is_reported() {
    let bed = Bed::new().await;
    let agent = bed.agent();
    let web = name("web.service");
    bed.assign(&web, &server(), Launched, 5).await;
    let status = bed.answered(&web, 5).await;
    assert_eq!(
        (status.active, status.state),
        (ActiveState::Active, Launched)
    );
    assert_eq!(status.hash, server().hash());
    let job = status.job.unwrap();
    assert_eq!(
        (job.kind, job.result, job.generation.0),
        (JobKind::Start, JobResult::Done, 5)
    );
    bed.unassign(&web).await;
    bed.until(&web, |status| status.is_none()).await;
    assert!(bed.systemd.running().is_empty());
    assert_eq!(bed.systemd.reloads(), 0);
    agent.end().await;
}

#[tokio::test]
async fn a_restart_of_the_agent_touches_nothing() {
    let bed = Bed::new().await;
    let agent = bed.agent();
    let (web, job) = (name("web.service"), name("job.service"));
    let once = file("[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo ran'\n");
    bed.assign(&web, &server(), Launched, 5).await;
    bed.assign(&job, &once, Launched, 6).await;
    bed.answered(&web, 5).await;
    bed.answered(&job, 6).await;
    let before = bed.systemd.running();
    agent.end().await;
    assert_eq!(bed.systemd.running(), before);
    let agent = bed.agent();
    // A third unit shows that the new agent is at work.
    let other = name("other.service");
    bed.assign(&other, &server(), Launched, 7).await;
    bed.answered(&other, 7).await;
    let after = bed.systemd.running();
    assert_eq!(after.get(&web), before.get(&web), "the same activation");
    assert_eq!(
        bed.systemd.ended_commands().len(),
        1,
        "a finished oneshot is not run again"
    );
    agent.end().await;
    println!(
        "stopped the agent twice: {:?} ran on",
        bed.systemd.running().keys()
    );
    assert_eq!(bed.systemd.running().len(), 2);
}

#[tokio::test]
async fn a_new_file_under_a_name_that_systemd_still_knows_is_what_runs() {
    let bed = Bed::new().await;
    let agent = bed.agent();
    let (job, sidekick) = (name("job.service"), name("sidekick.service"));
    let once = |word: &str| {
        let command = format!("ExecStart=/bin/sh -c 'echo {word}'");
        file(&format!("[Service]\nType=oneshot\n{command}\n"))
    };
    let refers = file("[Unit]\nAfter=job.service\n[Service]\nExecStart=/bin/sleep infinity\n");
    bed.assign(&sidekick, &refers, Launched, 5).await;
    bed.answered(&sidekick, 5).await;
    bed.assign(&job, &once("old"), Launched, 6).await;
    bed.answered(&job, 6).await;
    println!(
        "destroyed, and started again with another file; the sidekick refers to it all the time"
    );
    bed.unassign(&job).await;
    bed.until(&job, |status| status.is_none()).await;
    bed.assign(&job, &once("new"), Launched, 7).await;
    bed.answered(&job, 7).await;
    let ran = bed.systemd.ended_commands();
    assert!(
        ran.len() == 2 && ran[0].contains("old") && ran[1].contains("new"),
        "{ran:?}"
    );
    agent.end().await;
}

#[tokio::test]
async fn a_damaged_entry_stops_nothing() {
    let bed = Bed::new().await;
    let agent = bed.agent();
    let (web, other) = (name("web.service"), name("other.service"));
    bed.assign(&web, &server(), Launched, 5).await;
    bed.answered(&web, 5).await;
    let before = bed.systemd.running();
    bed.damage(&web).await;
    bed.assign(&other, &server(), Launched, 6).await;
    bed.answered(&other, 6).await;
    assert_eq!(bed.systemd.running().get(&web), before.get(&web));
    agent.end().await;
    // An agent that never saw the entry whole does not stop it either.
    let agent = bed.agent();
    bed.assign(&other, &server(), Loaded, 7).await;
    let stopped =
        |status: Option<&model::UnitStatus>| status.is_some_and(|status| status.generation.0 == 7);
    bed.until(&other, stopped).await;
    assert_eq!(bed.systemd.running().get(&web), before.get(&web));
    // Mended, it is obeyed again.
    bed.assign(&web, &server(), Loaded, 8).await;
    bed.answered(&web, 8).await;
    assert!(bed.systemd.running().is_empty());
    agent.end().await;
}

#[tokio::test]
async fn one_unit_that_cannot_be_loaded_holds_up_no_other() {
    let bed = Bed::new().await;
    bed.systemd.plant("sshd.service");
    let agent = bed.agent();
    let (sshd, web) = (name("sshd.service"), name("web.service"));
    bed.assign(&sshd, &server(), Launched, 5).await;
    bed.assign(&web, &server(), Launched, 6).await;
    assert_eq!(bed.answered(&web, 6).await.active, ActiveState::Active);
    let job = bed.answered(&sshd, 5).await.job.unwrap();
    assert_eq!((job.kind, job.result), (JobKind::Load, JobResult::Failed));
    assert!(
        job.message.contains("/etc/systemd/system/sshd.service"),
        "{}",
        job.message
    );
    // What goes away by itself is tried again without anyone asking.
    let full = name("full.service");
    let message = "No space left on device".to_owned();
    bed.systemd.refuse_next(
        &full,
        ServiceError::File {
            path: "/run/fleet/units/full.service".into(),
            message,
        },
    );
    bed.assign(&full, &server(), Launched, 7).await;
    let running = |status: Option<&model::UnitStatus>| {
        status.is_some_and(|status| status.active == ActiveState::Active)
    };
    bed.until(&full, running).await;
    agent.end().await;
}

#[tokio::test]
async fn a_failed_unit_is_left_to_systemd_until_asked_again() {
    let bed = Bed::new().await;
    let agent = bed.agent();
    let (bad, other) = (name("bad.service"), name("other.service"));
    let body = file("[Service]\nType=oneshot\nExecStart=/bin/false\n");
    bed.assign(&bad, &body, Launched, 5).await;
    let status = bed.answered(&bad, 5).await;
    assert_eq!(
        (status.active, status.state),
        (ActiveState::Failed, Launched)
    );
    let job = status.job.unwrap();
    assert_eq!((job.kind, job.result), (JobKind::Start, JobResult::Failed));
    assert_eq!(job.message, "exit-code: status 1/FAILURE");
    bed.assign(&other, &server(), Launched, 6).await;
    bed.answered(&other, 6).await;
    assert_eq!(
        bed.systemd.ended_commands().len(),
        1,
        "not started again by itself"
    );
    bed.assign(&bad, &body, Launched, 7).await;
    let job = bed.answered(&bad, 7).await.job.unwrap();
    assert_eq!(
        (job.generation.0, bed.systemd.ended_commands().len()),
        (7, 2)
    );
    agent.end().await;
}

#[tokio::test]
async fn what_an_operator_stops_stays_stopped() {
    let bed = Bed::new().await;
    let agent = bed.agent();
    let (web, other) = (name("web.service"), name("other.service"));
    bed.assign(&web, &server(), Launched, 5).await;
    bed.answered(&web, 5).await;
    bed.systemd.stop_by_hand(&web);
    bed.until(&web, |status| {
        status.is_some_and(|status| status.active == ActiveState::Inactive)
    })
    .await;
    bed.assign(&other, &server(), Launched, 6).await;
    bed.answered(&other, 6).await;
    assert!(!bed.systemd.running().contains_key(&web));
    agent.end().await;
}

#[tokio::test]
async fn a_replaced_file_runs_after_the_old_has_stopped() {
    let bed = Bed::new().await;
    let agent = bed.agent();
    let web = name("web.service");
    let old = file(
        "[Service]\nExecStart=/bin/sleep infinity\nExecStop=/bin/sh -c 'sleep 0.2; echo old stopped'\n",
    );
    let new = file(
        "[Service]\nExecStart=/bin/sleep infinity\nExecStartPre=/bin/sh -c 'echo new starts'\n",
    );
    bed.assign(&web, &old, Launched, 5).await;
    bed.answered(&web, 5).await;
    bed.assign(&web, &new, Launched, 6).await;
    let status = bed.answered(&web, 6).await;
    assert_eq!(
        (status.active, status.hash),
        (ActiveState::Active, new.hash())
    );
    let ended = bed.systemd.ended_commands();
    assert!(
        ended[0].contains("old stopped") && ended[1].contains("new starts"),
        "{ended:?}"
    );
    agent.end().await;
}

#[tokio::test]
async fn a_start_that_hangs_can_be_taken_back() {
    let bed = Bed::new().await;
    let agent = bed.agent();
    let (slow, web) = (name("slow.service"), name("web.service"));
    let body = file("[Service]\nType=oneshot\nExecStart=/bin/sleep infinity\n");
    bed.assign(&slow, &body, Launched, 5).await;
    bed.until(&slow, |status| {
        status.is_some_and(|status| status.active == ActiveState::Activating)
    })
    .await;
    bed.assign(&web, &server(), Launched, 6).await;
    bed.answered(&web, 6).await;
    bed.unassign(&slow).await;
    bed.until(&slow, |status| status.is_none()).await;
    assert_eq!(bed.systemd.running().len(), 1);
    agent.end().await;
}

#[tokio::test]
async fn after_a_reboot_the_schedule_is_loaded_afresh() {
    let bed = Bed::new().await;
    let agent = bed.agent();
    let web = name("web.service");
    bed.assign(&web, &server(), Launched, 5).await;
    let before = bed.answered(&web, 5).await;
    agent.end().await;
    bed.systemd.reboot();
    assert!(bed.systemd.running().is_empty());
    let agent = bed.agent();
    let again = |status: Option<&model::UnitStatus>| {
        status.is_some_and(|status| {
            status.active == ActiveState::Active && status.invocation != before.invocation
        })
    };
    bed.until(&web, again).await;
    agent.end().await;
}

#[tokio::test]
async fn leaving_stops_everything_to_its_end() {
    let bed = Bed::new().await;
    let agent = bed.agent();
    let (web, other) = (name("web.service"), name("other.service"));
    let slow = file(
        "[Service]\nExecStart=/bin/sleep infinity\nExecStop=/bin/sh -c 'sleep 0.2; echo stopped'\n",
    );
    bed.assign(&web, &slow, Launched, 5).await;
    bed.assign(&other, &server(), Launched, 6).await;
    bed.answered(&web, 5).await;
    bed.answered(&other, 6).await;
    agent.end().await;
    let drained = agent::drain(&bed.membership, Arc::new(bed.systemd.clone())).await;
    assert_eq!(drained, agent::Drained::Everything);
    assert!(bed.systemd.running().is_empty());
    assert_eq!(
        bed.systemd
            .ended_commands()
            .iter()
            .filter(|command| command.contains("stopped"))
            .count(),
        1
    );
    assert!(bed.membership.statuses().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_damaged_file_holds_up_no_other() {
    let bed = Bed::new().await;
    let (bad, web) = (name("bad.service"), name("web.service"));
    let damaged = file("[Service]\nExecStart=/bin/sleep 1\n");
    bed.assign(&bad, &damaged, Launched, 5).await;
    bed.assign(&web, &server(), Launched, 6).await;
    bed.damage_file(&damaged).await;
    // Both files are asked for at once.
    let agent = bed.agent();
    assert_eq!(bed.answered(&web, 6).await.active, ActiveState::Active);
    let job = bed.answered(&bad, 5).await.job.unwrap();
    assert_eq!((job.kind, job.result), (JobKind::Load, JobResult::Failed));
    assert!(job.message.contains("submit"), "{}", job.message);
    agent.end().await;
}

#[tokio::test]
async fn a_unit_that_comes_and_goes_costs_the_store_little() {
    let bed = Bed::new().await;
    let agent = bed.agent();
    let flapping = name("flapping.service");
    let body = file("[Service]\nExecStart=/bin/sleep 0.12\nRestart=always\nRestartSec=120ms\n");
    bed.assign(&flapping, &body, Launched, 5).await;
    bed.answered(&flapping, 5).await;
    // It is given up after some restarts; that too is told.
    bed.until(&flapping, |status| {
        status.is_some_and(|status| status.active == ActiveState::Inactive)
    })
    .await;
    let runs = bed.systemd.ended_commands().len();
    let writes = bed.writes(&flapping).await;
    println!("{runs} runs, {writes} writes");
    assert!(
        runs >= 5 && writes < 2 * i64::try_from(runs).unwrap(),
        "{runs} runs, {writes} writes"
    );
    agent.end().await;
}

#[tokio::test]
async fn a_lost_membership_ends_the_agent_and_no_unit() {
    let bed = Bed::new().await;
    let agent = bed.agent();
    let web = name("web.service");
    bed.assign(&web, &server(), Launched, 5).await;
    bed.answered(&web, 5).await;
    let before = bed.systemd.running();
    bed.remove_machine().await;
    // Something to report, which the store refuses.
    bed.assign(&web, &server(), Launched, 6).await;
    agent.ends().await;
    assert_eq!(bed.systemd.running(), before);
}

#[tokio::test]
async fn a_unit_wanted_again_while_it_is_being_stopped_runs_again() {
    let bed = Bed::new().await;
    let agent = bed.agent();
    let web = name("web.service");
    let slow = file("[Service]\nExecStart=/bin/sleep infinity\nExecStop=/bin/sleep 1\n");
    bed.assign(&web, &slow, Launched, 5).await;
    bed.answered(&web, 5).await;
    let before = bed.systemd.running();
    // As when the machine was taken for lost: unassigned, and assigned again for the same request as soon as it is back.
    bed.unassign(&web).await;
    bed.until(&web, |status| {
        status.is_none_or(|status| status.active != ActiveState::Active)
    })
    .await;
    bed.assign(&web, &slow, Launched, 5).await;
    bed.until(&web, |status| {
        status.is_some_and(|status| {
            status.active == ActiveState::Active
                && status.invocation.as_ref() != before[&web].as_ref()
        })
    })
    .await;
    agent.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_dies_while_it_stops_a_unit_is_followed_by_one_that_starts_it_again() {
    let bed = Bed::new().await;
    let agent = bed.agent();
    let web = name("web.service");
    let slow = file("[Service]\nExecStart=/bin/sleep infinity\nExecStop=/bin/sleep 1\n");
    bed.assign(&web, &slow, Launched, 5).await;
    bed.answered(&web, 5).await;
    bed.unassign(&web).await;
    bed.until(&web, |status| {
        status.is_some_and(|status| status.active == ActiveState::Deactivating)
    })
    .await;
    agent.end().await;
    bed.assign(&web, &slow, Launched, 5).await;
    let agent = bed.agent();
    bed.until(&web, |status| {
        status.is_some_and(|status| status.active == ActiveState::Active)
    })
    .await;
    agent.end().await;
}

#[tokio::test]
async fn a_start_that_an_agent_died_over_is_reported_as_begun_when_it_was_asked_for_again() {
    let bed = Bed::new().await;
    let slow = name("slow.service");
    let body = file("[Service]\nType=oneshot\nExecStart=/bin/sleep infinity\n");
    let agent = bed.agent();
    bed.assign(&slow, &body, Launched, 5).await;
    bed.until(&slow, |status| {
        status.is_some_and(|status| status.state == Launched)
    })
    .await;
    let before = bed.systemd.running();
    agent.end().await;
    println!("as if it had been killed when systemd had the start, and the mark was not written");
    bed.systemd.mark(&slow, &mark(&body, 0)).await.unwrap();
    bed.take_status(&slow).await;
    let agent = bed.agent();
    bed.until(&slow, |status| {
        status.is_some_and(|status| status.state == Launched)
    })
    .await;
    assert_eq!(bed.systemd.running(), before);
    agent.end().await;
}

#[tokio::test]
async fn a_start_while_the_bus_is_away_is_answered_when_it_is_back() {
    let bed = Bed::new().await;
    let agent = bed.agent();
    let web = name("web.service");
    bed.assign(&web, &server(), Loaded, 5).await;
    bed.answered(&web, 5).await;
    bed.systemd.set_reachable(Reachable::No);
    bed.assign(&web, &server(), Launched, 6).await;
    let back = async {
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        bed.systemd.set_reachable(Reachable::Yes);
    };
    let (status, ()) = tokio::join!(bed.answered(&web, 6), back);
    assert_eq!(status.job.unwrap().result, JobResult::Done);
    assert_eq!(status.active, ActiveState::Active);
    agent.end().await;
}
