//! PURE. Plans from one change to the next: keeps the numbered cluster and who is where, takes in
//! changes, and decides again only what they can alter.
//!
//! The law of this file: after any changes a plan is the one that a planner made anew from the same
//! records would give. It holds as long as what a plan decided is in the records before the next
//! one is asked for.
//!
//! What is judged again is entries (one unit on one machine), not units: a lost machine costs what
//! was on it, though global units are everywhere else too.

mod changes;

use std::collections::{BTreeMap, BTreeSet};

use model::{Decision, HoldReason, MachineId, Records, UnassignReason};
use unitfile::{UnitHash, UnitName};

use crate::cluster::{Cluster, Entry, UnitIndex, Want};
use crate::hold::Last;
use crate::keep::{Removed, keep, note_lingering};
use crate::machines::Numbering;
use crate::occupancy::Occupancy;
use crate::place::{Placement, place};
use crate::replace::give_way;
use crate::schedule::Plan;

/// How often units may give way within one plan. Each round ends with fewer units beside one that
/// replaces them, unless what was placed meanwhile replaces yet others; a chain of those is as long
/// as users make it, and what is left over is done by the next plan.
const GIVE_WAY_ROUNDS_MAX: usize = 64;

/// Decides about one cluster, change after change.
#[derive(Debug)]
pub struct Planner {
    cluster: Cluster,
    occupancy: Occupancy,
    /// Units to be read anew. They are out of the occupancy.
    dirty: BTreeSet<UnitIndex>,
    /// Entries to be judged anew. They are out of the occupancy.
    suspects: BTreeSet<Entry>,
    /// Units for which machines are to be looked for again, if they have none.
    retry: BTreeSet<UnitIndex>,
    /// Units of which it is to be looked again why they wait.
    recheck: BTreeSet<UnitIndex>,
    /// Units with an entry that may say something else than their users ask for.
    behind: BTreeSet<UnitIndex>,
    /// Units that wait, and the last machine on which the reason depends.
    waiting: BTreeMap<UnitIndex, Option<Last>>,
    /// Units that are to be everywhere.
    global: BTreeSet<UnitIndex>,
    /// Units that name others in `Replaces=`.
    replacers: BTreeSet<UnitIndex>,
    /// Units whose file is missing.
    fileless: BTreeSet<UnitIndex>,
    /// Units seen running by a file of which it is not known what it says.
    unknown_version: BTreeSet<UnitIndex>,
    /// Units that are still to move.
    moving: BTreeSet<UnitIndex>,
    /// True if since the last plan the last machine went, or the first one came.
    emptied: bool,
    /// True if since the last plan a machine came, went, or says something else of itself.
    rearranged: bool,
    numbering: Numbering,
    /// True until the first plan.
    fresh: bool,
}

impl Planner {
    /// A planner of the cluster that has these records.
    pub fn of(records: &Records) -> Planner {
        let mut cluster = Cluster::of(records);
        for name in records.holds.keys() {
            cluster.index(name);
        }
        Planner {
            occupancy: Occupancy::empty(&cluster),
            cluster,
            dirty: BTreeSet::new(),
            suspects: BTreeSet::new(),
            retry: BTreeSet::new(),
            recheck: BTreeSet::new(),
            behind: BTreeSet::new(),
            waiting: BTreeMap::new(),
            global: BTreeSet::new(),
            replacers: BTreeSet::new(),
            fileless: BTreeSet::new(),
            unknown_version: BTreeSet::new(),
            moving: BTreeSet::new(),
            emptied: true,
            rearranged: true,
            numbering: Numbering::Holds,
            fresh: true,
        }
    }

