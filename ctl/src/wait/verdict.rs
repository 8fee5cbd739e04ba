//! PURE. Decides whether a request has been fulfilled, given what is known of the cluster.
//!
//! A request has a generation. Only what is said of that generation or a later one counts: a unit that was active before
//! the request is no success of it, and one that failed before is no failure of it.

use api::types::{
    ActiveState, Generation, Hold, Job, JobKind, JobResult, LoadState, MachineId, StateRow,
    TargetState, UnitName, UnitRow,
};

use crate::wait::observed::Observed;

/// How far a unit is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Started, with success.
    Launched,
    /// On a machine and known to its systemd.
    Loaded,
    /// Not running, on a machine or not.
    Stopped,
    /// On no machine.
    Inactive,
    /// Forgotten by the cluster and by every machine.
    Gone,
}

impl Goal {
    /// The target state that the request has set; none if there is no unit left to have one.
    fn target(self) -> Option<TargetState> {
        match self {
            Goal::Launched => Some(TargetState::Launched),
            Goal::Loaded | Goal::Stopped => Some(TargetState::Loaded),
            Goal::Inactive => Some(TargetState::Inactive),
            Goal::Gone => None,
        }
    }
}

/// A unit that is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wish {
    /// The unit.
    pub(crate) name: UnitName,
    /// How far it is to be.
    pub(crate) goal: Goal,
    /// The number of the request.
    pub(crate) generation: Generation,
}

/// How it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Not there yet.
    Pending(Pending),
    /// There.
    Reached {
        /// The state it has.
        state: TargetState,
        /// Where it is, if it is anywhere.
        machine: Option<MachineId>,
    },
    /// It will not get there by itself.
    Failed(Failure),
}

/// What is being waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pending {
    /// The cluster to take note of the request.
    Unseen,
    /// The engine to place it.
    Unplaced,
    /// A machine that can run it.
    Held(Hold),
    /// A machine to do it.
    OnMachine(MachineId),
    /// systemd, which reports this.
    InSystemd(Box<StateRow>),
}

/// Why it will not get there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Somebody destroyed the unit.
    Destroyed,
    /// Somebody asked for something else since.
    Superseded(TargetState),
    /// A machine tried, and this is what came of it.
    OnMachine(Box<StateRow>),
}

/// Says how a wish stands. What is known must be complete, see [`Observed::synced`].
pub(crate) fn judge(wish: &Wish, observed: &Observed) -> Verdict {
    let unit = match (wish.goal, observed.unit(&wish.name)) {
        (Goal::Gone, unit) => return gone(wish, unit, observed),
        (_, None) => return Verdict::Failed(Failure::Destroyed),
        (_, Some(unit)) => unit,
    };
    if unit.generation < wish.generation {
        return Verdict::Pending(Pending::Unseen);
    }
    if unit.generation > wish.generation && wish.goal.target() != Some(unit.desired_state) {
        return Verdict::Failed(Failure::Superseded(unit.desired_state));
    }
    match wish.goal {
        Goal::Launched => on_machine(wish, unit, observed, launched),
        Goal::Loaded => on_machine(wish, unit, observed, loaded),
        Goal::Stopped if is_nowhere(unit, observed) => reached(TargetState::Inactive, None),
        Goal::Stopped => on_machine(wish, unit, observed, loaded),
        Goal::Inactive => inactive(wish, unit, observed),
        Goal::Gone => gone(wish, Some(unit), observed),
    }
}

fn reached(state: TargetState, machine: Option<&MachineId>) -> Verdict {
    Verdict::Reached {
        state,
        machine: machine.cloned(),
    }
}

fn is_nowhere(unit: &UnitRow, observed: &Observed) -> bool {
    unit.machine_id.is_none() && observed.states(&unit.name).next().is_none()
}

/// Judges by what the machine reports that has answered this request, or by what keeps it from being answered.
fn on_machine(
    wish: &Wish,
    unit: &UnitRow,
    observed: &Observed,
    judge: fn(&StateRow, Option<&Job>) -> Verdict,
) -> Verdict {
    let answers = |state: &&StateRow| state.generation >= wish.generation;
    let mut answered: Vec<_> = observed.states(&wish.name).filter(answers).collect();
    // A machine the unit was moved away from may still report it.
    answered.sort_by_key(|state| Some(&state.machine_id) != unit.machine_id.as_ref());
    if let Some(state) = answered.first() {
        let job = state
            .job
            .as_ref()
            .filter(|job| job.generation >= wish.generation);
        return judge(state, job);
    }
    // While a machine still has it, the unit waits for that machine, not for one that fits.
    let pending = match (
        busy(observed.states(&wish.name), unit.machine_id.as_ref()),
        &unit.hold,
    ) {
        (Some(busy), _) => busy,
        (None, Some(hold)) => Pending::Held(hold.clone()),
        (None, None) => Pending::Unplaced,
    };
    Verdict::Pending(pending)
}

