//! Takes in how a step ended: what is told of it, and whether it is tried again.

use model::mutation::{Mutation, is_made};
use model::{JobEnd, JobResult, ServiceError, ServiceManager};
use tokio::time::Instant;
use unitfile::UnitName;

use crate::decide::pause;
use crate::reconcile::Step;
use crate::run::Agent;
use crate::steps::{StepEnd, is_refused, lacks};
use crate::units::{After, Slot};

impl<S: ServiceManager> Agent<'_, S> {
    pub(crate) fn take_step_end(&mut self, end: StepEnd) {
        let StepEnd {
            name,
            result,
            observed,
            observed_at,
        } = end;
        let Some(slot) = self.slots.get_mut(&name) else {
            return;
        };
        let step = slot.working.as_ref().map(|work| work.step.clone());
        let tried = step.as_ref().map(ToString::to_string).unwrap_or_default();
        let is_loaded = matches!((&step, &result), (Some(Step::Load(..)), Ok(_)));
        match result {
            Ok(end) => {
                let still_there = matches!(&observed, Ok(Some(unit)) if !unit.active.is_stopped());
                // A stop that did not stop is tried again; a start that failed is left to systemd and the user.
                let failed = matches!(step, Some(Step::Stop(_))) && still_there;
                if end.result != JobResult::Done {
                    tracing::warn!(unit = %name, result = %end.result, end.message, "{tried}: did not end well");
                }
                slot.end(end, if failed { After::Retry } else { After::Settled });
            }
            Err(error) => {
                tracing::warn!(unit = %name, %error, "{tried}: failed");
                fail(slot, step.as_ref(), &error);
            }
        }
        if slot.resting {
            let at = Instant::now() + pause(slot.failures);
            self.retries.insert(name.clone(), at);
        }
        if self
            .looks
            .get(&name)
            .is_some_and(|look| look.asked <= observed_at)
        {
            self.looks.remove(&name);
        }
        match observed {
            Ok(seen) => slot.see(seen),
            Err(_) => {
                let was_start = matches!(step, Some(Step::Start(_) | Step::Restart(_)));
                slot.unseen = was_start && !is_made(Mutation::DecidedUnseen);
                self.look(&name);
            }
        }
        self.touch(&name);
        if is_loaded {
            self.try_lacking();
        }
    }

    /// A unit has been loaded: it may be what others have lacked.
    fn try_lacking(&mut self) {
        let lacking = self.slots.iter().filter(|(_, slot)| slot.lacking);
        let lacking: Vec<UnitName> = lacking.map(|(name, _)| name.clone()).collect();
        for name in lacking {
            if let Some(slot) = self.slots.get_mut(&name) {
                (slot.lacking, slot.resting) = (false, false);
            }
            self.retries.remove(&name);
            self.awake.insert(name);
        }
    }
}

/// Notes that the step under way came to no end in systemd.
fn fail(slot: &mut Slot, step: Option<&Step>, error: &ServiceError) {
    let lacking = step.is_some_and(|step| lacks(step, error));
    let refused = step.is_some_and(|step| is_refused(step, error));
    let after = match error {
        _ if refused => After::Settled,
        ServiceError::Unreachable { .. } => After::Unanswered,
        // What comes along with it may be on its way: only if it is not here a moment later, that is told.
        _ if lacking && slot.failures == 0 => After::Unanswered,
        ServiceError::NotFound { .. }
        | ServiceError::Foreign { .. }
        | ServiceError::Masked { .. }
        | ServiceError::Refused { .. }
        | ServiceError::File { .. }
        | ServiceError::TimedOut { .. } => After::Retry,
    };
    let end = JobEnd {
        result: JobResult::Failed,
        message: error.to_string(),
    };
    slot.end(end, after);
    slot.lacking = lacking;
    if refused {
        slot.dealt = slot
            .desired
            .as_ref()
            .map_or(slot.dealt, |wanted| wanted.generation);
    }
}

#[cfg(test)]
mod tests {
    use model::{Generation, Mark};
    use unitfile::FileHash;

    use super::*;
    use crate::steps::Cut;
    use crate::units::Work;

    fn starting() -> Work {
        let step = Step::Start(Mark {
            file: FileHash::from_bytes([1; 32]),
            start: Generation(5),
            restart: Generation(0),
        });
        Work {
            step,
            generation: Generation(5),
            cut: Cut::default(),
        }
    }

    #[test]
    fn what_a_start_lacks_is_told_when_it_has_not_come_a_moment_later() {
        let lacking = ServiceError::NotFound {
            message: "Unit app.service not found.".to_owned(),
        };
        let mut slot = Slot::default();
        for told in [false, true, true] {
            slot.begin(starting());
            fail(&mut slot, Some(&starting().step), &lacking);
            assert_eq!((slot.job.is_some(), slot.unanswered), (told, !told));
            assert!(slot.resting && slot.lacking, "it is tried again");
        }
    }

    #[test]
    fn a_restart_that_lacks_a_unit_is_given_up() {
        let restart = match starting().step {
            Step::Start(mark) => Step::Restart(mark),
            step => step,
        };
        let mut slot = Slot::default();
        slot.begin(Work {
            step: restart.clone(),
            generation: Generation(5),
            cut: Cut::default(),
        });
        let lacking = ServiceError::NotFound {
            message: "Unit app.service not found.".to_owned(),
        };
        fail(&mut slot, Some(&restart), &lacking);
        assert!(slot.job.is_some() && !slot.resting && !slot.lacking);
    }
}
