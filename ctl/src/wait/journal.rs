//! The last lines of a failed unit's journal, for the message.

use api::types::{JournalForm, MachineId, UnitName};

use crate::session::Session;

/// Lines shown: enough for the error and what led to it.
const LINES: usize = 10;

/// The lines as the end of a message, each on a line of its own; where to find them if they cannot be had from here.
pub(crate) async fn last_lines(
    session: &Session<'_>,
    name: &UnitName,
    machine: &MachineId,
) -> String {
    let form = JournalForm::default();
    let journal = session.client.journal(name, Some(machine), LINES, form);
    match journal.await {
        Ok(journal) if journal.trim().is_empty() => "\n  Its journal is empty.".to_owned(),
        Ok(journal) => {
            let lines: Vec<_> = journal
                .trim_end()
                .lines()
                .map(|line| format!("\n  {line}"))
                .collect();
            lines.concat()
        }
        // Only the machine itself has the journal; whatever the reason, that is where to look.
        Err(_) => format!("\n  Its journal is on that machine: journalctl --unit {name}"),
    }
}
