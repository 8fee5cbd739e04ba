//! PURE. The engine's one decision: from everything the store knows of a cluster, what is to be
//! written so that every unit is where it ought to be.
//!
//! The same records give the same decisions, and once they are carried out the same question is
//! answered with none.

use std::collections::BTreeSet;

use model::{
    AssignReason, Assignment, Decision, HoldReason, MachineId, Obstacle, PerMachine, Records,
    TargetState, UnassignReason,
};
use unitfile::{FileHash, UnitName};

use crate::cluster::{Cluster, MachineIndex, UnitIndex, Want};
use crate::fit::obstacle;
use crate::hold::Looked;
use crate::keep::Removed;
use crate::occupancy::Occupancy;
use crate::place::{Placement, Why};
use crate::planner::Planner;

/// Decides what to write. In this order: what is taken from machines, what is renewed where it is,
/// what is put on machines (each unit after those it needs), and why the others wait.
///
/// - A unit that is fine where it is stays there.
/// - A unit is put on a machine only if no status says that it may run on another.
/// - `MachineOf=` and `Conflicts=` hold in the schedule that results, and a unit is not put where
///   one it conflicts with has not stopped yet.
///
/// What follows the changes of a cluster keeps a [`Planner`] instead, which decides the same.
pub fn schedule(records: &Records) -> Vec<Decision> {
    Planner::of(records).plan(records)
}

/// Returns the files that no unit and no entry of the schedule refers to, in order of their hashes,
/// and that no unit still runs by.
pub fn unreferenced_files(records: &Records) -> Vec<FileHash> {
    let mut referenced: BTreeSet<FileHash> = records.units.values().map(|unit| unit.file).collect();
    referenced.extend(
        records
            .schedule
            .values()
            .flat_map(PerMachine::values)
            .map(|entry| entry.file),
    );
    let candidates = records
        .files
        .iter()
        .filter(|(hash, _)| !referenced.contains(hash));
    let mut running = None;
    candidates
        .filter(|(_, file)| {
            let running = running.get_or_insert_with(|| -> BTreeSet<_> {
                records
                    .statuses
                    .values()
                    .flat_map(PerMachine::values)
                    .map(|status| status.hash)
                    .collect()
            });
            !running.contains(&file.hash())
        })
        .map(|(hash, _)| *hash)
        .collect()
}

/// What was found, beside what the store has.
pub(crate) struct Plan<'a> {
    pub(crate) records: &'a Records,
    pub(crate) cluster: &'a Cluster,
    pub(crate) occupancy: &'a Occupancy,
}

