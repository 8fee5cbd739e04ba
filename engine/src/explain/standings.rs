//! PURE. How machines compare for one unit, in numbers.

use model::Standing;

use crate::bits::Bits;
use crate::cluster::{Cluster, MachineIndex, UnitIndex};
use crate::occupancy::Occupancy;
use crate::order::{Merit, keep_best};

/// What the machine has to offer the unit.
pub(crate) fn standing(
    cluster: &Cluster,
    occupancy: &Occupancy,
    unit: UnitIndex,
    machine: MachineIndex,
) -> Standing {
    let mut alone = Bits::empty(cluster.machines.slots());
    alone.insert(machine.0);
    let merit = keep_best(cluster, occupancy, unit, &mut alone);
    of(cluster, occupancy, machine, merit)
}

/// The best of these machines in the stated order, up to `count`.
pub(crate) fn best_of(
    cluster: &Cluster,
    occupancy: &Occupancy,
    unit: UnitIndex,
    mut among: Bits,
    count: usize,
) -> Vec<Standing> {
    let mut standings = Vec::new();
    while standings.len() < count {
        let mut best = among.clone();
        let merit = keep_best(cluster, occupancy, unit, &mut best);
        let Some(chosen) = occupancy.least_loaded(cluster, &best) else {
            break;
        };
        standings.push(of(cluster, occupancy, chosen.machine, merit));
        among.remove(chosen.machine.0);
    }
    standings
}

fn of(cluster: &Cluster, occupancy: &Occupancy, machine: MachineIndex, merit: Merit) -> Standing {
    Standing {
        machine: cluster.machine(machine).clone(),
        in_domain: merit.in_domain,
        siblings: merit.siblings,
        preference: merit.preference,
        load: occupancy.load(machine),
    }
}
