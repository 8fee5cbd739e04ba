//! PURE. `Replaces=`: the unit that says it stays, the one it names moves, but only if another
//! machine can take that.
//!
//! A unit gives way to another that is on its machine, if it is to be on one machine of its own
//! choice (neither global nor tied to others by `MachineOf=`) and does not itself replace the other.
//! It never gives way to one that must be with it (`MachineOf=`, also by way of others), which would
//! only come after it.
//! It goes where it neither is replaced nor replaces anybody and where those that must be with it and
//! are can be too; if there is no such machine it stays. So each that gives way makes one pair less,
//! and it ends.

use std::collections::BTreeSet;

use model::{Obstacle, UnassignReason};

use crate::bits::Bits;
use crate::cluster::{Cluster, MachineIndex, UnitIndex, Want};
use crate::keep::{Removed, drop_lone_followers, may_go, note_lingering};
use crate::occupancy::Occupancy;

/// Takes units that give way from their machines. Returns those that are to be placed again: they
/// and those that followed them.
///
/// `replacers` are all units that name others. One that others follow goes alone: where it can be
/// with all of them another would take the room from one of them.
pub(crate) fn give_way(
    cluster: &Cluster,
    occupancy: &mut Occupancy,
    replacers: &BTreeSet<UnitIndex>,
    removed: &mut Removed,
) -> Vec<UnitIndex> {
    let mut replaced: Vec<(UnitIndex, MachineIndex)> = pairs(cluster, occupancy, replacers);
    replaced.sort_by(|one, other| cluster.by_names(one, other));
    replaced.dedup();
    let mut gave_way = Vec::new();
    for (unit, machine) in replaced {
        // One that gave way before it may have been the one it had to give way to.
        let Some(by) = replacer(cluster, occupancy, unit, machine) else {
            continue;
        };
        let together = with_followers(cluster, occupancy, unit, machine);
        let is_alone = together.len() == 1;
        if !(is_alone || gave_way.is_empty()) || !can_go(cluster, occupancy, &together, machine) {
            continue;
        }
        let by = cluster.node(by).name.clone();
        occupancy.unschedule(cluster, unit, machine);
        let mut gone = Removed::new();
        let reason = UnassignReason::NoLongerFits(Obstacle::Replaced { by });
        gone.insert((unit, machine), reason);
        let followers = cluster.node(unit).followers.iter();
        let followers = followers.filter(|it| may_go(&cluster.node(**it).want));
        let followers = followers.map(|follower| (*follower, machine)).collect();
        drop_lone_followers(cluster, occupancy, followers, &mut gone);
        gave_way.extend(gone.keys().map(|(unit, _)| *unit));
        // What was only just put there is not in the schedule, and what was taken from there before
        // was so for another reason.
        for (entry, reason) in gone {
            note_lingering(cluster, occupancy, &[entry]);
            if cluster
                .node(entry.0)
                .scheduled
                .binary_search(&entry.1)
                .is_ok()
            {
                removed.entry(entry).or_insert(reason);
            }
        }
        if !is_alone {
            break;
        }
    }
    gave_way
}

/// Keeps of the machines that can take a unit those where it neither is replaced nor replaces
/// anybody, if there are any within `reach`. Only for units that somebody replaces: others go where
/// they like, and who is there gives way.
pub(crate) fn prefer_calm(
    cluster: &Cluster,
    occupancy: &mut Occupancy,
    unit: UnitIndex,
    reach: Option<&Bits>,
    machines: &mut Bits,
) {
    if !is_replaced(cluster, occupancy, unit) {
        return;
    }
    let mut calm = machines.clone();
    let lifted = occupancy.lift(cluster, unit);
    occupancy.without_replacing(cluster, unit, &mut calm);
    occupancy.restore(cluster, lifted);
    let is_left = match reach {
        Some(reach) => calm.meets(reach),
        None => !calm.is_empty(),
    };
    if is_left {
        *machines = calm;
    }
}

/// True if somebody replaces the unit and it would give way.
pub(crate) fn is_replaced(cluster: &Cluster, occupancy: &Occupancy, unit: UnitIndex) -> bool {
    is_movable(cluster, unit) && occupancy.is_replaced_somewhere(cluster, unit)
}

/// The first by name on the machine that replaces the unit, which is not there.
pub(crate) fn replaced(
    cluster: &Cluster,
    occupancy: &Occupancy,
    unit: UnitIndex,
    machine: MachineIndex,
) -> Option<Obstacle> {
    if !is_movable(cluster, unit) {
        return None;
    }
    let residents = occupancy.residents(machine).iter().copied();
    let by = residents
        .filter(|other| cluster.replaces(*other, unit))
        .min_by(|one, other| cluster.by_name(*one, *other))?;
    let by = cluster.node(by).name.clone();
    Some(Obstacle::Replaced { by })
}

