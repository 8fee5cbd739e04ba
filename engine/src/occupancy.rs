//! PURE. Who is where, kept from plan to plan: the load of each machine, and what patterns of
//! `Conflicts=` meet there.
//!
//! A unit is *scheduled* on a machine if the plan has it there, and *lingers* there if it may still
//! run there though the plan no longer has it there. Both keep conflicting units away; only
//! scheduled ones count as load.

mod neighbours;

use std::collections::BTreeMap;

use crate::bits::Bits;
use crate::cluster::{Cluster, Entry, MachineIndex, UnitIndex};
use crate::met::{Met, Step};
use crate::places::Places;
use crate::room::Room;
use crate::rules::{PatternIndex, TemplateIndex};
use crate::siblings::Siblings;

/// Who is where.
#[derive(Debug)]
pub(crate) struct Occupancy {
    /// By unit, machines in order.
    scheduled: Vec<Places>,
    /// By machine.
    residents: Vec<Vec<UnitIndex>>,
    /// By machine.
    lingering: Vec<Vec<UnitIndex>>,
    /// By machine.
    loads: Vec<usize>,
    /// By load: the live machines that have it.
    by_load: BTreeMap<usize, Level>,
    /// By pattern: machines with an occupant whose name it matches.
    matched: Vec<Met>,
    /// By pattern: machines with an occupant that declares it.
    declared: Vec<Met>,
    /// By pattern: machines on which the plan has a unit that names it in `Replaces=`.
    replacing: Vec<Met>,
    /// By template.
    siblings: Vec<Siblings>,
    room: Room,
    /// Machines to which an occupant came or from which one went since the last plan.
    touched: Bits,
    /// Machines from which an occupant went, or which came, since the last plan.
    released: Bits,
    slots: usize,
}

/// The machines of one load.
#[derive(Debug)]
struct Level {
    machines: Bits,
    count: usize,
}

/// The machine that a unit is to have, and what it was chosen from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LeastLoaded {
    pub(crate) machine: MachineIndex,
    pub(crate) load: usize,
}

impl Occupancy {
    /// Nobody is anywhere.
    pub(crate) fn empty(cluster: &Cluster) -> Occupancy {
        let slots = cluster.machines.slots();
        let mut occupancy = Occupancy {
            scheduled: Vec::with_capacity(cluster.nodes.capacity()),
            residents: vec![Vec::new(); slots],
            lingering: vec![Vec::new(); slots],
            loads: vec![0; slots],
            by_load: BTreeMap::from([(
                0,
                Level {
                    machines: cluster.machines.live().clone(),
                    count: cluster.machines.live_count(),
                },
            )]),
            matched: Vec::new(),
            declared: Vec::new(),
            replacing: Vec::new(),
            siblings: Vec::new(),
            room: Room::of(&cluster.machines),
            touched: Bits::full(slots),
            released: Bits::full(slots),
            slots,
        };
        occupancy.grow(cluster);
        occupancy
    }

    /// Makes room for units and patterns that came since.
    pub(crate) fn grow(&mut self, cluster: &Cluster) {
        self.scheduled.resize(cluster.nodes.len(), Places::NONE);
        let patterns = cluster.book.globs().len();
        self.matched.resize(patterns, Met::default());
        self.declared.resize(patterns, Met::default());
        self.replacing.resize(patterns, Met::default());
        self.siblings
            .resize(cluster.book.templates(), Siblings::default());
        self.room.learn(&cluster.machines, cluster.book.demands());
    }

    /// Notes that a machine came, on which nobody is yet.
    pub(crate) fn add_machine(&mut self, cluster: &Cluster, machine: MachineIndex) {
        self.room.update(&cluster.machines, machine);
        self.loads[machine.0] = 0;
        self.put_into_load(machine);
        self.note(machine, Step::Leave);
    }

    /// Notes that a machine went, on which nobody is any more.
    pub(crate) fn remove_machine(&mut self, machine: MachineIndex) {
        self.drop_from_load(machine);
        self.touched.insert(machine.0);
    }

