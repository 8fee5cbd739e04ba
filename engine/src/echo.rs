//! PURE. What the leader has written and not yet seen come back. Nothing is decided until it has:
//! records that are older than our own writes would be answered a second time, differently.

use std::collections::BTreeMap;

use model::{Assignment, Brake, Change, Decision, Hold, MachineId};
use unitfile::UnitName;

/// One record of ours.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Key {
    Entry(UnitName, MachineId),
    Hold(UnitName),
    Brake,
}

/// What it is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Value {
    Entry(Option<Assignment>),
    Hold(Option<Hold>),
    Brake(Option<Brake>),
}

/// Writes that have not come back yet.
#[derive(Debug, Default)]
pub(crate) struct Echo {
    expected: BTreeMap<Key, Value>,
}

impl Echo {
    /// Expects these, which were written.
    pub(crate) fn of(decisions: &[Decision]) -> Echo {
        let expected = decisions.iter().map(|decision| match decision.clone() {
            Decision::Assign {
                unit,
                machine,
                assignment,
                ..
            } => (Key::Entry(unit, machine), Value::Entry(Some(assignment))),
            Decision::Unassign { unit, machine, .. } => {
                (Key::Entry(unit, machine), Value::Entry(None))
            }
            Decision::Hold { unit, hold } => (Key::Hold(unit), Value::Hold(Some(hold))),
            Decision::Release { unit } => (Key::Hold(unit), Value::Hold(None)),
            Decision::Brake(brake) => (Key::Brake, Value::Brake(brake)),
        });
        Echo {
            expected: expected.collect(),
        }
    }

    /// Takes in a change; true if it is one of ours coming back.
    pub(crate) fn hear(&mut self, change: &Change) -> bool {
        let (key, value) = match change {
            Change::Assignment(machine, unit, entry) => (
                Key::Entry(unit.clone(), machine.clone()),
                Value::Entry(entry.clone()),
            ),
            Change::Hold(unit, hold) => (Key::Hold(unit.clone()), Value::Hold(hold.clone())),
            Change::Brake(brake) => (Key::Brake, Value::Brake(brake.clone())),
            Change::Unit(..)
            | Change::File(..)
            | Change::Machine(..)
            | Change::MachineSpec(..)
            | Change::Status(..)
            | Change::Leader(_)
            | Change::Quarantined { .. }
            | Change::Healed { .. } => return false,
        };
        let ours = self.expected.get(&key) == Some(&value);
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
