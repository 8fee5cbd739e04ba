//! Exclusive units on a real machine: bound to the guard, started only while it is on its post, ended through it.

use std::time::Duration;

use model::{
    ActiveState, Deadline, JobEnd, JobResult, Mark, ServiceError, ServiceManager, ServiceUnit,
};
use tokio::time::sleep;
use unitfile::{Requirements, UnitFile, UnitName};

use super::Systemd;
use super::follow::Verb;
use super::proxies::ManagerProxy;
use super::state::QUEUED;
use crate::guard::{GUARD_UNIT, GuardError, GuardFiles, boot_ms};
use crate::steps::is_refusal;

/// How often it is looked whether the guard has ended what it guards. Happens once after a lost lease.
const LOOK: Duration = Duration::from_millis(100);

/// `SIGTERM`: ends the guard's main process, and with it what it guards.
const SIGTERM: i32 = 15;

impl Systemd {
    /// Binds an exclusive unit to the guard before systemd reads it, and lets go of any other.
    pub(super) fn bind(&self, name: &UnitName, file: &UnitFile) -> Result<(), ServiceError> {
        let exclusive = Requirements::of_stored(name, file).0.exclusive;
        match (&self.inner.guard, exclusive) {
            (Some(guard), true) => guard.bind(name).map_err(failed),
            (Some(guard), false) => guard.unbind(name).map_err(failed),
            (None, false) => Ok(()),
            (None, true) => Err(ServiceError::Refused {
                message: format!("{name} is exclusive, and no guard is set up here"),
            }),
        }
    }

    pub(super) fn unbind(&self, name: &UnitName) -> Result<(), ServiceError> {
        match &self.inner.guard {
            Some(guard) => guard.unbind(name).map_err(failed),
            None => Ok(()),
        }
    }

    /// What is remembered of a unit: that the guard stopped it since counts too.
    ///
    /// # Errors
    /// If it cannot be read now.
    pub(super) fn remembered(&self, name: &UnitName) -> Result<Option<Mark>, ServiceError> {
        let Some(mark) = self.files().read_mark(name)? else {
            return Ok(None);
        };
        let started = mark.start.0 != 0;
        let is_given_up = |guard: &GuardFiles| guard.is_given_up(name);
        Ok(Some(match &self.inner.guard {
            Some(guard) if started && is_given_up(guard) => mark.given_up(),
            Some(_) | None => mark,
        }))
    }

    /// Starts or restarts a unit, an exclusive one only if the guard lets it.
    pub(super) async fn begin(
        &self,
        name: &UnitName,
        verb: Verb,
        mark: &Mark,
    ) -> Result<JobEnd, ServiceError> {
        let exclusive = |guard: &&GuardFiles| guard.is_exclusive(name.as_str());
        let Some(guard) = self.inner.guard.as_ref().filter(exclusive) else {
            return self.run_job(name, verb, Some(mark)).await;
        };
        check(guard, name)?;
        // Before systemd is asked: what the guard gives up after that stays given up.
        guard.forget_given_up(name.as_str()).map_err(failed)?;
        let end = match self.run_job(name, verb, Some(mark)).await {
            Ok(end) => end,
            Err(error) => {
                // It may not have begun: it is to be asked again, as before. What systemd refused is not.
                if !is_refusal(&error)
                    && let Err(unwritten) = guard.give_up(name.as_str())
                {
                    tracing::warn!(unit = %name, error = %unwritten, "it cannot be remembered that this unit is given up");
                }
                return Err(error);
            }
        };
        if end.result == JobResult::Dependency
            && let Err(error) = check(guard, name)
        {
            guard.give_up(name.as_str()).map_err(failed)?;
            return Err(error);
        }
        Ok(end)
    }

    pub(super) fn set_deadline(&self, deadline: Deadline) -> Result<(), ServiceError> {
        match &self.inner.guard {
            Some(guard) => guard.set_deadline(deadline).map_err(failed),
            None => Ok(()),
        }
    }

    /// Has the guard end what it guards, now and by force, and waits until nothing of that runs.
    pub(super) async fn end_exclusive(&self) -> Result<(), ServiceError> {
        let Some(guard) = &self.inner.guard else {
            return Ok(());
        };
        guard.set_deadline(Deadline::PASSED).map_err(failed)?;
        self.link().reached().await;
        let running = self.running_exclusive(guard).await?;
        if running.is_empty() {
            return Ok(());
        }
        // Before the guard is gone: systemd stops what is bound to it at once, and the guard would not see that it ran.
        for unit in &running {
            if let Err(error) = guard.give_up(unit.name.as_str()) {
                tracing::warn!(unit = %unit.name, %error, "it cannot be remembered that this unit is given up");
            }
        }
        let signal = self
            .link()
            .call("ending the guard", |connection| async move {
                ManagerProxy::new(&connection)
                    .await?
                    .kill_unit(GUARD_UNIT, "main", SIGTERM)
                    .await
            });
        match signal.await {
            // It is ending already.
            Err(ServiceError::Refused { message }) => {
                tracing::debug!(message, "the guard has no main process");
            }
            Ok(()) | Err(ServiceError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        loop {
            let running = self.running_exclusive(guard).await?;
            if running.is_empty() {
                return Ok(());
            }
            // The guard's end stops what runs; a start that waits would go on waiting.
            for unit in running.iter().filter(|unit| unit.sub == QUEUED) {
                self.stop(&unit.name).await?;
            }
            sleep(LOOK).await;
        }
    }

    async fn running_exclusive(
        &self,
        guard: &GuardFiles,
    ) -> Result<Vec<ServiceUnit>, ServiceError> {
        let mut units = self.list().await?;
        units.retain(|unit| {
            unit.active != ActiveState::Inactive
                && unit.active != ActiveState::Failed
                && guard.is_exclusive(unit.name.as_str())
        });
        Ok(units)
    }
}

/// An exclusive unit is not even begun when the lease is not confirmed: its guard would not be either.
fn check(guard: &GuardFiles, name: &UnitName) -> Result<(), ServiceError> {
    if guard
        .deadline()
        .is_ok_and(|deadline| !deadline.has_passed(boot_ms()))
    {
        return Ok(());
    }
    Err(ServiceError::Unreachable {
        message: format!("{name} is exclusive, and this machine's lease is not confirmed"),
    })
}

pub(super) fn failed(error: GuardError) -> ServiceError {
    match error {
        GuardError::File { path, source } => ServiceError::File {
            path: path.display().to_string(),
            message: source.to_string(),
        },
        other => ServiceError::Refused {
            message: other.to_string(),
        },
    }
}
