//! Boots real machines for tests, benches and the demo: Debian with systemd as PID 1, D-Bus and sshd,
//! and real etcd beside them, in a network of their own.
//!
//! A [`Testbed`] is N machines and a [`Store`]. Each machine is a container that boots an overlay of one
//! cached image, with its own machine-id, address, host keys and cgroup; it can be killed, cut off the
//! network, frozen and powered on again. etcd runs outside the machines at addresses of its own, so
//! that killing a machine never kills it.
//!
//! Nothing of a testbed is shared with the host's network or with another testbed, and nothing of it
//! outlives it: when the process that made it ends, in whatever way, a guard ends the rest.
//!
//! ```no_run
//! use testbed::{Config, Store, Testbed};
//!
//! let Some(bed) = Testbed::start_or_skip(&Config::of(3, Store::Etcd { members: 1 }))? else {
//!     return Ok(()); // not root, say: the reason was printed
//! };
//! let first = &bed.machines()[0];
//! println!("{}", first.run(&["systemctl", "list-units"])?.stdout);
//! first.kill()?;
//! first.power_on()?;
//! # Ok::<(), testbed::Error>(())
//! ```

mod availability;
mod bed;
mod boot;
mod cgroup;
mod command;
mod error;
mod etcd;
mod fleet;
mod ground;
mod image;
mod machine;
mod network;
mod notify;
mod placements;
mod unit_state;
mod wait;

pub use availability::unavailable_because;
pub use bed::{Config, MachineConfig, Store, Testbed};
pub use command::Output;
pub use error::Error;
pub use etcd::EtcdMember;
pub use fleet::FleetFiles;
pub use machine::Machine;
pub use placements::{Placement, Placements, Witness};
pub use unit_state::UnitState;
pub use wait::until;
