//! What the agent knows of each unit while it works: what is wanted, what was seen last, what is being done. PURE.

use std::collections::BTreeMap;

use model::{
    Assignment, Generation, JobEnd, JobKind, JobReport, ServiceUnit, TargetState, UnitStatus,
};
use unitfile::{FileHash, UnitHash, UnitName};

use crate::reconcile::{Progress, Step, next_step, start_still_wanted, status};
use crate::steps::Cut;

/// One unit on this machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slot {
    /// What the schedule wants; none if the unit is not to be here.
    pub(crate) desired: Option<Assignment>,
    /// Its entry in the schedule cannot be read: what was wanted before stays in force, and if that is not known, nothing is done.
    pub(crate) unreadable: bool,
    /// What was seen last; none if there is nothing.
    pub(crate) observed: Option<ServiceUnit>,
    /// What is being done.
    pub(crate) working: Option<Work>,
    /// A start that is no longer wanted is being cut short.
    pub(crate) cutting: bool,
    /// It is being looked at; true inside if it must be looked at once more after that.
    pub(crate) looking: Option<bool>,
    /// A start has ended, and what there is now could not be looked at: what was seen before it is no ground to decide on.
    pub(crate) unseen: bool,
    /// Counts steps begun and ended: what was seen before is not taken for what is so after.
    pub(crate) epoch: u64,
    /// How many steps in a row failed; the next try waits for its time.
    pub(crate) failures: u32,
    /// A failed step, or cutting short a start, is not tried again before its time.
    pub(crate) resting: bool,
    /// What was asked for has no answer yet: systemd could not be reached, or a unit that this one requires may be on its way.
    pub(crate) unanswered: bool,
    /// Its start was refused, as a unit that it requires is not here: it is tried again as soon as another unit has been loaded.
    pub(crate) lacking: bool,
    /// The latest request that was dealt with.
    pub(crate) dealt: Generation,
    /// How the last thing asked of systemd ended.
    pub(crate) job: Option<JobReport>,
}

/// A step that is under way.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    /// The step.
    pub(crate) step: Step,
    /// The request it is done for.
    pub(crate) generation: Generation,
    /// Told when it is being cut short.
    pub(crate) cut: Cut,
}

/// How often in a row systemd may not answer before that is told as the end of a request: with the pauses between, 15 s. Its D-Bus
/// is back within a second when it is started again, and the request then ends well.
const UNANSWERED_MAX: u32 = 4;

/// What follows from how a step ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum After {
    /// It is not tried again.
    Settled,
    /// It has to be tried again later.
    Retry,
    /// It has to be tried again later, and how it ended is not told yet: nobody knows, or it may be otherwise a moment later.
    Unanswered,
}

/// What is to be done about a unit now.
#[derive(Clone, Debug)]
pub(crate) enum Advance {
    /// Nothing: all is well, or something is under way.
    Nothing,
    /// This step.
    Begin(Work),
    /// The start under way is no longer wanted.
    CutShort,
}

/// Whether something else is wanted than before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Want {
    Same,
    Changed,
}

impl Slot {
    /// Says what is to be done now, and settles the request if nothing is.
    pub(crate) fn advance(&mut self) -> Advance {
        if let Some(work) = &self.working {
            let starting = match &work.step {
                Step::Start(mark) | Step::Restart(mark) => mark.file,
                Step::Stop(_) | Step::Unload | Step::Load(..) | Step::Reload => {
                    return Advance::Nothing;
                }
            };
            if self.cutting || self.resting || start_still_wanted(self.desired.as_ref(), starting) {
                return Advance::Nothing;
            }
            self.cutting = true;
            return Advance::CutShort;
        }
        let is_unknown = self.unseen || (self.unreadable && self.desired.is_none());
        if self.cutting || self.resting || is_unknown {
            return Advance::Nothing;
        }
        match next_step(self.desired.as_ref(), self.observed.as_ref()) {
            Some(step) => Advance::Begin(Work {
                step,
                generation: self.generation(),
                cut: Cut::default(),
            }),
            None => {
                self.dealt = self.generation();
                Advance::Nothing
            }
        }
    }

