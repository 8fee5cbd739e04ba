//! Chaos: three etcd members, five machines, real faults in a random order, and a checker that reads only what systemd said.
//!
//! `make test` runs it for [`SECONDS_DEFAULT`]; `make chaos HOURS=8` for hours. `CHAOS_SEED` repeats a run's choices; real time
//! is part of what happens, so not its outcome.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed; faults last for a time"
)]

mod checker;
mod faults;
mod history;
mod lab;
mod network;
mod operator;
mod recorder;
mod seed;
mod timeline;

use std::env;
use std::time::Duration;

use crate::lab::Lab;
use crate::seed::Seed;

/// How long faults are injected in `make test`, in seconds: some ten faults.
const SECONDS_DEFAULT: u64 = 180;

#[test]
fn nothing_is_lost_nothing_runs_twice_and_no_healthy_unit_is_touched() {
    let seed = number("CHAOS_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let duration = Duration::from_secs(number("CHAOS_SECONDS").unwrap_or(SECONDS_DEFAULT));
    println!(
        "-- chaos: seed {seed}, {} s of faults on five machines and three etcd members",
        duration.as_secs()
    );
    let Some(mut lab) = Lab::start() else {
        return;
    };
    lab.history.seed = seed;
    let mut seed = Seed::of(seed);
    lab.submit_all();
    timeline::run(&mut lab, &mut seed, duration);
    let history = lab.end();
    let report = checker::check(&history);
    println!("{report}");
    if !report.violations.is_empty() {
        let path = history.write();
        panic!(
            "{} promises broken; the history is in {path}\n{}",
            report.violations.len(),
            report.violations.join("\n")
        );
    }
    if duration >= Duration::from_secs(SECONDS_DEFAULT) {
        let shortfalls = report.shortfalls(lab::first_activations());
        assert!(shortfalls.is_empty(), "too little happened: {shortfalls:?}");
    }
}

fn number(name: &str) -> Option<u64> {
    let value = env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name}={value} is not a number")),
    )
}
