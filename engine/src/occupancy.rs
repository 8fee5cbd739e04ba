//! PURE. Who is where while a plan is being made: the load of each machine, and what patterns of
//! `Conflicts=` meet there.
//!
//! A unit is *scheduled* on a machine if the plan has it there, and *lingers* there if it may still
//! run there though the plan no longer has it there. Both keep conflicting units away; only
//! scheduled ones count as load.

use std::collections::BTreeMap;

use crate::bits::Bits;
use crate::cluster::{Cluster, MachineIndex, UnitIndex};
use crate::rules::PatternIndex;

/// From how many machines on a pattern's machines are kept as bits too: clearing as many bits one
/// by one costs about as much as clearing 10,000 machines word by word.
const DENSE_MIN: usize = 64;

/// The machines whose occupants a pattern concerns.
#[derive(Clone, Debug, Default)]
struct Met {
    /// How many occupants, by machine.
    counts: BTreeMap<MachineIndex, usize>,
    /// The same machines; none while they are few.
    dense: Option<Bits>,
}

/// Who is where.
#[derive(Debug)]
pub(crate) struct Occupancy<'a> {
    cluster: &'a Cluster,
    /// By unit, machines in order.
    scheduled: Vec<Vec<MachineIndex>>,
    /// By machine.
    residents: Vec<Vec<UnitIndex>>,
    /// By machine.
    lingering: Vec<Vec<UnitIndex>>,
    /// By load: the machines that have it.
    by_load: Vec<Bits>,
    /// By load: how many machines have it.
    by_load_count: Vec<usize>,
    /// By pattern: machines with an occupant whose name it matches.
    matched: Vec<Met>,
    /// By pattern: machines with an occupant that declares it.
    declared: Vec<Met>,
}

/// The machine that a unit is to have, and what it was chosen from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LeastLoaded {
    pub(crate) machine: MachineIndex,
    pub(crate) load: usize,
}