    /// Decides what to write, as [`schedule`](crate::schedule) does.
    pub fn plan(&mut self, records: &Records) -> Vec<Decision> {
        if self.numbering == Numbering::Broken || self.cluster.is_overgrown() {
            *self = Planner::of(records);
        }
        let read = self.read(records);
        let mut entries = self.entries(&read);
        let mut removed = keep(&self.cluster, &mut self.occupancy, &entries);
        let mut behind: Vec<UnitIndex> = self.behind.iter().copied().collect();
        behind.sort_by(|one, other| self.cluster.by_name(*one, *other));
        entries.extend(self.end_standoffs(records, &behind, &mut removed));
        let mut open = self.open(&read, &entries);
        let placements = self.settle(&read, &entries, &mut open, &mut removed);
        let plan = Plan {
            records,
            cluster: &self.cluster,
            occupancy: &self.occupancy,
        };
        let mut decisions = plan.unassign(&removed);
        behind.retain(|unit| plan.renew(*unit, &mut decisions) > 0);
        self.behind = behind.into_iter().collect();
        decisions.reserve(placements.len());
        let assigned = placements
            .iter()
            .filter_map(|placement| plan.assign(placement));
        decisions.extend(assigned);
        for unit in self.to_recheck(&read, &entries, &open) {
            match plan.hold(unit, &mut decisions) {
                Some(looked) => self.waiting.insert(unit, looked.last),
                None => self.waiting.remove(&unit),
            };
        }
        self.suspects.clear();
        self.retry.clear();
        self.recheck.clear();
        self.occupancy.clear_touched();
        self.emptied = false;
        self.rearranged = false;
        self.fresh = false;
        decisions
    }

    /// Places what is open; then what gives way to others (`Replaces=`), until nothing does.
    fn settle(
        &mut self,
        read: &[UnitIndex],
        entries: &[Entry],
        open: &mut Vec<UnitIndex>,
        removed: &mut Removed,
    ) -> Vec<Placement> {
        let mut placements = place(&self.cluster, &mut self.occupancy, removed, open);
        for _ in 0..GIVE_WAY_ROUNDS_MAX {
            let (cluster, occupancy) = (&self.cluster, &mut self.occupancy);
            let gave_way = give_way(cluster, occupancy, &self.replacers, removed);
            if gave_way.is_empty() {
                break;
            }
            placements.retain(|it| self.occupancy.is_scheduled(it.unit, it.machine));
            let again: Vec<UnitIndex> = [read, open, &gave_way].concat();
            *open = self.open(&again, entries);
            placements.extend(place(&self.cluster, &mut self.occupancy, removed, open));
            open.extend(again);
        }
        placements
    }

    /// Takes from their machines the units that have to go so that others, which wait for them, can
    /// be replaced. Returns their entries; they are placed once they have stopped.
    fn end_standoffs(
        &mut self,
        records: &Records,
        behind: &[UnitIndex],
        removed: &mut Removed,
    ) -> Vec<Entry> {
        let (cluster, occupancy) = (&self.cluster, &mut self.occupancy);
        let plan = Plan {
            records,
            cluster,
            occupancy,
        };
        let going = plan.standoffs(behind);
        for ((unit, machine), obstacle) in &going {
            occupancy.unschedule(cluster, *unit, *machine);
            note_lingering(cluster, occupancy, &[(*unit, *machine)]);
            let reason = UnassignReason::NoLongerFits(obstacle.clone());
            removed.insert((*unit, *machine), reason);
        }
        going.into_iter().map(|(entry, _)| entry).collect()
    }

    /// Who is where after the last plan, to be asked about.
    pub(crate) fn parts(&mut self) -> (&Cluster, &mut Occupancy) {
        (&self.cluster, &mut self.occupancy)
    }

    /// Notes anew where the unit is still to move.
    fn aim(&mut self, records: &Records, name: &UnitName) {
        if let Some(unit) = self.cluster.find(name) {
            self.cluster.set_destination(records, unit);
            let node = self.cluster.node(unit);
            member(&mut self.moving, unit, node.destination.is_some());
        }
    }

