//! What a rebalancing of the cluster consists of.

use unitfile::UnitName;

use crate::{Criterion, MachineId, Standing};

/// One unit that would be better off on another machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Move {
    /// The unit.
    pub unit: UnitName,
    /// Its machine.
    pub from: MachineId,
    /// The best machine for it.
    pub to: MachineId,
    /// What that one is better by.
    pub by: Criterion,
    /// Its machine, as if it were not there.
    pub before: Standing,
    /// The other one.
    pub after: Standing,
    /// Moves of one round are made at once, those of the next when they are done. From 1.
    pub round: usize,
}
