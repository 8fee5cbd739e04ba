//! Derives from a history which promises were kept (I1, I2, I5, I6, I13, I14 of the specification). It knows nothing of fleet's
//! own words: only what systemd said, what the operator asked for and which faults there were.

use std::collections::BTreeSet;
use std::fmt;

use crate::history::{Activation, Answer, Fault, Harm, History, Instant, Kind};

/// A duplicate must be gone so soon after a cut has healed (I2): 5 s and the unit's stop time.
const DUPLICATE_US: Instant = 7_000_000;

/// How long an exclusive unit may run after its whole machine had stood still for longer than its lease.
const THAW_US: Instant = 2_000_000;

/// These machines are busy: a lateness below this is told, not held against anybody.
const SLACK_US: Instant = 20_000_000;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) violations: Vec<String>,
    activations: usize,
    requests: usize,
    faults: usize,
    /// Time from a machine's death until each of its units was active elsewhere, in microseconds.
    failovers: Vec<Instant>,
    /// How long two copies of a unit ran after the cut had healed, in microseconds.
    duplicates: Vec<Instant>,
    /// How long exclusive units of a machine that had stood still were seen beside the new ones, in microseconds.
    thawed: Vec<Instant>,
    /// Exclusive units that were ended because their machine could not confirm its lease.
    given_up: usize,
    converged_after: Option<Instant>,
}

/// Checks everything.
pub(crate) fn check(history: &History) -> Report {
    let mut report = Report {
        activations: history.activations.len(),
        requests: history.requests.len(),
        faults: history.faults.len(),
        converged_after: history.converged.map(|at| at.saturating_sub(history.calm)),
        ..Report::default()
    };
    never_two(history, &mut report);
    hands_off(history, &mut report);
    nothing_lost(history, &mut report);
    settles(history, &mut report);
    let complaints = history.complaints.iter();
    report
        .violations
        .extend(complaints.map(|text| format!("doctor, when all is well: {text}")));
    failover(history, &mut report);
    report
}

/// I1: exclusive units never overlap. I2: others only while a machine is cut off, and shortly after.
fn never_two(history: &History, report: &mut Report) {
    for (index, a) in history.activations.iter().enumerate() {
        for b in &history.activations[index + 1..] {
            if a.unit != b.unit || a.machine == b.machine || kind(history, &a.unit) == Kind::Global
            {
                continue;
            }
            let (from, to) = (a.begun.max(b.begun), end(a).min(end(b)));
            if from >= to {
                continue;
            }
            let text = format!(
                "{} ran on {} and {} for {} ms",
                a.unit,
                a.machine,
                b.machine,
                to.saturating_sub(from) / 1_000
            );
            if kind(history, &a.unit) == Kind::Exclusive {
                if stood_still(history, &a.machine, from, to)
                    || stood_still(history, &b.machine, from, to)
                {
                    report.thawed.push(to - from);
                    continue;
                }
                report
                    .violations
                    .push(format!("I1: {text}, and it is exclusive"));
                continue;
            }
            let healed = [a, b]
                .iter()
                .flat_map(|copy| cuts(history, &copy.machine))
                .filter(|cut| cut.begun <= from && from <= cut.healed + SLACK_US)
                .map(|cut| cut.healed)
                .max();
            match healed {
                None => report
                    .violations
                    .push(format!("I2: {text}, and neither machine was cut off")),
                Some(healed) if to > healed + DUPLICATE_US + SLACK_US => {
                    report
                        .violations
                        .push(format!("I2: {text}, long after the cut had healed"));
                }
                Some(healed) => report.duplicates.push(to.saturating_sub(healed)),
            }
        }
    }
}

/// True if the machine's kernel ran nothing of it for all that time, but for the moment after it went on: nothing inside a machine
/// can end what stands still, and docs/guarantees.md says so.
fn stood_still(history: &History, machine: &str, from: Instant, to: Instant) -> bool {
    history.faults.iter().any(|fault| {
        fault.on == machine
            && fault.kind == "frozen machine"
            && fault.begun <= from
            && to <= fault.healed + THAW_US
    })
}

/// I6: what runs well on a machine that is well is left alone.
fn hands_off(history: &History, report: &mut Report) {
    for activation in &history.activations {
        let Some(ended) = activation.ended else {
            continue;
        };
        let is_exclusive = kind(history, &activation.unit) == Kind::Exclusive;
        if !may_end(history, activation, ended) {
            if is_exclusive && is_unconfirmed(history, &activation.machine, ended) {
                report.given_up += 1;
                continue;
            }
            report.violations.push(format!(
                "I6: {} on {} was ended at {} with no reason (invocation {})",
                activation.unit, activation.machine, ended, activation.invocation
            ));
        }
    }
}

