//! Many runs of the simulation, and that each repeats. SEED is the first, SEEDS how many; LIVE=1 tells one run while it happens.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed, also if a thread of it does not end"
)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use sim::{Outcome, Pace, Telling, simulate};

/// Without SEEDS: some minutes on two processors, without optimisation. `make sim` builds with some, for many more.
const SEEDS: u64 = 1_000;

/// After so many failures there is nothing more to learn.
const FAILURES_MAX: usize = 5;

/// A run that has taken so long goes round in circles without its time passing.
const RUN_MAX: Duration = Duration::from_secs(300);

/// Lines of a failed run's history that are printed; all are in its file.
const LINES: usize = 60;

/// PACE=hasty is harder than what the product holds in every seed: docs/guarantees.md has what is known of it.
fn pace() -> Pace {
    match std::env::var("PACE").as_deref() {
        Ok("hasty") => Pace::Hasty,
        Ok(_) | Err(_) => Pace::Steady,
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// What many runs have shown together.
#[derive(Default)]
struct Sum {
    runs: u64,
    effects: u64,
    revisions: i64,
    faults: BTreeMap<&'static str, u64>,
    rests: Vec<Duration>,
    failures: Vec<Outcome>,
}

impl Sum {
    fn add(&mut self, outcome: Outcome) {
        self.runs += 1;
        self.effects += outcome.effects;
        self.revisions += outcome.revisions;
        for (kind, count) in &outcome.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        self.rests.extend(outcome.rest);
        if !outcome.violations.is_empty() {
            tell(&outcome);
            self.failures.push(outcome);
        }
    }

    fn print(&mut self, took: Duration) {
        self.rests.sort();
        let rest = |part: usize| self.rests.get(self.rests.len() * part / 100).copied();
        println!(
            "{} seeds in {:.0} s: {} effects, {} revisions, {} faults",
            self.runs,
            took.as_secs_f64(),
            self.effects,
            self.revisions,
            self.faults.values().sum::<u64>()
        );
        for (kind, count) in &self.faults {
            println!("{count:>9} {kind}");
        }
        println!(
            "at rest after the last fault: {:?} p50, {:?} p99, {:?} most",
            rest(50),
            rest(99),
            self.rests.last()
        );
    }
}

/// Prints the end of a failed run's history and keeps all of it.
fn tell(outcome: &Outcome) {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let file = folder.join(format!("seed-{}.txt", outcome.seed));
    std::fs::write(&file, outcome.history.join("\n")).unwrap();
    println!(
        "seed {} FAILED, its history is in {}",
        outcome.seed,
        file.display()
    );
    let from = outcome.history.len().saturating_sub(LINES);
    for line in &outcome.history[from..] {
        println!("{}", line.chars().take(200).collect::<String>());
    }
    println!("repeat it with: make sim SEED={} SEEDS=1", outcome.seed);
}

/// Runs so many seeds on all processors.
fn run(first: u64, count: u64) -> Sum {
    let threads = number("JOBS")
        .unwrap_or_else(|| std::thread::available_parallelism().unwrap().get() as u64);
    let next = AtomicU64::new(first);
    let (sender, ended) = mpsc::channel();
    let mut sum = Sum::default();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (next, sender) = (&next, sender.clone());
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count || sender.send((seed, None)).is_err() {
                        return;
                    }
                    let outcome = simulate(seed, Telling::AtEnd, pace()).unwrap();
                    if sender.send((seed, Some(outcome))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut under_way = BTreeMap::new();
        loop {
            match ended.recv_timeout(Duration::from_secs(1)) {
                Ok((seed, None)) => drop(under_way.insert(seed, Instant::now())),
                Ok((seed, Some(outcome))) => {
                    under_way.remove(&seed);
                    sum.add(outcome);
                }
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if sum.failures.len() >= FAILURES_MAX {
                next.store(first + count, Ordering::Relaxed);
            }
            if let Some((seed, _)) = under_way
                .iter()
                .find(|(_, since)| since.elapsed() > RUN_MAX)
            {
                println!("seed {seed} does not end: make sim SEED={seed} SEEDS=1 LIVE=1");
                std::process::exit(1);
            }
        }
    });
    sum
}

/// What the product itself says, with RUST_LOG=agent=debug and the like.
fn listen() {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .without_time()
        .with_ansi(false)
        .init();
}

#[test]
fn no_promise_is_broken() {
    let first = number("SEED").unwrap_or(1);
    let count = number("SEEDS").unwrap_or(SEEDS);
    if number("LIVE") == Some(1) {
        listen();
        let outcome = simulate(first, Telling::Live, pace()).unwrap();
        assert_eq!(outcome.violations, []);
        return;
    }
    let began = Instant::now();
    let mut sum = run(first, count);
    sum.print(began.elapsed());
    let failed: Vec<(u64, &sim::Violation)> = sum
        .failures
        .iter()
        .map(|outcome| (outcome.seed, &outcome.violations[0]))
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn the_same_seed_gives_the_same_history() {
    for seed in 1..=4 {
        let (one, other) = (
            simulate(seed, Telling::AtEnd, pace()).unwrap(),
            simulate(seed, Telling::AtEnd, pace()).unwrap(),
        );
        for (one, other) in one.history.iter().zip(&other.history) {
            assert_eq!(one, other, "seed {seed}");
        }
        assert_eq!(one, other, "seed {seed}");
    }
}
