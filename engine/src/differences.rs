//! PURE. What makes of one state of a cluster's records another, as changes.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use model::{Change, MachineId, PerMachine, Records};
use unitfile::UnitName;

/// The changes that make of `before` what `after` is, but for its revision. None if either has
/// damaged records, which are rare: what they mean depends on what came first.
pub(crate) fn differences(before: &Records, after: &Records) -> Option<Vec<Change>> {
    if is_damaged(before) || is_damaged(after) {
        return None;
    }
    let mut changes = Vec::new();
    each(&before.files, &after.files, |hash, file| {
        changes.push(Change::File(*hash, file.cloned()));
    });
    each(&before.machines, &after.machines, |id, machine| {
        changes.push(Change::Machine(id.clone(), machine.cloned()));
    });
    each(&before.machine_specs, &after.machine_specs, |id, spec| {
        changes.push(Change::MachineSpec(id.clone(), spec.cloned()));
    });
    each(&before.units, &after.units, |name, unit| {
        changes.push(Change::Unit(name.clone(), unit.cloned()));
    });
    each_entry(&before.schedule, &after.schedule, |name, id, entry| {
        changes.push(Change::Assignment(id.clone(), name.clone(), entry.cloned()));
    });
    each_entry(&before.statuses, &after.statuses, |name, id, status| {
        changes.push(Change::Status(id.clone(), name.clone(), status.cloned()));
    });
    each(&before.holds, &after.holds, |name, hold| {
        changes.push(Change::Hold(name.clone(), hold.cloned()));
    });
    if before.brake != after.brake {
        changes.push(Change::Brake(after.brake.clone()));
    }
    if before.leader != after.leader {
        changes.push(Change::Leader(after.leader.clone()));
    }
    Some(changes)
}

fn is_damaged(records: &Records) -> bool {
    !(records.quarantine.is_empty()
        && records.quarantined_units.is_empty()
        && records.quarantined_machines.is_empty()
        && records
            .quarantined_statuses
            .values()
            .all(BTreeSet::is_empty))
}

/// Tells of each key whose value differs what it is after; none if there is none.
fn each<'r, K: Ord, V: PartialEq>(
    before: &'r BTreeMap<K, V>,
    after: &'r BTreeMap<K, V>,
    tell: impl FnMut(&'r K, Option<&'r V>),
) {
    differing(before.iter(), after.iter(), tell);
}

/// The same of each entry on a machine.
fn each_entry<'r, V: PartialEq>(
    before: &'r BTreeMap<UnitName, PerMachine<V>>,
    after: &'r BTreeMap<UnitName, PerMachine<V>>,
    mut tell: impl FnMut(&'r UnitName, &'r MachineId, Option<&'r V>),
) {
    each(before, after, |name, now| {
        let before = before.get(name).into_iter().flatten();
        let now = now.into_iter().flatten();
        differing(before, now, |id, entry| tell(name, id, entry));
    });
}

fn differing<'r, K: Ord + 'r, V: PartialEq + 'r>(
    before: impl Iterator<Item = (&'r K, &'r V)>,
    after: impl Iterator<Item = (&'r K, &'r V)>,
    mut tell: impl FnMut(&'r K, Option<&'r V>),
) {
    let (mut before, mut after) = (before.peekable(), after.peekable());
    loop {
        let order = match (before.peek(), after.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            // Equal ones are mostly one and the same name, which is seen without reading it.
            (Some((one, _)), Some((other, _))) if one == other => Ordering::Equal,
            (Some((one, _)), Some((other, _))) => one.cmp(other),
        };
        let gone = before.next_if(|_| order.is_le());
        match (gone, after.next_if(|_| order.is_ge())) {
            (Some((_, was)), Some((_, is))) if was == is => {}
            (_, Some((key, is))) => tell(key, Some(is)),
            (Some((key, _)), None) => tell(key, None),
            (None, None) => return,
        }
    }
}