/// Who has still to do something, of those who report the unit: systemd, if it is stopping or starting the unit, which takes as
/// long as the unit likes; else the machine.
fn busy<'s>(
    reports: impl Iterator<Item = &'s StateRow>,
    placed: Option<&MachineId>,
) -> Option<Pending> {
    let reports: Vec<_> = reports.collect();
    let moving = |state: &&&StateRow| match state.systemd_active_state {
        ActiveState::Activating | ActiveState::Deactivating => true,
        ActiveState::Active
        | ActiveState::Reloading
        | ActiveState::Inactive
        | ActiveState::Failed
        | ActiveState::Maintenance
        | ActiveState::Other(_) => false,
    };
    if let Some(state) = reports.iter().find(moving) {
        return Some(Pending::InSystemd(Box::new((*state).clone())));
    }
    let machine = placed.or_else(|| reports.first().map(|state| &state.machine_id))?;
    Some(Pending::OnMachine(machine.clone()))
}

fn launched(state: &StateRow, job: Option<&Job>) -> Verdict {
    let failed = || Verdict::Failed(Failure::OnMachine(Box::new(state.clone())));
    let pending = || Verdict::Pending(Pending::InSystemd(Box::new(state.clone())));
    if job.is_some_and(|job| !ended_well(&job.result)) {
        return failed();
    }
    if state.target_state != TargetState::Launched {
        return pending();
    }
    match &state.systemd_active_state {
        ActiveState::Failed => failed(),
        // systemd starts it over and over. That may go on for ever and is not what was asked for.
        ActiveState::Activating if state.systemd_sub_state == "auto-restart" => failed(),
        ActiveState::Activating | ActiveState::Deactivating | ActiveState::Maintenance => pending(),
        // A oneshot that has finished is inactive, and so is a service that was meant to end.
        ActiveState::Active
        | ActiveState::Reloading
        | ActiveState::Inactive
        | ActiveState::Other(_) => reached(TargetState::Launched, Some(&state.machine_id)),
    }
}

fn loaded(state: &StateRow, job: Option<&Job>) -> Verdict {
    let failed = || Verdict::Failed(Failure::OnMachine(Box::new(state.clone())));
    if job.is_some_and(|job| !ended_well(&job.result)) {
        return failed();
    }
    match &state.systemd_load_state {
        LoadState::NotFound | LoadState::BadSetting | LoadState::Error | LoadState::Masked => {
            return failed();
        }
        LoadState::Stub | LoadState::Loaded | LoadState::Merged | LoadState::Other(_) => {}
    }
    if state.target_state == TargetState::Loaded
        && state.systemd_active_state != ActiveState::Deactivating
    {
        reached(TargetState::Loaded, Some(&state.machine_id))
    } else {
        Verdict::Pending(Pending::InSystemd(Box::new(state.clone())))
    }
}

fn inactive(wish: &Wish, unit: &UnitRow, observed: &Observed) -> Verdict {
    if is_nowhere(unit, observed) {
        return reached(TargetState::Inactive, None);
    }
    removal(wish, observed).unwrap_or_else(|| {
        let busy = busy(observed.states(&wish.name), unit.machine_id.as_ref());
        Verdict::Pending(busy.unwrap_or(Pending::Unseen))
    })
}

/// A unit of the same name that was submitted since has a later generation, and so have its states.
fn gone(wish: &Wish, unit: Option<&UnitRow>, observed: &Observed) -> Verdict {
    if unit.is_some_and(|unit| unit.generation <= wish.generation) {
        return Verdict::Pending(Pending::Unseen);
    }
    let left = observed
        .states(&wish.name)
        .filter(|state| state.generation <= wish.generation);
    match busy(left, None) {
        None => reached(TargetState::Inactive, None),
        Some(busy) => removal(wish, observed).unwrap_or(Verdict::Pending(busy)),
    }
}

/// The failure of a machine to stop the unit for this request.
fn removal(wish: &Wish, observed: &Observed) -> Option<Verdict> {
    let stuck = observed.states(&wish.name).find(|state| {
        let of_this = |job: &Job| job.kind == JobKind::Stop && job.generation >= wish.generation;
        state
            .job
            .as_ref()
            .is_some_and(|job| of_this(job) && !ended_well(&job.result))
    })?;
    Some(Verdict::Failed(Failure::OnMachine(Box::new(stuck.clone()))))
}

/// As `systemctl` sees it: a job with nothing to do is no failure.
fn ended_well(result: &JobResult) -> bool {
    match result {
        JobResult::Done | JobResult::Skipped => true,
        JobResult::Canceled
        | JobResult::Timeout
        | JobResult::Failed
        | JobResult::Dependency
        | JobResult::Invalid
        | JobResult::Assert
        | JobResult::Unsupported
        | JobResult::Collected
        | JobResult::Once
        | JobResult::Other(_) => false,
    }
}
