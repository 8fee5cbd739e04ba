//! Everything the store knows of a cluster, as one value in memory: what a snapshot gives and what every change updates.
//!
//! Engine and API both keep one of these, filled from a watch. All maps are ordered, so that whatever is decided or shown from
//! them does not depend on a hash.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use unitfile::{FileHash, UnitFile, UnitName};

use crate::{
    Assignment, Brake, Hold, Machine, MachineId, MachineSpec, PerMachine, Revision, Unit,
    UnitStatus,
};

/// Who leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leader {
    /// The machine whose engine leads.
    pub machine: MachineId,
}

/// A record that could not be understood: reported and skipped, never acted upon.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Quarantined {
    /// The key in the store, in full.
    pub key: String,
    /// What is wrong with it.
    pub reason: String,
}

/// What became of a wish to remove a damaged record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Removal {
    /// It is gone.
    Removed,
    /// There is no damaged record of that key: nothing was done.
    NotQuarantined,
    /// It is a record that a machine writes of itself, and that machine is alive: nothing was done. Its fleetd writes it anew when it is
    /// restarted; without it the machine would lose its place, or what it runs would be started elsewhere too.
    Alive,
}

/// Names one record.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum RecordKey {
    /// A unit.
    Unit(UnitName),
    /// A unit file.
    File(FileHash),
    /// A live machine.
    Machine(MachineId),
    /// What operators set on a machine.
    MachineSpec(MachineId),
    /// An entry of a machine's schedule.
    Assignment(MachineId, UnitName),
    /// What a machine reports of a unit.
    Status(MachineId, UnitName),
    /// Why a unit waits.
    Hold(UnitName),
    /// Who leads.
    Leader,
    /// The brake on mass loss.
    Brake,
}

/// One record came, changed or went (`None`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// A unit.
    Unit(UnitName, Option<Unit>),
    /// A unit file.
    File(FileHash, Option<Arc<UnitFile>>),
    /// A live machine.
    Machine(MachineId, Option<Machine>),
    /// What operators set on a machine.
    MachineSpec(MachineId, Option<MachineSpec>),
    /// An entry of a machine's schedule.
    Assignment(MachineId, UnitName, Option<Assignment>),
    /// What a machine reports of a unit.
    Status(MachineId, UnitName, Option<UnitStatus>),
    /// Why a unit waits.
    Hold(UnitName, Option<Hold>),
    /// Who leads.
    Leader(Option<Leader>),
    /// The brake on mass loss.
    Brake(Option<Brake>),
    /// A record that cannot be understood now stands at this key. What was known of it before stays in force, so that a
    /// damaged record never stops anything (`record` is none if not even the key can be understood).
    Quarantined {
        /// Which record it would have been.
        record: Option<RecordKey>,
        /// What is wrong.
        problem: Quarantined,
    },
    /// The damaged record at this key was rewritten or deleted.
    Healed {
        /// The key in the store, in full.
        key: String,
    },
}

/// A cluster as the store has it at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// The revision everything below was read at.
    pub revision: Revision,
    /// Units by name.
    pub units: BTreeMap<UnitName, Unit>,
    /// Unit files by content address.
    pub files: BTreeMap<FileHash, Arc<UnitFile>>,
    /// Live machines.
    pub machines: BTreeMap<MachineId, Machine>,
    /// What operators set on machines.
    pub machine_specs: BTreeMap<MachineId, MachineSpec>,
    /// The schedule, by unit, then machine.
    pub schedule: BTreeMap<UnitName, PerMachine<Assignment>>,
    /// What machines report, by unit, then machine.
    pub statuses: BTreeMap<UnitName, PerMachine<UnitStatus>>,
    /// Why units wait.
    pub holds: BTreeMap<UnitName, Hold>,
    /// Who leads.
    pub leader: Option<Leader>,
    /// The brake on mass loss; none while nothing is held.
    pub brake: Option<Brake>,
    /// Records that could not be understood, by key.
    pub quarantine: BTreeMap<String, Quarantined>,
    /// Which of the quarantined keys belong to units, so that those can be destroyed by name.
    pub quarantined_units: BTreeSet<UnitName>,
    /// Machines whose records cannot be read and of which nothing was known before: they may well be alive.
    pub quarantined_machines: BTreeSet<MachineId>,
    /// Reports that cannot be read and of which nothing was known before: the machine may well have the unit.
    pub quarantined_statuses: BTreeMap<UnitName, BTreeSet<MachineId>>,
    /// Entries of schedules that cannot be read and of which nothing was known before: what they wanted there is lost.
    pub quarantined_entries: BTreeMap<UnitName, BTreeSet<MachineId>>,
}

