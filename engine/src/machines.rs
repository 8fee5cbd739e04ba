//! PURE. The machines of a cluster, numbered in order of their ids, and for each class of demands
//! the machines it leaves.
//!
//! A number stays with its machine for as long as the numbering lives, also while the machine is
//! away, so that losing one and getting it back costs what was on it, not the size of the cluster.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use model::{Capacity, MachineId, Records, Schedulable};
use unitfile::{MetadataTerm, MetadataTest, Preference};

use crate::bits::Bits;
use crate::rules::{ClassIndex, ClassKey, RuleBook, TasteIndex};

/// One machine. Smaller is first by id, for all that have been there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct MachineIndex(pub(crate) usize);

/// What is to be done about a machine that changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Numbering {
    /// Its number is good.
    Holds,
    /// It has none between its neighbours: all must be numbered anew.
    Broken,
}

/// The machines, numbered.
#[derive(Debug)]
pub(crate) struct Machines {
    /// Those that have been there in order of their ids; then others that are only spoken of.
    ids: Vec<MachineId>,
    /// How many have been there.
    slots: usize,
    spoken_of: BTreeMap<MachineId, MachineIndex>,
    live: Bits,
    live_count: usize,
    /// Machines that the brake on mass loss speaks of; those of them that are away keep their units.
    braked: BTreeSet<MachineIndex>,
    /// Machines that may be alive, as their records cannot be read.
    unreadable: BTreeSet<MachineId>,
    /// Machines that take new units.
    open: Bits,
    /// By machine: its metadata with what operators set laid over it; empty while it is away.
    metadata: Vec<BTreeMap<String, String>>,
    /// By key and value: the live machines that have it, in order.
    by_value: BTreeMap<String, BTreeMap<String, Vec<usize>>>,
    /// By machine; nothing while it is away.
    capacity: Vec<Capacity>,
    /// By list of preferences: the live machines by what it gives them, most first.
    tastes: Vec<Vec<Preference>>,
    by_taste: Vec<BTreeMap<Reverse<u64>, Bits>>,
    /// By class.
    classes: Vec<ClassKey>,
    fitting: Vec<Bits>,
    fitting_open: Vec<Bits>,
    fitting_open_count: Vec<usize>,
}

impl Machines {
    pub(crate) fn of(records: &Records) -> Machines {
        let ids: Vec<MachineId> = records.machines.keys().cloned().collect();
        let slots = ids.len();
        let mut machines = Machines {
            ids,
            slots,
            spoken_of: BTreeMap::new(),
            unreadable: records.quarantined_machines.clone(),
            live: Bits::empty(slots),
            live_count: 0,
            braked: BTreeSet::new(),
            open: Bits::empty(slots),
            metadata: vec![BTreeMap::new(); slots],
            by_value: BTreeMap::new(),
            capacity: vec![Capacity::default(); slots],
            tastes: Vec::new(),
            by_taste: Vec::new(),
            classes: Vec::new(),
            fitting: Vec::new(),
            fitting_open: Vec::new(),
            fitting_open_count: Vec::new(),
        };
        for slot in 0..slots {
            machines.enter(records, MachineIndex(slot));
        }
        machines.brake(records);
        machines
    }

    /// How many numbers sets of machines must have room for.
    pub(crate) fn slots(&self) -> usize {
        self.slots
    }

    pub(crate) fn id(&self, machine: MachineIndex) -> &MachineId {
        &self.ids[machine.0]
    }

    pub(crate) fn is_live(&self, machine: MachineIndex) -> bool {
        self.live.contains(machine.0)
    }

    /// True if the machine is away and keeps its units for now.
    pub(crate) fn is_braked(&self, machine: MachineIndex) -> bool {
        self.braked.contains(&machine) && !self.is_live(machine)
    }

    /// Takes in which machines the brake speaks of now. Returns those of which it did not, or does
    /// no longer.
    pub(crate) fn brake(&mut self, records: &Records) -> BTreeSet<MachineIndex> {
        let machines = records.brake.iter().flat_map(|brake| &brake.machines);
        let braked = machines.map(|id| self.index(id)).collect();
        let before = std::mem::replace(&mut self.braked, braked);
        before.symmetric_difference(&self.braked).copied().collect()
    }

    pub(crate) fn live(&self) -> &Bits {
        &self.live
    }

    pub(crate) fn live_count(&self) -> usize {
        self.live_count
    }

    /// True if the machine takes new units.
    pub(crate) fn is_open(&self, machine: MachineIndex) -> bool {
        self.open.contains(machine.0)
    }

    /// All that take new units.
    pub(crate) fn open(&self) -> &Bits {
        &self.open
    }

