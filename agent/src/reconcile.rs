//! Decides what to do next for one unit on this machine, and what to report of it. PURE.
//!
//! Called again after every step, with what is there now. So each unit has its own sequence of steps, and one that fails or takes
//! long never holds up another. Nothing about what is actual is remembered here: it is observed, and the mark tells what has been
//! asked of systemd since the machine booted.

use std::fmt;

use model::mutation::{Mutation, is_made};
use model::{Assignment, Generation, JobReport, Mark, ServiceUnit, TargetState, UnitStatus};
use unitfile::{FileHash, UnitHash};

/// The next thing to do for a unit, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Stop it, to the end.
    Stop(StopReason),
    /// Take its file away; it is stopped.
    Unload,
    /// Put its file where systemd finds it, and remember this.
    Load(Mark, LoadReason),
    /// Have systemd read unit files again: it still knows the old file.
    Reload,
    /// Start it, then remember this.
    Start(Mark),
    /// Restart it, then remember this.
    Restart(Mark),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::Stop(StopReason::NotScheduled(_)) => "stop: it is not scheduled here",
            Step::Stop(StopReason::Replaced(_)) => "stop: another file takes its place",
            Step::Stop(StopReason::NotWanted(_)) => "stop: it is to be loaded only",
            Step::Unload => "unload: it is not scheduled here",
            Step::Load(_, LoadReason::New) => "load: it is scheduled here",
            Step::Load(_, LoadReason::Replaced) => "load: another file takes its place",
            Step::Load(_, LoadReason::Repair) => "load: its file was damaged",
            Step::Reload => "daemon-reload: systemd still knows the old file",
            Step::Start(_) => "start",
            Step::Restart(_) => "restart",
        })
    }
}

/// Why a unit is stopped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StopReason {
    /// It is not in this machine's schedule. Remember this first, so that it is started again should it be wanted again before it
    /// is gone; none if nothing is remembered of it.
    NotScheduled(Option<Mark>),
    /// Another file takes its place. This is what is remembered of it now; that it was given up is to be remembered first, as above.
    Replaced(Mark),
    /// It is to be loaded only; then remember this.
    NotWanted(Mark),
}

/// Why a file is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LoadReason {
    /// The unit is new here.
    New,
    /// Another file took its place.
    Replaced,
    /// The file was damaged or went missing; the unit itself is left alone.
    Repair,
}

/// Returns the next step for a unit that the schedule wants as `desired` and that is there as `observed`; none if all is well.
pub fn next_step(desired: Option<&Assignment>, observed: Option<&ServiceUnit>) -> Option<Step> {
    match (desired, observed) {
        (None, None) => None,
        (None, Some(unit)) if unit.active.is_stopped() => Some(Step::Unload),
        (None, Some(_)) if is_made(Mutation::UnloadedWithoutStop) => Some(Step::Unload),
        (None, Some(_)) if is_made(Mutation::DuplicateLeftRunning) => None,
        (None, Some(unit)) => {
            let mark = unit.mark.as_ref().map(Mark::given_up);
            let mark = mark.filter(|_| !is_made(Mutation::StoppedWithoutMark));
            Some(Step::Stop(StopReason::NotScheduled(mark)))
        }
        (Some(wanted), None) => Some(Step::Load(fresh(wanted), LoadReason::New)),
        (Some(wanted), Some(unit)) => match &unit.mark {
            // What was remembered is lost: what runs is by the file that is there.
            None => match unit.file {
                Some(file) if file != wanted.file && !unit.active.is_stopped() => {
                    let lost = fresh(wanted);
                    Some(Step::Stop(StopReason::Replaced(Mark { file, ..lost })))
                }
                // Left half-loaded, or it may run by this very file: then its start does nothing.
                Some(_) | None => Some(Step::Load(fresh(wanted), LoadReason::New)),
            },
            Some(mark)
                if mark.file != wanted.file
                    && (unit.active.is_stopped() || is_made(Mutation::ReplacedWithoutStop)) =>
            {
                Some(Step::Load(fresh(wanted), LoadReason::Replaced))
            }
            Some(mark) if mark.file != wanted.file => {
                Some(Step::Stop(StopReason::Replaced(mark.clone())))
            }
            Some(mark) if unit.file != Some(wanted.file) => {
                Some(Step::Load(mark.clone(), LoadReason::Repair))
            }
            Some(mark) => run(wanted, unit, mark),
        },
    }
}

/// What a unit's first mark is. It is yet to be started, and so far what was asked of it before needs no restart.
fn fresh(wanted: &Assignment) -> Mark {
    Mark {
        file: wanted.file,
        start: Generation::default(),
        restart: wanted.restart,
    }
}

