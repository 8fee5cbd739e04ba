//! Decides where units run: the pure scheduler, leadership and the pass around it.

mod schedule;
mod cluster;
mod rules;
mod keep;
mod ties;
mod place;
mod hold;
mod fit;
mod occupancy;
mod bits;

pub use schedule::{schedule, unreferenced_files};
