//! PURE. Fills the numbered cluster from the records: all of it at first, then unit by unit.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::mutation::{Mutation, is_made};
use model::{
    Assignment, HoldReason, MachineId, PerMachine, Records, TargetState, Unit, UnitStatus,
};
use unitfile::{FileHash, UnitName};

use crate::cluster::{Cluster, LATER_UNITS_MAX, MachineIndex, Node, UnitIndex, Want};
use crate::machines::Machines;
use crate::rules::{PatternIndex, RuleBook, Rules};

/// What the records have of one unit.
#[derive(Clone, Copy)]
struct Found<'r> {
    unit: Option<&'r Unit>,
    entries: Option<&'r PerMachine<Assignment>>,
    reports: Option<&'r PerMachine<UnitStatus>>,
}

impl Cluster {
    /// Numbers everything.
    pub(crate) fn of(records: &Records) -> Cluster {
        let names = names(records);
        let mut book = RuleBook::new();
        let free = book.free();
        let blank = |name: &&UnitName| {
            // While the name is at hand.
            Node {
                template: book.template(name),
                ..blank((*name).clone(), Want::Destroyed, Arc::clone(&free))
            }
        };
        // With room for those that come later: moving all nodes would cost more than a plan.
        let mut nodes = Vec::with_capacity(names.len() + names.len() / 2 + 2 * LATER_UNITS_MAX);
        nodes.extend(names.iter().map(blank));
        let mut cluster = Cluster {
            sorted: names.len(),
            nodes,
            later: BTreeMap::new(),
            spare: Vec::new(),
            machines: Machines::of(records),
            book,
        };
        let mut units = records.units.iter().peekable();
        let mut schedule = records.schedule.iter().peekable();
        let mut statuses = records.statuses.iter().peekable();
        let all_are_units = names.len() == records.units.len();
        for (index, name) in names.iter().enumerate() {
            let unit = units.next_if(|(key, _)| all_are_units || key == name);
            let found = Found {
                unit: unit.map(|(_, it)| it),
                entries: schedule.next_if(|(key, _)| key == name).map(|(_, it)| it),
                reports: statuses.next_if(|(key, _)| key == name).map(|(_, it)| it),
            };
            cluster.fill(records, name, UnitIndex(index), found);
        }
        let mut from = 0;
        for pattern in cluster.book.by_prefix() {
            from = cluster.match_pattern_from(pattern, from).0;
        }
        cluster.machines.learn(&cluster.book);
        cluster.book.all_read();
        cluster
    }

    /// The number of the unit with this name, which gets one if it has none.
    pub(crate) fn index(&mut self, name: &UnitName) -> UnitIndex {
        if let Some(index) = self.find(name) {
            return index;
        }
        let mut node = blank(name.clone(), Want::Destroyed, self.book.free());
        node.matches = self.book.matching(name);
        node.template = self.book.template(name);
        let index = UnitIndex(self.nodes.len());
        self.nodes.push(node);
        self.later.insert(name.clone(), index);
        index
    }

    /// Reads anew what the records have of one unit. Returns patterns that nobody declared before,
    /// with the units that they match.
    pub(crate) fn refresh(
        &mut self,
        records: &Records,
        unit: UnitIndex,
    ) -> Vec<(PatternIndex, Vec<UnitIndex>)> {
        let name = self.node(unit).name.clone();
        let found = Found {
            unit: records.units.get(&name),
            entries: records.schedule.get(&name),
            reports: records.statuses.get(&name),
        };
        let known = self.book.globs().len();
        self.fill(records, &name, unit, found);
        let new: Vec<_> = (known..self.book.globs().len())
            .map(PatternIndex)
            .map(|pattern| (pattern, self.match_pattern(pattern)))
            .collect();
        let matches = self.node(unit).matches.clone();
        for (trace, _) in self.node(unit).traces.clone() {
            self.nodes[trace.0].matches.clone_from(&matches);
        }
        self.machines.learn(&self.book);
        new
    }

