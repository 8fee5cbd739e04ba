//! When a write that failed is tried again: later each time, so that a store in trouble (out of space for a night) has little of it.

use std::time::Duration;

use tokio::time::Instant;

/// The first wait: most troubles are over in a moment.
const FIRST: Duration = Duration::from_millis(200);

/// The longest: once there is space again, or a quorum, it goes on this soon.
const LONGEST: Duration = Duration::from_secs(5);

/// Waits, one after the other, and what was said of them.
#[derive(Debug)]
pub(crate) struct Retry {
    wait: Duration,
    due: Option<Instant>,
    told: Option<String>,
}

impl Retry {
    /// Nothing has failed.
    pub(crate) fn new() -> Retry {
        Retry {
            wait: FIRST,
            due: None,
            told: None,
        }
    }

    /// When what failed is to be tried again; none if it is to be now.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// True if nothing is to be written yet.
    pub(crate) fn waits(&mut self) -> bool {
        self.due = self.due.filter(|due| *due > Instant::now());
        self.due.is_some()
    }

    /// A write failed; true if that is news: not what was said the last time.
    pub(crate) fn failed(&mut self, problem: &str) -> bool {
        self.due = Some(Instant::now() + self.wait);
        self.wait = (self.wait * 2).min(LONGEST);
        let is_news = self.told.as_deref() != Some(problem);
        self.told = Some(problem.to_owned());
        is_news
    }

    /// There is nothing to write, or it was written; true if writes had failed before.
    pub(crate) fn over(&mut self) -> bool {
        let had_failed = self.told.is_some();
        *self = Retry::new();
        had_failed
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_grow_to_the_longest_and_the_same_problem_is_told_once() {
        let mut retry = Retry::new();
        let mut waits = Vec::new();
        for turn in 0..8 {
            assert!(!retry.waits());
            assert_eq!(retry.due(), None);
            assert_eq!(retry.failed("no space"), turn == 0);
            assert!(retry.waits());
            let due = retry.due().unwrap();
            waits.push((due - Instant::now()).as_millis());
            sleep(due - Instant::now()).await;
        }
        assert_eq!(waits, [200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000]);
        assert!(retry.failed("no quorum"));
        assert!(retry.over());
        assert!(!retry.over());
        assert!(retry.failed("no quorum"));
    }
}
