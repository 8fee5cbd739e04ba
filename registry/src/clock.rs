//! The clock of a registry that was given none: the runtime's own, so that simulated time is taken for real. It stands still while
//! the machine sleeps; fleetd gives its registry one that does not.

use std::time::{SystemTime, UNIX_EPOCH};

use model::Clock;
use tokio::time::Instant;

/// Counts from when it was made.
pub(crate) struct RuntimeClock {
    since: Instant,
}

impl RuntimeClock {
    pub(crate) fn new() -> RuntimeClock {
        RuntimeClock {
            since: Instant::now(),
        }
    }
}

impl Clock for RuntimeClock {
    fn unix_ms(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
    }

    fn boot_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
