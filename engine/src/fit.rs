//! PURE. Whether one machine can take one unit: the first rule that fails, in the order in which
//! rules are explained.
//!
//! The same rules are applied to all machines at once, as bits, in `place.rs`; a property test
//! holds the two together.

use model::{Obstacle, shortened};
use unitfile::UnitName;

use crate::cluster::{Cluster, MachineIndex, UnitIndex};
use crate::occupancy::Occupancy;

/// Returns the first rule by which the machine, on which the unit is not, cannot take it.
pub(crate) fn obstacle(
    cluster: &Cluster,
    occupancy: &Occupancy,
    unit: UnitIndex,
    machine: MachineIndex,
) -> Option<Obstacle> {
    lasting_obstacle(cluster, unit, machine)
        .or_else(|| {
            missing_peer(cluster, occupancy, unit, machine).map(|peer| Obstacle::MachineOf { peer })
        })
        .or_else(|| {
            let with = occupancy.conflicting(cluster, unit, machine)?;
            Some(Obstacle::Conflict {
                with: cluster.node(with).name.clone(),
            })
        })
        .or_else(|| occupancy.full(cluster, unit, machine))
        .or_else(|| (!cluster.machines.is_open(machine)).then_some(Obstacle::Cordoned))
}

/// The first rule about the machine itself that fails: `MachineID=`, `MachineMetadata=`.
pub(crate) fn lasting_obstacle(
    cluster: &Cluster,
    unit: UnitIndex,
    machine: MachineIndex,
) -> Option<Obstacle> {
    let rules = &cluster.node(unit).rules;
    if cluster.machines.fitting(rules.class).contains(machine.0) {
        return None;
    }
    if let Some(wanted) = &rules.requirements.machine_id
        && !cluster.machine(machine).is_named(wanted)
    {
        return Some(Obstacle::MachineId {
            wanted: shortened(wanted),
        });
    }
    let metadata = cluster.machines.metadata(machine);
    rules.requirements.metadata.iter().find_map(|term| {
        let actual = metadata.get(&term.key);
        if term.allows(actual.map(String::as_str)) {
            return None;
        }
        Some(Obstacle::Metadata {
            wanted: shortened(&term.to_string()),
            actual: actual.map(|actual| shortened(actual)),
        })
    })
}

/// The first peer that is not on the machine.
pub(crate) fn missing_peer(
    cluster: &Cluster,
    occupancy: &Occupancy,
    unit: UnitIndex,
    machine: MachineIndex,
) -> Option<UnitName> {
    let peers = cluster.node(unit).peers.iter();
    let missing = peers
        .copied()
        .find(|peer| !occupancy.is_scheduled(*peer, machine))?;
    Some(cluster.node(missing).name.clone())
}
