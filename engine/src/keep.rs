//! PURE. Which entries of the schedule stay: every unit that is fine where it is. What goes is put
//! down with its reason.

use std::collections::{BTreeMap, BTreeSet};

use model::{Obstacle, UnassignReason};

use crate::cluster::{Cluster, Entry, MachineIndex, Node, UnitIndex, Want};
use crate::fit::{lasting_obstacle, missing_peer, obstacle};
use crate::occupancy::Occupancy;
use crate::replace::would_give_way;

/// Entries that go, and why.
pub(crate) type Removed = BTreeMap<Entry, UnassignReason>;

/// Judges entries, which are not in the occupancy. All others are in it and stay: whoever calls
/// this has left none out that could go because of these. Puts into the occupancy what stays, and
/// what may still run where it no longer is to be. Returns what goes.
///
/// `entries` are in order, each once, with all entries of each unit that is to have one machine.
pub(crate) fn keep(cluster: &Cluster, occupancy: &mut Occupancy, entries: &[Entry]) -> Removed {
    let mut removed = Removed::new();
    let mut staying: Vec<Entry> = Vec::new();
    for of_unit in entries.chunk_by(|one, other| one.0 == other.0) {
        let unit = of_unit[0].0;
        let mut machines = by_itself(cluster, of_unit, &mut removed);
        if cluster.node(unit).want == Want::One && machines.len() > 1 {
            machines = vec![single(cluster, unit, &machines, &mut removed)];
        }
        staying.extend(machines.into_iter().map(|machine| (unit, machine)));
    }
    staying.sort_by(|one, other| cluster.by_names(one, other));
    without_lone_followers(cluster, occupancy, &mut staying, &mut removed);
    let tied = tied(cluster, &staying);
    // Of two that conflict, the one whose file was replaced goes: it is to be stopped in any case.
    // What cannot be judged stays first of all.
    staying.sort_by_key(|(unit, _)| rank(cluster.node(*unit)));
    for (unit, machine) in staying {
        let obstacle = match may_go(&cluster.node(unit).want) {
            true => occupancy.contending(cluster, unit, machine),
            false => None,
        };
        match obstacle {
            Some(obstacle) => {
                removed.insert((unit, machine), UnassignReason::NoLongerFits(obstacle));
            }
            None => occupancy.schedule(cluster, unit, machine),
        }
    }
    drop_lone_followers(cluster, occupancy, tied, &mut removed);
    note_lingering(cluster, occupancy, entries);
    let leaving = movers(cluster, occupancy, entries, &mut removed);
    note_lingering(cluster, occupancy, &leaving);
    removed
}

/// Takes from their machines those that are to move and can, unless they would have to give way
/// there at once: then they would only be sent on. Returns their entries.
fn movers(
    cluster: &Cluster,
    occupancy: &mut Occupancy,
    entries: &[Entry],
    removed: &mut Removed,
) -> Vec<Entry> {
    let mut leaving = Vec::new();
    let to_move = entries.iter().filter_map(|(unit, machine)| {
        let to = cluster.destination(*unit)?;
        let is_due = to != *machine && !cluster.node(*unit).given_since.contains(machine);
        is_due.then_some(((*unit, *machine), to))
    });
    let mut to_move: Vec<_> = to_move.collect();
    to_move.sort_by(|(one, _), (other, _)| cluster.by_names(one, other));
    for ((unit, machine), to) in to_move {
        let is_there = occupancy.is_scheduled(unit, machine);
        if is_there && obstacle(cluster, occupancy, unit, to).is_none() {
            occupancy.unschedule(cluster, unit, machine);
            if would_give_way(cluster, occupancy, unit, to) {
                occupancy.schedule(cluster, unit, machine);
                continue;
            }
            let to = cluster.machine(to).clone();
            removed.insert((unit, machine), UnassignReason::Moved { to });
            leaving.push((unit, machine));
        }
    }
    leaving
}

/// Who stays first where not all can.
fn rank(node: &Node) -> usize {
    match &node.want {
        Want::Frozen(_) | Want::Untouched => 0,
        Want::One | Want::Everywhere if node.other_files == 0 => 1,
        Want::One | Want::Everywhere | Want::Inactive | Want::Destroyed | Want::Trace => 2,
    }
}

/// True if rules may take the unit from a machine.
pub(crate) fn may_go(want: &Want) -> bool {
    match want {
        Want::One | Want::Everywhere => true,
        Want::Frozen(_) | Want::Untouched | Want::Inactive | Want::Destroyed | Want::Trace => false,
    }
}

