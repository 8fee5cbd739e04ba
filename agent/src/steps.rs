//! Carries out one step for one unit. Behaviour does not live here: what to do next is decided in `reconcile.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use model::mutation::{Mutation, is_made};
use model::{
    ActiveState, JobEnd, JobResult, LoadState, Mark, ServiceError, ServiceManager, ServiceUnit,
};
use tokio::time::Instant;
use unitfile::{UnitFile, UnitName};

use crate::reconcile::{Step, StopReason};

/// How a step ended, and what is there now.
#[derive(Debug)]
pub(crate) struct StepEnd {
    pub(crate) name: UnitName,
    /// systemd's word on the job, or why it did not come to one.
    pub(crate) result: Result<JobEnd, ServiceError>,
    /// The unit afterwards.
    pub(crate) observed: Result<Option<ServiceUnit>, ServiceError>,
    /// When it was looked at: news from before then are covered.
    pub(crate) observed_at: Instant,
}

/// Whether a unit is looked at after a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LookAfter {
    /// It is.
    Yes,
    /// A new unit that is started next: there is nothing to see yet, and looking would make systemd load it twice. If systemd knows the
    /// name already, it is looked at nonetheless: then it has the file of an earlier unit of that name in memory.
    StartFollows,
}

/// Tells a start under way that it is being cut short.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cut(Arc<AtomicBool>);

impl Cut {
    pub(crate) fn short(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_short(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Carries out `step` to its end and looks at the unit afterwards. `file` is what a load writes. A start that was `cut` short while it was
/// under way is remembered as given up: its own mark may have been written after the one that said so.
pub(crate) async fn carry_out<S: ServiceManager>(
    manager: Arc<S>,
    name: UnitName,
    step: Step,
    file: Option<Arc<UnitFile>>,
    look: LookAfter,
    cut: Cut,
) -> StepEnd {
    let unseen = match (&step, &file, look) {
        (Step::Load(mark, _), Some(file), LookAfter::StartFollows) => {
            Some(unseen(&name, file, mark))
        }
        _ => None,
    };
    let given_up = match &step {
        Step::Start(mark) | Step::Restart(mark) => Some(mark.given_up()),
        Step::Stop(_) | Step::Unload | Step::Load(..) | Step::Reload => None,
    };
    let result = match &step {
        Step::Stop(reason) => stop(&*manager, &name, reason).await,
        Step::Unload => manager.unload(&name).await.map(|()| done()),
        Step::Load(mark, _) => load(&*manager, &name, file, mark).await,
        Step::Reload => manager.reload().await.map(|()| done()),
        Step::Start(mark) => {
            let result = manager.start(&name, mark).await;
            refused(&*manager, &name, &step, mark, result).await
        }
        Step::Restart(mark) => {
            let result = manager.restart(&name, mark).await;
            refused(&*manager, &name, &step, mark, result).await
        }
    };
    let is_late = is_made(Mutation::CutNotRemembered) || is_made(Mutation::CutRememberedLate);
    if cut.is_short()
        && let Some(mark) = given_up.filter(|_| !is_late)
    {
        remember(&*manager, &name, &mark).await;
    }
    let observed_at = Instant::now();
    let observed = match unseen.filter(|_| result.is_ok()) {
        Some(unit) if manager.knows(&name).await == Ok(false) => Ok(Some(unit)),
        Some(_) | None => manager.unit(&name).await,
    };
    StepEnd {
        name,
        result,
        observed,
        observed_at,
    }
}

/// A unit whose file has just been written and that systemd has not been asked about.
fn unseen(name: &UnitName, file: &UnitFile, mark: &Mark) -> ServiceUnit {
    ServiceUnit {
        name: name.clone(),
        file: Some(file.file_hash()),
        hash: Some(file.hash()),
        mark: Some(mark.clone()),
        load: LoadState::Loaded,
        active: ActiveState::Inactive,
        sub: "dead".to_owned(),
        invocation: None,
        since_unix_ms: 0,
        needs_reload: false,
    }
}

async fn load<S: ServiceManager>(
    manager: &S,
    name: &UnitName,
    file: Option<Arc<UnitFile>>,
    mark: &Mark,
) -> Result<JobEnd, ServiceError> {
    let Some(file) = file else {
        return Err(ServiceError::Refused {
            message: format!(
                "the file {} is missing from the store: submit the unit again",
                mark.file
            ),
        });
    };
    manager.load(name, &file, mark).await.map(|()| done())
}

async fn stop<S: ServiceManager>(
    manager: &S,
    name: &UnitName,
    reason: &StopReason,
) -> Result<JobEnd, ServiceError> {
    match reason {
        StopReason::NotWanted(mark) => {
            let end = manager.stop(name).await?;
            manager.mark(name, mark).await?;
            Ok(end)
        }
        StopReason::NotScheduled(mark) => stop_remembered(manager, name, mark.clone()).await,
        StopReason::Replaced(mark) => {
            // With no space for a mark there is none for the new file: what runs is left until there is.
            manager.mark(name, mark).await?;
            stop_remembered(manager, name, Some(mark.given_up())).await
        }
    }
}

/// Remembers that it is us who stop the unit, then does. It has to stop also if that cannot be written.
pub(crate) async fn stop_remembered<S: ServiceManager>(
    manager: &S,
    name: &UnitName,
    mark: Option<Mark>,
) -> Result<JobEnd, ServiceError> {
    if let Some(mark) = mark {
        remember(manager, name, &mark).await;
    }
    manager.stop(name).await
}

/// Remembers that a unit is given up.
pub(crate) async fn remember<S: ServiceManager>(manager: &S, name: &UnitName, mark: &Mark) {
    if let Err(error) = manager.mark(name, mark).await {
        tracing::warn!(unit = %name, %error, "it cannot be remembered that this unit is being stopped");
    }
}

/// Remembers a start or restart that systemd refused as carried out: it is not made again until the user asks again.
async fn refused<S: ServiceManager>(
    manager: &S,
    name: &UnitName,
    step: &Step,
    mark: &Mark,
    result: Result<JobEnd, ServiceError>,
) -> Result<JobEnd, ServiceError> {
    if result.as_ref().is_err_and(|error| is_refused(step, error)) {
        manager.mark(name, mark).await?;
    }
    result
}

/// True if systemd refused this start or restart, which ends the request. What [`lacks`] a unit is made again when that has come.
pub(crate) fn is_refused(step: &Step, error: &ServiceError) -> bool {
    match step {
        Step::Start(_) | Step::Restart(_) => is_refusal(error) && !lacks(step, error),
        Step::Stop(_) | Step::Unload | Step::Load(..) | Step::Reload => false,
    }
}

/// True if a unit that this start requires is not here, but may be on its way. A restart does not wait for one.
pub(crate) fn lacks(step: &Step, error: &ServiceError) -> bool {
    matches!(
        (step, error),
        (Step::Start(_), ServiceError::NotFound { .. })
    )
}

/// True if systemd was asked and did not do it. What may not have come to systemd, because nobody answered, or not in time, or nothing could
/// be written, is none.
pub(crate) fn is_refusal(error: &ServiceError) -> bool {
    match error {
        ServiceError::Unreachable { .. }
        | ServiceError::File { .. }
        | ServiceError::TimedOut { .. } => false,
        ServiceError::Foreign { .. }
        | ServiceError::Masked { .. }
        | ServiceError::NotFound { .. }
        | ServiceError::Refused { .. } => true,
    }
}

fn done() -> JobEnd {
    JobEnd {
        result: JobResult::Done,
        message: String::new(),
    }
}
