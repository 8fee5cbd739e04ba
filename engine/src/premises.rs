//! PURE. What a plan rests on that may no longer be so when it is written: that machines have not begun with units that they were
//! given a moment ago.

use std::collections::BTreeSet;

use model::{Decision, MachineId, Records};
use unitfile::UnitName;

/// The units that the plan takes from machines which report nothing of them, where that gives their place away: the unit to
/// another machine, or the machine to another unit, which may conflict with it.
pub(crate) fn unreported(
    records: &Records,
    decisions: &[Decision],
) -> BTreeSet<(UnitName, MachineId)> {
    let mut placed: BTreeSet<&UnitName> = BTreeSet::new();
    let mut filled: BTreeSet<&MachineId> = BTreeSet::new();
    for decision in decisions {
        if let Decision::Assign { unit, machine, .. } = decision {
            placed.insert(unit);
            filled.insert(machine);
        }
    }
    let is_reported = |unit: &UnitName, machine: &MachineId| {
        let reports = records.statuses.get(unit);
        reports.is_some_and(|reports| reports.contains_key(machine))
            || records.is_damaged_status(unit, machine)
    };
    decisions
        .iter()
        .filter_map(|decision| match decision {
            Decision::Unassign { unit, machine, .. } => Some((unit, machine)),
            Decision::Assign { .. }
            | Decision::Hold { .. }
            | Decision::Release { .. }
            | Decision::Brake(_) => None,
        })
        .filter(|(unit, machine)| placed.contains(unit) || filled.contains(machine))
        .filter(|(unit, machine)| !is_reported(unit, machine))
        .map(|(unit, machine)| (unit.clone(), machine.clone()))
        .collect()
}
