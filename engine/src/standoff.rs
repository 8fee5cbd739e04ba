//! PURE. Units that are replaced where they are, by files that reserve more of one thing and less of
//! another, can wait for each other: each begins only once the other's earlier version has stopped.
//!
//! Each has to stop in any case before it starts anew. So where nothing else is left to wait for,
//! the last of them by name that is tied to nobody and lets another begin is stopped first. It goes
//! elsewhere if it can; if not it waits, and comes back once the other has made its room.

use std::collections::{BTreeMap, BTreeSet};

use model::Obstacle;
use unitfile::UnitName;

use crate::cluster::{Entry, MachineIndex, UnitIndex, Want};
use crate::keep::may_go;
use crate::schedule::Plan;

impl Plan<'_> {
    /// The entries that have to go so that others can be renewed, at most one a machine, and what
    /// each lacked there. `behind` are all units with an entry that says something else than their
    /// users ask for, in order of their names.
    pub(crate) fn standoffs(&self, behind: &[UnitIndex]) -> Vec<(Entry, Obstacle)> {
        let mut replaced: BTreeMap<MachineIndex, Vec<UnitIndex>> = BTreeMap::new();
        for unit in behind {
            for machine in self.replaced_on(*unit) {
                replaced.entry(machine).or_default().push(*unit);
            }
        }
        let facing = replaced.into_iter().filter(|(_, units)| units.len() > 1);
        facing
            .filter_map(|(machine, units)| self.first_to_go(machine, &units))
            .collect()
    }

    /// Where the unit is to run by another file than it has been told.
    fn replaced_on(&self, unit: UnitIndex) -> Vec<MachineIndex> {
        let node = self.cluster.node(unit);
        let Some(now) = node.assignment.as_ref().filter(|_| may_go(&node.want)) else {
            return Vec::new();
        };
        let entries = self.records.schedule.get(&node.name).into_iter().flatten();
        let of_other_file = entries.filter(|(_, entry)| entry.file != now.file);
        of_other_file
            .filter_map(|(id, _)| self.cluster.machines.find(id))
            .filter(|machine| self.occupancy.is_scheduled(unit, *machine))
            .collect()
    }

    /// Of these, which are replaced on the machine, the one that has to go; none if something there
    /// ends by itself, or if those that may go are too few to help.
    fn first_to_go(&self, machine: MachineIndex, units: &[UnitIndex]) -> Option<(Entry, Obstacle)> {
        let lacks = |unit: UnitIndex, without: Option<UnitIndex>| {
            self.occupancy
                .lacking_to_grow(self.cluster, unit, machine, without)
        };
        let names: BTreeSet<&UnitName> = units.iter().map(|it| self.name_of(*it)).collect();
        let lingering = self.occupancy.lingering(machine);
        let is_awaited = |unit: &UnitIndex| !names.contains(self.name_of(*unit));
        if lingering.iter().any(is_awaited) || units.iter().any(|it| lacks(*it, None).is_none()) {
            return None;
        }
        let can_go = |unit: UnitIndex| {
            let node = self.cluster.node(unit);
            let is_free = node.peers.is_empty() && node.followers.is_empty();
            node.want == Want::One && is_free && node.statuses.contains(&machine)
        };
        let free: Vec<UnitIndex> = units.iter().copied().filter(|it| can_go(*it)).collect();
        let helps = |unit: &UnitIndex| {
            let mut others = units.iter().copied().filter(|other| other != unit);
            others.any(|other| lacks(other, Some(*unit)).is_none())
        };
        let goes = free.iter().rev().copied().find(helps).or_else(|| {
            // Then several have to. One that is left alone always begins.
            let enough = free.len() + 1 >= units.len();
            free.last().copied().filter(|_| enough)
        })?;
        lacks(goes, None).map(|obstacle| ((goes, machine), obstacle))
    }

    fn name_of(&self, unit: UnitIndex) -> &UnitName {
        &self.cluster.node(unit).name
    }
}
