//! PURE. Until when a unit that must never run twice may run on a machine whose lease is not confirmed any more.
//!
//! A lease cannot end before its time to live has passed since the last keep-alive that was answered was *sent*. Counted from
//! there, by the clock that goes on while the machine sleeps, such units are stopped at 70 % of it, killed at 85 %, and the rest
//! is left for the killing itself and for clocks that do not go alike.

use std::time::Duration;

use crate::mutation::{Mutation, is_made};

/// When they are asked to stop. Keep-alives are sent at each third, so one may be lost and another be late.
const STOP_PERCENT: u64 = 70;

/// When what has not stopped is killed.
const KILL_PERCENT: u64 = 85;

/// When a machine's exclusive units have to be stopped unless its lease is confirmed again before that. Later is larger.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Deadline {
    /// When they are asked to stop, in milliseconds since the machine booted, suspend included.
    pub stop_boot_ms: u64,
    /// When those that have not stopped are killed, likewise.
    pub kill_boot_ms: u64,
}

impl Deadline {
    /// A deadline that has always passed.
    pub const PASSED: Deadline = Deadline {
        stop_boot_ms: 0,
        kill_boot_ms: 0,
    };

    /// The deadline that follows from a keep-alive that was sent then and has been answered.
    pub fn of(sent_boot_ms: u64, lease_ttl: Duration) -> Deadline {
        let ttl_ms = u64::try_from(lease_ttl.as_millis()).unwrap_or(u64::MAX / 100);
        let ttl_ms = match is_made(Mutation::GuardTooLate) {
            true => ttl_ms.saturating_mul(2),
            false => ttl_ms,
        };
        let after =
            |percent: u64| sent_boot_ms.saturating_add(ttl_ms.saturating_mul(percent) / 100);
        Deadline {
            stop_boot_ms: after(STOP_PERCENT),
            kill_boot_ms: after(KILL_PERCENT),
        }
    }

    /// True if exclusive units may not run at this moment.
    pub fn has_passed(&self, boot_ms: u64) -> bool {
        self.stop_boot_ms <= boot_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_lease_leaves_seven_seconds_then_one_and_a_half_to_stop() {
        let deadline = Deadline::of(1_000, Duration::from_secs(10));
        assert_eq!(
            (deadline.stop_boot_ms, deadline.kill_boot_ms),
            (8_000, 9_500)
        );
        assert!(!deadline.has_passed(7_999));
        assert!(deadline.has_passed(8_000));
        assert!(Deadline::PASSED.has_passed(0));
    }

    #[test]
    fn no_time_to_live_is_too_long() {
        let deadline = Deadline::of(u64::MAX - 5, Duration::MAX);
        assert_eq!(deadline.stop_boot_ms, u64::MAX);
        assert!(Deadline::of(7, Duration::MAX) > Deadline::of(6, Duration::from_secs(3600)));
    }
}
