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
        .filter(|(unit, machine)| !records.is_reported(unit, machine))
        .map(|(unit, machine)| (unit.clone(), machine.clone()))
        .collect()
}
