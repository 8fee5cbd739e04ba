//! PURE. Which units would be better off elsewhere by the stated order (`order.rs`), and in which
//! order they could go there. Asked for by operators only: a plan never moves what is fine.
//!
//! Each move is one that placement would make if the unit were placed now, and it is better by more
//! than the machine's id. So every move lowers, first of all, how unevenly templates lie over their
//! zones, else over machines, else raises what `Prefers=` gives, else lowers how unevenly load lies:
//! the moves come to an end, and after them there are none.

use std::collections::{BTreeMap, BTreeSet};

use model::{ActiveState, Criterion, MachineId, Move, Records, TargetState, UnitStatus};
use unitfile::UnitName;

use crate::cluster::{Cluster, Entry, MachineIndex, UnitIndex, Want};
use crate::explain::standings::{best_of, standing};
use crate::gather::destination;
use crate::occupancy::Occupancy;
use crate::planner::Planner;
use crate::rules::{TasteIndex, TemplateIndex};

/// So many units move at once in a small cluster. Each is down for as long as it takes to stop and
/// start; of one template there is never more than one.
const AT_ONCE_MIN: usize = 10;

/// In a large cluster one for so many machines moves at once.
const MACHINES_PER_MOVE: usize = 4;

/// What units are looked through for, one after the other: the most important first, so that a
/// limited number of moves is spent on that.
const PHASES: [Criterion; 4] = [
    Criterion::Spread,
    Criterion::Siblings,
    Criterion::Preference,
    Criterion::Load,
];

/// Up to `moves_max` moves, in the order in which they are to be made.
///
/// Units are moved that run, as their users want, where the schedule has them, and that nothing
/// ties there: not those with `MachineOf=` or that others name there, not `Sticky=` and global ones,
/// not those that replace others or are replaced, and not those that have ended or failed, which would be started anew.
pub fn rebalance(records: &Records, moves_max: usize) -> Vec<Move> {
    let mut planner = Planner::of(records);
    planner.plan(records);
    let (cluster, occupancy) = planner.parts();
    let mut balance = Balance {
        movable: movable(records, cluster, occupancy),
        keys: spread_keys(cluster),
        cluster,
        occupancy,
        moves: Vec::new(),
        moves_max,
    };
    let mut round = 1;
    while balance.round(round) > 0 {
        round += 1;
    }
    balance.moves
}

/// The units that may be moved, with their machines.
fn movable(
    records: &Records,
    cluster: &Cluster,
    occupancy: &Occupancy,
) -> BTreeMap<UnitIndex, MachineIndex> {
    let at_home = |unit: UnitIndex| -> Option<MachineIndex> {
        let node = cluster.node(unit);
        let is_free = node.want == Want::One
            && node.peers.is_empty()
            && node.followers.is_empty()
            && node.traces.is_empty()
            && !node.rules.requirements.sticky
            && node.rules.replaces.is_empty()
            && !occupancy.is_replaced_somewhere(cluster, unit)
            && destination(records, &node.name).is_none();
        let [machine] = *occupancy.machines_of(unit) else {
            return None;
        };
        let is_there = node.scheduled == [machine] && node.statuses == [machine];
        let runs = runs_as_wanted(records, &node.name, cluster.machine(machine));
        (is_free && is_there && runs).then_some(machine)
    };
    let found = cluster.units().map(|unit| (unit, at_home(unit)));
    found
        .filter_map(|(unit, machine)| Some((unit, machine?)))
        .collect()
}

fn runs_as_wanted(records: &Records, name: &UnitName, machine: &MachineId) -> bool {
    let status = records.statuses.get(name).and_then(|all| all.get(machine));
    let unit = records.units.get(name);
    let (Some(status), Some(unit)) = (status, unit) else {
        return false;
    };
    status.state == unit.target && (unit.target == TargetState::Loaded || is_up(status))
}

fn is_up(status: &UnitStatus) -> bool {
    match status.active {
        ActiveState::Active | ActiveState::Reloading => true,
        ActiveState::Inactive
        | ActiveState::Failed
        | ActiveState::Activating
        | ActiveState::Deactivating
        | ActiveState::Maintenance
        | ActiveState::Other(_) => false,
    }
}

/// By template: all keys by which units of it are to be spread.
fn spread_keys(cluster: &Cluster) -> BTreeMap<TemplateIndex, BTreeSet<String>> {
    let mut keys: BTreeMap<TemplateIndex, BTreeSet<String>> = BTreeMap::new();
    for unit in cluster.units() {
        let node = cluster.node(unit);
        let spread = &node.rules.requirements.spread;
        if let (Some(template), Some(key)) = (node.template, spread)
            && matches!(node.want, Want::One | Want::Everywhere)
        {
            keys.entry(template).or_default().insert(key.clone());
        }
    }
    keys
}

struct Balance<'b> {
    cluster: &'b Cluster,
    occupancy: &'b mut Occupancy,
    movable: BTreeMap<UnitIndex, MachineIndex>,
    keys: BTreeMap<TemplateIndex, BTreeSet<String>>,
    moves: Vec<Move>,
    moves_max: usize,
}

