//! What runs here when this machine comes back, and is not in its schedule: it runs on until that is known to be for good. The engine
//! may have had no time yet to put back what belongs here (global units, units bound to this machine), and a unit that was moved is
//! stopped here only once it is up where it is now. Under a resumed lease too: the process that lost the earlier one may have died
//! since it was granted this one. A planned move that meets a restart of fleetd takes so much longer.

use std::collections::BTreeSet;
use std::time::Duration;

use model::mutation::{Mutation, is_made};
use model::{
    ActiveState, ClusterStore, JobKind, JobResult, MachineId, Records, ServiceManager, TargetState,
    UnitStatus,
};
use registry::View;
use tokio::time::{sleep, timeout};
use unitfile::{Requirements, UnitName};

use crate::run::{Agent, Ended};

/// How long such a unit runs on that no machine has in its schedule, or that did not start where it is. Counted only while the store answers and an engine leads: one that is
/// well has put back what belongs here in a fraction of this, and one that no longer hears the store is replaced in half of it.
const UNPLACED_MAX: Duration = Duration::from_secs(10);

/// How long such a unit runs on that another machine has begun to start and does not get up. A start that takes longer may never end, and
/// two copies would run for good.
const STARTING_MAX: Duration = Duration::from_secs(30);

/// How often it is looked what has become of them. Happens after a lost lease only. Two copies are gone so soon, and a second for joining
/// again, after the new one is up: well within the 5 s and stop time that are promised.
const LOOK: Duration = Duration::from_millis(200);

/// How long one look may take.
const LOOK_MAX: Duration = Duration::from_secs(2);

/// Units that run on for now.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    units: BTreeSet<UnitName>,
    /// None before the schedule and what is there are known.
    patience: Option<Patience>,
}

/// How much longer is waited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Patience {
    /// What is left of [`UNPLACED_MAX`].
    unplaced: Duration,
    /// What is left of [`STARTING_MAX`].
    starting: Duration,
}

/// Units of which it is known what has become of them.
#[derive(Debug)]
pub(crate) struct Settled {
    units: BTreeSet<UnitName>,
    patience: Patience,
}

/// What has become of a unit that is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// Nothing is lost when it is stopped on this machine: nobody wants it to run, or it is, or was, up elsewhere.
    Settled,
    /// Another machine has begun to start it, and it is not up there yet.
    Starting,
    /// A machine has it in its schedule, and is bringing it up, or trying to again and again.
    Underway,
    /// No machine that lives has it in its schedule, or systemd there could not start it.
    Unplaced,
}

impl Kept {
    pub(crate) fn contains(&self, unit: &UnitName) -> bool {
        self.units.contains(unit)
    }
}

impl<S: ServiceManager> Agent<'_, S> {
    /// Keeps what runs and is not scheduled, once, as soon as both are known.
    pub(crate) fn keep_running(&mut self) {
        if self.kept.patience.is_some() {
            return;
        }
        self.kept.patience = Some(Patience {
            unplaced: UNPLACED_MAX,
            starting: STARTING_MAX,
        });
        if self.view.is_none() || is_made(Mutation::NothingKept) {
            return;
        }
        let runs = self.slots.iter().filter(|(_, slot)| {
            let unit = slot.observed.as_ref();
            slot.desired.is_none() && unit.is_some_and(|unit| !unit.active.is_stopped())
        });
        self.kept.units = runs.map(|(name, _)| name.clone()).collect();
        for unit in &self.kept.units {
            tracing::info!(%unit, "not scheduled here yet: it runs on until it is up elsewhere or the engine has had its time");
        }
        self.look_elsewhere();
    }

    /// Treats these like any other again.
    pub(crate) fn let_go(&mut self, settled: Settled) {
        self.kept.patience = Some(settled.patience);
        for unit in settled.units {
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
        let (Some(view), Some(patience)) = (self.view.clone(), self.kept.patience) else {
            return;
        };
        if self.kept.units.is_empty() {
            return;
        }
        let (units, machine) = (self.kept.units.clone(), self.machine.clone());
        self.tasks.spawn(async move {
            Ended::Settled(wait_for_fate(&view, &machine, &units, patience).await)
        });
    }
}

