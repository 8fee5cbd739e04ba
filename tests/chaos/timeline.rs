//! Rounds of faults: some begin, the operator works on, all are undone, and now and then there is time to settle.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant as Timer};

use crate::faults::{self, Injected};
use crate::history::now;
use crate::lab::Lab;
use crate::operator;
use crate::seed::Seed;

/// At most so many faults at once, each on something else: three of five machines stay whole.
const AT_ONCE_MAX: u64 = 2;

/// How long a fault lasts, in seconds: from well below to well above the lease.
const LASTS_S: std::ops::Range<u64> = 1..24;

/// Every so many rounds, there is time to settle.
const SETTLE_EVERY: u64 = 4;
const SETTLE: Duration = Duration::from_secs(15);

/// Injects faults for about `duration`, then leaves everything whole.
pub(crate) fn run(lab: &mut Lab, seed: &mut Seed, duration: Duration) {
    let start = Timer::now();
    let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut round = 0;
    while start.elapsed() < duration {
        round += 1;
        let mut injected: Vec<Injected> = Vec::new();
        for _ in 0..=seed.within(0..AT_ONCE_MAX) {
            let lasts = Duration::from_secs(seed.within(LASTS_S));
            if let Some(fault) = faults::inject(lab, seed, lasts, &injected) {
                println!(
                    "{:>5.1} s  {} on {} for {} s",
                    start.elapsed().as_secs_f32(),
                    fault.kind,
                    fault.on,
                    lasts.as_secs()
                );
                *counts.entry(fault.kind).or_default() += 1;
                injected.push(fault);
            }
        }
        let whole: Vec<String> = lab
            .names()
            .into_iter()
            .filter(|name| injected.iter().all(|fault| fault.on != *name))
            .collect();
        operator::ask(lab, seed, &whole);
        injected.sort_by_key(|fault| fault.until);
        for fault in injected {
            sleep(fault.until.saturating_duration_since(Timer::now()));
            faults::heal(lab, fault);
        }
        if round % SETTLE_EVERY == 0 {
            sleep(SETTLE);
        }
    }
    lab.history.calm = now();
    operator::settle(lab);
    let total: u64 = counts.values().sum();
    println!("{total} faults: {counts:?}");
}