    /// Units that the last plan has on the machine.
    pub(crate) fn units_on(&self, id: &MachineId) -> Vec<UnitName> {
        let machine = self.cluster.machines.find(id);
        let live = machine.filter(|machine| self.cluster.is_live(*machine) && !self.fresh);
        let residents = live.map(|machine| self.occupancy.residents(machine));
        let units = residents.into_iter().flatten();
        units.map(|unit| self.name_of(*unit)).collect()
    }

    fn name_of(&self, unit: UnitIndex) -> UnitName {
        self.cluster.node(unit).name.clone()
    }

    /// Reads dirty units anew; all, if nothing was planned yet. Returns them.
    fn read(&mut self, records: &Records) -> Vec<UnitIndex> {
        let read: Vec<UnitIndex> = if self.fresh {
            self.cluster.units().collect()
        } else {
            std::mem::take(&mut self.dirty).into_iter().collect()
        };
        for unit in &read {
            if !self.fresh {
                for (pattern, matched) in self.cluster.refresh(records, *unit) {
                    self.occupancy.grow(&self.cluster);
                    self.occupancy
                        .learn_pattern(&self.cluster, pattern, &matched);
                }
            }
            let node = self.cluster.node(*unit);
            let is_fileless = match &node.want {
                Want::Frozen(reason) => matches!(**reason, HoldReason::FileMissing { .. }),
                Want::One
                | Want::Everywhere
                | Want::Untouched
                | Want::Inactive
                | Want::Destroyed
                | Want::Trace => false,
            };
            member(&mut self.fileless, *unit, is_fileless);
            member(&mut self.replacers, *unit, !node.rules.replaces.is_empty());
            member(&mut self.global, *unit, node.want == Want::Everywhere);
            member(&mut self.moving, *unit, node.destination.is_some());
            member(&mut self.behind, *unit, node.was_behind);
            let is_unknown = !node.statuses.is_empty() && {
                let now = records.units.get(&node.name).map(|unit| unit.hash);
                let others = seen_versions(records, &node.name).filter(|seen| Some(*seen) != now);
                others.count() > node.traces.len()
            };
            member(&mut self.unknown_version, *unit, is_unknown);
        }
        self.occupancy.grow(&self.cluster);
        read
    }

    /// The entries that are to be judged anew, taken out of the occupancy: those of units that were
    /// read, those that contend with them, and those that follow any of these.
    fn entries(&mut self, read: &[UnitIndex]) -> Vec<Entry> {
        let mut entries: Vec<Entry> = std::mem::take(&mut self.suspects).into_iter().collect();
        // Whether they can move may depend on anything.
        for unit in read.iter().chain(&self.moving) {
            let node = self.cluster.node(*unit);
            let places = node.scheduled.iter().chain(&node.statuses);
            entries.extend(places.map(|machine| (*unit, *machine)));
            if node.scheduled.is_empty() && !node.traces.is_empty() {
                // So that its traces are noted though it is nowhere else.
                entries.extend(node.traces.iter().map(|(_, machine)| (*unit, *machine)));
            }
        }
        if self.fresh {
            entries.sort_unstable();
            entries.dedup();
            return entries;
        }
        for unit in read {
            entries.extend(self.contenders(*unit));
        }
        let mut known: BTreeSet<Entry> = BTreeSet::new();
        while let Some((unit, machine)) = entries.pop() {
            if !known.insert((unit, machine)) {
                continue;
            }
            self.occupancy.unschedule(&self.cluster, unit, machine);
            let node = self.cluster.node(unit);
            if node.want == Want::One && node.scheduled.len() > 1 {
                entries.extend(node.scheduled.iter().map(|machine| (unit, *machine)));
            }
            let followers = node.followers.iter().copied();
            let occupancy = &self.occupancy;
            entries.extend(
                followers
                    .filter(|follower| occupancy.is_scheduled(*follower, machine))
                    .map(|follower| (follower, machine)),
            );
        }
        known.into_iter().collect()
    }

