//! The store stood still for longer than a lease and goes on: machines that are well come back one after the other, and whoever leads
//! gives them the time.

use std::time::Duration;

use engine::EngineSettings;
use model::Action;
use registry::Registry;
use registry::embedded::Embedded;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::leading::{Engine, Host, PREFIX, TTL, ask, is_on, settings, until};

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
