//! Decides where units run: the pure scheduler, leadership and the pass around it.
//!
//! [`schedule`] is the decision: from everything known of a cluster, what to write. It and the
//! files it is made of are pure. [`run`] is what surrounds it: one engine of the cluster leads,
//! follows the store and writes what was decided, fenced by its election.

mod bits;
mod cluster;
mod echo;
mod fit;
mod hold;
mod keep;
mod lead;
mod log;
mod occupancy;
mod place;
mod relevance;
mod rules;
mod run;
mod schedule;
mod ties;

pub use run::{EngineReport, EngineSettings, Role, run};
pub use schedule::{schedule, unreferenced_files};
