//! Carries out one step for one unit. Behaviour does not live here: what to do next is decided in `reconcile.rs`.

use std::sync::Arc;

use model::{JobEnd, JobResult, Mark, ServiceError, ServiceManager, ServiceUnit};
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
}

/// Carries out `step` to its end and looks at the unit afterwards. `file` is what a load writes.
pub(crate) async fn carry_out<S: ServiceManager>(
    manager: Arc<S>,
    name: UnitName,
    step: Step,
    file: Option<Arc<UnitFile>>,
) -> StepEnd {
    let result = match step {
        Step::Stop(reason) => stop(&*manager, &name, reason).await,
        Step::Unload => manager.unload(&name).await.map(|()| done()),
        Step::Load(mark, _) => load(&*manager, &name, file, &mark).await,
        Step::Reload => manager.reload().await.map(|()| done()),
        Step::Start(mark) => {
            let result = manager.start(&name, &mark).await;
            refused(&*manager, &name, &mark, result).await
        }
        Step::Restart(mark) => {
            let result = manager.restart(&name, &mark).await;
            refused(&*manager, &name, &mark, result).await
        }
    };
    let observed = manager.unit(&name).await;
    StepEnd {
        name,
        result,
        observed,
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
    reason: StopReason,
) -> Result<JobEnd, ServiceError> {
    let end = manager.stop(name).await?;
    match reason {
        StopReason::NotWanted(mark) => manager.mark(name, &mark).await?,
        StopReason::NotScheduled | StopReason::Replaced => {}
    }
    Ok(end)
}

/// Remembers a request that systemd refused as carried out: it is not made again until the user asks again.
async fn refused<S: ServiceManager>(
    manager: &S,
    name: &UnitName,
    mark: &Mark,
    result: Result<JobEnd, ServiceError>,
) -> Result<JobEnd, ServiceError> {
    if result
        .as_ref()
        .is_err_and(|error| !matches!(error, ServiceError::Unreachable { .. }))
    {
        manager.mark(name, mark).await?;
    }
    result
}

fn done() -> JobEnd {
    JobEnd {
        result: JobResult::Done,
        message: String::new(),
    }
}
