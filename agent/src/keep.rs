//! What runs here when this machine comes back, and is not in its schedule: it runs on until that is known to be for good. The engine
//! may have had no time yet to put back what belongs here (global units, units bound to this machine), and a unit that was moved is
//! stopped here only once it is up where it is now. Under a resumed lease too: the process that lost the earlier one may have died
//! since it was granted this one. A planned move that meets a restart of fleetd takes so much longer.

use std::collections::BTreeSet;
use std::time::Duration;

use model::mutation::{Mutation, is_made};
use model::{ActiveState, ClusterStore, MachineId, Records, ServiceManager, TargetState};
use registry::View;
use tokio::time::{Instant, sleep};
use unitfile::{Requirements, UnitName};

use crate::run::{Agent, Ended};

/// How long such a unit runs on at most. With a second for joining again, and one for the engine, two copies are gone within the 5 s and
/// stop time that are promised.
const KEEP_MAX: Duration = Duration::from_secs(3);

/// How often it is looked what has become of them. Happens after a lost lease only.
const LOOK: Duration = Duration::from_millis(200);

/// Units that run on for now.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    units: BTreeSet<UnitName>,
    /// None before the schedule and what is there are known.
    until: Option<Instant>,
}

impl Kept {
    pub(crate) fn contains(&self, unit: &UnitName) -> bool {
        self.units.contains(unit)
    }
}

impl<S: ServiceManager> Agent<'_, S> {
    /// Keeps what runs and is not scheduled, once, as soon as both are known.
    pub(crate) fn keep_running(&mut self) {
        if self.kept.until.is_some() {
            return;
        }
        self.kept.until = Some(Instant::now() + KEEP_MAX);
        if self.view.is_none() || is_made(Mutation::NothingKept) {
            return;
        }
        let runs = self.slots.iter().filter(|(_, slot)| {
            let unit = slot.observed.as_ref();
            slot.desired.is_none() && unit.is_some_and(|unit| !unit.active.is_stopped())
        });
        self.kept.units = runs.map(|(name, _)| name.clone()).collect();
        for unit in &self.kept.units {
            tracing::info!(%unit, "not scheduled here yet: it runs on until it is up elsewhere, for a moment at most");
        }
        self.look_elsewhere();
    }

    /// Treats these like any other again.
    pub(crate) fn let_go(&mut self, units: BTreeSet<UnitName>) {
        for unit in units {
            self.kept.units.remove(&unit);
            self.awake.insert(unit);
        }
        self.look_elsewhere();
    }

    /// The schedule has the unit.
    pub(crate) fn is_back(&mut self, unit: &UnitName) {
        self.kept.units.remove(unit);
    }

    fn look_elsewhere(&mut self) {
        let (Some(view), Some(until)) = (self.view.clone(), self.kept.until) else {
            return;
        };
        if self.kept.units.is_empty() {
            return;
        }
        let (units, machine) = (self.kept.units.clone(), self.machine.clone());
        self.tasks
            .spawn(async move { Ended::Settled(settled(&view, &machine, units, until).await) });
    }
}

/// Waits until something has become of some of the units; at `until` of all.
async fn settled(
    view: &View,
    machine: &MachineId,
    units: BTreeSet<UnitName>,
    until: Instant,
) -> BTreeSet<UnitName> {
    while Instant::now() < until {
        sleep(LOOK).await;
        let found = view.read(|records| {
            let settled = units
                .iter()
                .filter(|unit| is_settled(records, machine, unit));
            settled.cloned().collect::<BTreeSet<_>>()
        });
        // As long as the store does not answer, nothing is known.
        match tokio::time::timeout_at(until, found).await {
            Ok(Ok(found)) if !found.is_empty() => return found,
            Ok(Ok(_) | Err(_)) | Err(_) => {}
        }
    }
    units
}

/// True if nothing is lost when the unit is stopped on this machine: nobody wants it to run, or it is up elsewhere.
fn is_settled(records: &Records, machine: &MachineId, unit: &UnitName) -> bool {
    let Some(wanted) = records.units.get(unit) else {
        return !records.quarantined_units.contains(unit);
    };
    if wanted.target != TargetState::Launched {
        return true;
    }
    // What runs on every machine is up elsewhere all the time.
    let is_global = records
        .files
        .get(&wanted.file)
        .is_none_or(|file| Requirements::of_stored(unit, file).0.global);
    if is_global && !is_made(Mutation::GlobalTakenForMoved) {
        return false;
    }
    let (Some(schedule), Some(statuses)) = (records.schedule.get(unit), records.statuses.get(unit))
    else {
        return false;
    };
    !schedule.contains_key(machine)
        && statuses.iter().any(|(other, status)| {
            let has_ended = status.active == ActiveState::Failed || status.job.is_some();
            other != machine
                && schedule.contains_key(other)
                && (status.active == ActiveState::Active || has_ended)
        })
}
