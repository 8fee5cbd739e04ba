//! PURE. Which entries of the schedule stay: every unit that is fine where it is. What goes is put
//! down with its reason.

use std::collections::BTreeMap;

use model::{Obstacle, UnassignReason};

use crate::cluster::{Cluster, MachineIndex, Node, Peer, UnitIndex, Want};
use crate::fit::{lasting_obstacle, missing_peer};
use crate::occupancy::Occupancy;

/// Entries that go, and why.
pub(crate) type Removed = BTreeMap<(UnitIndex, MachineIndex), UnassignReason>;

/// Puts into the occupancy what stays, and what may still run where it no longer is to be. Returns
/// what goes.
pub(crate) fn keep(cluster: &Cluster, occupancy: &mut Occupancy<'_>) -> Removed {
    let mut removed = Removed::new();
    let mut staying: Vec<(UnitIndex, MachineIndex)> = Vec::new();
    for unit in cluster.units() {
        let node = cluster.node(unit);
        let mut machines = by_itself(cluster, unit, &mut removed);
        if node.want == Want::One && machines.len() > 1 {
            machines = vec![single(cluster, unit, &machines, &mut removed)];
        }
        staying.extend(machines.into_iter().map(|machine| (unit, machine)));
    }
    without_lone_followers(cluster, &mut staying, &mut removed);
    // Of two that conflict, the one whose file was replaced goes: it is to be stopped in any case.
    // What cannot be judged stays first of all.
    let rank = |node: &Node| match &node.want {
        Want::Frozen(_) | Want::Untouched => 0,
        Want::One | Want::Everywhere if !node.file_changed => 1,
        Want::One | Want::Everywhere | Want::Inactive | Want::Destroyed | Want::Trace => 2,
    };
    staying.sort_by_key(|(unit, machine)| (rank(cluster.node(*unit)), *unit, *machine));
    for (unit, machine) in staying {
        if may_go(&cluster.node(unit).want) && occupancy.conflicts(unit, machine) {
            let with = occupancy.conflicting(unit, machine).unwrap_or(unit);
            let with = cluster.node(with).name.clone();
            let reason = UnassignReason::NoLongerFits(Obstacle::Conflict { with });
            removed.insert((unit, machine), reason);
        } else {
            occupancy.schedule(unit, machine);
        }
    }
    drop_lone_followers(cluster, occupancy, &mut removed);
    note_lingering(cluster, occupancy);
    removed
}

/// True if rules may take the unit from a machine.
fn may_go(want: &Want) -> bool {
    match want {
        Want::One | Want::Everywhere => true,
        Want::Frozen(_) | Want::Untouched | Want::Inactive | Want::Destroyed | Want::Trace => false,
    }
}

/// The unit's live machines on which nothing about unit and machine alone speaks against it.
fn by_itself(cluster: &Cluster, unit: UnitIndex, removed: &mut Removed) -> Vec<MachineIndex> {
    let node = cluster.node(unit);
    let mut staying = Vec::new();
    for machine in &node.scheduled {
        let reason = match &node.want {
            Want::Untouched if cluster.is_live(*machine) => None,
            // The machine may come back, and what is wanted of the unit is not known.
            Want::Untouched => continue,
            Want::Inactive => Some(UnassignReason::Inactive),
            Want::Destroyed | Want::Trace => Some(UnassignReason::Destroyed),
            Want::One | Want::Everywhere | Want::Frozen(_) if !cluster.is_live(*machine) => {
                Some(UnassignReason::MachineGone)
            }
            Want::Frozen(_) => None,
            Want::One | Want::Everywhere => {
                lasting_obstacle(cluster, unit, *machine).map(UnassignReason::NoLongerFits)
            }
        };
        match reason {
            Some(reason) => {
                removed.insert((unit, *machine), reason);
            }
            None => staying.push(*machine),
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
    let kept = machines
        .iter()
        .copied()
        .min_by_key(|machine| (!statuses.contains(machine), *machine));
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
    staying: &mut Vec<(UnitIndex, MachineIndex)>,
    removed: &mut Removed,
) {
    let mut alone = Occupancy::empty(cluster);
    let tied: Vec<(UnitIndex, MachineIndex)> = staying
        .iter()
        .copied()
        .filter(|(unit, _)| !cluster.node(*unit).peers.is_empty())
        .collect();
    if tied.is_empty() {
        return;
    }
    for (unit, machine) in staying.iter() {
        alone.schedule(*unit, *machine);
    }
    let before = removed.len();
    drop_lone_followers(cluster, &mut alone, removed);
    if removed.len() > before {
        staying.retain(|entry| !removed.contains_key(entry));
    }
}

/// Takes from the plan, until nothing more follows, every unit that has a peer that is not on its
/// machine.
fn drop_lone_followers(cluster: &Cluster, occupancy: &mut Occupancy<'_>, removed: &mut Removed) {
    let mut followers: BTreeMap<UnitIndex, Vec<UnitIndex>> = BTreeMap::new();
    let mut suspects: Vec<UnitIndex> = Vec::new();
    for unit in cluster.units() {
        let node = cluster.node(unit);
        if node.peers.is_empty() || !may_go(&node.want) {
            continue;
        }
        suspects.push(unit);
        for peer in &node.peers {
            if let Peer::Known(peer) = peer {
                followers.entry(*peer).or_default().push(unit);
            }
        }
    }
    suspects.reverse();
    while let Some(unit) = suspects.pop() {
        let mut dropped = false;
        for machine in occupancy.machines_of(unit).to_vec() {
            if let Some(peer) = missing_peer(cluster, occupancy, unit, machine) {
                occupancy.unschedule(unit, machine);
                let reason = UnassignReason::NoLongerFits(Obstacle::MachineOf { peer });
                removed.insert((unit, machine), reason);
                dropped = true;
            }
        }
        if dropped {
            suspects.extend(followers.get(&unit).into_iter().flatten());
        }
    }
}

/// Notes where units may still run though they no longer are to be there.
fn note_lingering(cluster: &Cluster, occupancy: &mut Occupancy<'_>) {
    for unit in cluster.units() {
        let node = cluster.node(unit);
        for machine in &node.statuses {
            if cluster.is_live(*machine) && !occupancy.is_scheduled(unit, *machine) {
                occupancy.linger(unit, *machine);
            }
        }
        for (trace, machine) in &node.traces {
            occupancy.linger(*trace, *machine);
        }
    }
}
