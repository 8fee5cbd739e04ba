//! I1: exclusive units never overlap. I2: others only while a machine has lost its lease, and shortly after.

use super::windows::{Window, windows};
use super::{Report, end, kind};
use crate::history::{Activation, Harm, History, Instant, Kind};

/// A duplicate is gone so soon after a cut has healed and the new copy is up: 5 s and the units' stop time, 1 s.
const DUPLICATE_US: Instant = 6_000_000;

/// How late these machines may make it: fleetd there has waited for a processor together with all that was frozen or cut off.
pub(super) const DUPLICATE_SLACK_US: Instant = 4_000_000;

/// A second copy that the lost lease asked for may begin so late after the machine was back.
const START_SLACK_US: Instant = 4_000_000;

/// How long an exclusive unit may run after its whole machine had stood still for longer than its lease.
const THAW_US: Instant = 2_000_000;

/// Two copies, and when both ran.
struct Pair<'a> {
    copies: [&'a Activation; 2],
    from: Instant,
    to: Instant,
}

pub(super) fn never_two(history: &History, report: &mut Report) {
    for (index, a) in history.activations.iter().enumerate() {
        for b in &history.activations[index + 1..] {
            let of = kind(history, &a.unit);
            let (from, to) = (a.begun.max(b.begun), end(a).min(end(b)));
            if a.unit != b.unit || a.machine == b.machine || of == Kind::Global || from >= to {
                continue;
            }
            let copies = [a, b];
            let pair = Pair { copies, from, to };
            if of == Kind::Exclusive {
                exclusive(history, &pair, report);
            } else {
                around_a_cut(history, &pair, report);
            }
        }
    }
}

fn exclusive(history: &History, pair: &Pair<'_>, report: &mut Report) {
    let Pair { copies, from, to } = pair;
    let still = copies
        .iter()
        .find_map(|copy| stood_still(history, &copy.machine, *from, *to));
    if let Some(thawed) = still {
        report.thawed.push(to.saturating_sub(thawed));
        return;
    }
    report
        .violations
        .push(format!("I1: {pair}, and it is exclusive"));
}

fn around_a_cut(history: &History, pair: &Pair<'_>, report: &mut Report) {
    let cuts: Vec<Window> = pair
        .copies
        .iter()
        .flat_map(|copy| windows(history, &copy.machine))
        .filter(|cut| {
            cut.lost.is_some_and(|lost| lost.from <= pair.from)
                && pair.from <= cut.healed + START_SLACK_US
        })
        .collect();
    let Some(healed) = cuts.iter().map(|cut| cut.healed).max() else {
        let text = format!("I2: {pair}, and neither machine can have lost its lease");
        report.violations.push(text);
        return;
    };
    let both_up = pair
        .copies
        .iter()
        .filter_map(|copy| copy.active)
        .max()
        .unwrap_or(healed);
    if pair.to > healed.max(both_up) + DUPLICATE_US + DUPLICATE_SLACK_US {
        let text = format!("I2: {pair}, long after the cut had healed");
        report.violations.push(text);
        return;
    }
    report.duplicates.push(pair.to.saturating_sub(healed));
}

/// When the machine went on, if its kernel ran nothing of it for all that time but for the moment after that: nothing inside a machine
/// can end what stands still, and docs/guarantees.md says so.
fn stood_still(history: &History, machine: &str, from: Instant, to: Instant) -> Option<Instant> {
    let mut frozen = super::faults_on(history, machine, Harm::CutOff)
        .filter(|fault| fault.kind == "frozen machine");
    frozen
        .find(|fault| fault.begun <= from && to <= fault.healed + THAW_US)
        .map(|fault| fault.healing)
}

impl std::fmt::Display for Pair<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b] = self.copies;
        write!(
            f,
            "{} ran on {} ({}) and {} ({}) for {} ms from {}",
            a.unit,
            a.machine,
            a.invocation,
            b.machine,
            b.invocation,
            (self.to - self.from) / 1_000,
            self.from
        )
    }
}
