//! PURE. What the answers show of a cluster's records.
//!
//! A state is shown only if its machine is there: clients of fleet 1.0 fail on a state of a machine they cannot look up.

use model::{Hold, MachineId, Records, TargetState, Unit, UnitStatus};
use unitfile::{Requirements, UnitFile, UnitName};

use crate::types;

/// A unit as `GET /units` shows it.
pub(super) fn unit_in_list(records: &Records, unit: &Unit) -> types::Unit {
    let file = records.files.get(&unit.file).map(AsRef::as_ref);
    let machine_id = if is_global(unit, file) {
        None
    } else {
        assigned_to(records, &unit.name)
    };
    types::Unit {
        current_state: Some(current_state(records, &unit.name, machine_id)),
        desired_state: unit.target,
        machine_id: machine_id.cloned(),
        name: unit.name.clone(),
        options: file.map(options).unwrap_or_default(),
    }
}

/// A unit as `GET /units/<name>` shows it: a global unit has no current state there.
pub(super) fn unit_alone(records: &Records, unit: &Unit) -> types::Unit {
    let mut shown = unit_in_list(records, unit);
    if is_global(unit, records.files.get(&unit.file).map(AsRef::as_ref)) {
        shown.current_state = None;
    }
    shown
}

/// A unit in an overview.
pub(super) fn unit_row(records: &Records, unit: &Unit) -> types::UnitRow {
    let file = records.files.get(&unit.file).map(AsRef::as_ref);
    let global = is_global(unit, file);
    let machine_id = if global {
        None
    } else {
        assigned_to(records, &unit.name)
    };
    let launched_on = || {
        statuses(records, &unit.name)
            .filter(|(_, status)| status.state == TargetState::Launched)
            .count()
    };
    types::UnitRow {
        name: unit.name.clone(),
        hash: unit.hash,
        description: file
            .and_then(UnitFile::description)
            .unwrap_or_default()
            .to_owned(),
        desired_state: unit.target,
        current_state: current_state(records, &unit.name, machine_id),
        machine_id: machine_id.cloned(),
        global,
        generation: unit.generation,
        hold: records.holds.get(&unit.name).map(hold),
        launched_on: global.then(launched_on),
    }
}

/// Why a unit waits.
pub(super) fn hold(hold: &Hold) -> types::Hold {
    let obstacle = |(machine, obstacle): &(MachineId, model::Obstacle)| types::Obstacle {
        machine_id: machine.clone(),
        reason: obstacle.to_string(),
    };
    types::Hold {
        reason: hold.reason.to_string(),
        needs: needs(hold.needs()),
        machines: hold.machines,
        obstacles: hold.obstacles.iter().map(obstacle).collect(),
    }
}

/// What has to happen until a unit has a machine.
pub(super) fn needs(needs: model::Needs) -> types::Needs {
    match needs {
        model::Needs::Time => types::Needs::Time,
        model::Needs::Change => types::Needs::Change,
    }
}

/// What machines that are there report of a unit, by machine.
pub(super) fn statuses<'a>(
    records: &'a Records,
    name: &UnitName,
) -> impl Iterator<Item = (&'a MachineId, &'a UnitStatus)> {
    let of_unit = records.statuses.get(name);
    of_unit
        .into_iter()
        .flatten()
        .filter(|(machine, _)| records.machines.contains_key(machine))
}

/// A status as `GET /state` shows it.
pub(super) fn state(name: &UnitName, machine: &MachineId, status: &UnitStatus) -> types::UnitState {
    types::UnitState {
        hash: status.hash,
        machine_id: machine.clone(),
        name: name.clone(),
        systemd_active_state: status.active.clone(),
        systemd_load_state: status.load.clone(),
        systemd_sub_state: status.sub.clone(),
    }
}

/// A status in an overview.
pub(super) fn state_row(
    name: &UnitName,
    machine: &MachineId,
    status: &UnitStatus,
) -> types::StateRow {
    let job = |job: &model::JobReport| types::Job {
        kind: job.kind,
        result: job.result.clone(),
        generation: job.generation,
        message: job.message.clone(),
    };
    types::StateRow {
        name: name.clone(),
        machine_id: machine.clone(),
        hash: status.hash,
        systemd_load_state: status.load.clone(),
        systemd_active_state: status.active.clone(),
        systemd_sub_state: status.sub.clone(),
        target_state: status.state,
        generation: status.generation,
        job: status.job.as_ref().map(job),
        since_unix_ms: status.since_unix_ms,
        invocation_id: status.invocation.as_ref().map(|id| id.0.clone()),
    }
}

/// A machine as `GET /machines` shows it.
pub(super) fn machine(records: &Records, machine: &model::Machine) -> types::Machine {
    types::Machine {
        id: machine.id.clone(),
        metadata: records.metadata(&machine.id).unwrap_or_default(),
        primary_ip: machine.address.clone(),
    }
}

/// A machine in an overview.
pub(super) fn machine_row(records: &Records, machine: &model::Machine) -> types::MachineRow {
    types::MachineRow {
        id: machine.id.clone(),
        primary_ip: machine.address.clone(),
        metadata: records.metadata(&machine.id).unwrap_or_default(),
        version: machine.version.clone(),
    }
}

/// The brake on mass loss.
pub(super) fn brake(brake: &model::Brake) -> types::Brake {
    types::Brake {
        phase: brake.phase.to_string(),
        cluster: brake.cluster,
        machines: brake.machines.iter().cloned().collect(),
    }
}

fn is_global(unit: &Unit, file: Option<&UnitFile>) -> bool {
    file.is_some_and(|file| Requirements::of_stored(&unit.name, file).0.global)
}

/// The machine that a unit is on. While it moves there may be two for a moment: the one that reports of it then.
fn assigned_to<'a>(records: &'a Records, name: &UnitName) -> Option<&'a MachineId> {
    let scheduled = records.schedule.get(name)?;
    let reports = |machine: &&MachineId| statuses(records, name).any(|(on, _)| on == *machine);
    scheduled
        .keys()
        .find(reports)
        .or_else(|| scheduled.keys().next())
}

fn current_state(records: &Records, name: &UnitName, on: Option<&MachineId>) -> TargetState {
    statuses(records, name)
        .find(|(machine, _)| Some(*machine) == on)
        .map_or(TargetState::Inactive, |(_, status)| status.state)
}

fn options(file: &UnitFile) -> Vec<types::UnitOption> {
    let option = |option: &unitfile::UnitOption| types::UnitOption {
        name: option.name.clone(),
        section: option.section.clone(),
        value: option.value.clone(),
    };
    file.options().iter().map(option).collect()
}

/// A record that cannot be understood.
pub(super) fn quarantined(problem: &model::Quarantined) -> types::QuarantinedRecord {
    types::QuarantinedRecord {
        key: problem.key.clone(),
        reason: problem.reason.clone(),
    }
}
