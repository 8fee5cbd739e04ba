//! I14: units of a lost machine run elsewhere within the lease and a second, unless etcd or another machine was broken too.

use super::{Report, end, kind};
use crate::history::{Activation, Fault, Harm, History, Instant, Kind};

/// The promise beyond the lease, and how late these machines may make it: a boot or a recovery may be under way beside it.
const AFTER_LEASE_US: Instant = 1_000_000;
const SLACK_US: Instant = 4_000_000;

/// What was broken so shortly before may still be mending itself.
const MENDS_US: Instant = 10_000_000;

pub(super) fn in_time(history: &History, report: &mut Report) {
    for fault in &history.faults {
        let Some(lost) = lost_at(fault) else {
            continue;
        };
        let limit = lost + history.lease_ttl_us + AFTER_LEASE_US + SLACK_US;
        if fault.healing < limit || !is_alone(history, fault, limit) {
            continue;
        }
        for unit in units_on(history, fault, lost) {
            let asked = history
                .requests
                .iter()
                .any(|r| r.unit == unit.unit && r.ended >= fault.begun && r.at <= limit);
            let of = kind(history, &unit.unit);
            if of == Kind::Global || asked {
                continue;
            }
            let next = history.activations.iter().filter(|other| {
                other.unit == unit.unit && other.machine != unit.machine && other.begun >= lost
            });
            match next.filter_map(|other| other.active).min() {
                Some(active) if active <= limit => {
                    report.failovers.push((fault.kind, of, active - lost));
                }
                Some(_) | None => report.violations.push(format!(
                    "I14: {} of {} did not run elsewhere in time after {} at {lost}",
                    unit.unit, fault.on, fault.kind
                )),
            }
        }
    }
}

/// When the machine was last able to confirm its lease; none if it may go on confirming it.
fn lost_at(fault: &Fault) -> Option<Instant> {
    match fault.harm {
        Harm::Death => Some(fault.done),
        Harm::CutOff => Some(fault.begun),
        Harm::Drain
        | Harm::Deaf
        | Harm::Hampered
        | Harm::Unconfirmed
        | Harm::Blocked
        | Harm::None => None,
    }
}

fn is_alone(history: &History, fault: &Fault, limit: Instant) -> bool {
    history
        .faults
        .iter()
        .all(|other| other == fault || other.begun > limit || other.healed + MENDS_US < fault.begun)
}

/// What ran there when it was lost.
fn units_on<'a>(
    history: &'a History,
    fault: &'a Fault,
    lost: Instant,
) -> impl Iterator<Item = &'a Activation> {
    history
        .activations
        .iter()
        .filter(move |a| a.machine == fault.on && a.begun < fault.begun && end(a) >= lost)
}
