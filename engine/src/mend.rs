//! PURE. What the leader does about damaged entries of schedules. One that is known whole is written again: were it removed instead, its
//! machine would stop the unit at once. One that was never known is taken away where the unit is given to another machine: its own could
//! else take the unit by it too.

use std::collections::BTreeSet;

use model::{AssignReason, Decision, MachineId, Records, UnassignReason};
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

/// Takes away each entry that was never known, of units that are given to another machine, if its own reports nothing of the unit.
pub(crate) fn displaced(records: &Records, decided: &[Decision]) -> Vec<Decision> {
    let given = decided.iter().filter_map(|decision| match decision {
        Decision::Assign {
            unit,
            machine,
            reason,
            ..
        } => match reason {
            AssignReason::LeastLoaded { .. }
            | AssignReason::Spread { .. }
            | AssignReason::Moved => Some((unit, machine)),
            // A global unit is on many machines, and what is there already is given nowhere.
            AssignReason::Global | AssignReason::Requested => None,
        },
        Decision::Unassign { .. }
        | Decision::Hold { .. }
        | Decision::Release { .. }
        | Decision::Brake(_) => None,
    });
    let displaced = given.flat_map(|(unit, to)| {
        let unknown = records.quarantined_entries.get(unit).into_iter().flatten();
        let others = unknown.filter(move |machine| *machine != to);
        others
            .filter(move |machine| !records.is_reported(unit, machine))
            .map(move |machine| Decision::Unassign {
                unit: unit.clone(),
                machine: machine.clone(),
                reason: UnassignReason::Unreadable,
            })
    });
    displaced.collect()
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
