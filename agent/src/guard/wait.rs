//! What the guard's main process does first: sleeps until the deadline, and goes on sleeping as long as a later one was set meanwhile.

use std::io;

use model::Deadline;
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use super::{GuardError, GuardFiles, boot_ms};

/// Calls `ready` once the guard is on its post, and returns when exclusive units have to end.
///
/// # Errors
/// [`GuardError::Passed`] if they may not even begin; else if the deadline cannot be read any more. Either way they have to end.
pub fn wait(files: &GuardFiles, ready: impl FnOnce()) -> Result<Deadline, GuardError> {
    let mut deadline = files.deadline()?;
    if deadline.has_passed(boot_ms()) {
        return Err(GuardError::Passed);
    }
    ready();
    while !deadline.has_passed(boot_ms()) {
        sleep_until(deadline.stop_boot_ms).map_err(GuardError::Timer)?;
        deadline = files.deadline()?;
    }
    Ok(deadline)
}

/// Sleeps by the boot clock: one that stands still while the machine sleeps would oversleep.
pub(super) fn sleep_until(boot_ms: u64) -> io::Result<()> {
    let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC)?;
    let zero = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let at = Timespec {
        tv_sec: i64::try_from(boot_ms / 1000).unwrap_or(i64::MAX),
        // One more: a timer of 0 would never go off.
        tv_nsec: i64::try_from(boot_ms % 1000).unwrap_or(0) * 1_000_000 + 1,
    };
    let once = Itimerspec {
        it_interval: zero,
        it_value: at,
    };
    timerfd_settime(&timer, TimerfdTimerFlags::ABSTIME, &once)?;
    let mut expirations = [0; 8];
    loop {
        match rustix::io::read(&timer, &mut expirations) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sleep_ends_at_its_time_also_if_that_is_past() {
        let until = boot_ms() + 30;
        sleep_until(until).unwrap();
        assert!(boot_ms() >= until);
        sleep_until(0).unwrap();
    }
}
