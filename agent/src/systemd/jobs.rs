//! Which of systemd's jobs have ended, told to whoever waits for one.
//!
//! The call that makes a job and the signal that ends it come over two connections, so the end may be heard first. Ends are
//! therefore remembered while any such call is under way.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use model::JobResult;
use tokio::sync::oneshot;

/// How many ends are remembered for calls under way. Beyond it the oldest are forgotten, and whoever waited for one asks
/// systemd whether the job still exists. A host that ends this many jobs during one call is booting.
const ENDS_MAX: usize = 4096;

/// The jobs of one systemd.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    calls: usize,
    /// Ends of jobs nobody had asked for yet, by number, which grows.
    ended: BTreeMap<u32, JobResult>,
    waiting: BTreeMap<u32, Vec<oneshot::Sender<JobResult>>>,
}

/// A call that makes a job is under way; ends are remembered until this is dropped.
#[derive(Debug)]
pub(super) struct Calling<'a>(&'a Jobs);

impl Jobs {
    /// To be held from before a call that makes a job until [`Calling::wait`].
    pub(super) fn calling(&self) -> Calling<'_> {
        self.lock().calls += 1;
        Calling(self)
    }

    /// A job has ended.
    pub(super) fn ended(&self, job: u32, result: &JobResult) {
        let mut table = self.lock();
        for waiting in table.waiting.remove(&job).unwrap_or_default() {
            // Whoever no longer listens does not need to know.
            drop(waiting.send(result.clone()));
        }
        if table.calls > 0 {
            table.ended.insert(job, result.clone());
            if table.ended.len() > ENDS_MAX {
                table.ended.pop_first();
            }
        }
    }

    /// Another systemd answers from now on: it counts its jobs from the beginning.
    pub(super) fn forget_ends(&self) {
        self.lock().ended.clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Calling<'_> {
    /// Resolves when `job` ends, also if it has already.
    pub(super) fn wait(self, job: u32) -> oneshot::Receiver<JobResult> {
        let (told, end) = oneshot::channel();
        let mut table = self.0.lock();
        if let Some(result) = table.ended.get(&job) {
            drop(told.send(result.clone()));
        } else {
            let waiting = table.waiting.entry(job).or_default();
            waiting.retain(|waiting| !waiting.is_closed());
            waiting.push(told);
        }
        end
    }
}

impl Drop for Calling<'_> {
    fn drop(&mut self) {
        let mut table = self.0.lock();
        table.calls -= 1;
        if table.calls == 0 {
            table.ended.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_comes_before_the_answer_is_not_lost() {
        let jobs = Jobs::default();
        let (first, second) = (jobs.calling(), jobs.calling());
        jobs.ended(7, &JobResult::Failed);
        assert_eq!(first.wait(7).try_recv(), Ok(JobResult::Failed));
        let mut end = second.wait(8);
        assert!(end.try_recv().is_err());
        jobs.ended(8, &JobResult::Done);
        assert_eq!(end.try_recv(), Ok(JobResult::Done));
        assert!(jobs.lock().ended.is_empty() && jobs.lock().waiting.is_empty());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let jobs = Jobs::default();
        jobs.ended(1, &JobResult::Done);
        assert!(jobs.lock().ended.is_empty(), "nobody could ask for it");
        let calling = jobs.calling();
        for job in 1..=u32::try_from(ENDS_MAX).unwrap() + 5 {
            jobs.ended(job, &JobResult::Done);
        }
        assert_eq!(jobs.lock().ended.len(), ENDS_MAX);
        drop(calling);
        assert!(jobs.lock().ended.is_empty());
    }
}
