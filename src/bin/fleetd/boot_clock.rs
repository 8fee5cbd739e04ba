//! The machine's clocks, as a port.

use std::time::{SystemTime, UNIX_EPOCH};

use model::Clock;

/// `CLOCK_BOOTTIME`, and the wall clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BootClock;

impl Clock for BootClock {
    fn unix_ms(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
    }

    fn boot_ms(&self) -> u64 {
        agent::guard::boot_ms()
    }
}