    /// Counts a pattern that nobody declared before at those whose names it matches.
    pub(crate) fn learn_pattern(
        &mut self,
        cluster: &Cluster,
        pattern: PatternIndex,
        matched: &[UnitIndex],
    ) {
        self.grow(cluster);
        for unit in matched {
            for machine in self.scheduled[unit.0].as_slice().iter().copied() {
                self.matched[pattern.0].step(Step::Enter, machine, self.slots);
            }
        }
        let lingering: Vec<MachineIndex> = matched
            .iter()
            .flat_map(|unit| self.lingering_of(cluster, *unit))
            .collect();
        for machine in lingering {
            self.matched[pattern.0].step(Step::Enter, machine, self.slots);
        }
    }

    /// Where the unit, or the earlier version, lingers.
    fn lingering_of(&self, cluster: &Cluster, unit: UnitIndex) -> Vec<MachineIndex> {
        let node = cluster.node(unit);
        let owner = cluster.find(&node.name).unwrap_or(unit);
        let owner = cluster.node(owner);
        let traced = owner.traces.iter().map(|(_, machine)| machine);
        let mut machines: Vec<MachineIndex> =
            owner.statuses.iter().chain(traced).copied().collect();
        machines.sort_unstable();
        machines.dedup();
        machines.retain(|machine| self.lingers(unit, *machine));
        machines
    }

    /// Where the plan has the unit, in order of machines.
    pub(crate) fn machines_of(&self, unit: UnitIndex) -> &[MachineIndex] {
        self.scheduled[unit.0].as_slice()
    }

    pub(crate) fn is_scheduled(&self, unit: UnitIndex, machine: MachineIndex) -> bool {
        self.scheduled[unit.0].contains(machine)
    }

    pub(crate) fn lingers(&self, unit: UnitIndex, machine: MachineIndex) -> bool {
        self.lingering
            .get(machine.0)
            .is_some_and(|lingering| lingering.contains(&unit))
    }

    /// Units that the plan has on the machine.
    pub(crate) fn residents(&self, machine: MachineIndex) -> &[UnitIndex] {
        &self.residents[machine.0]
    }

    /// Units and earlier versions that the plan does not have on the machine, though they may run
    /// there.
    pub(crate) fn lingering(&self, machine: MachineIndex) -> &[UnitIndex] {
        &self.lingering[machine.0]
    }

    /// Weight of the units that the plan has on the machine.
    pub(crate) fn load(&self, machine: MachineIndex) -> usize {
        self.loads[machine.0]
    }

    /// Machines to which an occupant came or from which one went, or which came or went, since
    /// this was cleared.
    pub(crate) fn touched(&self) -> &Bits {
        &self.touched
    }

    /// Machines that may have room for a unit for which they had none when this was cleared.
    pub(crate) fn released(&self) -> &Bits {
        &self.released
    }

    /// Says that what was touched or released has been seen to.
    pub(crate) fn clear_touched(&mut self) {
        self.touched.clear();
        self.released.clear();
    }

    /// Puts the unit into the plan for a live machine on which it is not yet.
    pub(crate) fn schedule(&mut self, cluster: &Cluster, unit: UnitIndex, machine: MachineIndex) {
        self.scheduled[unit.0].insert(machine);
        self.residents[machine.0].push(unit);
        let weight = cluster.node(unit).rules.weight();
        self.reload(machine, self.loads[machine.0] + weight);
        self.count(cluster, unit, machine, Step::Enter);
        self.count_replacing(cluster, unit, machine, Step::Enter);
        self.leave_lingering(cluster, unit, machine);
    }

    /// Takes the unit out of the plan for a machine; true if it was in it.
    pub(crate) fn unschedule(
        &mut self,
        cluster: &Cluster,
        unit: UnitIndex,
        machine: MachineIndex,
    ) -> bool {
        if !self.scheduled[unit.0].remove(machine) {
            return false;
        }
        self.residents[machine.0].retain(|resident| *resident != unit);
        let weight = cluster.node(unit).rules.weight();
        self.reload(machine, self.loads[machine.0] - weight);
        self.count(cluster, unit, machine, Step::Leave);
        self.count_replacing(cluster, unit, machine, Step::Leave);
        true
    }

    /// Notes that the unit may still run on a live machine.
    pub(crate) fn linger(&mut self, cluster: &Cluster, unit: UnitIndex, machine: MachineIndex) {
        self.lingering[machine.0].push(unit);
        self.count(cluster, unit, machine, Step::Enter);
    }

