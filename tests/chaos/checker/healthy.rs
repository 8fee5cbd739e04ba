//! I6: what runs well is left alone. Every end needs a reason; and what leaves in good order leaves nothing running.

use super::copies::DUPLICATE_SLACK_US;
use super::windows::{hindrances, windows};
use super::{Report, end, faults_on, kind};
use crate::history::{Activation, Answer, Harm, History, Instant, Kind, Request};

/// What was asked for is done so soon after the answer and after what was in its way: 5 s and the units' stop time, 1 s.
const REQUEST_US: Instant = 6_000_000;
const REQUEST_SLACK_US: Instant = 4_000_000;

/// A machine that is whole again has ended what it may not keep so soon: 5 s and the units' stop time, 1 s.
const RETURN_US: Instant = 6_000_000;

/// An exclusive unit is started only once its guard is up, so it can be given up at any time in which the lease was not confirmed;
/// but for a new lease not later than this after the machine was whole again.
const GIVEN_UP_SLACK_US: Instant = 4_000_000;

pub(super) fn hands_off(history: &History, report: &mut Report) {
    for activation in &history.activations {
        let Some(ended) = activation.ended else {
            continue;
        };
        if let Some(reason) = reason(history, activation, ended) {
            *report.ends.entry(reason).or_default() += 1;
            continue;
        }
        report.violations.push(format!(
            "I6: {} on {} was ended at {} with no reason (invocation {})",
            activation.unit, activation.machine, ended, activation.invocation
        ));
    }
}

/// Once `systemctl stop fleet` is done, nothing of fleet's runs there before it is started again.
pub(super) fn leaves_nothing(history: &History, report: &mut Report) {
    for fault in history.faults.iter().filter(|f| f.harm == Harm::Drain) {
        for left in history.activations.iter().filter(|activation| {
            activation.machine == fault.on
                && activation.begun < fault.healing
                && end(activation) > fault.done
        }) {
            report.violations.push(format!(
                "I2: {} ran on {} after systemctl stop fleet was done there (invocation {})",
                left.unit, left.machine, left.invocation
            ));
        }
    }
}

/// Why it may have ended then; none if it may not.
fn reason(history: &History, activation: &Activation, ended: Instant) -> Option<&'static str> {
    let machine = activation.machine.as_str();
    let within =
        |harm| faults_on(history, machine, harm).any(|f| f.begun <= ended && ended <= f.done);
    if within(Harm::Death) {
        return Some("its machine died");
    }
    if within(Harm::Drain) {
        return Some("its machine left");
    }
    if was_asked(history, activation, ended) {
        return Some("asked for");
    }
    match kind(history, &activation.unit) {
        Kind::Single if was_moved(history, activation, ended) => Some("moved"),
        Kind::Exclusive if was_given_up(history, activation, ended) => Some("given up in time"),
        Kind::Single | Kind::Exclusive | Kind::Global => None,
    }
}

/// True if the operator had it ended: no sooner than asked, and soon.
fn was_asked(history: &History, activation: &Activation, ended: Instant) -> bool {
    history.requests.iter().any(|request| {
        request.unit == activation.unit
            && ends_units(request)
            && request.at <= ended
            && ended <= dealt_with(history, &activation.machine, request)
            && activation.begun <= latest_begin(request)
    })
}

fn ends_units(request: &Request) -> bool {
    matches!(request.verb, "stop" | "destroy" | "replace")
}

/// An activation that begins later is the answer to the request, or to a later one.
fn latest_begin(request: &Request) -> Instant {
    match request.answer {
        Answer::Acknowledged => request.ended,
        Answer::Unknown => request.ended + REQUEST_US + REQUEST_SLACK_US,
    }
}

/// When a machine has done what was asked for, at the latest.
fn dealt_with(history: &History, machine: &str, request: &Request) -> Instant {
    let due = request.ended + REQUEST_US + REQUEST_SLACK_US;
    let in_its_way = hindrances(history, machine)
        .into_iter()
        .filter(|(begun, healed)| *begun <= due && *healed >= request.ended);
    let delayed = in_its_way.map(|(_, healed)| healed + REQUEST_US + REQUEST_SLACK_US);
    delayed.max().unwrap_or(due).max(due)
}

/// True if its machine may have lost its lease and is back, and the unit was up elsewhere before it ended here.
fn was_moved(history: &History, activation: &Activation, ended: Instant) -> bool {
    windows(history, &activation.machine).iter().any(|cut| {
        let Some(lost) = cut.lost else {
            return false;
        };
        let elsewhere = history.activations.iter().filter(|other| {
            other.unit == activation.unit
                && other.machine != activation.machine
                && other.begun >= lost.from
        });
        let ups = elsewhere.filter_map(|other| other.active);
        let up = ups.filter(|active| *active <= ended).max();
        up.is_some_and(|up| {
            lost.back_from <= ended && ended <= cut.healed.max(up) + RETURN_US + DUPLICATE_SLACK_US
        })
    })
}

/// True if its machine may have gone without a confirmation of its lease for too long.
fn was_given_up(history: &History, activation: &Activation, ended: Instant) -> bool {
    windows(history, &activation.machine).iter().any(|window| {
        window.give_up_from <= ended
            && ended <= window.healed + RETURN_US + GIVEN_UP_SLACK_US
            && activation.begun <= window.healed
    })
}