impl Records {
    /// Takes in one change.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Unit(name, value) => {
                self.quarantined_units.remove(&name);
                set(&mut self.units, name, value);
            }
            Change::File(hash, value) => set(&mut self.files, hash, value),
            Change::Machine(id, value) => {
                self.quarantined_machines.remove(&id);
                set(&mut self.machines, id, value);
            }
            Change::MachineSpec(id, value) => set(&mut self.machine_specs, id, value),
            Change::Assignment(id, name, value) => {
                if let Some(machines) = self.quarantined_entries.get_mut(&name) {
                    machines.remove(&id);
                }
                set_nested(&mut self.schedule, name, id, value);
            }
            Change::Status(id, name, value) => {
                if let Some(machines) = self.quarantined_statuses.get_mut(&name) {
                    machines.remove(&id);
                }
                set_nested(&mut self.statuses, name, id, value);
            }
            Change::Hold(name, value) => set(&mut self.holds, name, value),
            Change::Leader(value) => self.leader = value,
            Change::Brake(value) => self.brake = value,
            Change::Quarantined { record, problem } => {
                self.note_damage(record);
                self.quarantine.insert(problem.key.clone(), problem);
            }
            Change::Healed { key } => {
                self.quarantine.remove(&key);
            }
        }
    }

    /// Notes of whom a damaged record speaks, where that bears on what may be done.
    fn note_damage(&mut self, record: Option<RecordKey>) {
        match record {
            Some(RecordKey::Unit(name)) => {
                self.quarantined_units.insert(name);
            }
            Some(RecordKey::Machine(id)) if !self.machines.contains_key(&id) => {
                self.quarantined_machines.insert(id);
            }
            Some(RecordKey::Status(id, name)) if !self.reports(&name, &id) => {
                self.quarantined_statuses
                    .entry(name)
                    .or_default()
                    .insert(id);
            }
            Some(RecordKey::Assignment(id, name)) if !self.schedules(&name, &id) => {
                self.quarantined_entries.entry(name).or_default().insert(id);
            }
            Some(
                RecordKey::Machine(_)
                | RecordKey::Status(..)
                | RecordKey::File(_)
                | RecordKey::MachineSpec(_)
                | RecordKey::Assignment(..)
                | RecordKey::Hold(_)
                | RecordKey::Leader
                | RecordKey::Brake,
            )
            | None => {}
        }
    }

    /// True if a report of the unit by the machine is there, cannot be read, and nothing was known of it before.
    pub fn is_damaged_status(&self, name: &UnitName, machine: &MachineId) -> bool {
        let of_unit = self.quarantined_statuses.get(name);
        of_unit.is_some_and(|machines| machines.contains(machine))
    }

    /// True if the machine reports anything of the unit, also if that cannot be read.
    pub fn is_reported(&self, name: &UnitName, machine: &MachineId) -> bool {
        self.reports(name, machine) || self.is_damaged_status(name, machine)
    }

    fn schedules(&self, name: &UnitName, machine: &MachineId) -> bool {
        let of_unit = self.schedule.get(name);
        of_unit.is_some_and(|of_unit| of_unit.contains_key(machine))
    }

    fn reports(&self, name: &UnitName, machine: &MachineId) -> bool {
        let of_unit = self.statuses.get(name);
        of_unit.is_some_and(|of_unit| of_unit.contains_key(machine))
    }

    /// The metadata of a machine with what operators set laid over it; none if the machine is not there.
    pub fn metadata(&self, id: &MachineId) -> Option<BTreeMap<String, String>> {
        let machine = self.machines.get(id)?;
        Some(match self.machine_specs.get(id) {
            Some(spec) => spec.overlay(&machine.metadata),
            None => machine.metadata.clone(),
        })
    }
}

fn set<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    };
}

fn set_nested<V>(
    map: &mut BTreeMap<UnitName, PerMachine<V>>,
    outer: UnitName,
    inner: MachineId,
    value: Option<V>,
) {
    match value {
        Some(value) => {
            map.entry(outer).or_default().insert(inner, value);
        }
        None => {
            if let Some(entries) = map.get_mut(&outer) {
                entries.remove(&inner);
                if entries.is_empty() {
                    map.remove(&outer);
                }
            }
        }
    }
}
