//! What has happened to units on the fake, as systemd's own signals would tell it: for checkers that must not take an
//! agent's word.

use model::InvocationId;
use tokio::time::Instant;
use unitfile::{FileHash, UnitName};

/// One thing that happened to one unit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Happening {
    /// When.
    pub at: Instant,
    /// To which unit.
    pub unit: UnitName,
    /// What.
    pub what: What,
}

/// What can happen to a unit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// An activation began; from now on something of it runs.
    Began {
        /// Which activation.
        invocation: InvocationId,
        /// The file it was made from.
        file: FileHash,
    },
    /// A stop or restart job began to stop it.
    Stopping,
    /// That has ended: nothing of it runs any more.
    Stopped,
    /// It ended by itself, or a signal ended it.
    Ended,
    /// The machine went down under it.
    PoweredOff,
}

impl Happening {
    pub(super) fn new(at: Instant, unit: &UnitName, what: What) -> Happening {
        Happening {
            at,
            unit: unit.clone(),
            what,
        }
    }
}

/// What has happened since it was last taken.
#[derive(Debug, Default)]
pub(super) struct History {
    happenings: Vec<Happening>,
    is_forgetful: bool,
}

impl History {
    pub(super) fn push(&mut self, happening: Happening) {
        if !self.is_forgetful {
            self.happenings.push(happening);
        }
    }

    pub(super) fn take(&mut self) -> Vec<Happening> {
        std::mem::take(&mut self.happenings)
    }

    pub(super) fn forget(&mut self) {
        *self = History {
            happenings: Vec::new(),
            is_forgetful: true,
        };
    }
}
