//! Long trials: the store away for an hour, engines that crash in a loop, the power of all machines gone, events that nobody is ever told,
//! leases that end although all is well. No healthy unit may notice.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use sim::{Endured, Trial, endure};

/// Makes the trial on the clusters of so many seeds.
fn endured(trial: Trial, seeds: u64) -> Vec<Endured> {
    let endured = (1..=seeds).map(|seed| endure(seed, trial).unwrap());
    let endured: Vec<Endured> = endured.collect();
    for it in &endured {
        println!(
            "{trial:?}, seed {}: {} activations untouched, {} engines killed, {} units back without the store, at rest {:?} later",
            it.outcome.seed, it.untouched, it.kills, it.back, it.outcome.rest
        );
        let from = it.outcome.history.len().saturating_sub(40);
        assert_eq!(
            it.outcome.violations,
            [],
            "{:#?}",
            &it.outcome.history[from..]
        );
        assert!(it.outcome.rest.is_some() && it.untouched > 0);
    }
    endured
}

#[test]
fn an_hour_without_the_store_touches_no_unit() {
    endured(Trial::StoreAwayForAnHour, 1);
}

#[test]
fn engines_that_crash_in_a_loop_touch_no_unit() {
    let endured = endured(Trial::EnginesCrashInALoop, 3);
    assert!(endured.iter().all(|it| it.kills > 100));
}

#[test]
fn events_that_etcd_loses_are_made_good() {
    let endured = endured(Trial::EventsLost, 10);
    let slow = |it: &Endured| it.outcome.rest.unwrap() > Duration::from_secs(30);
    assert!(endured.iter().any(slow), "something was lost");
}

#[test]
fn the_end_of_a_lease_touches_no_unit_of_a_machine_that_is_well() {
    let endured = endured(Trial::LeasesEnded, 10);
    let ended = |it: &Endured| it.outcome.faults["lease ended while well"];
    assert!(
        endured.iter().all(|it| ended(it) >= 6),
        "each alone, and all"
    );
}

#[test]
fn machines_that_boot_without_the_store_have_their_units_back() {
    let endured = endured(Trial::PowerOutage, 5);
    assert!(endured.iter().all(|it| it.back > 0));
}
