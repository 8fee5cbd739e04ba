//! PURE. What a change makes doubtful: takes changes into the records and notes which units are to
//! be read anew and which entries are to be judged anew.

use model::{Change, MachineId, RecordKey, Records, Unit};
use unitfile::{FileHash, UnitFile, UnitHash, UnitName};

use super::{Planner, seen_versions};
use crate::cluster::{Entry, MachineIndex, UnitIndex, Want};
use crate::gather::is_same_demand;
use crate::machines::Numbering;

impl Planner {
    /// Takes a change into the records, which must be those of the planner, and notes what is to be
    /// decided again because of it.
    pub fn take_in(&mut self, records: &mut Records, change: Change) {
        if self.fresh || self.numbering == Numbering::Broken {
            self.numbering = Numbering::Broken;
            records.apply(change);
            return;
        }
        match &change {
            Change::Unit(name, after) => self.take_in_unit(records, name, after.as_ref()),
            Change::File(hash, after) => {
                let before = records.files.get(hash).cloned();
                self.mark_users_of_file(records, hash, before.as_deref(), after.as_deref());
            }
            Change::Assignment(_, name, _) => {
                let name = name.clone();
                self.take_in_entry(records, &change);
                records.apply(change);
                return self.aim(records, &name);
            }
            Change::Status(id, name, _) if records.is_damaged_status(name, id) => {
                self.numbering = Numbering::Broken;
            }
            Change::Status(..) => self.take_in_status(records, &change),
            Change::Hold(name, after) => {
                if records.holds.get(name) != after.as_ref() {
                    let unit = self.cluster.index(name);
                    self.occupancy.grow(&self.cluster);
                    self.recheck.insert(unit);
                }
                let name = name.clone();
                records.apply(change);
                return self.aim(records, &name);
            }
            Change::Quarantined { record, .. } => {
                match record {
                    Some(RecordKey::Unit(name)) => self.mark_named(name),
                    // Rare: all is numbered anew.
                    Some(RecordKey::Machine(_) | RecordKey::Status(..)) => {
                        self.numbering = Numbering::Broken;
                    }
                    Some(_) | None => {}
                }
            }
            Change::Machine(..) | Change::MachineSpec(..) | Change::Brake(_) => {
                return self.take_in_machines(records, change);
            }
            Change::Leader(_) | Change::Healed { .. } => {}
        }
        records.apply(change);
    }

    /// Changes of which what the records have before and after matters.
    fn take_in_machines(&mut self, records: &mut Records, change: Change) {
        match &change {
            Change::Machine(id, _) if records.quarantined_machines.contains(id) => {
                self.numbering = Numbering::Broken;
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
            Change::Brake(after) => {
                let same = records.brake == *after;
                records.apply(change);
                if !same {
                    self.change_brake(records);
                }
            }
            Change::Unit(..)
            | Change::File(..)
            | Change::Assignment(..)
            | Change::Status(..)
            | Change::Hold(..)
            | Change::Leader(_)
            | Change::Quarantined { .. }
            | Change::Healed { .. } => records.apply(change),
        }
    }

    fn take_in_unit(&mut self, records: &Records, name: &UnitName, after: Option<&Unit>) {
        let was_damaged = records.quarantined_units.contains(name);
        match (records.units.get(name), after) {
            (Some(before), Some(after)) if is_same_demand(before, after) && !was_damaged => {
                let unit = self.cluster.index(name);
                self.cluster.nodes[unit.0].assignment = Some(model::Assignment::of(after));
                self.behind.insert(unit);
            }
            (None, None) if !was_damaged => {}
            (Some(_) | None, Some(_) | None) => self.mark_named(name),
        }
    }

    fn change_brake(&mut self, records: &Records) {
        let machines = self.cluster.machines.brake(records);
        let entries = self.cluster.units().flat_map(|unit| {
            let scheduled = self.cluster.node(unit).scheduled.iter();
            let concerned = scheduled.filter(|machine| machines.contains(machine));
            concerned.map(move |machine| (unit, *machine))
        });
        for entry in entries.collect::<Vec<Entry>>() {
            self.suspect(entry);
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
        self.rearranged = true;
        let machine = self.cluster.machines.find(id);
        let was_live = machine.is_some_and(|machine| self.cluster.is_live(machine));
        if let Some(machine) = machine.filter(|_| was_live) {
            self.evacuate(machine);
            self.occupancy.remove_machine(machine);
        }
        self.numbering = self.cluster.machines.update(records, id);
        let now = self.cluster.machines.find(id);
        let Some(now) = now.filter(|machine| self.cluster.is_live(*machine)) else {
            self.emptied |= self.cluster.machines.live_count() <= 1;
            return;
        };
        self.occupancy.add_machine(&self.cluster, now);
        if was_live {
            return;
        }
        self.emptied |= self.cluster.machines.live_count() <= 1;
        // Of one that joins nothing spoke so far.
        let Some(machine) = machine else { return };
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
