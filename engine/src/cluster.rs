//! PURE. The records of a cluster, numbered: units and machines by index, and for each class of
//! demands the machines it leaves. Built from records once per pass; everything after works on
//! numbers.
//!
//! Machines are numbered in order of their ids and units in order of their names, so that the
//! smallest index is the answer wherever the order of ids or names decides.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Assignment, HoldReason, Machine, MachineId, Records, Schedulable, TargetState, Unit};
use unitfile::{Glob, UnitHash, UnitName, X_FLEET};

use crate::bits::Bits;
use crate::rules::{ClassKey, PatternIndex, RuleBook, Rules};

/// One unit, or one earlier version of a unit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct UnitIndex(pub(crate) usize);

/// One machine: below [`Cluster::live`] it is there, from there on it is only spoken of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct MachineIndex(pub(crate) usize);

/// What is to become of a unit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Want {
    /// It is to be on one machine.
    One,
    /// It is to be on every machine that fits.
    Everywhere,
    /// It is to run, but its rules are not known: it stays where it is, and waits if it is nowhere.
    Frozen(HoldReason),
    /// Its record is damaged and was never seen whole: nothing may be done to it.
    Untouched,
    /// It is to be on no machine.
    Inactive,
    /// There is no such unit.
    Destroyed,
    /// An earlier version of a unit, seen running.
    Trace,
}

/// A peer that `MachineOf=` names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Peer {
    Known(UnitIndex),
    /// No record of the cluster has this name.
    Unknown(UnitName),
}

/// A unit as the deciders see it.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: UnitName,
    pub(crate) want: Want,
    pub(crate) rules: Arc<Rules>,
    /// The patterns that match its name, smallest index first.
    pub(crate) matches: Vec<PatternIndex>,
    pub(crate) peers: Vec<Peer>,
    /// The entry that carries out what its users want; none if there is no such unit.
    pub(crate) assignment: Option<Assignment>,
    /// Where the schedule has it.
    pub(crate) scheduled: Vec<MachineIndex>,
    /// Where a status says it may run.
    pub(crate) statuses: Vec<MachineIndex>,
    /// Earlier versions of it that are seen running, and where.
    pub(crate) traces: Vec<(UnitIndex, MachineIndex)>,
    /// True if an entry of its schedule is of another file than the unit is now.
    pub(crate) file_changed: bool,
}

/// The records, numbered.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// Units in order of their names; traces behind them.
    pub(crate) nodes: Vec<Node>,
    /// How many of the nodes are no traces.
    pub(crate) named: usize,
    /// All machines spoken of: the live ones in order of their ids, then the others.
    pub(crate) machines: Vec<MachineId>,
    /// How many machines are there.
    pub(crate) live: usize,
    /// Metadata of the live machines with what operators set laid over it.
    pub(crate) metadata: Vec<BTreeMap<String, String>>,
    /// Machines that take new units.
    pub(crate) open: Bits,
    /// By class: the live machines that have the id and metadata.
    pub(crate) fitting: Vec<Bits>,
    /// By class: those of them that take new units.
    pub(crate) fitting_open: Vec<Bits>,
    /// By class: how many those are.
    pub(crate) fitting_open_count: Vec<usize>,
    /// How many patterns there are.
    pub(crate) patterns: usize,
}

impl Cluster {
    pub(crate) fn of(records: &Records) -> Cluster {
        let mut machines = MachineTable::of(records);
        let mut book = RuleBook::new();
        let names = names(records);
        let mut nodes = nodes(records, &names, &mut book, &mut machines);
        let named = nodes.len();
        add_traces(records, &mut nodes, &mut book, &machines);
        match_patterns(&mut nodes, named, book.globs());
        let metadata: Vec<_> = records
            .machines
            .values()
            .map(|machine| metadata(records, machine))
            .collect();
        let open = open(records);
        let live = records.machines.len();
        let fitting = fitting(&book, &machines.ids[..live], &metadata);
        let fitting_open: Vec<Bits> = fitting
            .iter()
            .map(|fitting| {
                let mut both = fitting.clone();
                both.intersect(&open);
                both
            })
            .collect();
        Cluster {
            fitting_open_count: fitting_open.iter().map(Bits::count).collect(),
            patterns: book.globs().len(),
            machines: machines.ids,
            nodes,
            named,
            live,
            metadata,
            open,
            fitting,
            fitting_open,
        }
    }

    pub(crate) fn node(&self, unit: UnitIndex) -> &Node {
        &self.nodes[unit.0]
    }

    pub(crate) fn machine(&self, machine: MachineIndex) -> &MachineId {
        &self.machines[machine.0]
    }

    pub(crate) fn is_live(&self, machine: MachineIndex) -> bool {
        machine.0 < self.live
    }

    /// The units, without traces, in order of their names.
    pub(crate) fn units(&self) -> impl Iterator<Item = UnitIndex> + use<> {
        (0..self.named).map(UnitIndex)
    }

