//! PURE. When units of lost machines are held instead of moved: if in a cluster of some size a
//! large part of the machines is gone within one lease time, the network is cut or the store was
//! away, and moving everything would do more harm than waiting.
//!
//! What is held is in the store ([`Brake`]), so another leader goes on with it. Only when machines
//! were lost and for how long they were waited for is known to one leader alone; another takes
//! machines that it finds gone with units on them for lost just now, and waits anew.

use std::collections::BTreeSet;

use model::{Brake, BrakePhase, Change, MachineId, Records, TargetState};
use unitfile::{Requirements, UnitName};

/// From when on the brake is pulled, and for how long. Times are in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BrakeLimits {
    /// Smaller clusters have no brake: losing two machines of five is nothing unusual.
    pub machines_min: usize,
    /// The brake is pulled if more than this part of the machines is lost, in percent. 100: never.
    pub lost_percent: u32,
    /// Machines count as lost together if they went within this time: the lease of a machine.
    pub together_ms: u64,
    /// For how long all are waited for.
    pub hold_ms: u64,
    /// After that, one machine is given up in this time.
    pub give_up_every_ms: u64,
}

impl BrakeLimits {
    /// The defaults, for machines with such a lease.
    pub fn of_lease(lease_ms: u64) -> BrakeLimits {
        BrakeLimits {
            machines_min: 10,
            lost_percent: 30,
            together_ms: lease_ms,
            // Long enough for a switch or an etcd cluster to be brought back by hand.
            hold_ms: 5 * 60 * 1000,
            give_up_every_ms: 10 * 1000,
        }
    }

    fn scale(&self, lost: usize, cluster: usize) -> Scale {
        let percent = usize::try_from(self.lost_percent).unwrap_or(usize::MAX);
        let is_over = |part: usize| lost * 100 * part > cluster.saturating_mul(percent);
        if cluster < self.machines_min || percent >= 100 {
            Scale::Few
        } else if is_over(1) {
            Scale::Many
        } else if lost > FEW_MAX && is_over(SUSPICION) {
            Scale::Some
        } else {
            Scale::Few
        }
    }
}

/// So many lost machines are never suspicious.
const FEW_MAX: usize = 2;

/// From this part of the limit on (a third of it) it is waited for one lease time to see whether
/// more go: the leases of machines that are cut off together end within a third of a lease time,
/// not at once, and without this the first of them would be moved before the last is lost.
const SUSPICION: usize = 3;

/// How much was lost together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Scale {
    /// As machines break.
    Few,
    /// It may become many.
    Some,
    /// More than the limit.
    Many,
}

/// A machine that went without having said so.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Loss {
    machine: MachineId,
    at_ms: u64,
}

/// Watches machines go and says what the brake is to be.
#[derive(Debug)]
pub(crate) struct Lookout {
    limits: BrakeLimits,
    losses: Vec<Loss>,
    /// Machines that went in the revision that is being taken in, with the units they had.
    leaving: Vec<(MachineId, Vec<UnitName>)>,
    /// Machines that went without a word since this was last asked.
    gone: BTreeSet<MachineId>,
    /// When a machine may next be given up; none while nothing is held.
    due_ms: Option<u64>,
    /// True until the cluster was looked at as it was found.
    is_new: bool,
}

impl Lookout {
    pub(crate) fn new(limits: BrakeLimits) -> Lookout {
        Lookout {
            limits,
            losses: Vec::new(),
            leaving: Vec::new(),
            gone: BTreeSet::new(),
            due_ms: None,
            is_new: true,
        }
    }

    /// Says that the records were read anew: what went meanwhile was not seen going.
    pub(crate) fn look_again(&mut self) {
        self.leaving.clear();
        self.gone.clear();
        self.is_new = true;
    }

    /// Takes in a change that is not in the records yet. `units_on` says what a machine has.
    pub(crate) fn hear(
        &mut self,
        records: &Records,
        change: &Change,
        units_on: impl FnOnce(&MachineId) -> Vec<UnitName>,
    ) {
        if let Change::Machine(id, None) = change
            && records.machines.contains_key(id)
        {
            self.leaving.push((id.clone(), units_on(id)));
        }
    }

    /// Says that a revision is in the records in full. What a machine reports goes with its lease, in
    /// one revision: one that still reports then leaves in order, and may have stopped everything
    /// before this is next asked.
    pub(crate) fn heard_all(&mut self, records: &Records) {
        for (id, units) in std::mem::take(&mut self.leaving) {
            if !units.iter().any(|unit| records.is_reported(unit, &id)) {
                self.gone.insert(id);
            }
        }
    }

