//! PURE. What those who are on a machine mean for a unit that would come: conflicts, room,
//! `MaxPerMachine=`, `Replaces=`. Of all machines at once as bits, and of one machine with the
//! reason.

use std::collections::BTreeMap;

use model::Obstacle;
use unitfile::{Demand, UnitName};

use super::Occupancy;
use crate::bits::Bits;
use crate::cluster::{Cluster, MachineIndex, UnitIndex};
use crate::room::{add, beyond, grow_to, lacking};
use crate::rules::DemandIndex;

impl Occupancy {
    /// Takes out of `machines` all where an occupant conflicts with the unit, which is nowhere
    /// itself.
    pub(crate) fn without_conflicts(
        &self,
        cluster: &Cluster,
        unit: UnitIndex,
        machines: &mut Bits,
    ) {
        let node = cluster.node(unit);
        for pattern in &node.rules.declares {
            self.matched[pattern.0].take_from(machines);
        }
        for pattern in &node.matches {
            self.declared[pattern.0].take_from(machines);
        }
    }

    /// Takes out of `machines` all that lack room for the unit, which is nowhere itself, or have as
    /// many of its template as may be.
    pub(crate) fn without_full(&self, cluster: &Cluster, unit: UnitIndex, machines: &mut Bits) {
        let node = cluster.node(unit);
        if node.rules.has_demand() {
            self.room.keep_enough(node.rules.demand, machines);
        }
        self.without_crowded(cluster, unit, machines);
    }

    /// Takes out of `machines` all that have as many of the unit's template as may be. None if no
    /// limit bears on the unit.
    pub(crate) fn without_crowded(
        &self,
        cluster: &Cluster,
        unit: UnitIndex,
        machines: &mut Bits,
    ) -> Option<()> {
        let node = cluster.node(unit);
        let siblings = &self.siblings[node.template?.0];
        let most = node.rules.requirements.max_per_machine;
        match siblings.uniform_limit(most)? {
            Ok(limit) => siblings.without_at_least(limit, machines),
            Err(()) => {
                for machine in siblings.machines() {
                    if self.crowded(cluster, unit, machine).is_some() {
                        machines.remove(machine.0);
                    }
                }
            }
        }
        Some(())
    }

    /// What the machine lacks for the demand beside all that is reserved there.
    pub(crate) fn lacking(
        &self,
        cluster: &Cluster,
        machine: MachineIndex,
        demand: &Demand,
    ) -> Option<Obstacle> {
        self.room.lacking(&cluster.machines, machine, demand)
    }

    /// What of a resource, or of places for units of its template, the machine lacks for the unit,
    /// which is not there.
    pub(crate) fn full(
        &self,
        cluster: &Cluster,
        unit: UnitIndex,
        machine: MachineIndex,
    ) -> Option<Obstacle> {
        let node = cluster.node(unit);
        let demand = &node.rules.requirements.demand;
        let lacking = if node.rules.has_demand() {
            // What it may itself still hold there does not stand in its way.
            let own = self.lingering[machine.0].iter().map(|it| cluster.node(*it));
            let own = own.filter(|other| other.name == node.name);
            let own: Vec<DemandIndex> = own.map(|other| other.rules.demand).collect();
            let reserved = self.room.reserved_without(machine, &own);
            lacking(&cluster.machines, &reserved, machine, demand)
        } else {
            None
        };
        lacking.or_else(|| self.crowded(cluster, unit, machine))
    }

    fn crowded(
        &self,
        cluster: &Cluster,
        unit: UnitIndex,
        machine: MachineIndex,
    ) -> Option<Obstacle> {
        let there = self.residents[machine.0]
            .iter()
            .chain(&self.lingering[machine.0]);
        crowded(cluster, unit, there)
    }

    /// Why the unit cannot be beside the units that the plan has on the machine.
    pub(crate) fn contending(
        &self,
        cluster: &Cluster,
        unit: UnitIndex,
        machine: MachineIndex,
    ) -> Option<Obstacle> {
        let residents = &self.residents[machine.0];
        if let Some(with) = first_conflicting(cluster, unit, residents.iter()) {
            let with = cluster.node(with).name.clone();
            return Some(Obstacle::Conflict { with });
        }
        let rules = &cluster.node(unit).rules;
        if rules.has_demand() {
            let mut reserved = Demand::default();
            for resident in residents {
                add(
                    &mut reserved,
                    &cluster.node(*resident).rules.requirements.demand,
                );
            }
            let demand = &rules.requirements.demand;
            let lacking = lacking(&cluster.machines, &reserved, machine, demand);
            if lacking.is_some() {
                return lacking;
            }
        }
        crowded(cluster, unit, residents.iter())
    }

    /// True if the unit, which the plan has on the machine but which is not told yet to run there
    /// by its present file, has room for that beside what has not stopped there. It need not ask
    /// for what the version that runs there has already; each other unit takes as much as the
    /// larger of its versions, which never run at once. So of units that are replaced together
    /// those that shrink are first, and those that grow do not wait for ever.
    pub(crate) fn has_room_to_grow(
        &self,
        cluster: &Cluster,
        unit: UnitIndex,
        machine: MachineIndex,
    ) -> bool {
        self.lacking_to_grow(cluster, unit, machine, None).is_none()
    }

