//! The brake on mass loss: many machines lost at once look like a network that is cut, not like machines that broke.

use std::collections::BTreeSet;
use std::fmt;

use crate::MachineId;

/// Machines that were lost together and keep their units for now. There is none while nothing is held.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Brake {
    /// What is done about them.
    pub phase: BrakePhase,
    /// How many machines the cluster had when the brake was pulled, those that were lost among them.
    pub cluster: usize,
    /// Machines whose units stay where they are in the schedule. One that is back needs no brake and is taken out.
    pub machines: BTreeSet<MachineId>,
}

/// What is done about machines that were lost together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BrakePhase {
    /// More than usual are lost, and it may become many: it is waited for one lease time to see.
    Watching,
    /// All wait for their machines to come back.
    Holding,
    /// They were waited for long enough: one machine after another is given up, and its units move.
    Moving,
}

impl fmt::Display for BrakePhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BrakePhase::Watching => "watching",
            BrakePhase::Holding => "holding",
            BrakePhase::Moving => "moving",
        })
    }
}