impl<'a> Occupancy<'a> {
    pub(crate) fn empty(cluster: &'a Cluster) -> Occupancy<'a> {
        Occupancy {
            cluster,
            scheduled: vec![Vec::new(); cluster.nodes.len()],
            residents: vec![Vec::new(); cluster.live],
            lingering: vec![Vec::new(); cluster.live],
            by_load: vec![Bits::full(cluster.live)],
            by_load_count: vec![cluster.live],
            matched: vec![Met::default(); cluster.patterns],
            declared: vec![Met::default(); cluster.patterns],
        }
    }

    /// Where the plan has the unit, in order of machine ids.
    pub(crate) fn machines_of(&self, unit: UnitIndex) -> &[MachineIndex] {
        &self.scheduled[unit.0]
    }

    pub(crate) fn is_scheduled(&self, unit: UnitIndex, machine: MachineIndex) -> bool {
        self.scheduled[unit.0].binary_search(&machine).is_ok()
    }

    /// Units that the plan has on the machine.
    pub(crate) fn load(&self, machine: MachineIndex) -> usize {
        self.residents[machine.0].len()
    }

    /// Puts the unit into the plan for a live machine on which it is not yet.
    pub(crate) fn schedule(&mut self, unit: UnitIndex, machine: MachineIndex) {
        let machines = &mut self.scheduled[unit.0];
        let at = machines.partition_point(|known| *known < machine);
        machines.insert(at, machine);
        let load = self.residents[machine.0].len();
        self.residents[machine.0].push(unit);
        self.reload(machine, load, load + 1);
        self.count(unit, machine, Step::Enter);
        self.leave_lingering(unit, machine);
    }

    /// Takes the unit out of the plan for a machine.
    pub(crate) fn unschedule(&mut self, unit: UnitIndex, machine: MachineIndex) {
        let Ok(at) = self.scheduled[unit.0].binary_search(&machine) else {
            return;
        };
        self.scheduled[unit.0].remove(at);
        let load = self.residents[machine.0].len();
        self.residents[machine.0].retain(|resident| *resident != unit);
        self.reload(machine, load, load - 1);
        self.count(unit, machine, Step::Leave);
    }

    /// Notes that the unit may still run on a live machine.
    pub(crate) fn linger(&mut self, unit: UnitIndex, machine: MachineIndex) {
        self.lingering[machine.0].push(unit);
        self.count(unit, machine, Step::Enter);
    }

    /// Forgets that the unit may still run there; true if that was known.
    pub(crate) fn leave_lingering(&mut self, unit: UnitIndex, machine: MachineIndex) -> bool {
        let lingering = &mut self.lingering[machine.0];
        let Some(at) = lingering.iter().position(|known| *known == unit) else {
            return false;
        };
        lingering.remove(at);
        self.count(unit, machine, Step::Leave);
        true
    }

    /// Forgets for a moment where the unit and its earlier versions linger, so that it does not
    /// stand in its own way.
    pub(crate) fn lift(&mut self, unit: UnitIndex) -> Vec<(UnitIndex, MachineIndex)> {
        let node = self.cluster.node(unit);
        let own = node
            .statuses
            .iter()
            .map(|machine| (unit, *machine))
            .chain(node.traces.iter().copied());
        own.filter(|(unit, machine)| {
            self.cluster.is_live(*machine) && self.leave_lingering(*unit, *machine)
        })
        .collect()
    }

    /// Takes back what [`Occupancy::lift`] returned.
    pub(crate) fn restore(&mut self, lifted: Vec<(UnitIndex, MachineIndex)>) {
        for (unit, machine) in lifted {
            self.linger(unit, machine);
        }
    }

    /// True if an occupant of the machine and the unit, which is not there itself, must not share
    /// it.
    pub(crate) fn conflicts(&self, unit: UnitIndex, machine: MachineIndex) -> bool {
        let node = self.cluster.node(unit);
        let there = |met: &[Met], patterns: &[PatternIndex]| {
            patterns
                .iter()
                .any(|pattern| met[pattern.0].counts.contains_key(&machine))
        };
        there(&self.matched, &node.rules.declares) || there(&self.declared, &node.matches)
    }

    /// Takes out of `machines` all where an occupant conflicts with the unit, which is nowhere
    /// itself.
    pub(crate) fn without_conflicts(&self, unit: UnitIndex, machines: &mut Bits) {
        let node = self.cluster.node(unit);
        for pattern in &node.rules.declares {
            self.matched[pattern.0].take_from(machines);
        }
        for pattern in &node.matches {
            self.declared[pattern.0].take_from(machines);
        }
    }

    /// The occupant of the machine, first by name, that conflicts with the unit.
    pub(crate) fn conflicting(&self, unit: UnitIndex, machine: MachineIndex) -> Option<UnitIndex> {
        let there = self.residents[machine.0]
            .iter()
            .chain(&self.lingering[machine.0]);
        there
            .copied()
            .filter(|other| self.cluster.conflict(unit, *other))
            .min_by_key(|other| &self.cluster.node(*other).name)
    }

    /// True if a unit that only lingers on the machine conflicts with the unit.
    pub(crate) fn conflicts_with_lingering(&self, unit: UnitIndex, machine: MachineIndex) -> bool {
        self.lingering[machine.0]
            .iter()
            .any(|other| self.cluster.conflict(unit, *other))
    }

    /// Of these machines the one with the fewest units, then the smallest id.
    pub(crate) fn least_loaded(&self, among: &Bits) -> Option<LeastLoaded> {
        self.by_load
            .iter()
            .zip(&self.by_load_count)
            .enumerate()
            .filter(|(_, (_, count))| **count > 0)
            .find_map(|(load, (machines, _))| {
                let machine = machines.first_common(among)?;
                Some(LeastLoaded {
                    machine: MachineIndex(machine),
                    load,
                })
            })
    }

    fn reload(&mut self, machine: MachineIndex, from: usize, to: usize) {
        self.by_load[from].remove(machine.0);
        self.by_load_count[from] -= 1;
        if to == self.by_load.len() {
            self.by_load.push(Bits::empty(self.cluster.live));
            self.by_load_count.push(0);
        }
        self.by_load[to].insert(machine.0);
        self.by_load_count[to] += 1;
    }

    fn count(&mut self, unit: UnitIndex, machine: MachineIndex, step: Step) {
        let node = self.cluster.node(unit);
        for pattern in &node.matches {
            self.matched[pattern.0].step(step, machine, self.cluster.live);
        }
        for pattern in &node.rules.declares {
            self.declared[pattern.0].step(step, machine, self.cluster.live);
        }
    }
}

/// An occupant comes or goes.
#[derive(Clone, Copy)]
enum Step {
    Enter,
    Leave,
}

impl Met {
    fn step(&mut self, step: Step, machine: MachineIndex, live: usize) {
        match step {
            Step::Enter => {
                *self.counts.entry(machine).or_insert(0) += 1;
                if let Some(dense) = &mut self.dense {
                    dense.insert(machine.0);
                } else if self.counts.len() >= DENSE_MIN {
                    let mut dense = Bits::empty(live);
                    self.counts
                        .keys()
                        .for_each(|machine| dense.insert(machine.0));
                    self.dense = Some(dense);
                }
            }
            Step::Leave => match self.counts.get_mut(&machine) {
                Some(count) if *count > 1 => *count -= 1,
                Some(_) | None => {
                    self.counts.remove(&machine);
                    if let Some(dense) = &mut self.dense {
                        dense.remove(machine.0);
                    }
                }
            },
        }
    }

    fn take_from(&self, machines: &mut Bits) {
        match &self.dense {
            Some(dense) => machines.subtract(dense),
            None => self
                .counts
                .keys()
                .for_each(|machine| machines.remove(machine.0)),
        }
    }
}