    /// True if the two must not share a machine. A unit never conflicts with itself or its own
    /// earlier version.
    pub(crate) fn conflict(&self, one: UnitIndex, other: UnitIndex) -> bool {
        let (one, other) = (self.node(one), self.node(other));
        one.name != other.name
            && (share(&one.rules.declares, &other.matches)
                || share(&other.rules.declares, &one.matches))
    }

    /// True if nothing about the unit can conflict with any other.
    pub(crate) fn is_peaceful(&self, unit: UnitIndex) -> bool {
        let node = self.node(unit);
        node.matches.is_empty() && node.rules.declares.is_empty()
    }
}

/// True if two ordered lists have a member in common.
fn share(left: &[PatternIndex], right: &[PatternIndex]) -> bool {
    left.iter()
        .any(|pattern| right.binary_search(pattern).is_ok())
}

/// The machines spoken of, by id.
struct MachineTable {
    ids: Vec<MachineId>,
    live: usize,
    gone: BTreeMap<MachineId, MachineIndex>,
}

impl MachineTable {
    fn of(records: &Records) -> MachineTable {
        let ids: Vec<MachineId> = records.machines.keys().cloned().collect();
        MachineTable {
            live: ids.len(),
            ids,
            gone: BTreeMap::new(),
        }
    }

    fn index(&mut self, id: &MachineId) -> MachineIndex {
        if let Ok(index) = self.ids[..self.live].binary_search(id) {
            return MachineIndex(index);
        }
        if let Some(index) = self.gone.get(id) {
            return *index;
        }
        let index = MachineIndex(self.ids.len());
        self.ids.push(id.clone());
        self.gone.insert(id.clone(), index);
        index
    }
}

/// Every name that the records speak of, in order.
fn names(records: &Records) -> Vec<&UnitName> {
    let mut names: Vec<&UnitName> = records
        .units
        .keys()
        .chain(records.schedule.keys())
        .chain(records.statuses.keys())
        .collect();
    // Three ordered runs: the sort merges them.
    names.sort();
    names.dedup();
    names
}

fn nodes(
    records: &Records,
    names: &[&UnitName],
    book: &mut RuleBook,
    machines: &mut MachineTable,
) -> Vec<Node> {
    let mut units = records.units.iter().peekable();
    let mut schedule = records.schedule.iter().peekable();
    let mut statuses = records.statuses.iter().peekable();
    let mut nodes = Vec::with_capacity(names.len());
    for name in names {
        let unit = units.next_if(|(key, _)| key == name).map(|(_, unit)| unit);
        let entries = schedule
            .next_if(|(key, _)| key == name)
            .map(|(_, entries)| entries);
        let reports = statuses
            .next_if(|(key, _)| key == name)
            .map(|(_, reports)| reports);
        let (want, rules) = wanted(records, name, unit, book);
        let peers = rules
            .requirements
            .machine_of
            .iter()
            .map(|peer| match names.binary_search(&peer) {
                Ok(index) => Peer::Known(UnitIndex(index)),
                Err(_) => Peer::Unknown(peer.clone()),
            })
            .collect();
        let mut scheduled = Vec::new();
        let mut file_changed = false;
        for (id, assignment) in entries.into_iter().flatten() {
            scheduled.push(machines.index(id));
            file_changed |= unit.is_some_and(|unit| unit.file != assignment.file);
        }
        let statuses = reports
            .into_iter()
            .flatten()
            .map(|(id, _)| machines.index(id))
            .collect();
        nodes.push(Node {
            name: (*name).clone(),
            want,
            rules,
            matches: Vec::new(),
            peers,
            assignment: unit.map(Assignment::of),
            scheduled,
            statuses,
            traces: Vec::new(),
            file_changed,
        });
    }
    nodes
}

fn wanted(
    records: &Records,
    name: &UnitName,
    unit: Option<&Unit>,
    book: &mut RuleBook,
) -> (Want, Arc<Rules>) {
    let Some(unit) = unit else {
        let want = match records.quarantined_units.contains(name) {
            true => Want::Untouched,
            false => Want::Destroyed,
        };
        return (want, book.free());
    };
    let rules = book.read(name, &unit.file, records);
    let want = match (&rules, unit.target) {
        (_, TargetState::Inactive) => Want::Inactive,
        (None, TargetState::Loaded | TargetState::Launched) => {
            Want::Frozen(HoldReason::FileMissing { file: unit.file })
        }
        (Some(rules), TargetState::Loaded | TargetState::Launched) => match &rules.problem {
            Some(message) => Want::Frozen(HoldReason::Invalid {
                message: message.clone(),
            }),
            None if name.is_template() => Want::Frozen(HoldReason::Invalid {
                message: format!("{name} is a template: start an instance of it"),
            }),
            None if rules.requirements.global => Want::Everywhere,
            None => Want::One,
        },
    };
    (want, rules.unwrap_or_else(|| book.free()))
}