impl Plan<'_> {
    /// What is taken from machines.
    pub(crate) fn unassign(&self, removed: &Removed) -> Vec<Decision> {
        let mut gone: Vec<_> = removed
            .iter()
            .filter(|((unit, machine), _)| !self.occupancy.is_scheduled(*unit, *machine))
            .collect();
        gone.sort_by(|(one, _), (other, _)| self.cluster.by_names(one, other));
        gone.into_iter()
            .map(|((unit, machine), reason)| Decision::Unassign {
                unit: self.name(*unit),
                machine: self.id(*machine),
                reason: self.final_reason(*unit, *machine, reason),
            })
            .collect()
    }

    /// The peer that was missed at first may be there now: then the reason is what is still in the
    /// way.
    fn final_reason(
        &self,
        unit: UnitIndex,
        machine: MachineIndex,
        reason: &UnassignReason,
    ) -> UnassignReason {
        match reason {
            UnassignReason::NoLongerFits(Obstacle::MachineOf { .. }) => {
                match obstacle(self.cluster, self.occupancy, unit, machine) {
                    Some(obstacle) => UnassignReason::NoLongerFits(obstacle),
                    None => reason.clone(),
                }
            }
            UnassignReason::NoLongerFits(_)
            | UnassignReason::Inactive
            | UnassignReason::Destroyed
            | UnassignReason::MachineGone
            | UnassignReason::Moved { .. }
            | UnassignReason::Duplicate { .. }
            | UnassignReason::Unreadable => reason.clone(),
        }
    }

    /// Renews the entries of a unit that stay but say something else than its users ask for.
    /// Returns how many there are of such entries.
    pub(crate) fn renew(&self, unit: UnitIndex, decisions: &mut Vec<Decision>) -> usize {
        let node = self.cluster.node(unit);
        let Some(assignment) = &node.assignment else {
            return 0;
        };
        let entries = self.records.schedule.get(&node.name);
        let behind: Vec<(&MachineId, &Assignment)> = entries
            .into_iter()
            .flatten()
            .filter(|(_, entry)| *entry != assignment)
            .collect();
        for (id, entry) in &behind {
            let Some(machine) = self.cluster.machines.find(id) else {
                continue;
            };
            if self.occupancy.is_scheduled(unit, machine)
                && self.may_renew(unit, machine, assignment, entry)
            {
                decisions.push(Decision::Assign {
                    unit: node.name.clone(),
                    machine: (*id).clone(),
                    assignment: assignment.clone(),
                    reason: AssignReason::Requested,
                });
            }
        }
        behind.len()
    }

    fn may_renew(
        &self,
        unit: UnitIndex,
        machine: MachineIndex,
        assignment: &Assignment,
        entry: &Assignment,
    ) -> bool {
        match &self.cluster.node(unit).want {
            // A file that is missing or not understood changes nothing; what was asked of the file
            // before can be done.
            Want::Frozen(reason)
                if matches!(
                    **reason,
                    HoldReason::FileMissing { .. } | HoldReason::Invalid { .. }
                ) =>
            {
                entry.file == assignment.file
            }
            // What conflicts with it there must have stopped before it is started, and what takes
            // up the room that it needs by another file than before.
            Want::One | Want::Everywhere => {
                let occupancy = self.occupancy;
                let has_room = entry.file == assignment.file
                    || occupancy.has_room_to_grow(self.cluster, unit, machine);
                has_room
                    && (assignment.target != TargetState::Launched
                        || !occupancy.conflicts_with_lingering(self.cluster, unit, machine))
            }
            Want::Frozen(_) | Want::Untouched | Want::Inactive | Want::Destroyed | Want::Trace => {
                false
            }
        }
    }

    /// None if the store has the entry already.
    pub(crate) fn assign(&self, placement: &Placement) -> Option<Decision> {
        let Placement { unit, machine, why } = *placement;
        let node = self.cluster.node(unit);
        if node.scheduled.binary_search(&machine).is_ok() {
            return None;
        }
        let assignment = node.assignment.clone()?;
        let reason = match why {
            Why::Moved => AssignReason::Moved,
            Why::Back => AssignReason::Requested,
            Why::LeastLoaded { load, candidates } => AssignReason::LeastLoaded { load, candidates },
            Why::Best {
                merit,
                load,
                candidates,
            } => AssignReason::Spread {
                in_domain: merit.in_domain,
                siblings: merit.siblings,
                preference: merit.preference,
                load,
                candidates,
            },
            Why::Everywhere => AssignReason::Global,
        };
        Some(Decision::Assign {
            unit: node.name.clone(),
            machine: self.id(machine),
            assignment,
            reason,
        })
    }

    /// Whether the reason why the unit waits changed, or is none any more. Returns what was found.
    pub(crate) fn hold(&self, unit: UnitIndex, decisions: &mut Vec<Decision>) -> Option<Looked> {
        let name = &self.cluster.node(unit).name;
        let looked = Looked::at(self.cluster, self.occupancy, unit);
        match (&looked, self.records.holds.get(name)) {
            (Some(looked), Some(before)) if looked.hold.says_as(before) => {}
            (Some(looked), _) => decisions.push(Decision::Hold {
                unit: name.clone(),
                hold: looked.hold.clone(),
            }),
            (None, Some(_)) => {
                let untouched = self.records.quarantined_units.contains(name)
                    && !self.records.units.contains_key(name);
                if !untouched {
                    decisions.push(Decision::Release { unit: name.clone() });
                }
            }
            (None, None) => {}
        }
        looked
    }

    fn name(&self, unit: UnitIndex) -> UnitName {
        self.cluster.node(unit).name.clone()
    }

    fn id(&self, machine: MachineIndex) -> MachineId {
        self.cluster.machine(machine).clone()
    }
}
