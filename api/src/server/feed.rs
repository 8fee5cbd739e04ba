//! PURE. What a subscriber of events has been told, and what is new to it after each change.
//!
//! A feed keeps its own records, narrowed to the units asked for, so that every event belongs to one revision and no
//! change costs the store a read. It tells a row only if it differs from what it told last.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use model::{Change, MachineId, Records, Revision};
use unitfile::{FileHash, UnitName};

use super::rows;
use crate::types::{Event, EventKind};

/// The state of one subscription.
#[derive(Debug)]
pub(super) struct Feed {
    only: Option<BTreeSet<UnitName>>,
    records: Records,
    told_machines: BTreeMap<MachineId, Digest>,
    told_units: BTreeMap<UnitName, Told>,
    told_brake: Option<Digest>,
    told_damage: BTreeMap<String, Digest>,
}

/// Stands for what was told: 64 bits instead of a row, for as many rows as a cluster has.
type Digest = u64;

/// What was told of one unit.
#[derive(Debug, Default)]
struct Told {
    unit: Option<Digest>,
    hold: Option<Digest>,
    states: BTreeMap<MachineId, Digest>,
}

/// What changes bear on.
#[derive(Debug, Default)]
struct Touched {
    machines: BTreeSet<MachineId>,
    units: BTreeSet<UnitName>,
    files: BTreeSet<FileHash>,
    brake: bool,
    /// Keys of damaged records.
    damage: BTreeSet<String>,
}

/// Whether a change is of anything that the subscriber is told of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bearing {
    Some,
    None,
}

/// The part of `records` that a feed of these units needs.
pub(super) fn narrowed(records: &Records, only: Option<&BTreeSet<UnitName>>) -> Records {
    let Some(only) = only else {
        return records.clone();
    };
    fn keep<V: Clone>(
        map: &BTreeMap<UnitName, V>,
        only: &BTreeSet<UnitName>,
    ) -> BTreeMap<UnitName, V> {
        only.iter()
            .filter_map(|name| Some((name.clone(), map.get(name)?.clone())))
            .collect()
    }
    Records {
        revision: records.revision,
        units: keep(&records.units, only),
        // A unit that is created later may have any of the files that are there now.
        files: records.files.clone(),
        machines: records.machines.clone(),
        machine_specs: records.machine_specs.clone(),
        schedule: keep(&records.schedule, only),
        statuses: keep(&records.statuses, only),
        holds: keep(&records.holds, only),
        brake: records.brake.clone(),
        ..Records::default()
    }
}

impl Feed {
    /// A subscription to `only` (none for all units) that has been told nothing.
    pub(super) fn new(only: Option<BTreeSet<UnitName>>) -> Feed {
        Feed {
            only,
            records: Records::default(),
            told_machines: BTreeMap::new(),
            told_units: BTreeMap::new(),
            told_brake: None,
            told_damage: BTreeMap::new(),
        }
    }

    /// The units asked for.
    pub(super) fn only(&self) -> Option<&BTreeSet<UnitName>> {
        self.only.as_ref()
    }

    /// Takes `records` (see [`narrowed`]) for all that is so now, and returns what is new to the subscriber.
    pub(super) fn reset(&mut self, records: Records) -> Vec<Event> {
        let machines = self.told_machines.keys().chain(records.machines.keys());
        let machines = machines.cloned().collect();
        let units = self.told_units.keys().chain(records.units.keys());
        let units = units
            .chain(records.statuses.keys())
            .chain(records.holds.keys());
        let damage = self.told_damage.keys().chain(records.quarantine.keys());
        let touched = Touched {
            machines,
            units: units.cloned().collect(),
            files: BTreeSet::new(),
            brake: true,
            damage: damage.cloned().collect(),
        };
        self.records = records;
        self.tell(touched)
    }