    /// The request that is being dealt with.
    fn generation(&self) -> Generation {
        self.desired
            .as_ref()
            .map_or(self.dealt, |wanted| wanted.generation)
    }

    /// Notes what is there now.
    pub(crate) fn see(&mut self, seen: Option<ServiceUnit>) {
        self.observed = seen;
        self.unseen = false;
    }

    /// Notes that `work` is under way.
    pub(crate) fn begin(&mut self, work: Work) {
        self.epoch += 1;
        self.lacking = false;
        self.working = Some(work);
    }

    /// Notes how the step under way ended.
    pub(crate) fn end(&mut self, end: JobEnd, after: After) {
        let JobEnd { result, message } = end;
        self.epoch += 1;
        let Some(work) = self.working.take() else {
            return;
        };
        let failed = after != After::Settled;
        self.unanswered = after == After::Unanswered && self.failures < UNANSWERED_MAX;
        if self.unanswered {
            self.failures += 1;
            self.resting = true;
            return;
        }
        let kind = match &work.step {
            Step::Load(..) => Some(JobKind::Load),
            Step::Start(_) => Some(JobKind::Start),
            Step::Restart(_) => Some(JobKind::Restart),
            Step::Stop(_) => Some(JobKind::Stop),
            Step::Unload | Step::Reload => failed.then_some(JobKind::Load),
        };
        // A load or a stop that went well is no answer yet if a start follows; one that failed is.
        let wanted = self.desired.as_ref();
        let starts = wanted.is_some_and(|wanted| wanted.target == TargetState::Launched);
        let tells = match &work.step {
            Step::Load(..) => failed,
            Step::Stop(_) => failed || !starts,
            Step::Start(_) | Step::Restart(_) | Step::Unload | Step::Reload => true,
        };
        if let Some(kind) = kind.filter(|_| tells) {
            self.job = Some(JobReport {
                kind,
                generation: work.generation,
                result,
                message,
            });
        }
        self.resting = failed;
        if failed {
            self.failures += 1;
            self.dealt = work.generation;
        } else {
            self.failures = 0;
        }
    }

    /// Takes in what the schedule wants now. A change ends the rest after a failure; the same again, as after a reconnect, does not.
    pub(crate) fn want(&mut self, desired: Option<Assignment>) -> Want {
        self.unreadable = false;
        if self.desired == desired {
            return Want::Same;
        }
        if self.desired.is_none() {
            // It was taken away in between: what was dealt with before is no answer to what is asked for now.
            self.dealt = Generation::default();
            self.job = None;
        }
        self.desired = desired;
        self.resting = false;
        self.unanswered = false;
        self.failures = 0;
        Want::Changed
    }

    /// The file that is still to be written for it.
    pub(crate) fn file_due(&self) -> Option<FileHash> {
        let wanted = self.desired.as_ref()?.file;
        let is_there = self.observed.as_ref().is_some_and(|unit| {
            unit.file == Some(wanted) && unit.mark.as_ref().is_some_and(|mark| mark.file == wanted)
        });
        (!is_there).then_some(wanted)
    }

    /// True if nothing needs to be known of the unit any more.
    pub(crate) fn is_empty(&self) -> bool {
        self.desired.is_none()
            && self.observed.is_none()
            && self.working.is_none()
            && self.looking.is_none()
            && !self.cutting
            && !self.unreadable
    }

    /// What to publish. `file_hash` is the users' hash of a file that could not be loaded, if the file is at hand.
    pub(crate) fn status(&self, file_hash: Option<UnitHash>) -> Option<UnitStatus> {
        let next = next_step(self.desired.as_ref(), self.observed.as_ref());
        let busy = self.working.is_some()
            || self.cutting
            || (next.is_some() && (!self.resting || self.unanswered));
        let progress = Progress {
            dealt: self.dealt,
            busy,
            job: self.job.clone(),
        };
        let hash = self
            .observed
            .as_ref()
            .and_then(|unit| unit.hash)
            .or(file_hash);
        status(
            self.desired.as_ref(),
            self.observed.as_ref(),
            hash.unwrap_or(UnitHash::from_bytes([0; 20])),
            &progress,
        )
    }
}

/// All units of this machine.
pub(crate) type Slots = BTreeMap<UnitName, Slot>;