    fn fill(&mut self, records: &Records, name: &UnitName, unit: UnitIndex, found: Found<'_>) {
        let (want, rules) = wanted(records, name, found.unit, &mut self.book);
        let before = std::mem::take(&mut self.nodes[unit.0].peers);
        for peer in before {
            self.nodes[peer.0].followers.retain(|known| *known != unit);
        }
        let peers: Vec<UnitIndex> = rules
            .requirements
            .machine_of
            .iter()
            .map(|peer| self.index(peer))
            .collect();
        for peer in &peers {
            self.nodes[peer.0].followers.push(unit);
        }
        let mut scheduled: Vec<MachineIndex> = Vec::new();
        let assignment = found.unit.map(Assignment::of);
        let (mut other_files, mut is_behind) = (0, false);
        for (id, entry) in found.entries.into_iter().flatten() {
            scheduled.push(self.machines.index_after(scheduled.last().copied(), id));
            is_behind |= assignment.as_ref() != Some(entry);
            other_files += usize::from(found.unit.is_some_and(|unit| unit.file != entry.file));
        }
        let mut statuses: Vec<MachineIndex> = found
            .reports
            .into_iter()
            .flatten()
            .map(|(id, _)| self.machines.index(id))
            .collect();
        // A report that cannot be read is one.
        let unreadable = records.quarantined_statuses.get(name).into_iter().flatten();
        statuses.extend(unreadable.map(|id| self.machines.index(id)));
        // Machines that were never there have numbers behind all others.
        scheduled.sort_unstable();
        statuses.sort_unstable();
        self.fill_traces(records, unit, name, found);
        // Looked up only of those that were asked to move: they are few.
        let relocation = found.unit.and_then(|unit| unit.relocation.as_ref());
        match relocation {
            Some(_) => self.set_destination(records, unit),
            None => {
                self.nodes[unit.0].destination = None;
                self.nodes[unit.0].given_since.clear();
            }
        }
        let node = &mut self.nodes[unit.0];
        node.want = want;
        node.rules = rules;
        node.peers = peers;
        node.assignment = assignment;
        node.scheduled = scheduled;
        node.statuses = statuses;
        node.other_files = other_files;
        node.was_behind = is_behind;
    }

    /// Notes where the unit is still to move.
    pub(crate) fn set_destination(&mut self, records: &Records, unit: UnitIndex) {
        let name = &self.nodes[unit.0].name;
        let destination = destination(records, name).map(|id| self.machines.index(id));
        let given = given_since(records, name);
        let given = given.map(|id| self.machines.index(id)).collect();
        let node = &mut self.nodes[unit.0];
        node.destination = destination;
        node.given_since = given;
    }

    /// Notes the earlier versions that statuses speak of: a unit that was replaced or destroyed may
    /// still run by its old file, and the conflicts of that file hold until it has stopped.
    fn fill_traces(
        &mut self,
        records: &Records,
        unit: UnitIndex,
        name: &UnitName,
        found: Found<'_>,
    ) {
        let gone = std::mem::take(&mut self.nodes[unit.0].traces);
        self.spare.extend(gone.into_iter().map(|(trace, _)| trace));
        let now = found.unit.map(|unit| unit.hash);
        for (id, status) in found.reports.into_iter().flatten() {
            if Some(status.hash) == now {
                continue;
            }
            let Some(file) = self.book.version(&status.hash, records) else {
                continue;
            };
            let Some(rules) = self.book.read(name, &file, records) else {
                continue;
            };
            let machine = self.machines.index(id);
            let node = blank(name.clone(), Want::Trace, rules);
            let trace = match self.spare.pop() {
                Some(trace) => {
                    self.nodes[trace.0] = node;
                    trace
                }
                None => {
                    self.nodes.push(node);
                    UnitIndex(self.nodes.len() - 1)
                }
            };
            self.nodes[unit.0].traces.push((trace, machine));
        }
    }

    /// Notes at each unit whose name the pattern matches that it does. Goes from the pattern to the
    /// names that begin alike, because the product of all names and all patterns is too large.
    fn match_pattern(&mut self, pattern: PatternIndex) -> Vec<UnitIndex> {
        self.match_pattern_from(pattern, 0).1
    }

    /// The same, if no name before `from` can match. Returns also before which name none can.
    fn match_pattern_from(
        &mut self,
        pattern: PatternIndex,
        from: usize,
    ) -> (usize, Vec<UnitIndex>) {
        let glob = &self.book.globs()[pattern.0];
        let prefix = glob.literal_prefix();
        let sorted = &self.nodes[..self.sorted];
        let is_before = |node: &Node| node.name.as_str() < prefix.as_str();
        // Where the last pattern's names were those of this one are near.
        let (mut near, mut step) = (from, 1);
        while sorted.get(near + step).is_some_and(is_before) {
            near += step;
            step *= 2;
        }
        let end = sorted.len().min(near + step + 1);
        let start = near + sorted[near..end].partition_point(is_before);
        let mut matched: Vec<UnitIndex> = (start..self.sorted)
            .take_while(|index| sorted[*index].name.as_str().starts_with(&prefix))
            .filter(|index| glob.matches(sorted[*index].name.as_str()))
            .map(UnitIndex)
            .collect();
        let later = self.later.iter();
        matched.extend(
            later
                .filter(|(name, _)| glob.matches(name.as_str()))
                .map(|(_, index)| *index),
        );
        let traces: Vec<UnitIndex> = matched
            .iter()
            .flat_map(|unit| &self.node(*unit).traces)
            .map(|(trace, _)| *trace)
            .collect();
        matched.extend(traces);
        for unit in &matched {
            let matches = &mut self.nodes[unit.0].matches;
            // A unit that came after the pattern knows it.
            if let Err(at) = matches.binary_search(&pattern) {
                matches.insert(at, pattern);
            }
        }
        (start, matched)
    }
}