    /// Takes `records` (see [`narrowed`]) for all that is so now, and returns what is new to a subscriber that was told
    /// everything before `missed`, and forgot nothing. Of what changed more than once only the end is told, and what has
    /// come and gone meanwhile is told as gone.
    pub(super) fn resume(&mut self, records: Records, missed: &[Arc<[Change]>]) -> Vec<Event> {
        let mut news = self.reset(records);
        let mut touched = Touched::default();
        let mut gone = Vec::new();
        for change in missed.iter().flat_map(|changes| changes.iter()) {
            if self.touch(change, &mut touched) == Bearing::Some {
                gone.extend(self.gone_by(change));
            }
        }
        self.spread(&mut touched);
        news.retain(|event| match &event.kind {
            EventKind::Unit(row) => touched.units.contains(&row.name),
            EventKind::State(row) => touched.units.contains(&row.name),
            EventKind::Hold(name, _) => touched.units.contains(name),
            EventKind::Machine(row) => touched.machines.contains(&row.id),
            EventKind::Brake(_) => touched.brake,
            EventKind::Record(record) => touched.damage.contains(&record.key),
            EventKind::RecordGone(_)
            | EventKind::UnitGone(_)
            | EventKind::StateGone(..)
            | EventKind::HoldGone(_)
            | EventKind::MachineGone(_)
            | EventKind::BrakeGone
            | EventKind::Resumed
            | EventKind::Synced
            | EventKind::Failed(_) => true,
        });
        // A machine that is gone takes along what it reported, whose records may go a moment later.
        for (name, on) in &self.records.statuses {
            let hidden = |machine: &&MachineId| {
                touched.machines.contains(machine) && !self.records.machines.contains_key(machine)
            };
            let machines = on.keys().filter(hidden);
            gone.extend(
                machines.map(|machine| EventKind::StateGone(name.clone(), machine.clone())),
            );
        }
        let revision = self.records.revision.0;
        let mut said = BTreeSet::new();
        let gone = gone.into_iter().filter(|kind| said.insert(digest(kind)));
        news.extend(gone.map(|kind| Event { revision, kind }));
        news
    }

    /// What is gone now of that which was changed.
    fn gone_by(&self, change: &Change) -> Option<EventKind> {
        let records = &self.records;
        match change {
            Change::Unit(name, _) => {
                (!records.units.contains_key(name)).then(|| EventKind::UnitGone(name.clone()))
            }
            Change::Hold(name, _) => {
                (!records.holds.contains_key(name)).then(|| EventKind::HoldGone(name.clone()))
            }
            Change::Machine(id, _) => {
                (!records.machines.contains_key(id)).then(|| EventKind::MachineGone(id.clone()))
            }
            Change::Status(machine, name, _) => {
                let shown = rows::statuses(records, name).any(|(on, _)| on == machine);
                (!shown).then(|| EventKind::StateGone(name.clone(), machine.clone()))
            }
            Change::Brake(_) => records.brake.is_none().then_some(EventKind::BrakeGone),
            Change::Healed { key } => {
                (!records.quarantine.contains_key(key)).then(|| EventKind::RecordGone(key.clone()))
            }
            Change::File(..)
            | Change::MachineSpec(..)
            | Change::Assignment(..)
            | Change::Leader(_)
            | Change::Quarantined { .. } => None,
        }
    }

    /// Takes in the changes of one revision and returns what is new to the subscriber.
    pub(super) fn change(&mut self, revision: Revision, changes: &[Change]) -> Vec<Event> {
        // The subscription begins before the records are read, so the first changes may be known already.
        if revision <= self.records.revision {
            return Vec::new();
        }
        self.records.revision = revision;
        let mut touched = Touched::default();
        for change in changes {
            if self.touch(change, &mut touched) == Bearing::Some {
                self.records.apply(change.clone());
            }
        }
        self.spread(&mut touched);
        self.tell(touched)
    }

    /// Notes what a change bears on by itself.
    fn touch(&self, change: &Change, touched: &mut Touched) -> Bearing {
        match change {
            Change::Unit(name, _)
            | Change::Hold(name, _)
            | Change::Assignment(_, name, _)
            | Change::Status(_, name, _) => {
                if !self.wants(name) {
                    return Bearing::None;
                }
                touched.units.insert(name.clone());
            }
            Change::File(hash, _) => {
                touched.files.insert(*hash);
            }
            Change::Machine(id, _) | Change::MachineSpec(id, _) => {
                touched.machines.insert(id.clone());
            }
            Change::Brake(_) => touched.brake = true,
            // Who follows some units is told of those.
            Change::Quarantined { problem, .. } if self.only.is_none() => {
                touched.damage.insert(problem.key.clone());
            }
            Change::Healed { key } if self.only.is_none() => {
                touched.damage.insert(key.clone());
            }
            // Nothing of these is told.
            Change::Leader(_) | Change::Quarantined { .. } | Change::Healed { .. } => {
                return Bearing::None;
            }
        }
        Bearing::Some
    }