    pub(crate) fn metadata(&self, machine: MachineIndex) -> &BTreeMap<String, String> {
        &self.metadata[machine.0]
    }

    /// What the machine has to give.
    pub(crate) fn capacity(&self, machine: MachineIndex) -> &Capacity {
        &self.capacity[machine.0]
    }

    /// The live machines that have the key, by its value.
    pub(crate) fn by_value(&self, key: &str) -> Option<&BTreeMap<String, Vec<usize>>> {
        self.by_value.get(key)
    }

    /// The live machines by what the list of preferences gives them, most first.
    pub(crate) fn by_taste(&self, taste: TasteIndex) -> &BTreeMap<Reverse<u64>, Bits> {
        &self.by_taste[taste.0]
    }

    /// The live machines that have the id and metadata of the class.
    pub(crate) fn fitting(&self, class: ClassIndex) -> &Bits {
        &self.fitting[class.0]
    }

    /// Those of them that take new units.
    pub(crate) fn fitting_open(&self, class: ClassIndex) -> &Bits {
        &self.fitting_open[class.0]
    }

    /// How many those are.
    pub(crate) fn fitting_open_count(&self, class: ClassIndex) -> usize {
        self.fitting_open_count[class.0]
    }

    /// True if nobody can say whether the machine is alive.
    pub(crate) fn is_unreadable(&self, machine: MachineIndex) -> bool {
        self.unreadable.contains(self.id(machine))
    }

    pub(crate) fn find(&self, id: &MachineId) -> Option<MachineIndex> {
        match self.ids[..self.slots].binary_search(id) {
            Ok(index) => Some(MachineIndex(index)),
            Err(_) => self.spoken_of.get(id).copied(),
        }
    }

    /// The number of a machine that a record speaks of.
    pub(crate) fn index(&mut self, id: &MachineId) -> MachineIndex {
        if let Some(index) = self.find(id) {
            return index;
        }
        let index = MachineIndex(self.ids.len());
        self.ids.push(id.clone());
        self.spoken_of.insert(id.clone(), index);
        index
    }

    /// Takes in what the records have of a machine now.
    pub(crate) fn update(&mut self, records: &Records, id: &MachineId) -> Numbering {
        match self.ids[..self.slots].binary_search(id) {
            Ok(slot) => {
                self.leave(MachineIndex(slot));
                if records.machines.contains_key(id) {
                    self.enter(records, MachineIndex(slot));
                }
                Numbering::Holds
            }
            Err(_) if records.machines.contains_key(id) => Numbering::Broken,
            Err(_) => Numbering::Holds,
        }
    }

    /// True if so many of the numbers are of machines that are away that numbering anew is worth
    /// it.
    pub(crate) fn is_sparse(&self) -> bool {
        self.ids.len() - self.live_count > self.live_count + SPARE_SLOTS
    }

    /// Finds the machines of classes and preferences that were not asked for before.
    pub(crate) fn learn(&mut self, book: &RuleBook) {
        for taste in book.tastes().iter().skip(self.tastes.len()) {
            let mut by_taste: BTreeMap<Reverse<u64>, Bits> = BTreeMap::new();
            for slot in self.live.iter() {
                by_taste
                    .entry(Reverse(score(taste, &self.metadata[slot])))
                    .or_insert_with(|| Bits::empty(self.slots))
                    .insert(slot);
            }
            self.by_taste.push(by_taste);
            self.tastes.push(taste.clone());
        }
        for key in &book.classes()[self.classes.len()..] {
            let fitting = self.fitting_class(key);
            let mut open = fitting.clone();
            open.intersect(&self.open);
            self.fitting.push(fitting);
            self.fitting_open_count.push(open.count());
            self.fitting_open.push(open);
            self.classes.push(key.clone());
        }
    }

    fn leave(&mut self, machine: MachineIndex) {
        let slot = machine.0;
        if !self.live.contains(slot) {
            return;
        }
        self.live.remove(slot);
        self.live_count -= 1;
        self.open.remove(slot);
        self.capacity[slot] = Capacity::default();
        for by_taste in &mut self.by_taste {
            by_taste
                .values_mut()
                .for_each(|machines| machines.remove(slot));
        }
        for (key, value) in std::mem::take(&mut self.metadata[slot]) {
            let Some(values) = self.by_value.get_mut(&key) else {
                continue;
            };
            if let Some(having) = values.get_mut(&value) {
                having.retain(|known| *known != slot);
                if having.is_empty() {
                    values.remove(&value);
                }
            }
        }
        for class in 0..self.classes.len() {
            self.fitting[class].remove(slot);
            if self.fitting_open[class].contains(slot) {
                self.fitting_open[class].remove(slot);
                self.fitting_open_count[class] -= 1;
            }
        }
    }

