//! PURE. The machines of a cluster, numbered in order of their ids, and for each class of demands
//! the machines it leaves.
//!
//! A number stays with its machine for as long as the numbering lives, also while the machine is
//! away, so that losing one and getting it back costs what was on it, not the size of the cluster.
//! Machines that join later have numbers behind those, in the order in which they came, so that one
//! that joins costs little too. So numbers must not be compared where the order of ids decides:
//! [`Machines::order`] does, and [`Machines::in_order`].

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet};

use model::{Capacity, MachineId, Records, Schedulable};
use unitfile::{MetadataTerm, MetadataTest, Preference};

use crate::bits::Bits;
use crate::rules::{ClassIndex, ClassKey, RuleBook, TasteIndex};

/// One machine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct MachineIndex(pub(crate) usize);

/// What is to be done about a machine that changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Numbering {
    /// Its number is good.
    Holds,
    /// There is none left for it, or it is one of those that are only spoken of: all must be numbered
    /// anew.
    Broken,
}

/// The machines, numbered.
#[derive(Debug)]
pub(crate) struct Machines {
    /// Those that have been there: so many in order of their ids, then those that joined later.
    ids: Vec<MachineId>,
    sorted: usize,
    /// How many there may be before all are numbered anew.
    slots: usize,
    /// Those that joined later.
    late: BTreeMap<MachineId, MachineIndex>,
    /// Others that are only spoken of; their numbers begin at `slots`.
    others: Vec<MachineId>,
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
        let sorted = ids.len();
        let slots = sorted + LATE_MACHINES_MIN + sorted / MACHINES_PER_LATE;
        let mut machines = Machines {
            ids,
            sorted,
            slots,
            late: BTreeMap::new(),
            others: Vec::new(),
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
        for slot in 0..sorted {
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
        match machine.0.checked_sub(self.slots) {
            None => &self.ids[machine.0],
            Some(other) => &self.others[other],
        }
    }

    /// The order of their ids.
    pub(crate) fn order(&self, one: MachineIndex, other: MachineIndex) -> Ordering {
        if one.0 < self.sorted && other.0 < self.sorted {
            return one.cmp(&other);
        }
        self.id(one).cmp(self.id(other))
    }

    /// The members of the set in order of their ids.
    pub(crate) fn in_order<'m>(&'m self, set: &'m Bits) -> impl Iterator<Item = MachineIndex> + 'm {
        let early = set.iter().take_while(|slot| *slot < self.sorted);
        let mut early = early.map(MachineIndex).peekable();
        let late = self.late.values().copied();
        let mut late = late.filter(|machine| set.contains(machine.0)).peekable();
        std::iter::from_fn(move || match (early.peek(), late.peek()) {
            (Some(one), Some(other)) if self.order(*other, *one) == Ordering::Less => late.next(),
            (Some(_), _) => early.next(),
            (None, _) => late.next(),
        })
    }

    /// The first by id that both sets have.
    pub(crate) fn first_common(&self, one: &Bits, other: &Bits) -> Option<MachineIndex> {
        let first = one.first_common(other).map(MachineIndex);
        if self.late.is_empty() {
            return first;
        }
        let early = first.filter(|machine| machine.0 < self.sorted);
        let mut late = self.late.values().copied();
        let late = late.find(|machine| one.contains(machine.0) && other.contains(machine.0));
        early
            .into_iter()
            .chain(late)
            .min_by(|one, other| self.order(*one, *other))
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
        match self.ids[..self.sorted].binary_search(id) {
            Ok(index) => Some(MachineIndex(index)),
            Err(_) => self
                .late
                .get(id)
                .or_else(|| self.spoken_of.get(id))
                .copied(),
        }
    }

    /// The number of a machine that a record speaks of.
    pub(crate) fn index(&mut self, id: &MachineId) -> MachineIndex {
        if let Some(index) = self.find(id) {
            return index;
        }
        let index = MachineIndex(self.slots + self.others.len());
        self.others.push(id.clone());
        self.spoken_of.insert(id.clone(), index);
        index
    }

    /// The same of one that is likely next by id after the machine with this number.
    pub(crate) fn index_after(
        &mut self,
        last: Option<MachineIndex>,
        id: &MachineId,
    ) -> MachineIndex {
        let next = last.map_or(0, |last| last.0 + 1);
        match self.ids[..self.sorted].get(next) {
            Some(likely) if likely == id => MachineIndex(next),
            Some(_) | None => self.index(id),
        }
    }

    /// Takes in what the records have of a machine now.
    pub(crate) fn update(&mut self, records: &Records, id: &MachineId) -> Numbering {
        let is_there = records.machines.contains_key(id);
        match self.find(id) {
            Some(machine) if machine.0 < self.slots => {
                self.leave(machine);
                if is_there {
                    self.enter(records, machine);
                }
                Numbering::Holds
            }
            None if is_there && self.ids.len() < self.slots => {
                let machine = MachineIndex(self.ids.len());
                self.ids.push(id.clone());
                self.late.insert(id.clone(), machine);
                self.enter(records, machine);
                Numbering::Holds
            }
            Some(_) | None if is_there => Numbering::Broken,
            Some(_) | None => Numbering::Holds,
        }
    }

    /// True if so many of the numbers are of machines that are away that numbering anew is worth
    /// it.
    pub(crate) fn is_sparse(&self) -> bool {
        let known = self.ids.len() + self.others.len();
        known - self.live_count > self.live_count + SPARE_SLOTS
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
                let ids = &self.ids[..self.sorted];
                let start = ids.partition_point(|id| id.as_str() < wanted.as_str());
                ids[start..]
                    .iter()
                    .take_while(|id| id.as_str().starts_with(wanted))
                    .enumerate()
                    .filter(|(_, id)| id.is_named(wanted))
                    .for_each(|(offset, _)| named.insert(start + offset));
                let late = self.late.iter().filter(|(id, _)| id.is_named(wanted));
                late.for_each(|(_, machine)| named.insert(machine.0));
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

/// So many machines may join in any case before all are numbered anew,
const LATE_MACHINES_MIN: usize = 64;

/// and one more for so many that were there: numbering anew costs what the cluster's size is, each
/// time that the cluster has grown by a thirtieth, and room for so many costs every set as much.
const MACHINES_PER_LATE: usize = 32;

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
