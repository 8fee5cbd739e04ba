//! The brake on mass loss, over the embedded store on virtual time: what is held, what moves, and
//! what becomes of it when the leader dies.

use std::time::Duration;

use crate::leading::{Engine, Host, PREFIX, ask, is_on, until};
use crate::picture::{id, name};
use model::{Action, BrakePhase, HoldReason, Records};
use registry::Registry;
use registry::embedded::Embedded;
use tokio::time::Instant;

/// How long lost machines are waited for, by the limits that a lease of ten seconds gives.
const HOLD: Duration = Duration::from_secs(5 * 60);

fn host(number: usize) -> String {
    format!("m{number:02}")
}

fn unit(number: usize) -> String {
    format!("u{number:02}.service")
}

/// So many machines with one unit each.
async fn cluster(registry: &Registry, machines: usize) -> Vec<Option<Host>> {
    let mut hosts = Vec::new();
    for number in 0..machines {
        hosts.push(Some(Host::join(registry, &host(number)).await));
        let line = format!("MachineMetadata=none!={number}");
        ask(registry, &unit(number), Action::Start, &[&line]).await;
    }
    until(registry, "each machine has one unit", |records| {
        (0..machines).all(|number| is_on(records, &unit(number), &[&host(number)]))
    })
    .await;
    hosts
}

fn unmoved(records: &Records, numbers: impl IntoIterator<Item = usize>) -> usize {
    let stays = |number: &usize| is_on(records, &unit(*number), &[&host(*number)]);
    numbers.into_iter().filter(stays).count()
}

fn held(records: &Records) -> usize {
    records.brake.as_ref().map_or(0, |it| it.machines.len())
}

fn phase(records: &Records) -> Option<BrakePhase> {
    records.brake.as_ref().map(|brake| brake.phase)
}

#[tokio::test(start_paused = true)]
async fn two_lost_machines_of_twelve_move_their_units_at_once() {
    let registry = Registry::embedded(&Embedded::in_memory(), PREFIX);
    let mut engine = Engine::start(&registry, "a");
    engine.until_leading().await;
    let mut hosts = cluster(&registry, 12).await;
    let started = Instant::now();
    hosts.truncate(10);
    let records = until(&registry, "both units run elsewhere", |records| {
        records.machines.len() == 10
            && unmoved(records, 10..12) == 0
            && records.schedule.len() == 12
    })
    .await;
    assert_eq!(records.brake, None);
    assert!(started.elapsed() < Duration::from_secs(20));
    engine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn many_lost_machines_keep_their_units_until_they_are_back() {
    let registry = Registry::embedded(&Embedded::in_memory(), PREFIX);
    let mut engine = Engine::start(&registry, "a");
    engine.until_leading().await;
    let mut hosts = cluster(&registry, 12).await;
    println!("five of twelve are cut off");
    hosts.truncate(7);
    let records = until(&registry, "the brake holds", |records| {
        phase(records) == Some(BrakePhase::Holding) && held(records) + unmoved(records, 7..12) >= 6
    })
    .await;
    let stay = unmoved(&records, 7..12);
    println!("{stay} units of five stay: {:?}", records.brake);
    assert!(stay >= 3, "no more than two are moved before it shows");
    let braked = records.brake.clone().unwrap().machines;
    let of_braked = |records: &Records| {
        let waits = |number: usize| {
            let machine = id(&host(number));
            let hold = records.holds.get(&name(&unit(number)));
            hold.is_some_and(|hold| hold.reason == HoldReason::MassLoss { machine })
        };
        (7..12).filter(|number| waits(*number)).count()
    };
    until(&registry, "each says why it waits", |records| {
        of_braked(records) == braked.len()
    })
    .await;
    assert_eq!(engine.report.borrow().machines_braked, braked.len());
    for number in 7..12 {
        hosts.push(Some(Host::join(&registry, &host(number)).await));
    }
    let records = until(&registry, "all are back", |records| {
        records.brake.is_none() && records.holds.is_empty() && records.machines.len() == 12
    })
    .await;
    assert_eq!(unmoved(&records, 7..12), stay, "none was moved meanwhile");
    engine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn lost_machines_that_stay_away_are_given_up_one_by_one() {
    let registry = Registry::embedded(&Embedded::in_memory(), PREFIX);
    let mut engine = Engine::start(&registry, "a");
    engine.until_leading().await;
    let mut hosts = cluster(&registry, 12).await;
    hosts.truncate(6);
    let records = until(&registry, "the brake holds", |records| {
        phase(records) == Some(BrakePhase::Holding) && records.machines.len() == 6
    })
    .await;
    let all = held(&records);
    let started = Instant::now();
    let mut left = all;
    while left > 0 {
        let records = until(&registry, "one less is held", |records| {
            held(records) < left
        })
        .await;
        assert_eq!(held(&records), left - 1, "one at a time");
        let waited = started.elapsed();
        let given_up = u32::try_from(all - left).unwrap();
        let earliest = HOLD - Duration::from_secs(10) + Duration::from_secs(10) * given_up;
        assert!(waited >= earliest, "{waited:?} for {given_up}");
        left -= 1;
    }
    until(&registry, "everything runs elsewhere", |records| {
        records.brake.is_none() && unmoved(records, 6..12) == 0 && records.schedule.len() == 12
    })
    .await;
    engine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn another_leader_goes_on_holding() {
    let registry = Registry::embedded(&Embedded::in_memory(), PREFIX);
    let mut first = Engine::start(&registry, "a");
    first.until_leading().await;
    let mut second = Engine::start(&registry, "b");
    second.until_following("a").await;
    let mut hosts = cluster(&registry, 12).await;
    hosts.truncate(7);
    let records = until(&registry, "the brake holds", |records| {
        phase(records) == Some(BrakePhase::Holding) && records.machines.len() == 7
    })
    .await;
    let stay = unmoved(&records, 7..12);
    first.kill().await;
    second.until_leading().await;
    ask(&registry, "new.service", Action::Start, &[]).await;
    let records = until(&registry, "the new leader places a unit", |records| {
        records.schedule.contains_key(&name("new.service"))
    })
    .await;
    assert_eq!(unmoved(&records, 7..12), stay);
    assert_eq!(phase(&records), Some(BrakePhase::Holding));
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn machines_lost_with_the_leader_are_held_by_the_next() {
    let registry = Registry::embedded(&Embedded::in_memory(), PREFIX);
    let mut first = Engine::start(&registry, "a");
    first.until_leading().await;
    let mut hosts = cluster(&registry, 12).await;
    println!("the power fails: all engines and half of the machines are gone");
    first.kill().await;
    hosts.truncate(6);
    until(&registry, "all leases have ended", |records| {
        records.machines.len() == 6 && records.leader.is_none()
    })
    .await;
    let mut second = Engine::start(&registry, "b");
    second.until_leading().await;
    let records = until(&registry, "the brake holds all of them", |records| {
        held(records) == 6
    })
    .await;
    assert_eq!(unmoved(&records, 6..12), 6);
    second.stop().await;
}