/// Waits until something has become of some of the units, or the engine has had its time for those that no machine has.
async fn wait_for_fate(
    view: &View,
    machine: &MachineId,
    units: &BTreeSet<UnitName>,
    mut patience: Patience,
) -> Settled {
    loop {
        sleep(LOOK).await;
        let looked = view.read(|records| {
            let of = |fate| {
                let found = units.iter();
                let found = found.filter(|unit| fate_of(records, machine, unit) == fate);
                found.cloned().collect::<BTreeSet<UnitName>>()
            };
            let leads = records.leader.is_some();
            let settled = of(Fate::Settled);
            (settled, of(Fate::Unplaced), of(Fate::Starting), leads)
        });
        // As long as the store does not answer, nothing is known.
        let Ok(Ok((mut units, unplaced, starting, leads))) = timeout(LOOK_MAX, looked).await else {
            continue;
        };
        if leads && !unplaced.is_empty() {
            patience.unplaced = patience.unplaced.saturating_sub(LOOK);
        }
        if !starting.is_empty() {
            patience.starting = patience.starting.saturating_sub(LOOK);
        }
        if patience.unplaced.is_zero() {
            units.extend(unplaced);
        }
        if patience.starting.is_zero() {
            units.extend(starting);
        }
        if !units.is_empty() {
            return Settled { units, patience };
        }
    }
}

fn fate_of(records: &Records, machine: &MachineId, unit: &UnitName) -> Fate {
    let Some(wanted) = records.units.get(unit) else {
        // What cannot be read is moved by nobody.
        return match records.quarantined_units.contains(unit) {
            true => Fate::Underway,
            false => Fate::Settled,
        };
    };
    if wanted.target != TargetState::Launched {
        return Fate::Settled;
    }
    let placed = records.schedule.get(unit);
    if placed.is_some_and(|machines| machines.contains_key(machine)) {
        return Fate::Underway;
    }
    // What runs on every machine is up elsewhere all the time.
    let file = records.files.get(&wanted.file);
    let is_global = file.is_none_or(|file| Requirements::of_stored(unit, file).0.global);
    if is_global && !is_made(Mutation::GlobalTakenForMoved) {
        return Fate::Unplaced;
    }
    let lives = |other: &MachineId| {
        records.machines.contains_key(other) || records.quarantined_machines.contains(other)
    };
    let statuses = records.statuses.get(unit);
    let mut fate = Fate::Unplaced;
    for (other, entry) in placed.into_iter().flatten() {
        match statuses.and_then(|statuses| statuses.get(other)) {
            Some(status) if is_or_was_up(status) => return Fate::Settled,
            Some(status) if has_not_started(status) => {}
            Some(status) if status.active.is_transitional() => fate = Fate::Starting,
            // An earlier fleetd there was through with it; somebody may have stopped it since.
            Some(status) if status.job.is_none() && status.generation >= entry.generation => {
                return Fate::Settled;
            }
            Some(_) | None if lives(other) => fate = Fate::Underway,
            Some(_) | None => {}
        }
    }
    fate
}

fn is_or_was_up(status: &UnitStatus) -> bool {
    status.active == ActiveState::Active || start_of(status) == Some(&JobResult::Done)
}

/// That something could not be written or reached there is tried again, and so is no such end.
fn has_not_started(status: &UnitStatus) -> bool {
    status.active == ActiveState::Failed
        || start_of(status).is_some_and(|result| *result != JobResult::Failed)
}

/// How its last start there ended.
fn start_of(status: &UnitStatus) -> Option<&JobResult> {
    let job = status.job.as_ref()?;
    match job.kind {
        JobKind::Start | JobKind::Restart => Some(&job.result),
        JobKind::Load | JobKind::Stop => None,
    }
}
