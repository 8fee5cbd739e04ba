//! A unit of the cluster: its name, the file behind it and what its users want of it.

use std::fmt;
use std::str::FromStr;

use unitfile::{FileHash, UnitHash, UnitName};

use crate::MachineId;

/// A point in the history of the store (etcd's revision). Later is larger.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Revision(pub u64);

/// Numbers the requests made of a unit, so that an answer can be told from the answer to an earlier request.
///
/// Taken from the store's revision when the request was accepted (that revision plus one), so it grows even across a
/// destroy and a new submit of the same name. 0 means "never".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How far a unit is to be brought, or has been brought.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TargetState {
    /// Known to the cluster, on no machine.
    Inactive,
    /// On a machine and known to its systemd, not started.
    Loaded,
    /// Start was asked of systemd. Says nothing about "active": a finished oneshot is launched too.
    Launched,
}

/// A word that is not a target state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a state: expected inactive, loaded or launched")]
pub struct TargetStateError(pub String);

impl TargetState {
    /// The word users and clients know it by.
    pub fn as_str(self) -> &'static str {
        match self {
            TargetState::Inactive => "inactive",
            TargetState::Loaded => "loaded",
            TargetState::Launched => "launched",
        }
    }
}

impl fmt::Display for TargetState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TargetState {
    type Err = TargetStateError;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "inactive" => Ok(TargetState::Inactive),
            "loaded" => Ok(TargetState::Loaded),
            "launched" => Ok(TargetState::Launched),
            other => Err(TargetStateError(other.to_owned())),
        }
    }
}

/// A unit as its users want it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unit {
    /// Its name.
    pub name: UnitName,
    /// Content address of its file, byte for byte.
    pub file: FileHash,
    /// The hash users see (`list-unit-files`), insensitive to comments and spacing.
    pub hash: UnitHash,
    /// How far it is to be brought.
    pub target: TargetState,
    /// The last accepted request of any kind.
    pub generation: Generation,
    /// The last request to start it.
    pub start: Generation,
    /// The last request to restart it even if it runs.
    pub restart: Generation,
    /// The last request to move it; none if it has been taken from all machines since.
    pub relocation: Option<Relocation>,
}

/// A request to move a unit. An entry of the schedule with this generation or a later one answers it, wherever it is: a unit
/// whose machine cannot take it after all stays.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Relocation {
    /// Where to.
    pub to: MachineId,
    /// The request.
    pub generation: Generation,
}
