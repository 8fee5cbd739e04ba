//! PURE. Why a unit that is to run has no machine.

use model::{HOLD_OBSTACLES_MAX, Hold, HoldReason};

use crate::cluster::{Cluster, MachineIndex, UnitIndex, Want};
use crate::fit::obstacle;
use crate::occupancy::Occupancy;

/// Returns why the unit waits; none if it does not.
pub(crate) fn hold(cluster: &Cluster, occupancy: &Occupancy<'_>, unit: UnitIndex) -> Option<Hold> {
    let node = cluster.node(unit);
    if !occupancy.machines_of(unit).is_empty() {
        return None;
    }
    let bare = |reason| Hold {
        reason,
        obstacles: Vec::new(),
        machines: cluster.live,
    };
    match &node.want {
        Want::Inactive | Want::Destroyed | Want::Untouched | Want::Trace => None,
        Want::Frozen(reason) => Some(bare(reason.clone())),
        Want::One | Want::Everywhere => {
            let stopping = match node.want {
                Want::One => node
                    .statuses
                    .iter()
                    .map(|machine| cluster.machine(*machine))
                    .min(),
                Want::Everywhere
                | Want::Frozen(_)
                | Want::Untouched
                | Want::Inactive
                | Want::Destroyed
                | Want::Trace => None,
            };
            Some(match stopping {
                Some(on) => bare(HoldReason::Stopping { on: on.clone() }),
                None if cluster.live == 0 => bare(HoldReason::NoMachines),
                None => Hold {
                    obstacles: (0..cluster.live)
                        .filter_map(|machine| {
                            let failed = obstacle(cluster, occupancy, unit, MachineIndex(machine))?;
                            Some((cluster.machines[machine].clone(), failed))
                        })
                        .take(HOLD_OBSTACLES_MAX)
                        .collect(),
                    ..bare(HoldReason::NothingFits)
                },
            })
        }
    }
}
