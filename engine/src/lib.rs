//! Decides where units run: the pure scheduler, leadership and the pass around it.
//!
//! [`schedule`] is the decision: from everything known of a cluster, what to write. A [`Planner`]
//! decides the same from one change to the next, at a cost that follows what changed. They and the
//! files they are made of are pure. [`run`] is what surrounds it: one engine of the cluster leads,
//! follows the store and writes what was decided, fenced by its election.

mod absence;
mod advisor;
mod bits;
mod brake;
mod cluster;
mod differences;
mod echo;
mod explain;
mod fit;
mod gather;
mod hold;
mod keep;
mod lead;
mod log;
mod look;
mod machines;
mod mend;
mod met;
mod occupancy;
mod order;
mod place;
mod places;
mod planner;
mod premises;
mod rebalance;
mod relevance;
mod replace;
mod retry;
mod room;
mod rules;
mod run;
mod schedule;
mod siblings;
mod standoff;
mod ties;
mod trial;

pub use advisor::Advisor;
pub use brake::BrakeLimits;
pub use explain::{Explainer, explain};
pub use look::Look;
pub use planner::Planner;
pub use rebalance::rebalance;
pub use relevance::may_alter_plan;
pub use run::{EngineReport, EngineSettings, Loss, Role, run};
pub use schedule::{schedule, unreferenced_files};
pub use trial::trial;
