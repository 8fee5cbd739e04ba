//! The words for what is waited for, for what was reached and for what failed.

use api::types::{Explanation, Hold, Job, JobResult, MachineId, StateRow, TargetState};

use crate::machine_label::{Addresses, IdForm};
use crate::wait::verdict::{Failure, Goal, Pending, Wish};
use crate::why;

/// The line for a unit that is where it was wanted; in fleet 1.0's words.
pub(crate) fn reached(
    wish: &Wish,
    state: TargetState,
    machine: Option<&MachineId>,
    machines: &Addresses,
) -> String {
    match (wish.goal, machine) {
        (Goal::Gone, _) => format!("Destroyed {}", wish.name),
        (_, Some(id)) => format!(
            "Unit {} {state} on {}",
            wish.name,
            machines.label(id, IdForm::Short)
        ),
        (_, None) => format!("Unit {} {state}", wish.name),
    }
}

/// Why a unit will not get where it was wanted.
pub(crate) fn failed(wish: &Wish, failure: &Failure, machines: &Addresses) -> String {
    let name = &wish.name;
    match failure {
        Failure::Destroyed => format!("unit {name} was destroyed meanwhile"),
        Failure::Superseded(state) => {
            format!("unit {name} was asked to be {state} meanwhile, by another request")
        }
        Failure::OnMachine(state) => {
            format!(
                "unit {name} failed on {}: {}",
                machines.label(&state.machine_id, IdForm::Short),
                what_failed(state)
            )
        }
    }
}

fn what_failed(state: &StateRow) -> String {
    let systemd = format!(
        "systemd says {}, {} ({})",
        state.systemd_load_state, state.systemd_active_state, state.systemd_sub_state
    );
    match &state.job {
        // The job went well, and yet the unit is not: systemd's state says how.
        None
        | Some(Job {
            result: JobResult::Done | JobResult::Skipped,
            ..
        }) => systemd,
        Some(job) => {
            let kind = job.kind.as_str();
            let message = match job.message.trim_end() {
                "" => String::new(),
                message => format!(": {message}"),
            };
            format!(
                "its {kind} ended with result \"{}\"{message}; {systemd}",
                job.result
            )
        }
    }
}

/// Why no machine takes a unit: one rule a line, then one machine a line.
pub(crate) fn held(
    wish: &Wish,
    hold: &Hold,
    explanation: Option<&Explanation>,
    machines: &Addresses,
) -> String {
    let lines = why::lines(hold, explanation, machines);
    format!("unit {} waits: {}{lines}", wish.name, hold.reason)
}

/// What a unit is at, in a few words.
pub(crate) fn pending(pending: &Pending, machines: &Addresses) -> String {
    match pending {
        Pending::Unseen => "the cluster has not taken note of the request".to_owned(),
        Pending::Unplaced => "no engine has placed it".to_owned(),
        Pending::Held(hold) => format!("waits: {}", hold.reason),
        Pending::OnMachine(id) => format!(
            "{} has been told and has not answered yet",
            machines.label(id, IdForm::Short)
        ),
        Pending::InSystemd(row) => format!(
            "systemd on {} says {} ({})",
            machines.label(&row.machine_id, IdForm::Short),
            row.systemd_active_state,
            row.systemd_sub_state
        ),
    }
}

/// What was still missing when time was up; begins in fleet 1.0's words.
pub(crate) fn timed_out(
    wish: &Wish,
    pending: &Pending,
    explanation: Option<&Explanation>,
    machines: &Addresses,
) -> String {
    let name = &wish.name;
    let state = match wish.goal {
        Goal::Launched => "launched",
        Goal::Loaded | Goal::Stopped => "loaded",
        Goal::Inactive => "inactive",
        Goal::Gone => "destroyed",
    };
    let why = match pending {
        Pending::Held(hold) => held(wish, hold, explanation, machines),
        Pending::Unplaced => {
            "no engine has placed it: does a fleetd with its engine enabled run?".to_owned()
        }
        Pending::Unseen | Pending::OnMachine(_) | Pending::InSystemd(_) => {
            self::pending(pending, machines)
        }
    };
    format!("timed out waiting for unit {name} to report state {state}; {why}")
}
