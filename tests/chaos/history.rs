//! What happened: what systemd said of every unit on every machine, what the operator asked for, which faults there were. All in
//! microseconds of the one monotonic clock that the machines, being containers, share with this process.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use rustix::time::{ClockId, clock_gettime};

/// Microseconds of `CLOCK_MONOTONIC`.
pub(crate) type Instant = u64;

/// Now.
pub(crate) fn now() -> Instant {
    let time = clock_gettime(ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap() * 1_000_000 + u64::try_from(time.tv_nsec).unwrap() / 1_000
}

/// One activation of a unit on a machine, by systemd's own stamps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Activation {
    pub(crate) machine: String,
    pub(crate) unit: String,
    pub(crate) invocation: String,
    /// When it left `inactive`.
    pub(crate) begun: Instant,
    /// When it was `active`; none if it never was.
    pub(crate) active: Option<Instant>,
    /// When it was `inactive` or `failed` again, or its machine was dead; none if it still runs.
    pub(crate) ended: Option<Instant>,
}

/// What the operator did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Request {
    pub(crate) at: Instant,
    pub(crate) ended: Instant,
    pub(crate) verb: &'static str,
    pub(crate) unit: String,
    pub(crate) answer: Answer,
}

/// What became of a request, as far as the operator knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    Acknowledged,
    /// fleetctl failed: it may have been done, in part or not at all.
    Unknown,
}

/// How a fault bears on what units may do, if it lasts long enough. The checker decides whether it did.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Harm {
    /// The machine and all that runs on it is gone.
    Death,
    /// The machine is asked to give its units up in good order.
    Drain,
    /// The machine neither hears nor confirms anything while it lasts; its units run on.
    CutOff,
    /// What the machine says may arrive, so its lease may live; it hears nothing.
    Deaf,
    /// The machine may be taken for lost, and may come back, at any time while it lasts.
    Hampered,
    /// Leases may stay unconfirmed meanwhile, and none of them ends by it.
    Unconfirmed,
    /// Nothing may happen to any unit; what is under way takes longer.
    Blocked,
    /// Nothing may happen to any unit.
    None,
}

/// One fault, from when it began to when all of it was undone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: &'static str,
    /// A machine, or `etcd`.
    pub(crate) on: String,
    pub(crate) harm: Harm,
    pub(crate) begun: Instant,
    /// When all of it was done: what it harms was surely dead, or had surely stopped.
    pub(crate) done: Instant,
    /// When its undoing began.
    pub(crate) healing: Instant,
    pub(crate) healed: Instant,
}

/// A time in which nothing is broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Calm {
    /// When it began.
    pub(crate) from: Instant,
    /// When all was as wanted; none if it never was.
    pub(crate) as_wanted: Option<Instant>,
}

/// How a unit may run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// On one machine; for a while on two if one is cut off.
    Single,
    /// On one machine, never on two (`Exclusive=yes`).
    Exclusive,
    /// On all machines.
    Global,
}

/// A unit as the operator wants it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Wanted {
    pub(crate) kind: Kind,
    /// Whether it is to run; none if the last request's outcome is not known.
    pub(crate) launched: Option<bool>,
    /// Whether it is to exist; none if the last request's outcome is not known.
    pub(crate) exists: Option<bool>,
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) seed: u64,
    pub(crate) lease_ttl_us: u64,
    pub(crate) activations: Vec<Activation>,
    pub(crate) requests: Vec<Request>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) wanted: BTreeMap<String, Wanted>,
    /// What `list-unit-files` said at the end.
    pub(crate) listed: Vec<String>,
    /// What `fleetctl doctor` found wrong at the end, when nothing is.
    pub(crate) complaints: Vec<String>,
    /// The times in which nothing was broken.
    pub(crate) calms: Vec<Calm>,
    /// The invocations when all was as wanted, and some time later: machine, unit, invocation.
    pub(crate) settled: Vec<(String, String, String)>,
    pub(crate) later: Vec<(String, String, String)>,
}

impl History {
    /// Writes it where a reader finds it, as lines in order of time, and returns the path.
    pub(crate) fn write(&self) -> String {
        let mut lines: Vec<(Instant, String)> = Vec::new();
        for a in &self.activations {
            let id = &a.invocation;
            lines.push((a.begun, format!("{} {} begins {id}", a.machine, a.unit)));
            if let Some(active) = a.active {
                lines.push((active, format!("{} {} active {id}", a.machine, a.unit)));
            }
            if let Some(ended) = a.ended {
                lines.push((ended, format!("{} {} ended {id}", a.machine, a.unit)));
            }
        }
        for r in &self.requests {
            lines.push((r.at, format!("operator {} {}", r.verb, r.unit)));
            let text = format!("operator {} {}: {:?}", r.verb, r.unit, r.answer);
            lines.push((r.ended, text));
        }
        for f in &self.faults {
            lines.push((f.begun, format!("FAULT {} on {}", f.kind, f.on)));
            lines.push((f.healed, format!("healed {} on {}", f.kind, f.on)));
        }
        lines.sort();
        let first = lines.first().map_or(0, |(at, _)| *at);
        let mut text = format!("seed {}\n", self.seed);
        for (at, line) in lines {
            let ms = at.saturating_sub(first) / 1_000;
            writeln!(text, "{:>6}.{:03} {line}", ms / 1_000, ms % 1_000).unwrap();
        }
        let path = format!("{}/chaos-{}.txt", env!("CARGO_TARGET_TMPDIR"), self.seed);
        std::fs::write(&path, text).unwrap();
        path
    }
}
