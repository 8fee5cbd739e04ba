//! PURE. What is reserved on each machine, and which machines have room for what.

use model::{Obstacle, shortened};
use unitfile::Demand;

use crate::bits::Bits;
use crate::cluster::MachineIndex;
use crate::machines::Machines;
use crate::rules::DemandIndex;

/// How many of a counted resource the machine has: what its metadata says under that name.
fn stated(machines: &Machines, machine: MachineIndex, name: &str) -> u64 {
    let metadata = machines.metadata(machine);
    let count = metadata.get(name).and_then(|value| value.parse().ok());
    count.unwrap_or(0)
}

/// Reservations.
#[derive(Debug, Default)]
pub(crate) struct Room {
    /// By machine.
    reserved: Vec<Demand>,
    demands: Vec<Demand>,
    /// By demand: the machines that have so much left.
    enough: Vec<Bits>,
}

impl Room {
    pub(crate) fn of(slots: usize) -> Room {
        Room {
            reserved: vec![Demand::default(); slots],
            ..Room::default()
        }
    }

    /// Takes in demands that were not made before.
    pub(crate) fn learn(&mut self, machines: &Machines, demands: &[Demand]) {
        for demand in &demands[self.demands.len()..] {
            let mut enough = Bits::empty(self.reserved.len());
            for machine in machines.live().iter() {
                let left = lacking(
                    machines,
                    &self.reserved[machine],
                    MachineIndex(machine),
                    demand,
                );
                if left.is_none() {
                    enough.insert(machine);
                }
            }
            self.enough.push(enough);
            self.demands.push(demand.clone());
        }
    }

    /// Looks again at what the machine has.
    pub(crate) fn update(&mut self, machines: &Machines, machine: MachineIndex) {
        let reserved = &self.reserved[machine.0];
        for (demand, enough) in self.demands.iter().zip(&mut self.enough) {
            match lacking(machines, reserved, machine, demand) {
                None => enough.insert(machine.0),
                Some(_) => enough.remove(machine.0),
            }
        }
    }

    pub(crate) fn reserve(
        &mut self,
        machines: &Machines,
        machine: MachineIndex,
        demand: DemandIndex,
    ) {
        add(&mut self.reserved[machine.0], &self.demands[demand.0]);
        self.update(machines, machine);
    }

    pub(crate) fn release(
        &mut self,
        machines: &Machines,
        machine: MachineIndex,
        demand: DemandIndex,
    ) {
        subtract(&mut self.reserved[machine.0], &self.demands[demand.0]);
        self.update(machines, machine);
    }

    /// The machines that have room for the demand.
    pub(crate) fn enough(&self, demand: DemandIndex) -> &Bits {
        &self.enough[demand.0]
    }

    /// What is reserved on the machine, but for these.
    pub(crate) fn reserved_without(&self, machine: MachineIndex, but: &[DemandIndex]) -> Demand {
        let mut reserved = self.reserved[machine.0].clone();
        for demand in but {
            subtract(&mut reserved, &self.demands[demand.0]);
        }
        reserved
    }

    /// What the machine lacks for the demand beside all that is reserved.
    pub(crate) fn lacking(
        &self,
        machines: &Machines,
        machine: MachineIndex,
        demand: &Demand,
    ) -> Option<Obstacle> {
        lacking(machines, &self.reserved[machine.0], machine, demand)
    }
}

/// Adds one demand to another. More than can be counted is as much as nobody has.
pub(crate) fn add(sum: &mut Demand, demand: &Demand) {
    sum.memory_bytes = sum.memory_bytes.saturating_add(demand.memory_bytes);
    sum.cpu_milli = sum.cpu_milli.saturating_add(demand.cpu_milli);
    for (name, count) in &demand.counted {
        let all = sum.counted.entry(name.clone()).or_insert(0);
        *all = all.saturating_add(*count);
    }
}

/// Makes `most` of each resource as much as the demand, if it is less.
pub(crate) fn grow_to(most: &mut Demand, demand: &Demand) {
    most.memory_bytes = most.memory_bytes.max(demand.memory_bytes);
    most.cpu_milli = most.cpu_milli.max(demand.cpu_milli);
    for (name, count) in &demand.counted {
        let all = most.counted.entry(name.clone()).or_insert(0);
        *all = (*all).max(*count);
    }
}

/// The demand without the resources of which it takes no more than `before` did.
pub(crate) fn beyond(demand: &Demand, before: &Demand) -> Demand {
    let or_nothing = |now: u64, before: u64| if now > before { now } else { 0 };
    let counted = demand.counted.iter().filter(|(name, count)| {
        let before = before.counted.get(*name).copied();
        **count > before.unwrap_or(0)
    });
    Demand {
        memory_bytes: or_nothing(demand.memory_bytes, before.memory_bytes),
        cpu_milli: or_nothing(demand.cpu_milli, before.cpu_milli),
        counted: counted
            .map(|(name, count)| (name.clone(), *count))
            .collect(),
    }
}

fn subtract(sum: &mut Demand, demand: &Demand) {
    sum.memory_bytes = sum.memory_bytes.saturating_sub(demand.memory_bytes);
    sum.cpu_milli = sum.cpu_milli.saturating_sub(demand.cpu_milli);
    for (name, count) in &demand.counted {
        if let Some(all) = sum.counted.get_mut(name) {
            *all = all.saturating_sub(*count);
        }
    }
}

/// The first resource of which the machine has too little left for the demand.
pub(crate) fn lacking(
    machines: &Machines,
    reserved: &Demand,
    machine: MachineIndex,
    demand: &Demand,
) -> Option<Obstacle> {
    let capacity = machines.capacity(machine);
    let short = |resource: &str, needed: u64, has: u64, reserved: u64| {
        let left = has.saturating_sub(reserved);
        (needed > left).then(|| Obstacle::NoRoom {
            resource: shortened(resource),
            needed,
            left,
        })
    };
    let (memory, cpu) = (capacity.memory_bytes, capacity.cpu_milli);
    short("memory", demand.memory_bytes, memory, reserved.memory_bytes)
        .or_else(|| short("cpu", demand.cpu_milli, cpu, reserved.cpu_milli))
        .or_else(|| {
            demand.counted.iter().find_map(|(name, needed)| {
                let taken = reserved.counted.get(name).copied().unwrap_or(0);
                short(name, *needed, stated(machines, machine, name), taken)
            })
        })
}