    /// What it lacks for that, if the unit `without` were not there.
    pub(crate) fn lacking_to_grow(
        &self,
        cluster: &Cluster,
        unit: UnitIndex,
        machine: MachineIndex,
        without: Option<UnitIndex>,
    ) -> Option<Obstacle> {
        let gone = without.map(|unit| &cluster.node(unit).name);
        let there = || {
            let there = self.residents[machine.0].iter();
            let there = there.chain(&self.lingering[machine.0]);
            there.filter(|other| Some(&cluster.node(**other).name) != gone)
        };
        if let Some(obstacle) = crowded(cluster, unit, there()) {
            return Some(obstacle);
        }
        let node = cluster.node(unit);
        if !node.rules.has_demand() {
            return None;
        }
        let mut taken: BTreeMap<&UnitName, Demand> = BTreeMap::new();
        for other in there().filter(|other| **other != unit) {
            let other = cluster.node(*other);
            let most = taken.entry(&other.name).or_default();
            grow_to(most, &other.rules.requirements.demand);
        }
        let own = taken.remove(&node.name).unwrap_or_default();
        let grown = beyond(&node.rules.requirements.demand, &own);
        let mut reserved = Demand::default();
        for demand in taken.values() {
            add(&mut reserved, demand);
        }
        lacking(&cluster.machines, &reserved, machine, &grown)
    }

    /// True if all of these, none of which lingers there, can be on the machine together as far as
    /// resources and places go.
    pub(crate) fn holds_all(
        &self,
        cluster: &Cluster,
        units: &[UnitIndex],
        machine: MachineIndex,
    ) -> bool {
        let coming: Vec<UnitIndex> = units
            .iter()
            .copied()
            .filter(|unit| !self.is_scheduled(*unit, machine))
            .collect();
        let mut demand = Demand::default();
        for unit in &coming {
            add(&mut demand, &cluster.node(*unit).rules.requirements.demand);
        }
        let lacking = self.room.lacking(&cluster.machines, machine, &demand);
        (demand.is_nothing() || lacking.is_none())
            && coming.iter().all(|unit| {
                let there = self.residents[machine.0]
                    .iter()
                    .chain(&self.lingering[machine.0])
                    .chain(&coming);
                crowded(cluster, *unit, there).is_none()
            })
    }

    /// The occupant of the machine, first by name, that conflicts with the unit.
    pub(crate) fn conflicting(
        &self,
        cluster: &Cluster,
        unit: UnitIndex,
        machine: MachineIndex,
    ) -> Option<UnitIndex> {
        let there = self.residents[machine.0]
            .iter()
            .chain(&self.lingering[machine.0]);
        first_conflicting(cluster, unit, there)
    }

    /// True if a unit that only lingers on the machine conflicts with the unit.
    pub(crate) fn conflicts_with_lingering(
        &self,
        cluster: &Cluster,
        unit: UnitIndex,
        machine: MachineIndex,
    ) -> bool {
        first_conflicting(cluster, unit, self.lingering[machine.0].iter()).is_some()
    }

    /// True if a unit that the plan has somewhere replaces the unit.
    pub(crate) fn is_replaced_somewhere(&self, cluster: &Cluster, unit: UnitIndex) -> bool {
        let patterns = cluster.node(unit).matches.iter();
        patterns
            .into_iter()
            .any(|pattern| !self.replacing[pattern.0].is_empty())
    }

    /// Takes out of `machines` all where a unit of the plan replaces the unit, which is nowhere
    /// itself, or where it replaces an occupant.
    pub(crate) fn without_replacing(
        &self,
        cluster: &Cluster,
        unit: UnitIndex,
        machines: &mut Bits,
    ) {
        let node = cluster.node(unit);
        for pattern in &node.matches {
            self.replacing[pattern.0].take_from(machines);
        }
        for pattern in &node.rules.replaces {
            self.matched[pattern.0].take_from(machines);
        }
    }
}

fn first_conflicting<'u>(
    cluster: &Cluster,
    unit: UnitIndex,
    there: impl Iterator<Item = &'u UnitIndex>,
) -> Option<UnitIndex> {
    if cluster.is_peaceful(unit) {
        return None;
    }
    there
        .copied()
        .filter(|other| cluster.conflict(unit, *other))
        .min_by_key(|other| &cluster.node(*other).name)
}

fn crowded<'u>(
    cluster: &Cluster,
    unit: UnitIndex,
    there: impl Iterator<Item = &'u UnitIndex>,
) -> Option<Obstacle> {
    cluster.node(unit).template?;
    let most = |unit: UnitIndex| cluster.node(unit).rules.requirements.max_per_machine;
    let mut count = 0;
    let mut limit = most(unit);
    for sibling in there.filter(|other| cluster.are_siblings(unit, **other)) {
        count += 1;
        limit = match (limit, most(*sibling)) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
    let limit = usize::try_from(limit?).unwrap_or(usize::MAX);
    (count >= limit).then_some(Obstacle::MaxPerMachine { limit })
}