impl Balance<'_> {
    /// Finds moves that can be made at once: each is legal while the others still stop. Returns how
    /// many.
    fn round(&mut self, round: usize) -> usize {
        let machines = self.cluster.machines.live_count();
        let at_once = AT_ONCE_MIN.max(machines / MACHINES_PER_MOVE);
        let room = at_once.min(self.moves_max.saturating_sub(self.moves.len()));
        let mut stopping: Vec<Entry> = Vec::new();
        let mut busy: BTreeSet<TemplateIndex> = BTreeSet::new();
        let mut units: Vec<Entry> = self.movable.iter().map(|(a, b)| (*a, *b)).collect();
        units.sort_by(|one, other| {
            let fullest = self.load(other.1).cmp(&self.load(one.1));
            fullest.then_with(|| self.cluster.by_name(one.0, other.0))
        });
        for phase in PHASES {
            for (unit, from) in &units {
                if stopping.len() >= room {
                    break;
                }
                let template = self.cluster.node(*unit).template;
                let is_busy = template.is_some_and(|template| busy.contains(&template));
                let has_moved = stopping.iter().any(|(moved, _)| moved == unit);
                if is_busy || has_moved || !self.is_worth_a_look(*unit, *from, phase) {
                    continue;
                }
                if self.improve(*unit, *from, phase, round) {
                    stopping.push((*unit, *from));
                    busy.extend(template);
                }
            }
        }
        for (unit, from) in &stopping {
            self.occupancy.leave_lingering(self.cluster, *unit, *from);
        }
        stopping.len()
    }

    fn load(&self, machine: MachineIndex) -> usize {
        self.occupancy.load(machine)
    }

    /// False if no machine can be better by this criterion or one before it.
    fn is_worth_a_look(&self, unit: UnitIndex, from: MachineIndex, phase: Criterion) -> bool {
        let node = self.cluster.node(unit);
        let is_instance = node.template.is_some();
        match phase {
            Criterion::Spread => is_instance && node.rules.requirements.spread.is_some(),
            Criterion::Siblings => is_instance,
            Criterion::Preference => node.rules.taste != TasteIndex(0),
            Criterion::Load | Criterion::Id => {
                let weight = node.rules.weight();
                let least = self
                    .occupancy
                    .least_loaded(self.cluster, self.cluster.machines.open());
                least.is_some_and(|least| least.load + weight < self.load(from))
            }
        }
    }

    /// Moves the unit to the best machine if that is better by this criterion or one before it.
    /// While it stops it keeps others away from where it was.
    fn improve(
        &mut self,
        unit: UnitIndex,
        from: MachineIndex,
        phase: Criterion,
        round: usize,
    ) -> bool {
        let cluster = self.cluster;
        self.occupancy.unschedule(cluster, unit, from);
        let found = self.better(unit, from, phase, round);
        let Some((to, found)) = found else {
            self.occupancy.schedule(cluster, unit, from);
            return false;
        };
        self.occupancy.linger(cluster, unit, from);
        self.occupancy.schedule(cluster, unit, to);
        self.movable.insert(unit, to);
        self.moves.push(found);
        true
    }

    fn better(
        &mut self,
        unit: UnitIndex,
        from: MachineIndex,
        phase: Criterion,
        round: usize,
    ) -> Option<(MachineIndex, Move)> {
        let (cluster, occupancy) = (self.cluster, &*self.occupancy);
        let node = cluster.node(unit);
        let mut open = cluster.machines.fitting_open(node.rules.class).clone();
        occupancy.without_conflicts(cluster, unit, &mut open);
        occupancy.without_full(cluster, unit, &mut open);
        open.remove(from.0);
        let before = standing(cluster, occupancy, unit, from);
        let after = best_of(cluster, occupancy, unit, open, 1).pop()?;
        let by = after.beats(&before)?;
        let to = cluster.machines.find(&after.machine)?;
        if !PHASES.contains(&by) || by > phase || self.unspreads(unit, from, to, by) {
            return None;
        }
        let found = Move {
            unit: node.name.clone(),
            from: before.machine.clone(),
            to: after.machine.clone(),
            by,
            before,
            after,
            round,
        };
        Some((to, found))
    }

    /// True if units of its template that are to be spread by other keys would lie worse than
    /// before.
    fn unspreads(
        &self,
        unit: UnitIndex,
        from: MachineIndex,
        to: MachineIndex,
        by: Criterion,
    ) -> bool {
        let node = self.cluster.node(unit);
        let own = node.rules.requirements.spread.as_ref();
        let Some((template, keys)) = node.template.and_then(|it| self.keys.get_key_value(&it))
        else {
            return false;
        };
        if keys.iter().all(|key| Some(key) == own) {
            return false;
        }
        let total = |machine: MachineIndex| -> usize {
            let count = |key: &String| self.in_domain(*template, key, machine);
            keys.iter().map(count).sum()
        };
        match by {
            Criterion::Spread => total(to) >= total(from),
            Criterion::Siblings | Criterion::Preference | Criterion::Load | Criterion::Id => {
                total(to) > total(from)
            }
        }
    }

    /// Units of the template on machines with the same value of the key.
    fn in_domain(&self, template: TemplateIndex, key: &str, machine: MachineIndex) -> usize {
        let siblings = self.occupancy.siblings(template);
        let value = |machine: MachineIndex| self.cluster.machines.metadata(machine).get(key);
        let own = value(machine);
        let inside = siblings.machines().filter(|other| value(*other) == own);
        inside.map(|other| siblings.count(other)).sum()
    }
}
