//! PURE. Why a unit that is to run has no machine.

use model::{HOLD_OBSTACLES_MAX, Hold, HoldReason};

use crate::cluster::{Cluster, MachineIndex, UnitIndex, Want};
use crate::fit::obstacle;
use crate::occupancy::Occupancy;

/// Why a unit waits, and how far one had to look to see it.
#[derive(Debug)]
pub(crate) struct Looked {
    pub(crate) hold: Hold,
    /// The last machine that was asked; none if it does not depend on machines. While no machine up
    /// to it changes, and there are any machines, the unit waits for the same reason.
    pub(crate) last: Option<Last>,
}

/// How far one had to look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Last {
    /// Up to this machine.
    Of(MachineIndex),
    /// At all: one that comes will be asked too.
    OfAll,
}

impl Looked {
    /// Why the unit waits; none if it does not.
    pub(crate) fn at(cluster: &Cluster, occupancy: &Occupancy, unit: UnitIndex) -> Option<Looked> {
        let node = cluster.node(unit);
        if !occupancy.machines_of(unit).is_empty() {
            return None;
        }
        let bare = |reason| Looked {
            hold: Hold {
                reason,
                obstacles: Vec::new(),
                machines: cluster.machines.live_count(),
            },
            last: None,
        };
        match &node.want {
            Want::Inactive | Want::Destroyed | Want::Untouched | Want::Trace => None,
            Want::Frozen(reason) => Some(bare(reason.clone())),
            // It may well run there.
            Want::One
                if cluster
                    .awaited(unit)
                    .is_some_and(|machine| cluster.machines.is_unreadable(machine)) =>
            {
                None
            }
            Want::One if let Some(machine) = cluster.awaited(unit) => {
                let sticky = node.rules.requirements.sticky;
                let machine = cluster.machine(machine).clone();
                Some(bare(match sticky {
                    true => HoldReason::AwaitsMachine { machine },
                    false => HoldReason::MassLoss { machine },
                }))
            }
            Want::One => {
                let seen = node.statuses.iter();
                match seen.map(|machine| cluster.machine(*machine)).min() {
                    Some(on) => Some(bare(match cluster.destination(unit) {
                        Some(to) => HoldReason::Moving {
                            from: on.clone(),
                            to: cluster.machine(to).clone(),
                        },
                        None => HoldReason::Stopping { on: on.clone() },
                    })),
                    None => Some(nowhere(cluster, occupancy, unit, bare)),
                }
            }
            Want::Everywhere => Some(nowhere(cluster, occupancy, unit, bare)),
        }
    }
}

fn nowhere(
    cluster: &Cluster,
    occupancy: &Occupancy,
    unit: UnitIndex,
    bare: impl Fn(HoldReason) -> Looked,
) -> Looked {
    if cluster.machines.live_count() == 0 {
        return bare(HoldReason::NoMachines);
    }
    let mut looked = bare(HoldReason::NothingFits);
    for machine in cluster.machines.in_order(cluster.machines.live()) {
        looked.last = Some(Last::Of(machine));
        if let Some(failed) = obstacle(cluster, occupancy, unit, machine) {
            let named = (cluster.machine(machine).clone(), failed);
            looked.hold.obstacles.push(named);
        }
        if looked.hold.obstacles.len() == HOLD_OBSTACLES_MAX {
            return looked;
        }
    }
    looked.last = Some(Last::OfAll);
    looked
}
