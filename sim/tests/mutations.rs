//! Proof that the net catches: each mistake that the product could make is found by the simulation, and the same seed without it is as it
//! should be. MISTAKE=Name,Name tries these only.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use model::mutation::Mutation;
use sim::{Pace, Telling, simulate, simulate_mistaken};

/// A mistake that takes more seeds than this is one that the simulation cannot be said to find.
const SEEDS_MAX: u64 = 400;

/// Where each was found last, so that all take seconds. A change of the product or of the simulation changes what a seed does: those
/// that no longer find theirs are searched for anew, and the test says where they are found now.
const FOUND: [(Mutation, u64); 39] = [
    (Mutation::LeaderNotCompared, 6),
    (Mutation::ElectedWithoutCompare, 1),
    (Mutation::ResignsForAnother, 2),
    (Mutation::CompactionIgnored, 13),
    (Mutation::StaleReads, 95),
    (Mutation::NewLeaseTakenForOld, 5),
    (Mutation::DeadlineByWallClock, 1),
    (Mutation::GuardTooLate, 1),
    (Mutation::StatusesWithoutLease, 1),
    (Mutation::UnknownOutcomeTakenForWritten, 24),
    (Mutation::UnknownOutcomeTakenForPublished, 8),
    (Mutation::LeavingMachineIgnored, 7),
    (Mutation::StartedBeforeTheStop, 2),
    (Mutation::PlacedOnGoneMachine, 3),
    (Mutation::DamagedUnitTakenForDestroyed, 13),
    (Mutation::DamagedEntryTakenForNone, 4),
    (Mutation::LossTakenForEmpty, 1),
    (Mutation::StaleScheduleKept, 105),
    (Mutation::StartedBeforeReported, 8),
    (Mutation::StartedWithoutMark, 1),
    (Mutation::ReplacedWithoutStop, 5),
    (Mutation::StoppedWithoutMark, 73),
    (Mutation::DecidedBeforeListing, 21),
    (Mutation::RelistSkipped, 90),
    (Mutation::StatusesNotRepublished, 6),
    (Mutation::RetryForgotten, 61),
    (Mutation::StartedDuringWithdrawal, 8),
    (Mutation::UnloadedWithoutStop, 1),
    (Mutation::CutWithoutPause, 67),
    (Mutation::CutNotRemembered, 40),
    (Mutation::CutRememberedLate, 93),
    (Mutation::DecidedUnseen, 2),
    (Mutation::LeaseEndedTooSoon, 105),
    (Mutation::DuplicateLeftRunning, 1),
    (Mutation::NothingKept, 21),
    (Mutation::GlobalTakenForMoved, 185),
    (Mutation::FirstStatusNotCompared, 127),
    (Mutation::MoveNotCompared, 10),
    (Mutation::AnswerIgnored, 29),
];

/// What the simulation has found.
struct Found {
    seed: u64,
    what: String,
}

/// What this seed finds of the mistake: none if nothing, or if something is wrong without it too.
fn find(seed: u64, mutation: Mutation) -> Option<Found> {
    let outcome = simulate_mistaken(seed, mutation).unwrap();
    let violation = outcome.violations.first()?;
    let without = simulate(seed, Telling::AtEnd, Pace::Hasty).unwrap();
    let what = format!("{}: {}", violation.invariant, violation.what);
    (without.violations.is_empty()).then_some(Found { seed, what })
}

fn search(mutation: Mutation) -> Option<Found> {
    let known = FOUND.iter().find(|(of, _)| *of == mutation);
    let known = known.and_then(|(_, seed)| find(*seed, mutation));
    known.or_else(|| (1..=SEEDS_MAX).find_map(|seed| find(seed, mutation)))
}

fn search_all(mutations: &[Mutation]) -> BTreeMap<Mutation, Option<Found>> {
    let next = AtomicUsize::new(0);
    let found = Mutex::new(BTreeMap::new());
    let jobs = std::env::var("JOBS").ok().map(|text| text.parse().unwrap());
    let threads = jobs.unwrap_or_else(|| std::thread::available_parallelism().unwrap().get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(mutation) = mutations.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = search(*mutation);
                    tell(*mutation, outcome.as_ref());
                    found.lock().unwrap().insert(*mutation, outcome);
                }
            });
        }
    });
    found.into_inner().unwrap()
}

fn tell(mutation: Mutation, found: Option<&Found>) {
    let name = format!("{mutation:?}");
    let Some(Found { seed, what }) = found else {
        println!("{name:<34} NOT FOUND in {SEEDS_MAX} seeds");
        return;
    };
    let is_known = FOUND.contains(&(mutation, *seed));
    let moved = if is_known { "" } else { " (keep it: FOUND)" };
    let what: String = what.chars().take(120).collect();
    println!("{name:<34} in seed {seed:>3}{moved}: {what}");
}

#[test]
fn every_mistake_is_found() {
    let only = std::env::var("MISTAKE").ok();
    let is_asked = |mutation: &Mutation| match &only {
        Some(only) => only.split(',').any(|it| *it == format!("{mutation:?}")),
        None => true,
    };
    let mutations: Vec<Mutation> = Mutation::ALL.into_iter().filter(is_asked).collect();
    let found = search_all(&mutations);
    let caught = found.values().flatten().count();
    println!("{caught} of {} mistakes were found", mutations.len());
    assert!(caught == mutations.len() && caught > 0);
}
