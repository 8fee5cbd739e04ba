//! Exclusive units in virtual time: when they end if the lease is not confirmed, and when they may begin.

use std::time::Duration;

use agent::fake::Reachable;
use agent::{JoinError, Joining};
use model::{ActiveState, TargetState::Launched};
use tokio::time::{Instant, sleep};

use crate::bed::{Bed, TTL, file, name, server};

/// How exactly the tests look at what runs.
const LOOK: Duration = Duration::from_millis(10);

const EXCLUSIVE: &str = "[Service]\nExecStart=/bin/sleep infinity\n[X-Fleet]\nExclusive=yes\n";

/// Does not stop by itself for an hour.
const STUBBORN: &str = "[Service]\nExecStart=/bin/sleep infinity\nExecStop=/bin/sleep 3600\nTimeoutStopSec=3600\n\
                        [X-Fleet]\nExclusive=yes\n";

/// Waits until none but `left` runs, and returns how long that took.
async fn until_only(bed: &Bed, left: &[&str]) -> Duration {
    let since = Instant::now();
    loop {
        let running = bed.systemd.running();
        if running
            .keys()
            .map(unitfile::UnitName::as_str)
            .eq(left.iter().copied())
        {
            return since.elapsed();
        }
        assert!(since.elapsed() < TTL * 3, "still running: {running:?}");
        sleep(LOOK).await;
    }
}

/// When what runs must have ended after the store was lost: keep-alives are sent each third of the lease, and the one that was under
/// way then may have been confirmed.
fn between(percent: u32, took: Duration) {
    let (earliest, latest) = (
        (TTL * percent / 100).saturating_sub(TTL / 3),
        TTL * percent / 100,
    );
    println!(
        "ended {took:?} after the store was lost; between {earliest:?} and {latest:?} is right"
    );
    assert!(earliest.saturating_sub(LOOK * 2) <= took && took <= latest + LOOK * 2);
}

#[tokio::test(start_paused = true)]
async fn an_exclusive_unit_runs_while_the_lease_is_confirmed_and_ends_before_it_could_have_ended() {
    let bed = Bed::new().await;
    let agent = bed.agent();
    let (till, web) = (name("till.service"), name("web.service"));
    bed.assign(&till, &file(EXCLUSIVE), Launched, 5).await;
    bed.assign(&web, &server(), Launched, 6).await;
    bed.answered(&till, 5).await;
    bed.answered(&web, 6).await;
    let before = bed.systemd.running();
    sleep(TTL * 10).await;
    assert_eq!(
        bed.systemd.running(),
        before,
        "ten leases later nothing was touched"
    );
    bed.lose_store().await;
    between(70, until_only(&bed, &["web.service"]).await);
    assert_eq!(
        bed.systemd.running().get(&web),
        before.get(&web),
        "the other runs on"
    );
    agent.end().await;
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_stop_is_killed_and_it_needs_no_agent() {
    let bed = Bed::new().await;
    let agent = bed.agent();
    let till = name("till.service");
    bed.assign(&till, &file(STUBBORN), Launched, 5).await;
    bed.answered(&till, 5).await;
    agent.end().await;
    bed.lose_store().await;
    between(85, until_only(&bed, &[]).await);
}

#[tokio::test(start_paused = true)]
async fn given_up_it_is_started_again_when_the_schedule_still_has_it_and_the_lease_is_confirmed() {
    let bed = Bed::new().await;
    let till = name("till.service");
    let agent = bed.agent();
    bed.assign(&till, &file(EXCLUSIVE), Launched, 5).await;
    bed.answered(&till, 5).await;
    let first = bed.systemd.running();
    agent.end().await;
    // fleetd is away for longer than the deadline, though its lease was kept alive by someone.
    between(70, until_only(&bed, &[]).await);
    let agent = bed.agent();
    bed.until(&till, |status| {
        status.is_some_and(|status| {
            status.active == ActiveState::Active && status.invocation != first[&till]
        })
    })
    .await;
    assert_ne!(bed.systemd.running(), first, "another activation");
    agent.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_operators_stop_is_not_taken_for_giving_up() {
    let bed = Bed::new().await;
    let till = name("till.service");
    let agent = bed.agent();
    bed.assign(&till, &file(EXCLUSIVE), Launched, 5).await;
    bed.answered(&till, 5).await;
    bed.systemd.stop_by_hand(&till);
    bed.until(&till, |status| {
        status.is_some_and(|status| status.active.is_stopped())
    })
    .await;
    sleep(TTL * 3).await;
    assert!(bed.systemd.running().is_empty());
    agent.end().await;
}

#[tokio::test(start_paused = true)]
async fn under_a_new_lease_none_of_the_old_one_runs_and_under_a_resumed_one_all_do() {
    let bed = Bed::new().await;
    let (till, web) = (name("till.service"), name("web.service"));
    let agent = bed.agent();
    bed.assign(&till, &file(EXCLUSIVE), Launched, 5).await;
    bed.assign(&web, &server(), Launched, 6).await;
    bed.answered(&till, 5).await;
    bed.answered(&web, 6).await;
    agent.end().await;
    let before = bed.systemd.running();
    let (lease, _) = bed
        .join(&mut Joining::default(), Some(bed.lease_id()))
        .await
        .unwrap();
    assert_eq!(
        (lease.id(), bed.systemd.running()),
        (bed.lease_id(), before.clone())
    );

    println!(
        "a new lease, and systemd does not answer: it is not joined with before nothing exclusive runs"
    );
    lease.revoke().await.unwrap();
    let mut joining = Joining::default();
    bed.systemd.set_reachable(Reachable::No);
    for _ in 0..3 {
        let refused = bed.join(&mut joining, None).await;
        assert!(
            matches!(refused, Err(JoinError::ExclusiveMayRun)),
            "{refused:?}"
        );
    }
    assert_eq!(bed.systemd.running(), before);
    bed.systemd.set_reachable(Reachable::Yes);
    bed.join(&mut joining, None).await.unwrap();
    let left = bed.systemd.running();
    assert_eq!((left.len(), left.get(&web)), (1, before.get(&web)));
}
