//! How long to wait before trying again: longer each time, bounded, and not all machines at once.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::time::Duration;

/// The first wait: a store that restarted in place is back in a moment.
const FIRST: Duration = Duration::from_millis(50);

/// The longest wait: a store that was away for an hour is found again this soon.
const LONGEST: Duration = Duration::from_secs(2);

/// After this many doublings the wait is the longest.
const DOUBLINGS_MAX: u32 = 6;

/// Spreads the retries of many machines; the same salt gives the same waits, so that a simulation repeats.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Salt(u64);

impl Salt {
    /// Different in every process.
    pub(crate) fn random() -> Salt {
        Salt(RandomState::new().build_hasher().finish())
    }

    /// Always the same, for a store in this process, which no herd can trample.
    pub(crate) fn fixed() -> Salt {
        Salt(0)
    }

    /// Between half of `most` and all of it, another each `turn`.
    pub(crate) fn spread(self, turn: u64, most: Duration) -> Duration {
        let mut hasher = std::hash::DefaultHasher::new();
        (self.0, turn).hash(&mut hasher);
        // 0 to 1023 parts of 1024 of the half.
        let parts = u32::try_from(hasher.finish() % 1024).unwrap_or(0);
        most / 2 + (most / 2 / 1024) * parts
    }
}

/// Waits, one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    salt: Salt,
    attempt: u32,
}

impl Backoff {
    /// From the shortest wait.
    pub(crate) fn new(salt: Salt) -> Backoff {
        Backoff { salt, attempt: 0 }
    }

    /// It worked: the next wait is the shortest again.
    pub(crate) fn reset(&mut self) {
        self.attempt = 0;
    }

    /// The next wait: between half of the step and the whole of it.
    pub(crate) fn next_wait(&mut self) -> Duration {
        let step = FIRST
            .saturating_mul(1 << self.attempt.min(DOUBLINGS_MAX))
            .min(LONGEST);
        let wait = self.salt.spread(u64::from(self.attempt), step);
        self.attempt = self.attempt.saturating_add(1);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_bound_and_start_over() {
        let mut backoff = Backoff::new(Salt::random());
        let waits: Vec<Duration> = (0..100).map(|_| backoff.next_wait()).collect();
        assert!(waits[0] >= FIRST / 2 && waits[0] <= FIRST);
        assert!(waits.iter().all(|wait| *wait <= LONGEST));
        assert!(waits[20..].iter().all(|wait| *wait >= LONGEST / 2));
        backoff.reset();
        assert!(backoff.next_wait() <= FIRST);
    }
}
