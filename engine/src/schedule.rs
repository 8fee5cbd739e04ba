//! PURE. The engine's one decision: from everything the store knows of a cluster, what is to be
//! written so that every unit is where it ought to be.
//!
//! The same records give the same decisions, and once they are carried out the same question is
//! answered with none.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    AssignReason, Assignment, Decision, HoldReason, MachineId, Obstacle, Records, TargetState,
    UnassignReason,
};
use unitfile::{FileHash, UnitName};

use crate::cluster::{Cluster, MachineIndex, UnitIndex, Want};
use crate::fit::obstacle;
use crate::hold::hold;
use crate::keep::{Removed, keep};
use crate::occupancy::Occupancy;
use crate::place::{Placement, Why, place};

/// Decides what to write. In this order: what is taken from machines, what is renewed where it is,
/// what is put on machines (each unit after those it needs), and why the others wait.
///
/// - A unit that is fine where it is stays there.
/// - A unit is put on a machine only if no status says that it may run on another.
/// - `MachineOf=` and `Conflicts=` hold in the schedule that results, and a unit is not put where
///   one it conflicts with has not stopped yet.
pub fn schedule(records: &Records) -> Vec<Decision> {
    let cluster = Cluster::of(records);
    let mut occupancy = Occupancy::empty(&cluster);
    let removed = keep(&cluster, &mut occupancy);
    let placements = place(&cluster, &mut occupancy, &removed);
    let plan = Plan {
        records,
        cluster: &cluster,
        occupancy: &occupancy,
    };
    let mut decisions = plan.unassign(&removed);
    decisions.extend(plan.renew());
    decisions.extend(
        placements
            .iter()
            .filter_map(|placement| plan.assign(placement)),
    );
    decisions.extend(plan.holds());
    decisions
}

/// Returns the files that no unit and no entry of the schedule refers to, in order of their hashes,
/// and that no unit still runs by.
pub fn unreferenced_files(records: &Records) -> Vec<FileHash> {
    let mut referenced: BTreeSet<FileHash> = records.units.values().map(|unit| unit.file).collect();
    referenced.extend(
        records
            .schedule
            .values()
            .flat_map(BTreeMap::values)
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
                    .flat_map(BTreeMap::values)
                    .map(|status| status.hash)
                    .collect()
            });
            !running.contains(&file.hash())
        })
        .map(|(hash, _)| *hash)
        .collect()
}

/// What was found, beside what the store has.
struct Plan<'a> {
    records: &'a Records,
    cluster: &'a Cluster,
    occupancy: &'a Occupancy<'a>,
}

impl Plan<'_> {
    fn unassign(&self, removed: &Removed) -> Vec<Decision> {
        removed
            .iter()
            .filter(|((unit, machine), _)| !self.occupancy.is_scheduled(*unit, *machine))
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
            | UnassignReason::Duplicate { .. } => reason.clone(),
        }
    }

    /// Entries that stay but say something else than the unit's users ask for.
    fn renew(&self) -> Vec<Decision> {
        let mut decisions = Vec::new();
        for (name, entries) in &self.records.schedule {
            let Some(unit) = self.records.units.get(name) else {
                continue;
            };
            let assignment = Assignment::of(unit);
            if entries.values().all(|entry| *entry == assignment) {
                continue;
            }
            let Some(index) = self.index(name) else {
                continue;
            };
            for machine in self.cluster.node(index).scheduled.iter().copied() {
                let id = self.cluster.machine(machine);
                let differs = entries.get(id).is_some_and(|entry| *entry != assignment);
                if differs
                    && self.occupancy.is_scheduled(index, machine)
                    && self.may_renew(index, machine, &assignment, entries.get(id))
                {
                    decisions.push(Decision::Assign {
                        unit: name.clone(),
                        machine: id.clone(),
                        assignment: assignment.clone(),
                        reason: AssignReason::Requested,
                    });
                }
            }
        }
        decisions
    }

    fn may_renew(
        &self,
        unit: UnitIndex,
        machine: MachineIndex,
        assignment: &Assignment,
        entry: Option<&Assignment>,
    ) -> bool {
        match &self.cluster.node(unit).want {
            // A file that is missing or not understood changes nothing; what was asked of the file
            // before can be done.
            Want::Frozen(HoldReason::FileMissing { .. } | HoldReason::Invalid { .. }) => {
                entry.is_some_and(|entry| entry.file == assignment.file)
            }
            // What conflicts with it there must have stopped before it is started.
            Want::One | Want::Everywhere => {
                assignment.target != TargetState::Launched
                    || !self.occupancy.conflicts_with_lingering(unit, machine)
            }
            Want::Frozen(_) | Want::Untouched | Want::Inactive | Want::Destroyed | Want::Trace => {
                false
            }
        }
    }

    /// None if the store has the entry already.
    fn assign(&self, placement: &Placement) -> Option<Decision> {
        let Placement { unit, machine, why } = *placement;
        let node = self.cluster.node(unit);
        if node.scheduled.contains(&machine) {
            return None;
        }
        let assignment = node.assignment.clone()?;
        let reason = match why {
            Why::Back => AssignReason::Requested,
            Why::LeastLoaded { load, candidates } => AssignReason::LeastLoaded { load, candidates },
            Why::Everywhere => AssignReason::Global,
        };
        Some(Decision::Assign {
            unit: node.name.clone(),
            machine: self.id(machine),
            assignment,
            reason,
        })
    }

    /// Reasons that changed, and reasons of units that no longer wait.
    fn holds(&self) -> Vec<Decision> {
        let mut decisions = Vec::new();
        let mut known = self.records.holds.iter().peekable();
        let release = |name: &UnitName| {
            let untouched = self.records.quarantined_units.contains(name)
                && !self.records.units.contains_key(name);
            (!untouched).then(|| Decision::Release { unit: name.clone() })
        };
        for unit in self.cluster.units() {
            let name = &self.cluster.node(unit).name;
            while let Some((gone, _)) = known.next_if(|(gone, _)| *gone < name) {
                decisions.extend(release(gone));
            }
            let before = known
                .next_if(|(held, _)| *held == name)
                .map(|(_, hold)| hold);
            match (hold(self.cluster, self.occupancy, unit), before) {
                (Some(hold), Some(before)) if hold == *before => {}
                (Some(hold), _) => decisions.push(Decision::Hold {
                    unit: name.clone(),
                    hold,
                }),
                (None, Some(_)) => decisions.extend(release(name)),
                (None, None) => {}
            }
        }
        decisions.extend(known.filter_map(|(gone, _)| release(gone)));
        decisions
    }

    fn name(&self, unit: UnitIndex) -> UnitName {
        self.cluster.node(unit).name.clone()
    }

    fn id(&self, machine: MachineIndex) -> MachineId {
        self.cluster.machine(machine).clone()
    }

    fn index(&self, name: &UnitName) -> Option<UnitIndex> {
        let units = &self.cluster.nodes[..self.cluster.named];
        units
            .binary_search_by(|node| node.name.cmp(name))
            .ok()
            .map(UnitIndex)
    }
}
