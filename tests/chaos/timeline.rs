//! Rounds of faults: some begin, the operator works on, all are undone, and now and then there is time to settle.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::{Duration, Instant as Timer};

use crate::checker::enough::{FAULTS_MIN, KINDS_MIN};
use crate::faults::{self, Deck, Injected};
use crate::history::now;
use crate::lab::Lab;
use crate::operator;
use crate::seed::Seed;

/// At most so many faults at once, each on something else: three of five machines stay whole.
const AT_ONCE_MAX: u64 = 2;

/// How long a fault lasts, in seconds: from well below to well above the lease.
const LASTS_S: std::ops::Range<u64> = 1..24;

/// Of the first rounds there is one fault each, for longer than the lease and what it takes to start elsewhere.
const ALONE: u64 = 2;
const ALONE_LASTS_S: std::ops::Range<u64> = 17..20;

/// Every so many rounds, there is time to settle: what is long over is seen not to come back.
const SETTLE_EVERY: u64 = 4;
const SETTLE: Duration = Duration::from_secs(10);

/// So many times as long as asked for a run may take on a machine that is slow, until there were faults enough.
const LONGER_MAX: u32 = 3;

/// Injects faults for about `duration`, for longer if there were too few of them, then leaves everything whole.
pub(crate) fn run(lab: &mut Lab, seed: &mut Seed, duration: Duration) {
    let start = Timer::now();
    let mut deck = Deck::new();
    let mut round = 0;
    while start.elapsed() < duration || (too_few(lab) && start.elapsed() < duration * LONGER_MAX) {
        round += 1;
        let mut injected: Vec<Injected> = Vec::new();
        let (count, lasts_s) = match round {
            1..=ALONE => (1, ALONE_LASTS_S),
            _ => (1 + seed.within(0..AT_ONCE_MAX), LASTS_S),
        };
        for _ in 0..count {
            let lasts = Duration::from_secs(seed.within(lasts_s.clone()));
            if let Some(fault) = faults::inject(lab, seed, &mut deck, lasts, &injected) {
                println!(
                    "{:>5.1} s  {} on {} for {} s",
                    start.elapsed().as_secs_f32(),
                    fault.kind,
                    fault.on,
                    lasts.as_secs()
                );
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
        if round <= ALONE || round % SETTLE_EVERY == 0 {
            settle(lab);
            sleep(SETTLE);
        }
    }
    settle(lab);
}

/// Whether there were fewer faults than a run needs to mean anything.
fn too_few(lab: &Lab) -> bool {
    let faults = &lab.history.faults;
    let kinds: BTreeSet<&str> = faults.iter().map(|fault| fault.kind).collect();
    faults.len() < FAULTS_MIN || kinds.len() < KINDS_MIN
}

/// Nothing is broken now: all becomes as wanted.
fn settle(lab: &mut Lab) {
    let calm = now();
    operator::settle(lab);
    lab.settle(calm);
}