    /// When this is to be asked again though nothing happens.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        self.due_ms
    }

    /// What the brake is to be; none if it is as it ought to be.
    pub(crate) fn decide(&mut self, records: &Records, now_ms: u64) -> Option<Option<Brake>> {
        let lost_now = self.take_in_losses(records, now_ms);
        let cluster = records.machines.len() + self.losses.len();
        let held = records.brake.as_ref().map(|brake| &brake.machines);
        let mut machines: BTreeSet<MachineId> = held.cloned().unwrap_or_default();
        machines.retain(|id| !records.machines.contains_key(id));
        let mut phase = records.brake.as_ref().map(|brake| brake.phase);
        if lost_now {
            let scale = self.limits.scale(self.losses.len(), cluster);
            if scale != Scale::Few || !machines.is_empty() {
                let lost = self.losses.iter().map(|loss| &loss.machine);
                let lost: BTreeSet<&MachineId> = lost.collect();
                machines.extend(with_units(records, |id| lost.contains(id)));
            }
            if scale == Scale::Many {
                phase = Some(BrakePhase::Holding);
                self.due_ms = None;
            }
        }
        let mut phase = phase.unwrap_or(BrakePhase::Watching);
        if machines.is_empty() {
            self.due_ms = None;
            return records.brake.is_some().then_some(None);
        }
        let wait_ms = match phase {
            BrakePhase::Watching => self.limits.together_ms,
            BrakePhase::Holding => self.limits.hold_ms,
            BrakePhase::Moving => self.limits.give_up_every_ms,
        };
        let due_ms = *self.due_ms.get_or_insert(now_ms.saturating_add(wait_ms));
        if due_ms <= now_ms {
            match phase {
                // It did not become many: they are moved at once.
                BrakePhase::Watching => machines.clear(),
                BrakePhase::Holding | BrakePhase::Moving => drop(machines.pop_first()),
            }
            phase = BrakePhase::Moving;
            self.due_ms = Some(now_ms.saturating_add(self.limits.give_up_every_ms));
        }
        let brake = (!machines.is_empty()).then_some(Brake {
            phase,
            cluster: match &records.brake {
                Some(brake) if !lost_now => brake.cluster,
                Some(_) | None => cluster,
            },
            machines,
        });
        if brake.is_none() {
            self.due_ms = None;
        }
        (brake != records.brake).then_some(brake)
    }

    /// Notes which machines are lost; true if some are since this was last asked.
    fn take_in_losses(&mut self, records: &Records, now_ms: u64) -> bool {
        let together_ms = self.limits.together_ms;
        self.losses.retain(|loss| {
            loss.at_ms.saturating_add(together_ms) > now_ms
                && !records.machines.contains_key(&loss.machine)
        });
        self.heard_all(records);
        let mut lost = std::mem::take(&mut self.gone);
        lost.retain(|id| !records.machines.contains_key(id));
        if std::mem::take(&mut self.is_new) {
            let held = records.brake.iter().flat_map(|brake| &brake.machines);
            let held: BTreeSet<&MachineId> = held.collect();
            lost.extend(with_units(records, |id| !held.contains(id)));
        }
        lost.retain(|id| self.losses.iter().all(|loss| loss.machine != *id));
        let is_some = !lost.is_empty();
        self.losses.extend(lost.into_iter().map(|machine| Loss {
            machine,
            at_ms: now_ms,
        }));
        is_some
    }
}

/// Those of these machines that are gone, report nothing, and have units that would move.
fn with_units(records: &Records, which: impl Fn(&MachineId) -> bool) -> BTreeSet<MachineId> {
    let mut machines = BTreeSet::new();
    let mut reporting = BTreeSet::new();
    for (name, entries) in &records.schedule {
        for id in entries.keys() {
            if records.machines.contains_key(id) || !which(id) {
                continue;
            }
            if records.is_reported(name, id) {
                reporting.insert(id.clone());
            }
            if !machines.contains(id) && would_move(records, name) {
                machines.insert(id.clone());
            }
        }
    }
    machines.retain(|id| !reporting.contains(id));
    machines
}

/// True if the unit is to run and does not wait for its machine in any case.
fn would_move(records: &Records, name: &UnitName) -> bool {
    let Some(unit) = records.units.get(name) else {
        return false;
    };
    let file = records.files.get(&unit.file);
    let is_sticky = || file.is_some_and(|file| Requirements::of_stored(name, file).0.sticky);
    unit.target != TargetState::Inactive && !is_sticky()
}

#[cfg(test)]
mod tests;
