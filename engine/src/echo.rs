//! PURE. What the leader has written and not yet seen come back. Nothing is decided until it has:
//! records that are older than our own writes would be answered a second time, differently.

use std::collections::BTreeMap;

use model::{Change, Decision, MachineId};
use unitfile::UnitName;

/// One record of ours.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Key {
    Entry(UnitName, MachineId),
    Hold(UnitName),
    Brake,
}

/// Writes that have not come back yet.
#[derive(Debug, Default)]
pub(crate) struct Echo {
    expected: BTreeMap<Key, Change>,
}

impl Echo {
    /// Expects these, which were written.
    pub(crate) fn of(decisions: &[Decision]) -> Echo {
        let changes = decisions.iter().cloned().map(Decision::into_change);
        let expected = changes.filter_map(|change| Some((key_of(&change)?, change)));
        Echo {
            expected: expected.collect(),
        }
    }

    /// Takes in a change; true if it is one of ours coming back.
    pub(crate) fn hear(&mut self, change: &Change) -> bool {
        let Some(key) = key_of(change) else {
            return false;
        };
        let ours = self.expected.get(&key) == Some(change);
        if ours {
            self.expected.remove(&key);
        }
        ours
    }

    /// True if all has come back.
    pub(crate) fn is_complete(&self) -> bool {
        self.expected.is_empty()
    }
}

/// The record that changes; none if a leader does not write it.
fn key_of(change: &Change) -> Option<Key> {
    match change {
        Change::Assignment(machine, unit, _) => Some(Key::Entry(unit.clone(), machine.clone())),
        Change::Hold(unit, _) => Some(Key::Hold(unit.clone())),
        Change::Brake(_) => Some(Key::Brake),
        Change::Unit(..)
        | Change::File(..)
        | Change::Machine(..)
        | Change::MachineSpec(..)
        | Change::Status(..)
        | Change::Leader(_)
        | Change::Quarantined { .. }
        | Change::Healed { .. } => None,
    }
}
