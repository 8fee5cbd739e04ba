//! PURE. The records of a cluster, numbered, and kept from plan to plan: units and machines by
//! index. Everything that decides works on numbers.
//!
//! A unit's number stays its own until all are numbered anew. At that moment numbers are in order
//! of names; units that come later have larger ones. So numbers must not be compared where the
//! order of names decides: [`Cluster::by_name`] does.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Assignment, HoldReason, MachineId};
use unitfile::UnitName;

pub(crate) use crate::machines::MachineIndex;
use crate::machines::Machines;
use crate::rules::{PatternIndex, RuleBook, Rules, TemplateIndex};

/// One unit, or one earlier version of a unit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct UnitIndex(pub(crate) usize);

/// One unit on one machine.
pub(crate) type Entry = (UnitIndex, MachineIndex);

/// What is to become of a unit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Want {
    /// It is to be on one machine.
    One,
    /// It is to be on every machine that fits.
    Everywhere,
    /// It is to run, but its rules are not known: it stays where it is, and waits if it is nowhere.
    Frozen(Box<HoldReason>),
    /// Its record is damaged and was never seen whole: nothing may be done to it.
    Untouched,
    /// It is to be on no machine.
    Inactive,
    /// There is no such unit.
    Destroyed,
    /// An earlier version of a unit, seen running.
    Trace,
}

/// A unit as the deciders see it.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: UnitName,
    pub(crate) want: Want,
    pub(crate) rules: Arc<Rules>,
    /// The patterns that match its name, smallest index first.
    pub(crate) matches: Vec<PatternIndex>,
    /// The template of which it is an instance.
    pub(crate) template: Option<TemplateIndex>,
    /// Whom it names in `MachineOf=`; a name that no record has is a unit that is destroyed.
    pub(crate) peers: Vec<UnitIndex>,
    /// Who names it in `MachineOf=`.
    pub(crate) followers: Vec<UnitIndex>,
    /// The entry that carries out what its users want; none if there is no such unit.
    pub(crate) assignment: Option<Assignment>,
    /// Where the schedule has it, smallest index first.
    pub(crate) scheduled: Vec<MachineIndex>,
    /// Where a status says it may run, smallest index first.
    pub(crate) statuses: Vec<MachineIndex>,
    /// Earlier versions of it that are seen running, and where.
    pub(crate) traces: Vec<Entry>,
    /// How many entries of its schedule are of another file than the unit is now.
    pub(crate) other_files: usize,
    /// True if, when it was read, an entry of it said something else than its users ask for.
    pub(crate) was_behind: bool,
    /// Where it is still to move, as was asked.
    pub(crate) destination: Option<MachineIndex>,
    /// Of the machines in its schedule, those it was given since that was asked: from there it does not move.
    pub(crate) given_since: Vec<MachineIndex>,
}

/// The records, numbered.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    /// So many nodes are in order of their names.
    pub(crate) sorted: usize,
    /// The numbers of units that came later.
    pub(crate) later: BTreeMap<UnitName, UnitIndex>,
    /// Numbers of earlier versions that are no longer seen, to be used again.
    pub(crate) spare: Vec<UnitIndex>,
    pub(crate) machines: Machines,
    pub(crate) book: RuleBook,
}

impl Cluster {
    pub(crate) fn node(&self, unit: UnitIndex) -> &Node {
        &self.nodes[unit.0]
    }

    pub(crate) fn machine(&self, machine: MachineIndex) -> &MachineId {
        self.machines.id(machine)
    }

    pub(crate) fn is_live(&self, machine: MachineIndex) -> bool {
        self.machines.is_live(machine)
    }

    /// The number of the unit with this name.
    pub(crate) fn find(&self, name: &UnitName) -> Option<UnitIndex> {
        let sorted = &self.nodes[..self.sorted];
        match sorted.binary_search_by(|node| node.name.cmp(name)) {
            Ok(index) => Some(UnitIndex(index)),
            Err(_) => self.later.get(name).copied(),
        }
    }