/// Adds the earlier versions of units that statuses speak of: a unit that was replaced or destroyed
/// may still run by its old file, and the conflicts of that file hold until it has stopped.
fn add_traces(
    records: &Records,
    nodes: &mut Vec<Node>,
    book: &mut RuleBook,
    machines: &MachineTable,
) {
    let mut conflicting: Option<BTreeMap<UnitHash, unitfile::FileHash>> = None;
    let mut next = nodes.len();
    let mut traces = Vec::new();
    let mut statuses = records.statuses.iter().peekable();
    for node in nodes.iter_mut() {
        let Some((_, reports)) = statuses.next_if(|(name, _)| **name == node.name) else {
            continue;
        };
        let now = records.units.get(&node.name).map(|unit| unit.hash);
        for (id, status) in reports {
            if Some(status.hash) == now {
                continue;
            }
            let files = conflicting.get_or_insert_with(|| files_with_conflicts(records));
            let rules = files
                .get(&status.hash)
                .and_then(|file| book.read(&node.name, file, records));
            let Some(rules) = rules else { continue };
            let Ok(machine) = machines.ids[..machines.live].binary_search(id) else {
                continue;
            };
            node.traces.push((UnitIndex(next), MachineIndex(machine)));
            next += 1;
            traces.push(Node {
                name: node.name.clone(),
                want: Want::Trace,
                rules,
                matches: Vec::new(),
                peers: Vec::new(),
                assignment: None,
                scheduled: Vec::new(),
                statuses: Vec::new(),
                traces: Vec::new(),
                file_changed: false,
            });
        }
    }
    nodes.append(&mut traces);
}

fn files_with_conflicts(records: &Records) -> BTreeMap<UnitHash, unitfile::FileHash> {
    records
        .files
        .iter()
        .filter(|(_, file)| {
            file.options()
                .iter()
                .any(|option| option.section == X_FLEET)
        })
        .map(|(hash, file)| (file.hash(), *hash))
        .collect()
}

/// Finds for each name the patterns that match it. Goes from the patterns to the names that begin
/// alike, because the product of all names and all patterns is too large.
fn match_patterns(nodes: &mut [Node], named: usize, globs: &[Glob]) {
    for (index, glob) in globs.iter().enumerate() {
        let prefix = glob.literal_prefix();
        let start = nodes[..named].partition_point(|node| node.name.as_str() < prefix.as_str());
        for node in &mut nodes[start..named] {
            if !node.name.as_str().starts_with(&prefix) {
                break;
            }
            if glob.matches(node.name.as_str()) {
                node.matches.push(PatternIndex(index));
            }
        }
    }
    let (units, traces) = nodes.split_at_mut(named);
    for unit in units {
        for (trace, _) in &unit.traces {
            traces[trace.0 - named].matches.clone_from(&unit.matches);
        }
    }
}

fn metadata(records: &Records, machine: &Machine) -> BTreeMap<String, String> {
    match records.machine_specs.get(&machine.id) {
        Some(spec) => spec.overlay(&machine.metadata),
        None => machine.metadata.clone(),
    }
}

fn open(records: &Records) -> Bits {
    let mut open = Bits::full(records.machines.len());
    for (index, id) in records.machines.keys().enumerate() {
        match records.machine_specs.get(id).map(|spec| spec.schedulable) {
            Some(Schedulable::Cordoned) => open.remove(index),
            Some(Schedulable::Yes) | None => {}
        }
    }
    open
}

/// For each class the live machines with its id and metadata.
fn fitting(
    book: &RuleBook,
    machines: &[MachineId],
    metadata: &[BTreeMap<String, String>],
) -> Vec<Bits> {
    let mut by_value: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
    for (index, metadata) in metadata.iter().enumerate() {
        for (key, value) in metadata {
            by_value.entry((key, value)).or_default().push(index);
        }
    }
    let mut fitting = vec![Bits::default(); book.classes().count()];
    for (key, class) in book.classes() {
        fitting[class.0] = fitting_class(key, machines, &by_value);
    }
    fitting
}

fn fitting_class(
    class: &ClassKey,
    machines: &[MachineId],
    by_value: &BTreeMap<(&str, &str), Vec<usize>>,
) -> Bits {
    let mut fitting = match &class.machine_id {
        None => Bits::full(machines.len()),
        Some(wanted) => {
            // A short id is the beginning of the full one: the two lie side by side.
            let mut named = Bits::empty(machines.len());
            let start = machines.partition_point(|id| id.as_str() < wanted.as_str());
            machines[start..]
                .iter()
                .take_while(|id| id.as_str().starts_with(wanted))
                .enumerate()
                .filter(|(_, id)| id.is_named(wanted))
                .for_each(|(offset, _)| named.insert(start + offset));
            named
        }
    };
    for term in &class.metadata {
        let mut allowed = Bits::empty(machines.len());
        for value in &term.values {
            for machine in by_value
                .get(&(term.key.as_str(), value.as_str()))
                .into_iter()
                .flatten()
            {
                allowed.insert(*machine);
            }
        }
        fitting.intersect(&allowed);
    }
    fitting
}
