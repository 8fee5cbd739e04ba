//! Makes a job and follows it to its end: by the signal of its end, and by asking whether it still exists in case that was lost.

use std::time::Duration;

use model::{ActiveState, JobEnd, JobResult, Mark, ServiceChange, ServiceError};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};
use unitfile::UnitName;

use super::Systemd;
use super::errors::{is_no_such_job, of_unit};
use super::proxies::ManagerProxy;
use super::state;

/// How often a job that takes long is looked for, in case the signal of its end was lost. Rare, as signals are not lost while
/// the connection lives.
const JOB_CHECK: Duration = Duration::from_secs(10);

/// How long the signal of a job that is gone may still be under way.
const JOB_GRACE: Duration = Duration::from_secs(1);

/// What is asked of systemd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Start,
    Stop,
    Restart,
}

impl Systemd {
    /// Makes a job, remembers `mark` once systemd has taken it on, and waits for its end. If there is no room to remember it,
    /// systemd is not asked: a unit that nobody knows to have been started would be started again and again.
    pub(super) async fn run_job(
        &self,
        name: &UnitName,
        verb: Verb,
        mark: Option<&Mark>,
    ) -> Result<JobEnd, ServiceError> {
        let mark = mark
            .map(|mark| self.files().prepare_mark(name, mark))
            .transpose()?;
        let calling = self.link().jobs.calling();
        let what = format!("{verb:?} of {name}");
        let job = self.link().call(&what, |connection| async move {
            let manager = ManagerProxy::new(&connection).await?;
            match verb {
                Verb::Start => manager.start_unit(name.as_str(), "replace").await,
                Verb::Stop => manager.stop_unit(name.as_str(), "replace").await,
                Verb::Restart => manager.restart_unit(name.as_str(), "replace").await,
            }
        });
        let path = job.await.map_err(|error| of_unit(name, error))?;
        let number = path
            .as_str()
            .rsplit('/')
            .next()
            .and_then(|number| number.parse().ok());
        let Some(number) = number else {
            return Err(ServiceError::Refused {
                message: format!("{path} is not the path of a job"),
            });
        };
        let gaps = self.link().gaps();
        let end = calling.wait(number);
        if let Some(mark) = mark {
            mark.put()?;
            self.link().hub.tell(&ServiceChange::Unit(name.clone()));
        }
        let result = match self.wait_for_signal(number, end, gaps).await {
            Some(result) => result,
            None => self.result_from_state(name, verb).await?,
        };
        let message = self.explain(name, verb, &result).await;
        Ok(JobEnd { result, message })
    }

    /// Waits for the end of a job without limit: a start may be allowed to take for ever. None if the job is gone and its
    /// end was not heard.
    async fn wait_for_signal(
        &self,
        job: u32,
        mut end: oneshot::Receiver<JobResult>,
        mut gaps: watch::Receiver<u64>,
    ) -> Option<JobResult> {
        let mut check_at = Instant::now() + JOB_CHECK;
        loop {
            tokio::select! {
                biased;
                result = &mut end => return result.ok(),
                // The sender lives as long as we do.
                _ = gaps.changed() => {}
                () = sleep_until(check_at) => {}
            }
            check_at = Instant::now() + JOB_CHECK;
            let known = self.link().call("a job", |connection| async move {
                ManagerProxy::new(&connection).await?.get_job(job).await
            });
            match known.await {
                Err(error) if is_no_such_job(&error) => {
                    return timeout(JOB_GRACE, end).await.ok().and_then(Result::ok);
                }
                // While systemd is not there, nothing can be said: it comes back, or tells that the job is gone.
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// What became of a job whose end was not heard.
    async fn result_from_state(
        &self,
        name: &UnitName,
        verb: Verb,
    ) -> Result<JobResult, ServiceError> {
        let state = self.state(name).await?;
        Ok(match (verb, &state.active) {
            (_, ActiveState::Failed) if verb != Verb::Stop => JobResult::Failed,
            (Verb::Stop, active) if !active.is_stopped() => JobResult::Canceled,
            (Verb::Start | Verb::Restart | Verb::Stop, _) => JobResult::Done,
        })
    }

    async fn explain(&self, name: &UnitName, verb: Verb, result: &JobResult) -> String {
        if verb == Verb::Stop || *result == JobResult::Done {
            return String::new();
        }
        let reason = self
            .link()
            .call("the reason of a failure", |connection| async move {
                state::failure(&connection, name, result).await
            });
        reason.await.unwrap_or_else(|error| {
            tracing::debug!(unit = %name, %error, "why the job failed is not known");
            String::new()
        })
    }
}
