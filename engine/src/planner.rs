//! PURE. Plans from one change to the next: keeps the numbered cluster and who is where, takes in
//! changes, and decides again only what they can alter.
//!
//! The law of this file: after any changes a plan is the one that a planner made anew from the same
//! records would give. It holds as long as what a plan decided is in the records before the next
//! one is asked for.
//!
//! What is judged again is entries (one unit on one machine), not units: a lost machine costs what
//! was on it, though global units are everywhere else too.

use std::collections::{BTreeMap, BTreeSet};

use model::{Change, Decision, HoldReason, MachineId, RecordKey, Records};
use unitfile::{FileHash, UnitFile, UnitHash, UnitName};

use crate::cluster::{Cluster, Entry, MachineIndex, UnitIndex, Want};
use crate::gather::is_same_demand;
use crate::keep::keep;
use crate::machines::Numbering;
use crate::occupancy::Occupancy;
use crate::place::place;
use crate::schedule::Plan;

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
    waiting: BTreeMap<UnitIndex, Option<MachineIndex>>,
    /// Units that are to be everywhere.
    global: BTreeSet<UnitIndex>,
    /// Units whose file is missing.
    fileless: BTreeSet<UnitIndex>,
    /// Units seen running by a file of which it is not known what it says.
    unknown_version: BTreeSet<UnitIndex>,
    /// Units that are still to move.
    moving: BTreeSet<UnitIndex>,
    /// True if machines came or went since the last plan: every hold says how many there are.
    recounted: bool,
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
            fileless: BTreeSet::new(),
            unknown_version: BTreeSet::new(),
            moving: BTreeSet::new(),
            recounted: true,
            numbering: Numbering::Holds,
            fresh: true,
        }
    }

    /// Takes a change into the records, which must be those of the planner, and notes what is to be
    /// decided again because of it.
    pub fn take_in(&mut self, records: &mut Records, change: Change) {
        if self.fresh || self.numbering == Numbering::Broken {
            self.numbering = Numbering::Broken;
            records.apply(change);
            return;
        }
        match &change {
            Change::Unit(name, after) => {
                let before = records.units.get(name);
                let was_damaged = records.quarantined_units.contains(name);
                match (before, after) {
                    (Some(before), Some(after))
                        if is_same_demand(before, after) && !was_damaged =>
                    {
                        let unit = self.cluster.index(name);
                        self.cluster.nodes[unit.0].assignment = Some(model::Assignment::of(after));
                        self.behind.insert(unit);
                    }
                    (None, None) if !was_damaged => {}
                    (Some(_) | None, Some(_) | None) => self.mark_named(name),
                }
                records.apply(change);
            }
            Change::File(hash, after) => {
                let before = records.files.get(hash).cloned();
                self.mark_users_of_file(records, hash, before.as_deref(), after.as_deref());
                records.apply(change);
            }
            Change::Machine(id, after) => {
                let same = match (records.machines.get(id), after) {
                    (Some(before), Some(after)) => {
                        before.metadata == after.metadata && before.capacity == after.capacity
                    }
                    (None, None) => true,
                    (Some(_), None) | (None, Some(_)) => false,
                };
                let id = id.clone();
                records.apply(change);
                if !same {
                    self.change_machine(records, &id);
                }
            }
            Change::MachineSpec(id, after) => {
                let same = records.machine_specs.get(id) == after.as_ref();
                let id = id.clone();
                records.apply(change);
                if !same && records.machines.contains_key(&id) {
                    self.change_machine(records, &id);
                }
            }
            Change::Assignment(_, name, _) => {
                let name = name.clone();
                self.take_in_entry(records, &change);
                records.apply(change);
                self.aim(records, &name);
            }
            Change::Status(..) => {
                self.take_in_status(records, &change);
                records.apply(change);
            }
            Change::Hold(name, after) => {
                if records.holds.get(name) != after.as_ref() {
                    let unit = self.cluster.index(name);
                    self.occupancy.grow(&self.cluster);
                    self.recheck.insert(unit);
                }
                let name = name.clone();
                records.apply(change);
                self.aim(records, &name);
            }
            Change::Quarantined { record, .. } => {
                if let Some(RecordKey::Unit(name)) = record {
                    self.mark_named(name);
                }
                records.apply(change);
            }
            Change::Leader(_) | Change::Healed { .. } => records.apply(change),
        }
    }

    /// Decides what to write, as [`schedule`](crate::schedule) does.
    pub fn plan(&mut self, records: &Records) -> Vec<Decision> {
        if self.numbering == Numbering::Broken || self.cluster.is_overgrown() {
            *self = Planner::of(records);
        }
        let read = self.read(records);
        let entries = self.entries(&read);
        let removed = keep(&self.cluster, &mut self.occupancy, &entries);
        let open = self.open(&read, &entries);
        let placements = place(&self.cluster, &mut self.occupancy, &removed, &open);
        let plan = Plan {
            records,
            cluster: &self.cluster,
            occupancy: &self.occupancy,
        };
        let mut decisions = plan.unassign(&removed);
        let mut behind: Vec<UnitIndex> = self.behind.iter().copied().collect();
        behind.sort_by(|one, other| self.cluster.by_name(*one, *other));
        behind.retain(|unit| plan.renew(*unit, &mut decisions) > 0);
        self.behind = behind.into_iter().collect();
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
        self.recounted = false;
        self.fresh = false;
        decisions
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

    fn mark_named(&mut self, name: &UnitName) {
        let unit = self.cluster.index(name);
        self.mark(unit);
    }

    /// Takes the unit out of the occupancy, to be read anew.
    fn mark(&mut self, unit: UnitIndex) {
        self.occupancy.grow(&self.cluster);
        if !self.dirty.insert(unit) {
            return;
        }
        for machine in self.occupancy.machines_of(unit).to_vec() {
            self.suspect((unit, machine));
        }
        let node = self.cluster.node(unit);
        for machine in &node.statuses {
            self.occupancy
                .leave_lingering(&self.cluster, unit, *machine);
            self.suspects.insert((unit, *machine));
        }
        for (trace, machine) in &node.traces {
            self.occupancy
                .leave_lingering(&self.cluster, *trace, *machine);
        }
    }

    /// Takes the entry out of the occupancy, to be judged anew.
    fn suspect(&mut self, entry: Entry) {
        self.occupancy.unschedule(&self.cluster, entry.0, entry.1);
        self.suspects.insert(entry);
    }

    fn mark_users_of_file(
        &mut self,
        records: &Records,
        hash: &FileHash,
        before: Option<&UnitFile>,
        after: Option<&UnitFile>,
    ) {
        if before.is_some() == after.is_some() {
            return;
        }
        self.cluster.book.update_file(hash, before, after);
        let mut users: Vec<UnitIndex> = Vec::new();
        match after {
            Some(file) => {
                users.extend(self.fileless.iter().copied());
                if !self.unknown_version.is_empty() {
                    let version = file.hash();
                    let is_seen = |unit: &&UnitIndex| {
                        let name = &self.cluster.node(**unit).name;
                        seen_versions(records, name).any(|seen| seen == version)
                    };
                    users.extend(self.unknown_version.iter().filter(is_seen));
                }
            }
            // Only files that nothing refers to are deleted; anything else is damage, and rare.
            None => {
                let is_user = |unit: &UnitIndex| {
                    let node = self.cluster.node(*unit);
                    !node.traces.is_empty()
                        || node.assignment.as_ref().is_some_and(|it| it.file == *hash)
                };
                users.extend(self.cluster.units().filter(is_user));
            }
        }
        for unit in users {
            self.mark(unit);
        }
    }

    fn change_machine(&mut self, records: &Records, id: &MachineId) {
        let machine = self.cluster.machines.find(id);
        let was_live = machine.is_some_and(|machine| self.cluster.is_live(machine));
        if let Some(machine) = machine.filter(|_| was_live) {
            self.evacuate(machine);
            self.occupancy.remove_machine(machine);
        }
        self.numbering = self.cluster.machines.update(records, id);
        let Some(machine) = machine.filter(|machine| self.cluster.is_live(*machine)) else {
            self.recounted = true;
            return;
        };
        self.occupancy.add_machine(&self.cluster, machine);
        if was_live {
            return;
        }
        self.recounted = true;
        let mut traced = Vec::new();
        for unit in self.cluster.units() {
            let node = self.cluster.node(unit);
            if node.scheduled.contains(&machine) || node.statuses.contains(&machine) {
                self.suspects.insert((unit, machine));
            }
            if node.traces.iter().any(|(_, seen)| *seen == machine) {
                traced.push(unit);
            }
        }
        for unit in traced {
            self.mark(unit);
        }
    }

    /// Takes all who are on the machine out of the occupancy.
    fn evacuate(&mut self, machine: MachineIndex) {
        for unit in self.occupancy.residents(machine).to_vec() {
            self.suspect((unit, machine));
        }
        for unit in self.occupancy.lingering(machine).to_vec() {
            if self.cluster.node(unit).want == Want::Trace {
                let name = self.cluster.node(unit).name.clone();
                self.mark_named(&name);
            } else {
                self.occupancy.leave_lingering(&self.cluster, unit, machine);
                self.suspects.insert((unit, machine));
            }
        }
    }

    fn take_in_entry(&mut self, records: &Records, change: &Change) {
        let Change::Assignment(id, name, after) = change else {
            return;
        };
        let before = records.schedule.get(name).and_then(|all| all.get(id));
        if before == after.as_ref() {
            return;
        }
        let unit = self.cluster.index(name);
        self.occupancy.grow(&self.cluster);
        let machine = self.cluster.machines.index(id);
        if self.dirty.contains(&unit) {
            return;
        }
        if self.occupancy.is_scheduled(unit, machine) != after.is_some() {
            return self.mark(unit);
        }
        let node = &mut self.cluster.nodes[unit.0];
        let file = node.assignment.as_ref().map(|assignment| assignment.file);
        let is_other = |entry: &model::Assignment| file.is_some_and(|file| file != entry.file);
        node.other_files -= usize::from(before.is_some_and(is_other));
        node.other_files += usize::from(after.as_ref().is_some_and(is_other));
        put(&mut node.scheduled, machine, after.is_some());
        if after.is_some() && *after != node.assignment {
            self.behind.insert(unit);
        }
    }

    fn take_in_status(&mut self, records: &Records, change: &Change) {
        let Change::Status(id, name, after) = change else {
            return;
        };
        let before = records.statuses.get(name).and_then(|all| all.get(id));
        let before = before.map(|status| status.hash);
        let after = after.as_ref().map(|status| status.hash);
        if before == after {
            return;
        }
        let unit = self.cluster.index(name);
        self.occupancy.grow(&self.cluster);
        let machine = self.cluster.machines.index(id);
        if self.dirty.contains(&unit) {
            return;
        }
        let now = records.units.get(name).map(|unit| unit.hash);
        let is_now = |seen: Option<UnitHash>| seen.is_none() || seen == now;
        let node = &mut self.cluster.nodes[unit.0];
        if !is_now(before) || !is_now(after) || node.scheduled.len() > 1 && node.want == Want::One {
            return self.mark(unit);
        }
        put(&mut node.statuses, machine, after.is_some());
        if self.occupancy.is_scheduled(unit, machine) {
            return;
        }
        self.retry.insert(unit);
        if self.suspects.contains(&(unit, machine)) {
            return;
        }
        if after.is_none() {
            self.occupancy.leave_lingering(&self.cluster, unit, machine);
        } else if self.cluster.is_live(machine) {
            self.occupancy.linger(&self.cluster, unit, machine);
        }
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
            let is_fileless = matches!(node.want, Want::Frozen(HoldReason::FileMissing { .. }));
            member(&mut self.fileless, *unit, is_fileless);
            member(&mut self.global, *unit, node.want == Want::Everywhere);
            member(&mut self.moving, *unit, node.destination.is_some());
            member(&mut self.behind, *unit, !node.scheduled.is_empty());
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
            let touched = self.occupancy.touched().iter().next();
            let depends = |last: &Option<MachineIndex>| {
                last.is_some_and(|last| touched.is_some_and(|first| first <= last.0))
            };
            let waiting = self.waiting.iter();
            let changed = waiting.filter(|(_, last)| self.recounted || depends(last));
            units.extend(changed.map(|(unit, _)| *unit));
            units.extend(entries.iter().map(|(unit, _)| *unit));
            units.extend(open.iter().chain(&self.recheck).chain(&self.retry));
        }
        units.sort_by(|one, other| self.cluster.by_name(*one, *other));
        units.dedup();
        units
    }
}

/// Whether the machine is to be among them.
fn put(machines: &mut Vec<MachineIndex>, machine: MachineIndex, is_in: bool) {
    match (machines.binary_search(&machine), is_in) {
        (Err(at), true) => machines.insert(at, machine),
        (Ok(at), false) => {
            machines.remove(at);
        }
        (Ok(_), true) | (Err(_), false) => {}
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
