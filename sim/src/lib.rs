//! The whole of fleet in one thread on virtual time: engines and agents on the embedded store and the fake
//! systemd, with faults drawn from a seed, and the promises checked after every step.
//!
//! The code of engine, agent and registry is the real one; what is simulated is what they ask of the world: the network
//! (`network`), systemd (`agent::fake`, behind `manager`), processes that die and stop (`gate`, `process`), users (`client`)
//! and operators (`operator`). `faults` decides what goes wrong, `checker`, `written` and `converge` what may come of it.
//! The same seed gives the same history, byte for byte.

mod catalog;
mod checker;
mod client;
mod converge;
mod dice;
mod excuses;
mod faults;
mod gate;
mod haste;
mod history;
mod kept;
mod lease_end;
mod manager;
mod mirror;
mod network;
mod operator;
mod process;
mod run;
mod trial;
mod world;
mod written;

pub use haste::Pace;
pub use history::{Telling, Violation};
#[cfg(debug_assertions)]
pub use run::simulate_mistaken;
pub use run::{Outcome, simulate};
pub use trial::{Endured, Trial, endure};