    /// Forgets that the unit may still run there; true if that was known.
    pub(crate) fn leave_lingering(
        &mut self,
        cluster: &Cluster,
        unit: UnitIndex,
        machine: MachineIndex,
    ) -> bool {
        let Some(lingering) = self.lingering.get_mut(machine.0) else {
            return false;
        };
        let Some(at) = lingering.iter().position(|known| *known == unit) else {
            return false;
        };
        lingering.remove(at);
        self.count(cluster, unit, machine, Step::Leave);
        true
    }

    /// Forgets for a moment where the unit and its earlier versions linger, so that it does not
    /// stand in its own way.
    pub(crate) fn lift(&mut self, cluster: &Cluster, unit: UnitIndex) -> Vec<Entry> {
        let node = cluster.node(unit);
        if node.statuses.is_empty() && node.traces.is_empty() {
            return Vec::new();
        }
        let own = node
            .statuses
            .iter()
            .map(|machine| (unit, *machine))
            .chain(node.traces.iter().copied());
        let released = self.released.clone();
        let touched = self.touched.clone();
        let lifted = own
            .filter(|(unit, machine)| self.leave_lingering(cluster, *unit, *machine))
            .collect();
        self.released = released;
        self.touched = touched;
        lifted
    }

    /// Takes back what [`Occupancy::lift`] returned.
    pub(crate) fn restore(&mut self, cluster: &Cluster, lifted: Vec<Entry>) {
        for (unit, machine) in lifted {
            self.linger(cluster, unit, machine);
        }
    }

    /// The units of the template by machine.
    pub(crate) fn siblings(&self, template: TemplateIndex) -> &Siblings {
        &self.siblings[template.0]
    }

    /// Of these machines the one with the smallest load, then the smallest id.
    pub(crate) fn least_loaded(&self, cluster: &Cluster, among: &Bits) -> Option<LeastLoaded> {
        self.by_load.iter().find_map(|(load, level)| {
            let machine = cluster.machines.first_common(&level.machines, among)?;
            Some(LeastLoaded {
                machine,
                load: *load,
            })
        })
    }

    fn reload(&mut self, machine: MachineIndex, to: usize) {
        self.drop_from_load(machine);
        self.loads[machine.0] = to;
        self.put_into_load(machine);
    }

    fn put_into_load(&mut self, machine: MachineIndex) {
        let level = self.by_load.entry(self.loads[machine.0]);
        let level = level.or_insert_with(|| Level {
            machines: Bits::empty(self.slots),
            count: 0,
        });
        level.count += usize::from(!level.machines.contains(machine.0));
        level.machines.insert(machine.0);
    }

    fn drop_from_load(&mut self, machine: MachineIndex) {
        let load = self.loads[machine.0];
        let Some(level) = self.by_load.get_mut(&load) else {
            return;
        };
        level.count -= usize::from(level.machines.contains(machine.0));
        level.machines.remove(machine.0);
        if level.count == 0 {
            self.by_load.remove(&load);
        }
    }

    fn count(&mut self, cluster: &Cluster, unit: UnitIndex, machine: MachineIndex, step: Step) {
        let node = cluster.node(unit);
        for pattern in &node.matches {
            self.matched[pattern.0].step(step, machine, self.slots);
        }
        for pattern in &node.rules.declares {
            self.declared[pattern.0].step(step, machine, self.slots);
        }
        if let Some(template) = node.template {
            let most = node.rules.requirements.max_per_machine;
            self.siblings[template.0].step(step, machine, most, self.slots);
        }
        if node.rules.has_demand() {
            let (machines, demand) = (&cluster.machines, node.rules.demand);
            match step {
                Step::Enter => self.room.reserve(machines, machine, demand),
                Step::Leave => self.room.release(machines, machine, demand),
            }
        }
        self.note(machine, step);
    }

    fn count_replacing(
        &mut self,
        cluster: &Cluster,
        unit: UnitIndex,
        machine: MachineIndex,
        step: Step,
    ) {
        for pattern in &cluster.node(unit).rules.replaces {
            self.replacing[pattern.0].step(step, machine, self.slots);
        }
    }

    fn note(&mut self, machine: MachineIndex, step: Step) {
        self.touched.insert(machine.0);
        match step {
            Step::Enter => {}
            Step::Leave => self.released.insert(machine.0),
        }
    }
}