/// The next step for a unit whose file is right.
fn run(wanted: &Assignment, unit: &ServiceUnit, mark: &Mark) -> Option<Step> {
    let started = mark.start != Generation::default();
    if wanted.target != TargetState::Launched {
        // Not started by us: systemd may have had its own reasons ([Install], a socket), and keeps them.
        return started.then(|| Step::Stop(StopReason::NotWanted(fresh(wanted))));
    }
    let asked = Mark {
        file: wanted.file,
        start: wanted.start,
        restart: wanted.restart,
    };
    let restart = wanted.restart > mark.restart;
    let start = wanted.start != mark.start;
    if !restart && !start {
        return None;
    }
    if unit.needs_reload && unit.active.is_stopped() {
        return Some(Step::Reload);
    }
    let asked = match is_made(Mutation::StartedWithoutMark) {
        true => mark.clone(),
        false => asked,
    };
    if restart && !unit.active.is_stopped() {
        Some(Step::Restart(asked))
    } else {
        Some(Step::Start(asked))
    }
}

/// True if a start that is still under way serves what is wanted now; if not, it is to be cut short.
pub fn start_still_wanted(desired: Option<&Assignment>, starting: FileHash) -> bool {
    desired.is_some_and(|wanted| wanted.target == TargetState::Launched && wanted.file == starting)
}

/// What is known of a unit beside what systemd says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// The latest request that was dealt with before.
    pub dealt: Generation,
    /// Something is still being done for the unit, or will be.
    pub busy: bool,
    /// How the last thing asked of systemd ended.
    pub job: Option<JobReport>,
}

/// Returns what to publish of a unit: none if this machine has nothing to do with it any more.
pub fn status(
    desired: Option<&Assignment>,
    observed: Option<&ServiceUnit>,
    hash: UnitHash,
    progress: &Progress,
) -> Option<UnitStatus> {
    if desired.is_none() && observed.is_none() {
        return None;
    }
    let started = observed
        .and_then(|unit| unit.mark.as_ref())
        .is_some_and(|mark| mark.start != Generation::default());
    let state = match (observed.is_some_and(|unit| unit.mark.is_some()), started) {
        (false, _) => TargetState::Inactive,
        (true, false) => TargetState::Loaded,
        (true, true) => TargetState::Launched,
    };
    // A start that fleetd did not see through (it was restarted meanwhile) has its answer when the unit has come to rest.
    let settling =
        observed.is_some_and(|unit| unit.active.is_transitional()) && progress.job.is_none();
    let generation = match desired {
        Some(wanted) if !progress.busy && !settling => wanted.generation,
        Some(_) | None => progress.dealt,
    };
    Some(UnitStatus {
        load: observed.map_or(model::LoadState::NotFound, |unit| unit.load.clone()),
        active: observed.map_or(model::ActiveState::Inactive, |unit| unit.active.clone()),
        sub: observed.map_or_else(|| "dead".to_owned(), |unit| unit.sub.clone()),
        hash,
        state,
        generation,
        job: progress.job.clone(),
        invocation: observed.and_then(|unit| unit.invocation.clone()),
        since_unix_ms: observed.map_or(0, |unit| unit.since_unix_ms),
    })
}

#[cfg(test)]
mod tests {
    use model::{ActiveState, LoadState};
    use proptest::prelude::*;
    use unitfile::UnitName;

    use super::*;

    const OLD: FileHash = FileHash::from_bytes([1; 32]);
    const NEW: FileHash = FileHash::from_bytes([2; 32]);

    fn wanted(file: FileHash, target: TargetState, start: u64, restart: u64) -> Assignment {
        Assignment {
            file,
            target,
            generation: Generation(start.max(restart)),
            start: Generation(start),
            restart: Generation(restart),
        }
    }

    fn there(file: FileHash, active: ActiveState, start: u64, restart: u64) -> ServiceUnit {
        ServiceUnit {
            name: UnitName::parse("web.service").unwrap(),
            file: Some(file),
            hash: None,
            mark: Some(Mark {
                file,
                start: Generation(start),
                restart: Generation(restart),
            }),
            load: LoadState::Loaded,
            sub: String::new(),
            active,
            invocation: None,
            since_unix_ms: 0,
            needs_reload: false,
        }
    }

    fn unmarked(mut unit: ServiceUnit) -> ServiceUnit {
        unit.mark = None;
        unit
    }

    fn mark(file: FileHash, start: u64, restart: u64) -> Mark {
        Mark {
            file,
            start: Generation(start),
            restart: Generation(restart),
        }
    }

