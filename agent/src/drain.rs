//! Leaving for good: every unit of ours is stopped to its end and taken away, all at the same time.

use std::sync::Arc;

use model::mutation::{Mutation, is_made};
use model::{JobResult, Mark, ServiceError, ServiceManager, ServiceUnit};
use registry::Membership;
use tokio::task::JoinSet;

use crate::exclusive::extend;
use crate::steps::stop_remembered;

/// How often a unit is stopped whose stop was cancelled (somebody started it meanwhile) or took longer than its job may.
const STOP_TRIES_MAX: u32 = 3;

/// Whether anything of ours may still run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Drained {
    /// Nothing does.
    Everything,
    /// Something may, as the log says: it must not be started elsewhere before the lease has ended by itself.
    SomeMayRun,
}

/// Stops and unloads everything, withdrawing each unit's status as it is done, so that the engine can place it elsewhere. Units that
/// will not stop are named in the log and left.
pub async fn drain<S: ServiceManager>(membership: &Membership, manager: Arc<S>) -> Drained {
    let guarded = Arc::clone(&manager);
    tokio::select! {
        biased;
        drained = take_all_away(Some(membership), manager) => match is_made(Mutation::LeaseEndedTooSoon) {
            true => Drained::Everything,
            false => drained,
        },
        // Until its end: exclusive units have their own time to stop in while the lease lives.
        () = extend(membership, &*guarded) => Drained::SomeMayRun,
    }
}

/// As [`drain`], on a machine that is not part of the cluster: nobody is told, and there is no lease that could be ended too soon.
pub(crate) async fn drain_alone<S: ServiceManager>(manager: Arc<S>) {
    match take_all_away(None, manager).await {
        Drained::Everything | Drained::SomeMayRun => {}
    }
}

async fn take_all_away<S: ServiceManager>(
    membership: Option<&Membership>,
    manager: Arc<S>,
) -> Drained {
    let units = match manager.list().await {
        Ok(units) => units,
        Err(error) => {
            tracing::error!(%error, "this machine's units cannot be listed, and run on");
            return Drained::SomeMayRun;
        }
    };
    let mut leaving = JoinSet::new();
    let mut drained = Drained::Everything;
    for unit in units {
        let manager = Arc::clone(&manager);
        leaving.spawn(async move {
            let result = take_away(&*manager, &unit).await;
            (unit.name, result)
        });
    }
    while let Some(ended) = leaving.join_next().await {
        let mut gone = Vec::new();
        let mut next = Some(ended);
        while let Some(ended) = next {
            match ended {
                Ok((name, Ok(()))) => gone.push((name, None)),
                Ok((name, Err(error))) => {
                    tracing::error!(unit = %name, %error, "the unit could not be taken away, and may run on");
                    drained = Drained::SomeMayRun;
                }
                Err(error) => {
                    tracing::error!(%error, "a task of the agent failed");
                    drained = Drained::SomeMayRun;
                }
            }
            next = leaving.try_join_next();
        }
        if let Some(membership) = membership
            && let Err(error) = membership.publish(gone).await
        {
            tracing::warn!(%error, "the cluster could not be told; it will notice when the lease ends");
        }
    }
    drained
}

/// Should the unit still be there when this machine comes back, because it could not be unloaded or we are killed first, it
/// is started again if it is wanted: that is remembered before it is stopped.
async fn take_away<S: ServiceManager>(manager: &S, unit: &ServiceUnit) -> Result<(), ServiceError> {
    let running = !unit.active.is_stopped();
    let mark = unit.mark.as_ref().filter(|_| running).map(Mark::given_up);
    for _ in 0..STOP_TRIES_MAX {
        let end = stop_remembered(manager, &unit.name, mark.clone()).await?;
        if end.result == JobResult::Done {
            return manager.unload(&unit.name).await;
        }
        tracing::warn!(unit = %unit.name, result = %end.result, "the stop did not end well");
        let seen = manager.unit(&unit.name).await?;
        if seen.is_none_or(|unit| unit.active.is_stopped()) {
            return manager.unload(&unit.name).await;
        }
    }
    Err(ServiceError::Refused {
        message: format!("it was told to stop {STOP_TRIES_MAX} times, and runs on"),
    })
}
