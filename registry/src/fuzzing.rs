//! Single records, for fuzz/: reading and writing them without a store.

use model::{Change, Question};

use crate::layout::{self, Asked, Layout};

/// What it means that `key` has this value, or none; none if the key is in no folder that this version knows.
pub fn read(prefix: &str, key: &[u8], value: Option<&[u8]>) -> Option<Change> {
    Layout::new(prefix).decode(key, value)
}

/// The record as it would be written; none if it is one that goes away.
pub fn written(change: &Change) -> Option<Vec<u8>> {
    match change {
        Change::Unit(_, unit) => unit.as_ref().map(layout::unit),
        Change::File(_, file) => file.as_deref().map(layout::file),
        Change::Machine(_, machine) => machine.as_ref().map(layout::machine),
        Change::MachineSpec(_, spec) => spec.as_ref().map(layout::machine_spec),
        Change::Assignment(_, _, assignment) => assignment.as_ref().map(layout::assignment),
        Change::Status(_, _, status) => status.as_ref().map(layout::status),
        Change::Hold(_, hold) => hold.as_ref().map(layout::hold),
        Change::Leader(leader) => leader.as_ref().map(layout::leader),
        Change::Brake(brake) => brake.as_ref().map(layout::brake),
        Change::Quarantined { .. } | Change::Healed { .. } => None,
    }
}

/// The question that a machine is asked by this record, and the record as it would be written for the same; an error is for people.
pub fn question(value: &[u8]) -> Result<(Question, Vec<u8>), String> {
    let read = layout::read_asked(value)?;
    let question = read.question()?;
    let again = layout::asked(&Asked::new(&question, read.heard));
    Ok((question, again))
}

/// The piece of an answer that this record is, as it would be written.
pub fn piece(value: &[u8]) -> Result<Vec<u8>, String> {
    layout::read_piece(value).map(|piece| layout::piece(&piece))
}
