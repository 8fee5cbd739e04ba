//! A machine that has booted and cannot reach the store starts what its own copy of the schedule has.

use std::sync::Arc;
use std::time::Duration;

use model::{Assignment, JobResult, ServiceError, ServiceManager, TargetState};
use tokio::task::JoinSet;
use tokio::time::sleep;
use unitfile::{Requirements, UnitFile, UnitName};

use crate::copy::ScheduleCopy;
use crate::reconcile::{Step, next_step};
use crate::steps::{Cut, LookAfter, carry_out};

/// How often it is looked whether systemd answers, which boots at the same time.
const SYSTEMD_RETRY: Duration = Duration::from_millis(500);

/// Steps that a unit takes at most: load, reload, start. More would be a circle.
const STEPS_MAX: usize = 5;

/// Starts every unit of the copy that was to run and is not exclusive, all at the same time once all are loaded, as they may require
/// each other. Returns when each has started or failed. What runs already, or was started since the machine booted, is not touched;
/// nothing is stopped. May be dropped at any time: who goes on from there sees by the marks what was done.
pub(crate) async fn start_from_copy<S: ServiceManager>(copy: &ScheduleCopy, manager: Arc<S>) {
    while let Err(ServiceError::Unreachable { .. }) = manager.list().await {
        sleep(SYSTEMD_RETRY).await;
    }
    let units: Vec<Copied> = copy.read().into_iter().filter_map(to_start).collect();
    for goal in [Goal::Loaded, Goal::Started] {
        let mut under_way = JoinSet::new();
        for unit in units.clone() {
            under_way.spawn(bring(Arc::clone(&manager), unit, goal));
        }
        while let Some(ended) = under_way.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a task of the agent failed");
            }
        }
    }
}

/// A unit as the copy has it.
#[derive(Clone, Debug)]
struct Copied {
    name: UnitName,
    assignment: Assignment,
    file: Arc<UnitFile>,
}

/// How far a unit is brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Goal {
    Loaded,
    Started,
}

fn to_start((name, (assignment, file)): (UnitName, (Assignment, UnitFile))) -> Option<Copied> {
    if assignment.target != TargetState::Launched {
        return None;
    }
    if Requirements::of_stored(&name, &file).0.exclusive {
        tracing::info!(unit = %name, "it is exclusive and waits for the cluster");
        return None;
    }
    let file = Arc::new(file);
    Some(Copied {
        name,
        assignment,
        file,
    })
}

async fn bring<S: ServiceManager>(manager: Arc<S>, unit: Copied, goal: Goal) {
    let Copied {
        name,
        assignment,
        file,
    } = unit;
    let mut observed = match manager.unit(&name).await {
        Ok(observed) => observed,
        Err(error) => {
            tracing::warn!(unit = %name, %error, "it cannot be looked at");
            return;
        }
    };
    let uncut = Cut::default();
    for _ in 0..STEPS_MAX {
        let step = match next_step(Some(&assignment), observed.as_ref()) {
            None | Some(Step::Stop(_) | Step::Unload | Step::Restart(_)) => return,
            Some(Step::Start(_)) if goal == Goal::Loaded => return,
            Some(step @ (Step::Load(..) | Step::Reload | Step::Start(_))) => step,
        };
        tracing::info!(unit = %name, "{step}, by this machine's own copy of its schedule");
        let (manager, body) = (Arc::clone(&manager), Some(Arc::clone(&file)));
        let end = carry_out(
            manager,
            name.clone(),
            step,
            body,
            LookAfter::Yes,
            uncut.clone(),
        )
        .await;
        match end.result {
            Ok(end) if end.result == JobResult::Done => {}
            Ok(end) => {
                tracing::warn!(unit = %name, result = %end.result, end.message, "did not end well");
            }
            Err(error) => {
                tracing::warn!(unit = %name, %error, "failed");
                return;
            }
        }
        match end.observed {
            Ok(seen) => observed = seen,
            Err(error) => {
                tracing::warn!(unit = %name, %error, "it cannot be looked at");
                return;
            }
        }
    }
}
