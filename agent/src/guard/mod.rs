//! The guard of a machine's exclusive units: a service of systemd's own that lives without fleetd, and ends them before the
//! machine's lease can have ended.
//!
//! ```text
//! fleetd ──writes──▶ /run/fleet/guard/deadline ◀──reads── fleet-guard.service
//!                                                             ▲ BindsTo=, After=
//!                                     every exclusive unit, by a drop-in of its own
//! ```
//!
//! [`wait`] is what its main process does first: it sleeps until the deadline, by the clock that goes on while the machine sleeps.
//! Then that process does [`end`]: it remembers the exclusive units that run as given up, stops them, and kills those that are left.
//! If systemd itself does not answer, it kills them without it, by their cgroups (`cgroup.rs`), and gives up all that may run. Which of
//! those had ended by themselves before, systemd says when it answers again: they stay ended.
//! What was given up systemd does not start by itself (`Restart=`): a condition in the drop-in forbids it until fleetd does.
//! systemd runs [`end`] once more when the process has gone, however it went. Should that fail too, `BindsTo=` makes systemd stop them
//! once the guard is gone. systemd starts the guard before the first exclusive unit, refuses to start one without it, and stops it
//! with the last.

mod cgroup;
mod end;
mod files;
mod wait;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

pub use end::end;
pub use files::GuardFiles;
pub use wait::wait;

/// The guard's unit.
pub const GUARD_UNIT: &str = "fleet-guard.service";

/// Why the guard cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// The deadline has passed, or none was set.
    #[error("this machine's lease is not confirmed: exclusive units may not run")]
    Passed,
    /// A file cannot be used.
    #[error("{}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The deadline's file does not hold one.
    #[error("{} does not hold a deadline", path.display())]
    NoDeadline {
        /// The file.
        path: PathBuf,
    },
    /// A command of systemd's failed.
    #[error("{command}: {message}")]
    Command {
        /// What was run.
        command: String,
        /// What it said.
        message: String,
    },
    /// The units would not stop.
    #[error("still running, though killed: {units}")]
    StillRunning {
        /// Which.
        units: String,
    },
    /// The kernel's timer cannot be used.
    #[error("the timer of the boot clock")]
    Timer(#[source] io::Error),
}

/// Which systemd the guard is a service of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manager {
    /// The machine's own.
    System,
    /// The user's.
    User,
}

impl Manager {
    /// The option by which systemd's commands are told.
    fn option(self) -> &'static str {
        match self {
            Manager::System => "--system",
            Manager::User => "--user",
        }
    }
}

/// Microseconds of the clock that systemd's monotonic time stamps are of.
fn monotonic_us() -> u64 {
    u64::try_from(time_of(ClockId::Monotonic).as_micros()).unwrap_or(u64::MAX)
}

/// Milliseconds since the machine booted, suspend included.
pub fn boot_ms() -> u64 {
    u64::try_from(time_of(ClockId::Boottime).as_millis()).unwrap_or(u64::MAX)
}

fn time_of(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}
