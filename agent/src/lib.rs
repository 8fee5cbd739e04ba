//! Makes one machine match its schedule: the pure reconciler, and systemd over D-Bus.

mod answer;
mod causes;
mod changes;
mod copy;
mod decide;
mod disk;
mod drain;
mod ended;
mod exclusive;
pub mod fake;
pub mod guard;
mod joining;
mod keep;
mod lifecycle;
mod observe;
mod offline;
mod publish;
mod reconcile;
mod run;
mod steps;
mod systemd;
mod units;

pub use answer::answer;
pub use copy::ScheduleCopy;
pub use disk::MemoryDisk;
pub use drain::{Drained, drain};
pub use joining::{JoinError, Joined, Joining};
pub use lifecycle::{Environment, Lifecycle, Occupied, Parting, Stage};
pub use reconcile::{
    LoadReason, Progress, Step, StopReason, next_step, start_still_wanted, status,
};
pub use run::{Aids, run, run_with};
pub use systemd::{Bus, Journalctl, OwnJob, SystemState, Systemd, SystemdSettings};