    #[test]
    fn the_table_of_steps() {
        use ActiveState::{Activating, Active, Failed, Inactive};
        use TargetState::{Launched, Loaded};
        let table = [
            // What is not scheduled is stopped to the end, then removed.
            (
                None,
                Some(there(OLD, Active, 5, 0)),
                Some(Step::Stop(StopReason::NotScheduled(Some(mark(OLD, 1, 0))))),
            ),
            (None, Some(there(OLD, Failed, 5, 0)), Some(Step::Unload)),
            // A new unit is loaded, then started once.
            (
                Some(wanted(NEW, Launched, 5, 0)),
                None,
                Some(Step::Load(mark(NEW, 0, 0), LoadReason::New)),
            ),
            (
                Some(wanted(NEW, Launched, 5, 0)),
                Some(there(NEW, Inactive, 0, 0)),
                Some(Step::Start(mark(NEW, 5, 0))),
            ),
            // Whatever became of it then is systemd's business: a finished oneshot, a failure, an operator's stop.
            (
                Some(wanted(NEW, Launched, 5, 0)),
                Some(there(NEW, Inactive, 5, 0)),
                None,
            ),
            (
                Some(wanted(NEW, Launched, 5, 0)),
                Some(there(NEW, Failed, 5, 0)),
                None,
            ),
            (
                Some(wanted(NEW, Launched, 5, 0)),
                Some(there(NEW, Active, 5, 0)),
                None,
            ),
            // Its mark is lost: what runs by the wanted file is not restarted, what runs by another is stopped first.
            (
                Some(wanted(NEW, Launched, 7, 6)),
                Some(unmarked(there(NEW, Active, 0, 0))),
                Some(Step::Load(mark(NEW, 0, 6), LoadReason::New)),
            ),
            (
                Some(wanted(NEW, Launched, 7, 6)),
                Some(unmarked(there(OLD, Active, 0, 0))),
                Some(Step::Stop(StopReason::Replaced(mark(OLD, 0, 6)))),
            ),
            // Asked again, it is started again.
            (
                Some(wanted(NEW, Launched, 7, 0)),
                Some(there(NEW, Failed, 5, 0)),
                Some(Step::Start(mark(NEW, 7, 0))),
            ),
            // A restart of what runs, and of what does not.
            (
                Some(wanted(NEW, Launched, 7, 7)),
                Some(there(NEW, Active, 5, 0)),
                Some(Step::Restart(mark(NEW, 7, 7))),
            ),
            (
                Some(wanted(NEW, Launched, 7, 7)),
                Some(there(NEW, Inactive, 5, 0)),
                Some(Step::Start(mark(NEW, 7, 7))),
            ),
            // Given up, then wanted again by the same request before it was gone: it is started again.
            (
                Some(wanted(NEW, Launched, 5, 0)),
                Some(there(NEW, Inactive, 1, 0)),
                Some(Step::Start(mark(NEW, 5, 0))),
            ),
            // To be loaded only: stopped if we had started it.
            (
                Some(wanted(NEW, Loaded, 5, 0)),
                Some(there(NEW, Active, 5, 0)),
                Some(Step::Stop(StopReason::NotWanted(mark(NEW, 0, 0)))),
            ),
            (
                Some(wanted(NEW, Loaded, 5, 0)),
                Some(there(NEW, Active, 0, 0)),
                None,
            ),
            // Another file: stop to the end, swap, start.
            (
                Some(wanted(NEW, Launched, 7, 0)),
                Some(there(OLD, Active, 5, 0)),
                Some(Step::Stop(StopReason::Replaced(mark(OLD, 5, 0)))),
            ),
            (
                Some(wanted(NEW, Launched, 7, 0)),
                Some(there(OLD, Activating, 5, 0)),
                Some(Step::Stop(StopReason::Replaced(mark(OLD, 5, 0)))),
            ),
            (
                Some(wanted(NEW, Launched, 7, 0)),
                Some(there(OLD, Inactive, 5, 0)),
                Some(Step::Load(mark(NEW, 0, 0), LoadReason::Replaced)),
            ),
        ];
        for (desired, observed, expected) in table {
            assert_eq!(
                next_step(desired.as_ref(), observed.as_ref()),
                expected,
                "{desired:?} {observed:?}"
            );
        }
    }

    #[test]
    fn a_file_that_went_missing_is_put_back_without_touching_the_unit() {
        let desired = wanted(NEW, TargetState::Launched, 5, 0);
        let mut unit = there(NEW, ActiveState::Active, 5, 0);
        unit.file = None;
        assert_eq!(
            next_step(Some(&desired), Some(&unit)),
            Some(Step::Load(mark(NEW, 5, 0), LoadReason::Repair))
        );
    }

    #[test]
    fn systemd_reads_files_again_only_if_it_says_that_it_must() {
        let desired = wanted(NEW, TargetState::Launched, 5, 0);
        let mut unit = there(NEW, ActiveState::Inactive, 0, 0);
        unit.needs_reload = true;
        assert_eq!(next_step(Some(&desired), Some(&unit)), Some(Step::Reload));
    }

