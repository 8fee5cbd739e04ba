//! The schedule: what the engine tells a machine to have. One record per machine and unit, and all an agent needs.

use unitfile::FileHash;

use crate::{Generation, TargetState, Unit};

/// One unit's entry in one machine's schedule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assignment {
    /// The file to load.
    pub file: FileHash,
    /// `Loaded` or `Launched`; an inactive unit has no assignment.
    pub target: TargetState,
    /// The request this answers; the agent repeats it in the unit's status.
    pub generation: Generation,
    /// Start the unit once for this request, whatever state it is in; unchanged means it has been asked for already.
    pub start: Generation,
    /// Restart the unit once for this request.
    pub restart: Generation,
}

impl Assignment {
    /// The entry that carries out what the users of `unit` want.
    pub fn of(unit: &Unit) -> Assignment {
        Assignment {
            file: unit.file,
            target: unit.target,
            generation: unit.generation,
            start: unit.start,
            restart: unit.restart,
        }
    }
}