    /// All units, without their earlier versions, in no order that means anything.
    pub(crate) fn units(&self) -> impl Iterator<Item = UnitIndex> + '_ {
        (0..self.sorted)
            .map(UnitIndex)
            .chain(self.later.values().copied())
    }

    /// The order of their names.
    pub(crate) fn by_name(&self, one: UnitIndex, other: UnitIndex) -> Ordering {
        if one.0 < self.sorted && other.0 < self.sorted {
            return one.cmp(&other);
        }
        self.node(one).name.cmp(&self.node(other).name)
    }

    /// The order of unit names, then machine ids.
    pub(crate) fn by_names(&self, one: &Entry, other: &Entry) -> Ordering {
        self.by_name(one.0, other.0)
            .then_with(|| self.machines.order(one.1, other.1))
    }

    /// True if the two must not share a machine. A unit never conflicts with itself or its own
    /// earlier version.
    pub(crate) fn conflict(&self, one: UnitIndex, other: UnitIndex) -> bool {
        let (one, other) = (self.node(one), self.node(other));
        (share(&one.rules.declares, &other.matches) || share(&other.rules.declares, &one.matches))
            && one.name != other.name
    }

    /// True if the one names the other in `Replaces=`.
    pub(crate) fn replaces(&self, one: UnitIndex, other: UnitIndex) -> bool {
        let (one, other) = (self.node(one), self.node(other));
        share(&one.rules.replaces, &other.matches) && one.name != other.name
    }

    /// True if where both are on one machine one of them may have to go.
    pub(crate) fn contend(&self, one: UnitIndex, other: UnitIndex) -> bool {
        let (left, right) = (&self.node(one).rules, &self.node(other).rules);
        // A third of their template may say how many there may be.
        let siblings = self.are_siblings(one, other);
        siblings || left.has_demand() && right.has_demand() || self.conflict(one, other)
    }

    /// True if they are two units of one template.
    pub(crate) fn are_siblings(&self, one: UnitIndex, other: UnitIndex) -> bool {
        let template = self.node(one).template;
        one != other && template.is_some() && template == self.node(other).template
    }

    /// The live machine to which the unit is still to move, if it is one that can: what is tied to
    /// others goes where they are.
    pub(crate) fn destination(&self, unit: UnitIndex) -> Option<MachineIndex> {
        let node = self.node(unit);
        let can = node.want == Want::One && node.peers.is_empty() && node.followers.is_empty();
        let to = node.destination.filter(|_| can);
        to.filter(|to| self.is_live(*to))
    }

    /// The machine that the unit waits for although it is gone (`Sticky=`, or the brake on mass
    /// loss holds it, or nobody can say whether it is), if it has no other.
    pub(crate) fn awaited(&self, unit: UnitIndex) -> Option<MachineIndex> {
        let node = self.node(unit);
        if node.want != Want::One || node.scheduled.iter().any(|machine| self.is_live(*machine)) {
            return None;
        }
        let machines = node.scheduled.iter().copied();
        let awaited = machines.filter(|machine| {
            node.rules.requirements.sticky
                || self.machines.is_braked(*machine)
                || self.machines.is_unreadable(*machine)
        });
        awaited.min_by_key(|machine| self.machine(*machine))
    }

    /// True if nothing about the unit can conflict with any other.
    pub(crate) fn is_peaceful(&self, unit: UnitIndex) -> bool {
        let node = self.node(unit);
        node.matches.is_empty() && node.rules.declares.is_empty()
    }

    /// True if so many units came after the numbering, or so many patterns are forgotten, that
    /// numbering anew is worth it.
    pub(crate) fn is_overgrown(&self) -> bool {
        self.nodes.len() - self.sorted > self.sorted / 2 + LATER_UNITS_MAX
            || self.machines.is_sparse()
            || self.book.is_overgrown()
    }
}

/// So many units may come after the numbering in any case.
pub(crate) const LATER_UNITS_MAX: usize = 1024;

/// True if two ordered lists have a member in common.
fn share(left: &[PatternIndex], right: &[PatternIndex]) -> bool {
    left.iter()
        .any(|pattern| right.binary_search(pattern).is_ok())
}