    fn active() -> impl Strategy<Value = ActiveState> {
        prop::sample::select(vec![
            ActiveState::Active,
            ActiveState::Inactive,
            ActiveState::Failed,
            ActiveState::Activating,
        ])
    }

    fn unit() -> impl Strategy<Value = Option<ServiceUnit>> {
        let file = prop::sample::select(vec![OLD, NEW]);
        prop::option::of(
            (
                file,
                active(),
                0..4_u64,
                0..4_u64,
                any::<bool>(),
                any::<bool>(),
            )
                .prop_map(|(file, active, start, restart, marked, reload)| {
                    let mut unit = there(file, active, start, restart);
                    unit.needs_reload = reload;
                    if !marked {
                        unit.mark = None;
                    }
                    unit
                }),
        )
    }

    fn assignment() -> impl Strategy<Value = Option<Assignment>> {
        let target = prop::sample::select(vec![TargetState::Loaded, TargetState::Launched]);
        let file = prop::sample::select(vec![OLD, NEW]);
        prop::option::of(
            (file, target, 2..5_u64, 0..5_u64)
                .prop_map(|(file, target, start, restart)| wanted(file, target, start, restart)),
        )
    }

    /// What a step does to a machine where everything succeeds.
    fn carry_out(step: Step, unit: Option<ServiceUnit>) -> Option<ServiceUnit> {
        match (step, unit) {
            (Step::Unload, _) => None,
            (Step::Load(mark, _), unit) => {
                let active = unit.map_or(ActiveState::Inactive, |unit| unit.active);
                let mut unit = there(mark.file, active, 0, 0);
                unit.mark = Some(mark);
                Some(unit)
            }
            (Step::Stop(reason), Some(mut unit)) => {
                unit.active = ActiveState::Inactive;
                match reason {
                    StopReason::NotWanted(mark) => unit.mark = Some(mark),
                    StopReason::Replaced(mark) => unit.mark = Some(mark.given_up()),
                    StopReason::NotScheduled(mark) => unit.mark = mark,
                }
                Some(unit)
            }
            (Step::Start(mark) | Step::Restart(mark), Some(mut unit)) => {
                unit.active = ActiveState::Active;
                unit.mark = Some(mark);
                Some(unit)
            }
            (Step::Reload, Some(mut unit)) => {
                unit.needs_reload = false;
                Some(unit)
            }
            (step, None) => panic!("{step:?} of a unit that is not there"),
        }
    }

    proptest! {
        /// Whatever was begun for one wish, the next wish to have the unit running makes it run, unless it was left as that wish found it.
        #[test]
        fn a_unit_we_stopped_is_started_when_it_is_wanted_again(desired in assignment(), between in assignment(), unit in unit()) {
            let Some(step) = next_step(between.as_ref(), unit.as_ref()) else { return Ok(()) };
            let stopped = matches!(step, Step::Stop(_));
            let mut unit = carry_out(step, unit);
            while let Some(step) = next_step(desired.as_ref(), unit.as_ref()) {
                unit = carry_out(step, unit);
            }
            let launched = desired.is_some_and(|wanted| wanted.target == TargetState::Launched);
            if stopped && launched {
                prop_assert_eq!(unit.map(|unit| unit.active), Some(ActiveState::Active));
            }
        }

        /// From anywhere, a few steps lead to rest, and there the machine has what the schedule wants.
        #[test]
        fn every_unit_comes_to_rest_where_the_schedule_wants_it(desired in assignment(), mut unit in unit()) {
            let before = unit.clone();
            let mut steps = Vec::new();
            while let Some(step) = next_step(desired.as_ref(), unit.as_ref()) {
                if let Some(wanted) = &desired {
                    let same = before.as_ref().and_then(|unit| unit.mark.as_ref()).is_some_and(|mark| {
                        mark.file == wanted.file && mark.start == wanted.start && mark.restart >= wanted.restart
                    });
                    let stays = wanted.target == TargetState::Launched && same;
                    let touches = matches!(step, Step::Stop(_) | Step::Restart(_) | Step::Start(_));
                    prop_assert!(!(stays && touches), "a unit as it should be was touched: {:?}", step);
                }
                steps.push(step.clone());
                prop_assert!(steps.len() <= 5, "no rest: {:?}", steps);
                unit = carry_out(step, unit);
            }
            match (&desired, &unit) {
                (None, left) => prop_assert!(left.is_none()),
                (Some(wanted), Some(unit)) => prop_assert_eq!(unit.file, Some(wanted.file)),
                (Some(_), None) => prop_assert!(false, "the unit is not there"),
            }
        }
    }
}
