//! What happened in a run, who did it and when, line by line, and what of it must not have happened.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

/// Lines kept: a run has some thousands; a livelock must not fill memory.
const LINES_MAX: usize = 200_000;

/// The history of one run. Clones are the same history.
#[derive(Clone, Debug)]
pub(crate) struct History {
    inner: Arc<Mutex<Inner>>,
}

/// Whether a history is also told while it happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Telling {
    /// On the standard error, line by line.
    Live,
    /// Only in what the run hands out.
    AtEnd,
}

#[derive(Debug)]
struct Inner {
    telling: Telling,
    began: Instant,
    lines: Vec<String>,
    violations: Vec<Violation>,
    faults: BTreeMap<&'static str, u64>,
}

/// A promise that was broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Which, as `limits-and-faults` numbers them.
    pub invariant: &'static str,
    /// What happened.
    pub what: String,
}

/// A history as it is handed out when the run is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Told {
    pub(crate) lines: Vec<String>,
    pub(crate) violations: Vec<Violation>,
    pub(crate) faults: BTreeMap<&'static str, u64>,
}

impl History {
    pub(crate) fn new(telling: Telling) -> History {
        let inner = Inner {
            telling,
            began: Instant::now(),
            lines: Vec::new(),
            violations: Vec::new(),
            faults: BTreeMap::new(),
        };
        History {
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    /// Notes what `who` did.
    pub(crate) fn note(&self, who: &str, what: impl Display) {
        let mut inner = self.lock();
        let line = format!("{} {who:<12} {what}", inner.clock());
        inner.push(line);
    }

    /// Notes a fault, and counts it by its kind.
    pub(crate) fn fault(&self, kind: &'static str, what: impl Display) {
        let mut inner = self.lock();
        *inner.faults.entry(kind).or_default() += 1;
        let line = format!("{} FAULT        {kind}: {what}", inner.clock());
        inner.push(line);
    }

    /// Notes that a promise was broken.
    pub(crate) fn violation(&self, invariant: &'static str, what: impl Display) {
        let mut inner = self.lock();
        let what = what.to_string();
        let line = format!("{} VIOLATION    {invariant}: {what}", inner.clock());
        inner.push(line);
        inner.violations.push(Violation { invariant, what });
    }

    /// Seconds since the run began.
    pub(crate) fn second(&self) -> u64 {
        self.lock().began.elapsed().as_secs()
    }

    /// True once a promise was broken.
    pub(crate) fn is_broken(&self) -> bool {
        !self.lock().violations.is_empty()
    }

    pub(crate) fn told(&self) -> Told {
        let inner = self.lock();
        Told {
            lines: inner.lines.clone(),
            violations: inner.violations.clone(),
            faults: inner.faults.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn clock(&self) -> String {
        let millis = self.began.elapsed().as_millis();
        format!("{:>4}.{:03}", millis / 1000, millis % 1000)
    }

    fn push(&mut self, line: String) {
        if self.telling == Telling::Live {
            eprintln!("{line}");
        }
        if self.lines.len() < LINES_MAX {
            self.lines.push(line);
        }
    }
}