    /// Entries that may have to go because of entries of the unit.
    fn contenders(&self, unit: UnitIndex) -> Vec<Entry> {
        let node = self.cluster.node(unit);
        let alone = node.template.is_none() && !node.rules.has_demand();
        if alone && self.cluster.is_peaceful(unit) {
            return Vec::new();
        }
        let machines = self.cluster.node(unit).scheduled.iter().copied();
        let live = machines.filter(|machine| self.cluster.is_live(*machine));
        live.flat_map(|machine| {
            let residents = self.occupancy.residents(machine).iter().copied();
            let contending = residents.filter(|other| self.cluster.contend(unit, *other));
            contending.map(move |other| (other, machine))
        })
        .collect()
    }

    /// The units for which machines are to be looked for, in order of their names: those that
    /// changed, those that may find room where something was released, and all that are tied to
    /// them.
    fn open(&self, read: &[UnitIndex], entries: &[Entry]) -> Vec<UnitIndex> {
        let is_open = |unit: UnitIndex| match self.cluster.node(unit).want {
            Want::One => {
                self.occupancy.machines_of(unit).is_empty() && self.cluster.awaited(unit).is_none()
            }
            Want::Everywhere => true,
            Want::Frozen(_) | Want::Untouched | Want::Inactive | Want::Destroyed | Want::Trace => {
                false
            }
        };
        let mut open: Vec<UnitIndex> = if self.fresh {
            self.cluster.units().filter(|unit| is_open(*unit)).collect()
        } else {
            let released = self.occupancy.released();
            let has_room = |unit: &UnitIndex| {
                let class = self.cluster.node(*unit).rules.class;
                released.meets(self.cluster.machines.fitting_open(class))
                    || self.occupancy.is_replaced_somewhere(&self.cluster, *unit)
            };
            let hopeful = self.waiting.keys().chain(&self.global);
            let mut reached: Vec<UnitIndex> = hopeful.copied().filter(has_room).collect();
            reached.extend(read.iter().chain(&self.retry).chain(&self.moving));
            reached.extend(entries.iter().map(|(unit, _)| *unit));
            let mut known: BTreeSet<UnitIndex> = BTreeSet::new();
            while let Some(unit) = reached.pop() {
                if !known.insert(unit) {
                    continue;
                }
                let node = self.cluster.node(unit);
                let tied = node.peers.iter().chain(&node.followers).copied();
                reached.extend(tied.filter(|unit| is_open(*unit)));
            }
            known.into_iter().filter(|unit| is_open(*unit)).collect()
        };
        open.sort_by(|one, other| self.cluster.by_name(*one, *other));
        open
    }

    /// The units of which it is to be looked why they wait, in order of their names.
    fn to_recheck(
        &self,
        read: &[UnitIndex],
        entries: &[Entry],
        open: &[UnitIndex],
    ) -> Vec<UnitIndex> {
        let mut units: Vec<UnitIndex> = read.to_vec();
        if !self.fresh {
            let touched = self.occupancy.touched();
            let depends = |unit: UnitIndex, last: &Option<Last>| {
                last.is_some_and(|last| {
                    self.rearranged || last.depends_on(&self.cluster, unit, touched)
                })
            };
            let waiting = self.waiting.iter();
            let changed = waiting.filter(|(unit, last)| self.emptied || depends(**unit, last));
            units.extend(changed.map(|(unit, _)| *unit));
            units.extend(entries.iter().map(|(unit, _)| *unit));
            units.extend(open.iter().chain(&self.recheck).chain(&self.retry));
        }
        units.sort_by(|one, other| self.cluster.by_name(*one, *other));
        units.dedup();
        units
    }
}

fn member(units: &mut BTreeSet<UnitIndex>, unit: UnitIndex, is_in: bool) {
    if is_in {
        units.insert(unit);
    } else {
        units.remove(&unit);
    }
}

/// The versions of the unit that machines report.
fn seen_versions<'r>(
    records: &'r Records,
    name: &UnitName,
) -> impl Iterator<Item = UnitHash> + use<'r> {
    let reports = records.statuses.get(name);
    reports.into_iter().flatten().map(|(_, status)| status.hash)
}
