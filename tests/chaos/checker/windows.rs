//! When a machine's lease could not be confirmed, and from when on what follows from that may happen: never earlier, and not long after.

use crate::history::{Fault, Harm, History, Instant};

/// A machine that is whole again is part of the cluster again, and all is well there, so soon: what goes wrong before is the same trouble.
const BACK_US: Instant = 5_000_000;

/// A keep-alive that is due each third of the lease may be late by so much on these machines.
const EARLY_US: Instant = 1_000_000;

/// A machine that boots without a store starts what it had so long after its fleetd has begun, and that is after its boot.
const OFFLINE_START_US: Instant = 10_000_000;

/// A time in which one machine could not confirm its lease, from one or several faults in a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Window {
    pub(super) begun: Instant,
    /// From when on exclusive units may be given up.
    pub(super) give_up_from: Instant,
    pub(super) healed: Instant,
    /// None if its lease cannot have ended by it.
    pub(super) lost: Option<Lost>,
}

/// How it may have lost its lease while its units ran on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Lost {
    /// From when on its lease may have ended.
    pub(super) from: Instant,
    /// From when on it may be part of the cluster again, and stop what was moved.
    pub(super) back_from: Instant,
}

/// All of them.
pub(super) fn windows(history: &History, machine: &str) -> Vec<Window> {
    let groups = groups(history, machine);
    let windows = groups
        .iter()
        .filter_map(|group| window(history.lease_ttl_us, group));
    windows.collect()
}

/// When something was in the way of what this machine had to do: from when to when.
pub(super) fn hindrances(history: &History, machine: &str) -> Vec<(Instant, Instant)> {
    let groups = groups(history, machine);
    let begun = |group: &[&Fault]| group.iter().map(|fault| fault.begun).min().unwrap_or(0);
    let times = groups.iter().map(|group| (begun(group), healed(group)));
    times.collect()
}

/// The faults that bear on this machine; those that follow each other so soon that it was not whole in between are together.
fn groups<'h>(history: &'h History, machine: &str) -> Vec<Vec<&'h Fault>> {
    let mut faults: Vec<&Fault> = history
        .faults
        .iter()
        .filter(|fault| fault.on == machine || fault.on == "etcd")
        .filter(|fault| is_source(fault) || fault.harm == Harm::Blocked)
        .collect();
    faults.sort_by_key(|fault| fault.begun);
    let mut groups: Vec<Vec<&Fault>> = Vec::new();
    for fault in faults {
        match groups.last_mut() {
            Some(group) if fault.begun <= healed(group) + BACK_US => group.push(fault),
            Some(_) | None => groups.push(vec![fault]),
        }
    }
    groups
}

/// None if it was too short for anything to follow from it.
fn window(lease_us: Instant, group: &[&Fault]) -> Option<Window> {
    let sources = group.iter().filter(|fault| is_source(fault));
    let begun = sources.map(|fault| fault.begun).min()?;
    let healed = healed(group);
    if healed - begun < lease_us / 3 {
        return None;
    }
    let since_confirmed = lease_us / 3 + EARLY_US;
    let back_from = group
        .iter()
        .filter_map(|fault| back_from(fault, group))
        .min();
    Some(Window {
        begun,
        give_up_from: begun + (lease_us * 7 / 10).saturating_sub(since_confirmed),
        healed,
        lost: back_from.map(|back_from| Lost {
            from: begun + lease_us.saturating_sub(since_confirmed),
            back_from,
        }),
    })
}

fn is_source(fault: &Fault) -> bool {
    match fault.harm {
        Harm::Death | Harm::CutOff | Harm::Deaf | Harm::Hampered | Harm::Unconfirmed => true,
        Harm::Drain | Harm::Blocked | Harm::None => false,
    }
}

/// From when on a machine that this fault cost its lease may be part of the cluster again.
fn back_from(fault: &Fault, group: &[&Fault]) -> Option<Instant> {
    match fault.harm {
        Harm::CutOff | Harm::Deaf => Some(fault.healing),
        Harm::Hampered => Some(fault.begun),
        // It boots and finds no store: it starts what it had.
        Harm::Death => group
            .iter()
            .any(|other| other.on == "etcd" && other.healed > fault.done + OFFLINE_START_US)
            .then_some(fault.healing),
        Harm::Drain | Harm::Unconfirmed | Harm::Blocked | Harm::None => None,
    }
}

fn healed(group: &[&Fault]) -> Instant {
    group.iter().map(|fault| fault.healed).max().unwrap_or(0)
}