/// Units that are beside one that replaces them.
fn pairs(
    cluster: &Cluster,
    occupancy: &Occupancy,
    replacers: &BTreeSet<UnitIndex>,
) -> Vec<(UnitIndex, MachineIndex)> {
    let mut pairs = Vec::new();
    for replacer in replacers {
        for machine in occupancy.machines_of(*replacer) {
            let residents = occupancy.residents(*machine).iter();
            let named = residents.filter(|unit| gives_way_to(cluster, **unit, *replacer));
            pairs.extend(named.map(|unit| (*unit, *machine)));
        }
    }
    pairs
}

/// The first by name on the machine that the unit gives way to.
fn replacer(
    cluster: &Cluster,
    occupancy: &Occupancy,
    unit: UnitIndex,
    machine: MachineIndex,
) -> Option<UnitIndex> {
    if !occupancy.is_scheduled(unit, machine) {
        return None;
    }
    let residents = occupancy.residents(machine).iter().copied();
    residents
        .filter(|other| gives_way_to(cluster, unit, *other))
        .min_by(|one, other| cluster.by_name(*one, *other))
}

fn gives_way_to(cluster: &Cluster, unit: UnitIndex, other: UnitIndex) -> bool {
    is_movable(cluster, unit)
        && cluster.replaces(other, unit)
        && !cluster.replaces(unit, other)
        && !must_be_with(cluster, other, unit)
}

/// True if the one names the other in `MachineOf=`, or one that names it, and so on.
fn must_be_with(cluster: &Cluster, one: UnitIndex, other: UnitIndex) -> bool {
    let mut known: BTreeSet<UnitIndex> = BTreeSet::new();
    let mut ahead: Vec<UnitIndex> = vec![one];
    while let Some(unit) = ahead.pop() {
        if unit == other {
            return true;
        }
        if known.insert(unit) {
            ahead.extend(&cluster.node(unit).peers);
        }
    }
    false
}

fn is_movable(cluster: &Cluster, unit: UnitIndex) -> bool {
    let node = cluster.node(unit);
    node.want == Want::One && node.peers.is_empty()
}

/// True if the unit, which is nowhere, would have to leave the machine as soon as it were there.
pub(crate) fn would_give_way(
    cluster: &Cluster,
    occupancy: &mut Occupancy,
    unit: UnitIndex,
    machine: MachineIndex,
) -> bool {
    let mut residents = occupancy.residents(machine).iter();
    residents.any(|other| gives_way_to(cluster, unit, *other))
        && can_go(cluster, occupancy, &[unit], machine)
}

/// The unit, then those on the machine that have to leave it with the unit.
fn with_followers(
    cluster: &Cluster,
    occupancy: &Occupancy,
    unit: UnitIndex,
    machine: MachineIndex,
) -> Vec<UnitIndex> {
    let mut together = vec![unit];
    let mut seen = 0;
    while let Some(leader) = together.get(seen).copied() {
        seen += 1;
        for follower in &cluster.node(leader).followers {
            if may_go(&cluster.node(*follower).want)
                && occupancy.is_scheduled(*follower, machine)
                && !together.contains(follower)
            {
                together.push(*follower);
            }
        }
    }
    together
}

/// True if another machine can take all of these, and the first of them is left alone there.
fn can_go(
    cluster: &Cluster,
    occupancy: &mut Occupancy,
    together: &[UnitIndex],
    machine: MachineIndex,
) -> bool {
    let mut machines = cluster.machines.open().clone();
    machines.remove(machine.0);
    for (at, unit) in together.iter().enumerate() {
        let node = cluster.node(*unit);
        machines.intersect(cluster.machines.fitting_open(node.rules.class));
        let lifted = occupancy.lift(cluster, *unit);
        occupancy.without_conflicts(cluster, *unit, &mut machines);
        occupancy.without_full(cluster, *unit, &mut machines);
        if at == 0 {
            occupancy.without_replacing(cluster, *unit, &mut machines);
        }
        occupancy.restore(cluster, lifted);
        for peer in node.peers.iter().filter(|peer| !together.contains(peer)) {
            let mut with_peer = Bits::empty(cluster.machines.slots());
            for place in occupancy.machines_of(*peer) {
                with_peer.insert(place.0);
            }
            machines.intersect(&with_peer);
        }
    }
    if together.len() == 1 {
        return !machines.is_empty();
    }
    let lifted: Vec<_> = together
        .iter()
        .flat_map(|unit| occupancy.lift(cluster, *unit))
        .collect();
    let holds_all = machines
        .iter()
        .any(|machine| occupancy.holds_all(cluster, together, MachineIndex(machine)));
    occupancy.restore(cluster, lifted);
    holds_all
}
