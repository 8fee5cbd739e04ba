//! PURE. What is reserved on each machine, and which machines have room for what.

use std::collections::BTreeMap;
use std::ops::Bound;

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
///
/// Of each resource it is kept which machines have how much left of it, for each amount that some
/// unit reserves. A reservation moves a machine only past the amounts between what it had left and
/// what it has left now, so that many different demands cost no more than few until machines fill.
#[derive(Debug, Default)]
pub(crate) struct Room {
    /// By machine.
    reserved: Vec<Demand>,
    demands: Vec<Demand>,
    memory: Ladder,
    cpu: Ladder,
    /// By name of the counted resource.
    counted: BTreeMap<String, Ladder>,
}

/// Of one resource, which machines have how much of it left.
#[derive(Debug, Default)]
struct Ladder {
    /// By machine.
    left: Vec<u64>,
    /// By amount, of those that some unit reserves: the machines that have so much left.
    enough: BTreeMap<u64, Bits>,
}

impl Ladder {
    fn of(left: Vec<u64>) -> Ladder {
        Ladder {
            left,
            enough: BTreeMap::new(),
        }
    }

    /// Takes in that some unit reserves so much.
    fn learn(&mut self, amount: u64) {
        if amount == 0 {
            return;
        }
        let left = &self.left;
        self.enough.entry(amount).or_insert_with(|| {
            let mut enough = Bits::empty(left.len());
            let machines = left.iter().enumerate();
            machines
                .filter(|(_, left)| **left >= amount)
                .for_each(|(machine, _)| enough.insert(machine));
            enough
        });
    }

    /// Takes in that the machine has so much left now.
    fn update(&mut self, machine: MachineIndex, now: u64) {
        let before = std::mem::replace(&mut self.left[machine.0], now);
        let (least, most) = (before.min(now), before.max(now));
        let between = (Bound::Excluded(least), Bound::Included(most));
        if least == most {
            return;
        }
        for enough in self.enough.range_mut(between).map(|(_, enough)| enough) {
            if now > before {
                enough.insert(machine.0);
            } else {
                enough.remove(machine.0);
            }
        }
    }

    /// Takes out of `machines` those that have less left than an amount that some unit reserves.
    fn keep_enough(&self, amount: u64, machines: &mut Bits) {
        if let Some(enough) = self.enough.get(&amount) {
            machines.intersect(enough);
        }
    }
}

impl Room {
    pub(crate) fn of(machines: &Machines) -> Room {
        let slots = machines.slots();
        let capacities = || (0..slots).map(|slot| machines.capacity(MachineIndex(slot)));
        Room {
            reserved: vec![Demand::default(); slots],
            demands: Vec::new(),
            memory: Ladder::of(capacities().map(|it| it.memory_bytes).collect()),
            cpu: Ladder::of(capacities().map(|it| it.cpu_milli).collect()),
            counted: BTreeMap::new(),
        }
    }

    /// Takes in demands that were not made before.
    pub(crate) fn learn(&mut self, machines: &Machines, demands: &[Demand]) {
        for demand in &demands[self.demands.len()..] {
            self.memory.learn(demand.memory_bytes);
            self.cpu.learn(demand.cpu_milli);
            for (name, amount) in &demand.counted {
                let reserved = &self.reserved;
                let ladder = self.counted.entry(name.clone()).or_insert_with(|| {
                    let left = reserved.iter().enumerate().map(|(slot, reserved)| {
                        let taken = reserved.counted.get(name).copied().unwrap_or(0);
                        stated(machines, MachineIndex(slot), name).saturating_sub(taken)
                    });
                    Ladder::of(left.collect())
                });
                ladder.learn(*amount);
            }
            self.demands.push(demand.clone());
        }
    }

    /// Looks again at what the machine has.
    pub(crate) fn update(&mut self, machines: &Machines, machine: MachineIndex) {
        let (capacity, reserved) = (machines.capacity(machine), &self.reserved[machine.0]);
        let memory = capacity.memory_bytes.saturating_sub(reserved.memory_bytes);
        self.memory.update(machine, memory);
        let cpu = capacity.cpu_milli.saturating_sub(reserved.cpu_milli);
        self.cpu.update(machine, cpu);
        for (name, ladder) in &mut self.counted {
            let taken = reserved.counted.get(name).copied().unwrap_or(0);
            let left = stated(machines, machine, name).saturating_sub(taken);
            ladder.update(machine, left);
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

    /// Takes out of `machines` those that lack room for the demand.
    pub(crate) fn keep_enough(&self, demand: DemandIndex, machines: &mut Bits) {
        let demand = &self.demands[demand.0];
        self.memory.keep_enough(demand.memory_bytes, machines);
        self.cpu.keep_enough(demand.cpu_milli, machines);
        for (name, amount) in &demand.counted {
            if let Some(ladder) = self.counted.get(name) {
                ladder.keep_enough(*amount, machines);
            }
        }
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