fn may_end(history: &History, activation: &Activation, ended: Instant) -> bool {
    // Asked for: a request of this unit that was not yet settled before it began.
    let asked = history.requests.iter().any(|request| {
        request.unit == activation.unit
            && request.ended + SLACK_US >= activation.begun
            && request.at <= ended
            && request.at > 0
            && (request.verb != "start"
                || request.answer == Answer::Unknown
                || request.at >= activation.begun)
    });
    // Its machine died, was drained, or could have been taken for lost.
    let harmed = history.faults.iter().any(|fault| {
        fault.on == activation.machine
            && fault.begun <= ended
            && match fault.harm {
                Harm::Death => ended <= fault.dead,
                Harm::Drain => ended <= fault.healed,
                Harm::CutOff => ended <= fault.healed + DUPLICATE_US + SLACK_US,
                Harm::None => false,
            }
    });
    // It was the second copy of one that had been cut off.
    let second = history.activations.iter().any(|other| {
        other.unit == activation.unit
            && other.machine != activation.machine
            && other.begun < ended
            && end(other) > activation.begun
            && cuts(history, &other.machine)
                .any(|cut| cut.begun <= ended && ended <= cut.healed + DUPLICATE_US + SLACK_US)
    });
    asked || harmed || second
}

/// True if the machine may have gone without a confirmation of its lease for so long that exclusive units end: 70 % of it, of which a
/// third may have passed before.
fn is_unconfirmed(history: &History, machine: &str, at: Instant) -> bool {
    let shortest = history.lease_ttl_us * 7 / 10 - history.lease_ttl_us / 3;
    history.faults.iter().any(|fault| {
        (fault.on == machine || fault.on == "etcd")
            && fault.begun + shortest <= at
            && at <= fault.healed + SLACK_US
    })
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

/// I13: once nothing is broken, all becomes as wanted and stays so.
fn settles(history: &History, report: &mut Report) {
    if history.converged.is_none() {
        report
            .violations
            .push("I13: not all was as wanted in time".to_owned());
    }
    let before: BTreeSet<_> = history.settled.iter().collect();
    let after: BTreeSet<_> = history.later.iter().collect();
    for (machine, unit, invocation) in before.symmetric_difference(&after) {
        report.violations.push(format!(
            "I13: {unit} on {machine} did not stay as it was ({invocation})"
        ));
    }
}

/// I14: units of a dead machine run elsewhere within the lease and a second, unless etcd or another machine was broken too.
fn failover(history: &History, report: &mut Report) {
    for fault in history
        .faults
        .iter()
        .filter(|fault| fault.harm == Harm::Death)
    {
        let due = fault.dead + history.lease_ttl_us + 1_000_000;
        let limit = due + SLACK_US;
        let alone = history
            .faults
            .iter()
            .all(|other| other == fault || other.begun > due || other.healed < fault.begun);
        for lost in history
            .activations
            .iter()
            .filter(|a| a.machine == fault.on && a.ended == Some(fault.dead))
        {
            let asked = history
                .requests
                .iter()
                .any(|r| r.unit == lost.unit && r.ended >= fault.begun && r.at <= limit);
            if kind(history, &lost.unit) == Kind::Global || asked || fault.healed < due {
                continue;
            }
            let elsewhere = |a: &&Activation| {
                a.unit == lost.unit && a.machine != lost.machine && end(a) > fault.dead
            };
            let next = history.activations.iter().filter(elsewhere);
            match next.filter_map(|a| a.active).min() {
                Some(active) if active <= limit && alone => {
                    // Where it was cut off before, it ran elsewhere already.
                    report.failovers.push(active.saturating_sub(fault.dead));
                }
                Some(_) | None if !alone => {}
                Some(_) | None => report.violations.push(format!(
                    "I14: {} of {} did not run elsewhere in time",
                    lost.unit, fault.on
                )),
            }
        }
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

fn cuts<'a>(history: &'a History, machine: &'a str) -> impl Iterator<Item = &'a Fault> {
    history
        .faults
        .iter()
        .filter(move |fault| fault.harm == Harm::CutOff && fault.on == machine)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |us: Option<&Instant>| {
            us.map_or("-".to_owned(), |us| {
                format!("{}.{:03} s", us / 1_000_000, us / 1_000 % 1_000)
            })
        };
        writeln!(
            f,
            "{} activations, {} requests, {} faults, {} promises broken",
            self.activations,
            self.requests,
            self.faults,
            self.violations.len()
        )?;
        writeln!(
            f,
            "as wanted {} after the last fault",
            seconds(self.converged_after.as_ref())
        )?;
        writeln!(
            f,
            "exclusive: {} given up in time, {} seen for a moment beside a new one after their machine had stood still, the longest {}",
            self.given_up,
            self.thawed.len(),
            seconds(self.thawed.iter().max())
        )?;
        writeln!(
            f,
            "failover: {} units, the slowest {}",
            self.failovers.len(),
            seconds(self.failovers.iter().max())
        )?;
        write!(
            f,
            "duplicates of cut-off units: {}, the last gone {} after healing",
            self.duplicates.len(),
            seconds(self.duplicates.iter().max())
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Request, Wanted};

    const S: Instant = 1_000_000;

    fn ran(machine: &str, begun: Instant, ended: Option<Instant>) -> Activation {
        Activation {
            machine: machine.to_owned(),
            unit: "chaos-a.service".to_owned(),
            invocation: format!("{machine}{begun}"),
            begun,
            active: Some(begun),
            ended,
        }
    }

    fn history(kind: Kind, activations: Vec<Activation>, faults: Vec<Fault>) -> History {
        let wanted = Wanted {
            kind,
            launched: Some(true),
            exists: Some(true),
        };
        History {
            lease_ttl_us: 10 * S,
            activations,
            faults,
            wanted: [("chaos-a.service".to_owned(), wanted)].into(),
            listed: vec!["chaos-a.service".to_owned()],
            converged: Some(0),
            ..History::default()
        }
    }

    fn fault(harm: Harm, begun: Instant, healed: Instant) -> Fault {
        Fault {
            kind: "test",
            on: "m1".to_owned(),
            harm,
            begun,
            dead: begun,
            healed,
        }
    }

    fn found(history: &History) -> Vec<String> {
        let violations = check(history).violations;
        violations
            .iter()
            .map(|text| text[..text.find(':').unwrap()].to_owned())
            .collect()
    }

    #[test]
    fn two_copies_are_found_unless_a_machine_was_cut_off() {
        let copies = || vec![ran("m1", S, Some(60 * S)), ran("m2", 30 * S, None)];
        assert_eq!(
            found(&history(Kind::Single, copies(), vec![])),
            ["I2", "I6"]
        );
        let cut = fault(Harm::CutOff, 10 * S, 58 * S);
        assert_eq!(
            found(&history(Kind::Single, copies(), vec![cut.clone()])),
            Vec::<String>::new()
        );
        assert_eq!(
            found(&history(Kind::Exclusive, copies(), vec![cut])),
            ["I1"]
        );
        let harmless = fault(Harm::None, 10 * S, 58 * S);
        assert_eq!(
            found(&history(Kind::Single, copies(), vec![harmless])),
            ["I2", "I6"]
        );
    }

    #[test]
    fn an_end_without_a_reason_is_found() {
        let ended = || vec![ran("m1", S, Some(60 * S)), ran("m2", 61 * S, None)];
        assert_eq!(found(&history(Kind::Single, ended(), vec![])), ["I6"]);
        let drained = fault(Harm::Drain, 59 * S, 70 * S);
        assert_eq!(
            found(&history(Kind::Single, ended(), vec![drained])),
            Vec::<String>::new()
        );
        let mut asked = history(Kind::Single, ended(), vec![]);
        asked.requests.push(Request {
            at: 59 * S,
            ended: 60 * S,
            verb: "stop",
            unit: "chaos-a.service".to_owned(),
            answer: Answer::Acknowledged,
        });
        assert_eq!(found(&asked), Vec::<String>::new());
    }

    #[test]
    fn a_lost_unit_a_late_failover_and_an_unsettled_end_are_found() {
        let mut lost = history(Kind::Single, vec![], vec![]);
        lost.listed.clear();
        lost.converged = None;
        assert_eq!(found(&lost), ["I5", "I13"]);
        let died = vec![ran("m1", S, Some(10 * S)), ran("m2", 90 * S, None)];
        let late = history(
            Kind::Single,
            died,
            vec![fault(Harm::Death, 10 * S, 200 * S)],
        );
        assert_eq!(found(&late), ["I14"]);
    }
}