    fn enter(&mut self, records: &Records, machine: MachineIndex) {
        let slot = machine.0;
        let id = &self.ids[slot];
        self.live.insert(slot);
        self.live_count += 1;
        let schedulable = records.machine_specs.get(id).map(|spec| spec.schedulable);
        let is_open = match schedulable {
            Some(Schedulable::Cordoned) => false,
            Some(Schedulable::Yes) | None => true,
        };
        if is_open {
            self.open.insert(slot);
        }
        let metadata = records.metadata(id).unwrap_or_default();
        for (key, value) in &metadata {
            if !self.by_value.contains_key(key) {
                self.by_value.insert(key.clone(), BTreeMap::new());
            }
            let Some(values) = self.by_value.get_mut(key) else {
                continue;
            };
            match values.get_mut(value) {
                Some(having) => {
                    let at = having.partition_point(|known| *known < slot);
                    having.insert(at, slot);
                }
                None => {
                    values.insert(value.clone(), vec![slot]);
                }
            }
        }
        for (taste, by_taste) in self.tastes.iter().zip(&mut self.by_taste) {
            by_taste
                .entry(Reverse(score(taste, &metadata)))
                .or_insert_with(|| Bits::empty(self.slots))
                .insert(slot);
        }
        self.metadata[slot] = metadata;
        if let Some(machine) = records.machines.get(id) {
            self.capacity[slot] = machine.capacity;
        }
        for (class, key) in self.classes.iter().enumerate() {
            if fits(key, &self.ids[slot], &self.metadata[slot]) {
                self.fitting[class].insert(slot);
                if is_open {
                    self.fitting_open[class].insert(slot);
                    self.fitting_open_count[class] += 1;
                }
            }
        }
    }

    /// The live machines that a class leaves.
    pub(crate) fn fitting_class(&self, class: &ClassKey) -> Bits {
        let mut fitting = match &class.machine_id {
            None => self.live.clone(),
            Some(wanted) => {
                // A short id is the beginning of the full one: the two lie side by side.
                let mut named = Bits::empty(self.slots);
                let ids = &self.ids[..self.slots];
                let start = ids.partition_point(|id| id.as_str() < wanted.as_str());
                ids[start..]
                    .iter()
                    .take_while(|id| id.as_str().starts_with(wanted))
                    .enumerate()
                    .filter(|(_, id)| id.is_named(wanted))
                    .for_each(|(offset, _)| named.insert(start + offset));
                named.intersect(&self.live);
                named
            }
        };
        for term in &class.metadata {
            fitting.intersect(&self.allowed(term));
        }
        fitting
    }

    /// The live machines that a term leaves. Asks each value that some machine has, not each
    /// machine.
    fn allowed(&self, term: &MetadataTerm) -> Bits {
        let nothing = BTreeMap::new();
        let by_value = self.by_value.get(&term.key).unwrap_or(&nothing);
        let mut allowed = Bits::empty(self.slots);
        let mut allow = |having: &Vec<usize>| {
            for machine in having {
                allowed.insert(*machine);
            }
        };
        match &term.test {
            MetadataTest::OneOf { values, patterns } if patterns.is_empty() => values
                .iter()
                .filter_map(|value| by_value.get(value))
                .for_each(&mut allow),
            MetadataTest::OneOf { .. }
            | MetadataTest::Not(_)
            | MetadataTest::Number(..)
            | MetadataTest::Exists => by_value
                .iter()
                .filter(|(value, _)| term.allows(Some(value)))
                .for_each(|(_, having)| allow(having)),
        }
        if term.allows(None) {
            let mut without = self.live.clone();
            for machine in by_value.values().flatten() {
                without.remove(*machine);
            }
            allowed.unite(&without);
        }
        allowed
    }
}

/// What the preferences that the metadata satisfies weigh together.
fn score(taste: &[Preference], metadata: &BTreeMap<String, String>) -> u64 {
    let value = |preference: &Preference| metadata.get(&preference.term.key).map(String::as_str);
    taste
        .iter()
        .filter(|preference| preference.term.allows(value(preference)))
        .map(|preference| u64::from(preference.weight))
        .sum()
}

/// How many numbers of machines that are away are kept in any case.
const SPARE_SLOTS: usize = 64;

fn fits(class: &ClassKey, id: &MachineId, metadata: &BTreeMap<String, String>) -> bool {
    class
        .machine_id
        .as_ref()
        .is_none_or(|wanted| id.is_named(wanted))
        && class
            .metadata
            .iter()
            .all(|term| term.allows(metadata.get(&term.key).map(String::as_str)))
}
