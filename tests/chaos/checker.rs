//! Derives from a history which promises were kept (I1, I2, I5, I6, I13, I14 of the specification). It knows nothing of fleet's
//! own words: only what systemd said, what the operator asked for and which faults there were. Each promise has its own slack
//! for these busy machines, next to it.

mod copies;
pub(crate) mod enough;
mod failover;
mod healthy;
mod windows;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::history::{Activation, Fault, Harm, History, Instant, Kind};

/// How soon all is as wanted once nothing is broken any more (I13), and how late these machines may make it.
const CONVERGE_US: Instant = 30_000_000;
const CONVERGE_SLACK_US: Instant = 10_000_000;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) violations: Vec<String>,
    activations: usize,
    requests: usize,
    acknowledged: usize,
    /// How often there was a fault of each kind.
    faults: BTreeMap<&'static str, usize>,
    /// Ends that had a reason, by reason.
    ends: BTreeMap<&'static str, usize>,
    /// Time from the loss of a machine, and how it was lost, until each of its units was active elsewhere, in microseconds.
    failovers: Vec<(&'static str, Kind, Instant)>,
    /// How long two copies of a unit ran after the cut had healed, in microseconds.
    duplicates: Vec<Instant>,
    /// How long exclusive units of a machine that had stood still ran beside the new ones once it went on, in microseconds.
    thawed: Vec<Instant>,
    /// How long it took until all was as wanted, each time nothing was broken, in microseconds.
    settled: Vec<Instant>,
}

/// Checks everything.
pub(crate) fn check(history: &History) -> Report {
    let acknowledged = |request: &&crate::history::Request| {
        request.at > 0 && request.answer == crate::history::Answer::Acknowledged
    };
    let mut report = Report {
        activations: history.activations.len(),
        requests: history.requests.len(),
        acknowledged: history.requests.iter().filter(acknowledged).count(),
        ..Report::default()
    };
    for fault in &history.faults {
        *report.faults.entry(fault.kind).or_default() += 1;
    }
    copies::never_two(history, &mut report);
    healthy::hands_off(history, &mut report);
    healthy::leaves_nothing(history, &mut report);
    nothing_lost(history, &mut report);
    settles(history, &mut report);
    let complaints = history.complaints.iter();
    report
        .violations
        .extend(complaints.map(|text| format!("doctor, when all is well: {text}")));
    failover::in_time(history, &mut report);
    report
}

/// I5: what was acknowledged is there; what was destroyed does not come back.
fn nothing_lost(history: &History, report: &mut Report) {
    let listed: BTreeSet<&str> = history.listed.iter().map(String::as_str).collect();
    for (unit, wanted) in &history.wanted {
        match (wanted.exists, listed.contains(unit.as_str())) {
            (Some(true), false) => report.violations.push(format!("I5: {unit} is lost")),
            (Some(false), true) => report.violations.push(format!("I5: {unit} came back")),
            (Some(true), true) | (Some(false), false) | (None, _) => {}
        }
    }
}

/// I13: whenever nothing is broken, all becomes as wanted, and stays so.
fn settles(history: &History, report: &mut Report) {
    for calm in &history.calms {
        let took = calm.as_wanted.map(|at| at.saturating_sub(calm.from));
        report.settled.extend(took);
        match took {
            Some(took) if took <= CONVERGE_US + CONVERGE_SLACK_US => {}
            Some(took) => report.violations.push(format!(
                "I13: all was as wanted only {} ms after the last fault",
                took / 1_000
            )),
            None => report
                .violations
                .push("I13: not all was as wanted in time".to_owned()),
        }
    }
    let before: BTreeSet<_> = history.settled.iter().collect();
    let after: BTreeSet<_> = history.later.iter().collect();
    for (machine, unit, invocation) in before.symmetric_difference(&after) {
        report.violations.push(format!(
            "I13: {unit} on {machine} did not stay as it was ({invocation})"
        ));
    }
}

fn kind(history: &History, unit: &str) -> Kind {
    history
        .wanted
        .get(unit)
        .map_or(Kind::Single, |wanted| wanted.kind)
}

fn end(activation: &Activation) -> Instant {
    activation.ended.unwrap_or(Instant::MAX)
}

fn faults_on<'a>(
    history: &'a History,
    machine: &'a str,
    harm: Harm,
) -> impl Iterator<Item = &'a Fault> {
    let faults = history.faults.iter();
    faults.filter(move |fault| fault.on == machine && fault.harm == harm)
}

impl Report {
    fn broken(&self, promise: &str) -> usize {
        let broken = self.violations.iter();
        broken.filter(|text| text.starts_with(promise)).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |us: Option<&Instant>| {
            us.map_or("-".to_owned(), |us| {
                format!("{}.{:03} s", us / 1_000_000, us / 1_000 % 1_000)
            })
        };
        let total: usize = self.faults.values().sum();
        writeln!(f, "{total} faults: {:?}", self.faults)?;
        writeln!(
            f,
            "{} activations, {} requests ({} acknowledged), {} promises broken",
            self.activations,
            self.requests,
            self.acknowledged,
            self.violations.len()
        )?;
        writeln!(
            f,
            "exclusive overlaps {}, twice without need {}, lost or back {}, disturbed {}, not settled {}, failed over late {}",
            self.broken("I1:"),
            self.broken("I2:"),
            self.broken("I5:"),
            self.broken("I6:"),
            self.broken("I13:"),
            self.broken("I14:")
        )?;
        writeln!(f, "units ended: {:?}", self.ends)?;
        writeln!(
            f,
            "as wanted {} times after faults, the slowest {}",
            self.settled.len(),
            seconds(self.settled.iter().max())
        )?;
        writeln!(
            f,
            "exclusive units seen for a moment beside a new one after their machine had stood still: {}, the longest {}",
            self.thawed.len(),
            seconds(self.thawed.iter().max())
        )?;
        for kind in [Kind::Single, Kind::Exclusive] {
            let mut ways: BTreeMap<&str, Vec<Instant>> = BTreeMap::new();
            for (way, _, us) in self.failovers.iter().filter(|(_, of, _)| *of == kind) {
                ways.entry(way).or_default().push(*us);
            }
            for (way, all) in ways {
                writeln!(
                    f,
                    "failover ({kind:?}, {way}): {} units, {} to {}",
                    all.len(),
                    seconds(all.iter().min()),
                    seconds(all.iter().max())
                )?;
            }
        }
        write!(
            f,
            "duplicates of cut-off units: {}, the last gone {} after healing",
            self.duplicates.len(),
            seconds(self.duplicates.iter().max())
        )
    }
}

#[cfg(test)]
mod tests;