    /// Adds the units that files and machines bear on.
    fn spread(&self, touched: &mut Touched) {
        if !touched.files.is_empty() {
            let units = self.records.units.values();
            let of_files = units.filter(|unit| touched.files.contains(&unit.file));
            touched.units.extend(of_files.map(|unit| unit.name.clone()));
        }
        if !touched.machines.is_empty() {
            self.touch_units_of_machines(touched);
        }
    }

    fn wants(&self, name: &UnitName) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(name))
    }

    /// A machine that comes or goes takes its states along.
    fn touch_units_of_machines(&self, touched: &mut Touched) {
        for (name, on) in &self.records.statuses {
            if on.keys().any(|machine| touched.machines.contains(machine)) {
                touched.units.insert(name.clone());
            }
        }
        for (name, on) in &self.records.schedule {
            if on.keys().any(|machine| touched.machines.contains(machine)) {
                touched.units.insert(name.clone());
            }
        }
    }

    fn tell(&mut self, touched: Touched) -> Vec<Event> {
        let mut news = Vec::new();
        for id in touched.machines {
            let machine = self.records.machines.get(&id);
            let row = machine.map(|machine| rows::machine_row(&self.records, machine));
            let mut told = self.told_machines.remove(&id);
            update(&mut told, row.map(EventKind::Machine), &mut news, || {
                EventKind::MachineGone(id.clone())
            });
            if let Some(told) = told {
                self.told_machines.insert(id, told);
            }
        }
        if touched.brake {
            let row = self.records.brake.as_ref().map(rows::brake);
            update(
                &mut self.told_brake,
                row.map(EventKind::Brake),
                &mut news,
                || EventKind::BrakeGone,
            );
        }
        for name in touched.units {
            let mut told = self.told_units.remove(&name).unwrap_or_default();
            self.tell_unit(&name, &mut told, &mut news);
            if told.unit.is_some() || told.hold.is_some() || !told.states.is_empty() {
                self.told_units.insert(name, told);
            }
        }
        for key in touched.damage {
            let mut told = self.told_damage.remove(&key);
            let record = self.records.quarantine.get(&key);
            let now = record.map(|problem| EventKind::Record(rows::quarantined(problem)));
            update(&mut told, now, &mut news, || {
                EventKind::RecordGone(key.clone())
            });
            self.told_damage.extend(told.map(|told| (key, told)));
        }
        let revision = self.records.revision.0;
        news.into_iter()
            .map(|kind| Event { revision, kind })
            .collect()
    }

    fn tell_unit(&self, name: &UnitName, told: &mut Told, news: &mut Vec<EventKind>) {
        let records = &self.records;
        let row = records
            .units
            .get(name)
            .map(|unit| Box::new(rows::unit_row(records, unit)));
        update(&mut told.unit, row.map(EventKind::Unit), news, || {
            EventKind::UnitGone(name.clone())
        });
        let hold = records.holds.get(name).map(rows::hold);
        update(
            &mut told.hold,
            hold.map(|hold| EventKind::Hold(name.clone(), hold)),
            news,
            || EventKind::HoldGone(name.clone()),
        );
        let mut before = std::mem::take(&mut told.states);
        for (machine, status) in rows::statuses(records, name) {
            let row = Box::new(rows::state_row(name, machine, status));
            let mut digest = before.remove(machine);
            update(&mut digest, Some(EventKind::State(row)), news, || {
                EventKind::StateGone(name.clone(), machine.clone())
            });
            told.states
                .extend(digest.map(|digest| (machine.clone(), digest)));
        }
        news.extend(
            before
                .into_keys()
                .map(|machine| EventKind::StateGone(name.clone(), machine)),
        );
    }
}

/// Tells `now` if it is not what was told, or that it is gone if it was told.
fn update(
    told: &mut Option<Digest>,
    now: Option<EventKind>,
    news: &mut Vec<EventKind>,
    gone: impl FnOnce() -> EventKind,
) {
    match now {
        Some(kind) => {
            let digest = digest(&kind);
            if told.replace(digest) != Some(digest) {
                news.push(kind);
            }
        }
        None => {
            if told.take().is_some() {
                news.push(gone());
            }
        }
    }
}

fn digest(kind: &EventKind) -> Digest {
    let mut hasher = DefaultHasher::new();
    format!("{kind:?}").hash(&mut hasher);
    hasher.finish()
}