fn blank(name: UnitName, want: Want, rules: Arc<Rules>) -> Node {
    Node {
        name,
        template: None,
        want,
        rules,
        matches: Vec::new(),
        peers: Vec::new(),
        followers: Vec::new(),
        assignment: None,
        scheduled: Vec::new(),
        statuses: Vec::new(),
        traces: Vec::new(),
        other_files: 0,
        was_behind: false,
        destination: None,
        given_since: Vec::new(),
    }
}

/// Every name that the records speak of, in order.
fn names(records: &Records) -> Vec<&UnitName> {
    let units: Vec<&UnitName> = records.units.keys().collect();
    let scheduled = united(units, records.schedule.keys());
    united(scheduled, records.statuses.keys())
}

/// What two ordered runs have, in order, each once. Mostly they have the same.
fn united<'r>(
    one: Vec<&'r UnitName>,
    other: impl Iterator<Item = &'r UnitName>,
) -> Vec<&'r UnitName> {
    let mut other = other.peekable();
    if other.peek().is_none() {
        return one;
    }
    let mut both = Vec::with_capacity(one.len());
    for name in one {
        while other.peek().is_some_and(|next| *next != name) {
            match other.next_if(|next| *next < name) {
                Some(before) => both.push(before),
                None => break,
            }
        }
        other.next_if_eq(&name);
        both.push(name);
    }
    both.extend(other);
    both
}

fn wanted(
    records: &Records,
    name: &UnitName,
    unit: Option<&Unit>,
    book: &mut RuleBook,
) -> (Want, Arc<Rules>) {
    let Some(unit) = unit else {
        let want = match records.quarantined_units.contains(name) {
            true if is_made(Mutation::DamagedUnitTakenForDestroyed) => Want::Destroyed,
            true => Want::Untouched,
            false => Want::Destroyed,
        };
        return (want, book.free());
    };
    let rules = book.read(name, &unit.file, records);
    let want = match (&rules, unit.target) {
        (_, TargetState::Inactive) => Want::Inactive,
        (None, TargetState::Loaded | TargetState::Launched) => {
            Want::Frozen(Box::new(HoldReason::FileMissing { file: unit.file }))
        }
        (Some(rules), TargetState::Loaded | TargetState::Launched) => match &rules.problem {
            Some(message) => Want::Frozen(Box::new(HoldReason::Invalid {
                message: message.clone(),
            })),
            None if name.is_template() => Want::Frozen(Box::new(HoldReason::Invalid {
                message: format!("{name} is a template: start an instance of it"),
            })),
            None if rules.requirements.global => Want::Everywhere,
            None => Want::One,
        },
    };
    (want, rules.unwrap_or_else(|| book.free()))
}

/// True if the unit as it was and as it is now are of one file and both to run or both not to: then
/// nothing about where it is to be has changed.
pub(crate) fn is_same_demand(before: &Unit, after: &Unit) -> bool {
    let runs = |unit: &Unit| unit.target != TargetState::Inactive;
    let file = |unit: &Unit| -> (FileHash, _) { (unit.file, unit.hash) };
    file(before) == file(after)
        && runs(before) == runs(after)
        && before.relocation == after.relocation
}

/// The machine to which the unit is still to move: it has an entry that is older than that request (of several, which contradict each
/// other, only those move), or none and its hold says that it is moving.
pub(crate) fn destination<'r>(records: &'r Records, name: &UnitName) -> Option<&'r MachineId> {
    let relocation = records.units.get(name)?.relocation.as_ref()?;
    let mut entries = records.schedule.get(name).into_iter().flatten();
    let is_due = match records.schedule.get(name) {
        Some(_) => entries.any(|(_, entry)| entry.generation < relocation.generation),
        None => {
            let reason = records.holds.get(name).map(|hold| &hold.reason);
            matches!(reason, Some(HoldReason::Moving { to, .. }) if *to == relocation.to)
        }
    };
    is_due.then_some(&relocation.to)
}

/// The machines in the unit's schedule that it was given since its user asked for a move.
fn given_since<'r>(records: &'r Records, name: &UnitName) -> impl Iterator<Item = &'r MachineId> {
    let unit = records.units.get(name);
    let asked = unit.and_then(|unit| unit.relocation.as_ref());
    let entries = records.schedule.get(name).into_iter().flatten();
    entries.filter_map(move |(id, entry)| {
        let since = asked.is_some_and(|asked| entry.generation >= asked.generation);
        since.then_some(id)
    })
}