/// The live machines of these entries of one unit on which nothing about unit and machine alone
/// speaks against it.
fn by_itself(cluster: &Cluster, entries: &[Entry], removed: &mut Removed) -> Vec<MachineIndex> {
    let mut staying = Vec::new();
    for (unit, machine) in entries {
        let (unit, machine) = (*unit, *machine);
        let node = cluster.node(unit);
        if node.scheduled.binary_search(&machine).is_err() {
            continue;
        }
        let reason = match &node.want {
            Want::Untouched if cluster.is_live(machine) => None,
            // The machine may come back, and what is wanted of the unit is not known.
            Want::Untouched => continue,
            // So may this one.
            Want::One | Want::Everywhere | Want::Frozen(_)
                if cluster.machines.is_unreadable(machine) =>
            {
                continue;
            }
            Want::Inactive => Some(UnassignReason::Inactive),
            Want::Destroyed | Want::Trace => Some(UnassignReason::Destroyed),
            Want::One if cluster.awaited(unit) == Some(machine) => continue,
            Want::Everywhere | Want::Frozen(_) if cluster.machines.is_braked(machine) => continue,
            Want::One | Want::Everywhere | Want::Frozen(_) if !cluster.is_live(machine) => {
                Some(UnassignReason::MachineGone)
            }
            Want::Frozen(_) => None,
            Want::One | Want::Everywhere => {
                lasting_obstacle(cluster, unit, machine).map(UnassignReason::NoLongerFits)
            }
        };
        match reason {
            Some(reason) => {
                removed.insert((unit, machine), reason);
            }
            None => staying.push(machine),
        }
    }
    staying
}

/// The one of several machines that keeps the unit: where it is seen, then the smallest id.
fn single(
    cluster: &Cluster,
    unit: UnitIndex,
    machines: &[MachineIndex],
    removed: &mut Removed,
) -> MachineIndex {
    let statuses = &cluster.node(unit).statuses;
    let is_unseen = |machine: &MachineIndex| !statuses.contains(machine);
    let kept = machines.iter().copied().min_by(|one, other| {
        let by_id = || cluster.machines.order(*one, *other);
        is_unseen(one).cmp(&is_unseen(other)).then_with(by_id)
    });
    let kept = kept.unwrap_or(MachineIndex(0));
    for machine in machines.iter().filter(|machine| **machine != kept) {
        let reason = UnassignReason::Duplicate {
            kept: cluster.machine(kept).clone(),
        };
        removed.insert((unit, *machine), reason);
    }
    kept
}

/// Takes out units whose peers do not stay, before conflicts are looked at: a unit that goes anyway
/// drives no other away.
fn without_lone_followers(
    cluster: &Cluster,
    occupancy: &mut Occupancy,
    staying: &mut Vec<Entry>,
    removed: &mut Removed,
) {
    let tied = tied(cluster, staying);
    if tied.is_empty() {
        return;
    }
    // Nobody asks for the others.
    let is_asked_for = |unit: UnitIndex| {
        let node = cluster.node(unit);
        !node.peers.is_empty() || !node.followers.is_empty()
    };
    for (unit, machine) in staying.iter().filter(|(unit, _)| is_asked_for(*unit)) {
        occupancy.schedule(cluster, *unit, *machine);
    }
    drop_lone_followers(cluster, occupancy, tied, removed);
    // From the last, as a list is shortened at its end.
    let mut lone = BTreeSet::new();
    for (unit, machine) in staying.iter().rev() {
        if is_asked_for(*unit) && !occupancy.unschedule(cluster, *unit, *machine) {
            lone.insert((*unit, *machine));
        }
    }
    staying.retain(|entry| !lone.contains(entry));
}

/// Those of the entries whose units follow others.
fn tied(cluster: &Cluster, entries: &[Entry]) -> Vec<Entry> {
    let is_tied = |entry: &&Entry| {
        let node = cluster.node(entry.0);
        !node.peers.is_empty() && may_go(&node.want)
    };
    entries.iter().filter(is_tied).copied().collect()
}

/// Takes from the plan, until nothing more follows, every one of these that has a peer that is not
/// on its machine.
pub(crate) fn drop_lone_followers(
    cluster: &Cluster,
    occupancy: &mut Occupancy,
    mut suspects: Vec<Entry>,
    removed: &mut Removed,
) {
    suspects.reverse();
    while let Some((unit, machine)) = suspects.pop() {
        if !occupancy.is_scheduled(unit, machine) {
            continue;
        }
        let Some(peer) = missing_peer(cluster, occupancy, unit, machine) else {
            continue;
        };
        occupancy.unschedule(cluster, unit, machine);
        let reason = UnassignReason::NoLongerFits(Obstacle::MachineOf { peer });
        removed.insert((unit, machine), reason);
        let followers = cluster.node(unit).followers.iter().copied();
        let mut followers: Vec<UnitIndex> = followers
            .filter(|follower| may_go(&cluster.node(*follower).want))
            .collect();
        followers.sort_by(|one, other| cluster.by_name(*one, *other));
        suspects.extend(followers.into_iter().map(|follower| (follower, machine)));
    }
}

/// Notes where units may still run though they no longer are to be there.
pub(crate) fn note_lingering(cluster: &Cluster, occupancy: &mut Occupancy, entries: &[Entry]) {
    for (unit, machine) in entries {
        let node = cluster.node(*unit);
        if node.statuses.binary_search(machine).is_ok()
            && cluster.is_live(*machine)
            && !occupancy.is_scheduled(*unit, *machine)
            && !occupancy.lingers(*unit, *machine)
        {
            occupancy.linger(cluster, *unit, *machine);
        }
        for (trace, machine) in &node.traces {
            if cluster.is_live(*machine) && !occupancy.lingers(*trace, *machine) {
                occupancy.linger(cluster, *trace, *machine);
            }
        }
    }
}
