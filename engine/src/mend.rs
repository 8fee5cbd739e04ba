//! PURE. Entries of schedules that are damaged in the store and known whole are written again: were one removed instead, its
//! machine would stop the unit at once.

use std::collections::BTreeSet;

use model::{AssignReason, Decision, MachineId, Records};
use unitfile::UnitName;

/// Writes again each of these entries that is known and that nothing else is decided about.
pub(crate) fn mended(
    records: &Records,
    damaged: BTreeSet<(UnitName, MachineId)>,
    decided: &[Decision],
) -> Vec<Decision> {
    let decided: BTreeSet<(&UnitName, &MachineId)> = decided.iter().filter_map(entry_of).collect();
    let again = |(unit, machine): (UnitName, MachineId)| {
        let assignment = records.schedule.get(&unit)?.get(&machine)?.clone();
        (!decided.contains(&(&unit, &machine))).then_some(Decision::Assign {
            unit,
            machine,
            assignment,
            reason: AssignReason::Requested,
        })
    };
    damaged.into_iter().filter_map(again).collect()
}

/// The entry of a schedule that the decision is about.
fn entry_of(decision: &Decision) -> Option<(&UnitName, &MachineId)> {
    match decision {
        Decision::Assign { unit, machine, .. } | Decision::Unassign { unit, machine, .. } => {
            Some((unit, machine))
        }
        Decision::Hold { .. } | Decision::Release { .. } | Decision::Brake(_) => None,
    }
}
