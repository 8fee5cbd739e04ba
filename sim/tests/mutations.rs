//! Proof that the net catches: for each mistake the product could make, within how many seeds the simulation finds it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use model::mutation::Mutation;
use sim::{Telling, simulate, simulate_mistaken};

/// A mistake that takes more seeds than this is one that the simulation cannot be said to find.
const SEEDS_MAX: u64 = 300;

/// What the simulation has found.
struct Found {
    seed: u64,
    what: String,
}

fn search(mutation: Mutation) -> Option<Found> {
    (1..=SEEDS_MAX).find_map(|seed| {
        let outcome = simulate_mistaken(seed, mutation).unwrap();
        let violation = outcome.violations.first()?;
        // It must be the mistake that was found: without it the same seed is as it should be.
        let without = simulate(seed, Telling::AtEnd).unwrap();
        if !without.violations.is_empty() {
            return None;
        }
        let what = format!("{}: {}", violation.invariant, violation.what);
        Some(Found { seed, what })
    })
}

#[test]
#[ignore = "takes minutes without optimisation: make sim"]
fn every_mistake_is_found() {
    let next = AtomicUsize::new(0);
    let found = Mutex::new(BTreeMap::new());
    let threads = std::thread::available_parallelism().unwrap().get();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(mutation) = Mutation::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = search(*mutation);
                    found.lock().unwrap().insert(*mutation, outcome);
                }
            });
        }
    });
    let found = found.into_inner().unwrap();
    for (mutation, found) in &found {
        match found {
            Some(Found { seed, what }) => {
                let what: String = what.chars().take(120).collect();
                println!("{:<34} in seed {seed:>3}: {what}", format!("{mutation:?}"));
            }
            None => println!(
                "{:<34} NOT FOUND in {SEEDS_MAX} seeds",
                format!("{mutation:?}")
            ),
        }
    }
    let caught = found.values().flatten().count();
    println!("{caught} of {} mistakes were found", found.len());
    assert_eq!(caught, Mutation::ALL.len());
}
