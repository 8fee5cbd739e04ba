//! Leases of machines that are well end: the store stood still for longer than a lease, or a leader of etcd that stood still ended them when it
//! went on, or somebody did. The machines come back one after the other, and whoever leads gives them the time.

use std::time::Duration;

use engine::{EngineSettings, Loss};
use model::Action;
use registry::embedded::Embedded;
use registry::{Asked, Matter, Registry};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::leading::{Engine, Host, PREFIX, TTL, ask, is_on, settings, until};
use crate::picture::{id, name, status};

/// How long machines are given.
const RETURN_MAX: Duration = Duration::from_secs(5);

#[tokio::test(start_paused = true)]
async fn machines_have_time_to_come_back_after_the_store_was_away() {
    let registry = Registry::embedded(&Embedded::in_memory(), PREFIX);
    let (unsteady, receiver) = watch::channel(Instant::now());
    let settings = EngineSettings {
        unsteady: Some(receiver),
        ..settings(TTL)
    };
    let first = Host::join(&registry, "m1").await;
    let mut engine = Engine::start_with(&registry, "a", settings);
    engine.until_leading().await;
    let on = async |machine: &str| {
        until(&registry, machine, |records| {
            is_on(records, "web.service", &[machine])
        })
        .await
    };
    println!("all is new, and nobody is missing: no wait");
    let began = Instant::now();
    ask(&registry, "web.service", Action::Start, &[]).await;
    on("m1").await;
    assert!(began.elapsed() < RETURN_MAX / 2);
    let second = Host::join(&registry, "m2").await;

    println!("m1 is back a moment later: its unit stays");
    unsteady.send_replace(Instant::now());
    first.lose().await;
    ask(&registry, "other.service", Action::Start, &["MachineID=m2"]).await;
    sleep(RETURN_MAX / 2).await;
    on("m1").await;
    let first = Host::join(&registry, "m1").await;
    until(&registry, "it goes on at once", |records| {
        is_on(records, "other.service", &["m2"])
    })
    .await;
    assert!(unsteady.borrow().elapsed() < RETURN_MAX);
    sleep(2 * TTL).await;
    on("m1").await;

    println!("m1 does not come back: it is waited for, not longer than that");
    unsteady.send_replace(Instant::now());
    first.lose().await;
    on("m2").await;
    let waited = unsteady.borrow().elapsed();
    assert!(
        (RETURN_MAX..RETURN_MAX + Duration::from_secs(1)).contains(&waited),
        "{waited:?}"
    );

    println!("with a store that is in order a machine that is lost is lost");
    let third = Host::join(&registry, "m3").await;
    sleep(2 * TTL).await;
    let lost_at = Instant::now();
    second.lose().await;
    on("m3").await;
    assert!(lost_at.elapsed() < Duration::from_secs(1));
    drop(third);
    engine.stop().await;
}

/// A fleetd that answers whoever asks, whatever became of its lease.
async fn answers(registry: Registry, machine: &str) {
    let mut inbox = registry.inbox(id(machine));
    loop {
        let Asked { matter, reply } = inbox.next().await;
        assert_eq!(matter, Ok(Matter::Clock));
        println!("{machine} is asked");
        reply.tell_clock().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_answers_keeps_its_units_without_a_lease() {
    let registry = Registry::embedded(&Embedded::in_memory(), PREFIX);
    let settings = EngineSettings {
        loss: Loss::Questioned,
        // Half of a machine's.
        ..settings(TTL / 2)
    };
    let first = Host::join(&registry, "m1").await;
    let mut engine = Engine::start_with(&registry, "a", settings);
    engine.until_leading().await;
    let on = async |machine: &str| {
        until(&registry, machine, |records| {
            is_on(records, "web.service", &[machine])
        })
        .await
    };
    ask(&registry, "web.service", Action::Start, &[]).await;
    on("m1").await;
    let second = Host::join(&registry, "m2").await;

    println!("its lease is ended; it notices three seconds later");
    let answering = tokio::spawn(answers(registry.clone(), "m1"));
    first.lose().await;
    sleep(Duration::from_secs(3)).await;
    on("m1").await;
    let first = Host::join(&registry, "m1").await;
    sleep(2 * TTL).await;
    on("m1").await;

    println!("it answers, and never comes back");
    let lost_at = Instant::now();
    first.lose().await;
    on("m2").await;
    let waited = lost_at.elapsed();
    assert!(
        (TTL..TTL + Duration::from_secs(1)).contains(&waited),
        "{waited:?}"
    );
    answering.abort();

    println!("one that does not answer is lost within the second that is promised");
    let third = Host::join(&registry, "m3").await;
    sleep(TTL).await;
    let lost_at = Instant::now();
    second.lose().await;
    on("m3").await;
    assert!(lost_at.elapsed() < Duration::from_secs(1));
    drop(third);
    engine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_stops_on_a_machine_without_a_lease_starts_nowhere_else_before() {
    let registry = Registry::embedded(&Embedded::in_memory(), PREFIX);
    let settings = EngineSettings {
        loss: Loss::Questioned,
        ..settings(TTL / 2)
    };
    let first = Host::join(&registry, "m1").await;
    let mut engine = Engine::start_with(&registry, "a", settings);
    engine.until_leading().await;
    let on = async |machines: &[&str]| {
        until(&registry, &format!("{machines:?}"), |records| {
            is_on(records, "web.service", machines)
        })
        .await
    };
    ask(&registry, "web.service", Action::Start, &[]).await;
    let records = on(&["m1"]).await;
    let running = status(&records.units[&name("web.service")]);
    first.report("web.service", Some(running.clone())).await;
    let second = Host::join(&registry, "m2").await;
    ask(&registry, "web.service", Action::Move(id("m2")), &[]).await;
    on(&[]).await;

    println!("m1, which has to stop it and has nothing else, loses its lease and comes back");
    let answering = tokio::spawn(answers(registry.clone(), "m1"));
    first.lose().await;
    sleep(Duration::from_secs(3)).await;
    on(&[]).await;
    let first = Host::join(&registry, "m1").await;
    sleep(Duration::from_millis(500)).await;
    on(&[]).await;
    first.report("web.service", Some(running)).await;
    sleep(TTL / 2).await;
    on(&[]).await;

    println!("it has stopped");
    first.report("web.service", None).await;
    on(&["m2"]).await;
    answering.abort();
    drop(second);
    engine.stop().await;
}
