//! PURE. Whether a change can alter a plan. Units that go from starting to running, and keep-alives
//! of machines, are most of what happens in a cluster, and none of it concerns where units are.

use model::{Change, Records};

/// True if a plan made from `records` may differ once `change` is in them.
pub fn may_alter_plan(records: &Records, change: &Change) -> bool {
    match change {
        Change::Unit(name, unit) => {
            records.units.get(name) != unit.as_ref() || records.quarantined_units.contains(name)
        }
        Change::File(hash, file) => records.files.contains_key(hash) != file.is_some(),
        Change::Machine(id, machine) => match (records.machines.get(id), machine) {
            (Some(before), Some(after)) => {
                before.metadata != after.metadata || before.capacity != after.capacity
            }
            (None, None) => records.quarantined_machines.contains(id),
            (Some(_), None) | (None, Some(_)) => true,
        },
        Change::MachineSpec(id, spec) => records.machine_specs.get(id) != spec.as_ref(),
        Change::Assignment(id, name, entry) => {
            records
                .schedule
                .get(name)
                .and_then(|entries| entries.get(id))
                != entry.as_ref()
        }
        Change::Status(id, name, status) => {
            let before = records
                .statuses
                .get(name)
                .and_then(|statuses| statuses.get(id));
            before.map(|status| status.hash) != status.as_ref().map(|status| status.hash)
                || records.is_damaged_status(name, id)
        }
        Change::Hold(name, hold) => records.holds.get(name) != hold.as_ref(),
        Change::Brake(brake) => records.brake != *brake,
        Change::Quarantined { .. } => true,
        Change::Leader(_) | Change::Healed { .. } => false,
    }
}
