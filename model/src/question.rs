//! What can be asked of a unit on the machine that has it, and how that may go wrong.

use std::fmt;
use std::io;

use unitfile::UnitName;

use crate::{MachineId, StoreError};

/// Lines of a journal that are given at most: this is for a look at a unit, not for fetching logs.
pub const QUESTION_LINES_MAX: u16 = 1000;

/// The longest answer to a question that ends, in bytes; of more only the end is given.
pub const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Something that only the machine that has a unit can tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    /// The unit.
    pub unit: UnitName,
    /// What is to be told of it.
    pub topic: Topic,
    /// How many of the last lines of its journal, 1 to [`QUESTION_LINES_MAX`]; for [`Topic::Following`] also 0.
    pub lines: u16,
}

/// What is to be told of a unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Topic {
    /// What `systemctl status` says.
    Status,
    /// The end of its journal.
    Journal(JournalForm),
    /// The end of its journal, and whatever is written from now on, without end.
    Following(JournalForm),
}

/// How journalctl writes a line: those of its forms that are lines of text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum JournalForm {
    /// As syslog did.
    #[default]
    Short,
    /// With a full date.
    ShortFull,
    /// With an ISO 8601 date.
    ShortIso,
    /// With microseconds and an ISO 8601 date.
    ShortIsoPrecise,
    /// With microseconds.
    ShortPrecise,
    /// With the time since boot.
    ShortMonotonic,
    /// With seconds since 1970.
    ShortUnix,
    /// With the name of the unit in place of the program's.
    WithUnit,
    /// All fields, one a line.
    Verbose,
    /// The message alone.
    Cat,
    /// A JSON object a line.
    Json,
}

const FORMS: [JournalForm; 11] = [
    JournalForm::Short,
    JournalForm::ShortFull,
    JournalForm::ShortIso,
    JournalForm::ShortIsoPrecise,
    JournalForm::ShortPrecise,
    JournalForm::ShortMonotonic,
    JournalForm::ShortUnix,
    JournalForm::WithUnit,
    JournalForm::Verbose,
    JournalForm::Cat,
    JournalForm::Json,
];

impl JournalForm {
    /// journalctl's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            JournalForm::Short => "short",
            JournalForm::ShortFull => "short-full",
            JournalForm::ShortIso => "short-iso",
            JournalForm::ShortIsoPrecise => "short-iso-precise",
            JournalForm::ShortPrecise => "short-precise",
            JournalForm::ShortMonotonic => "short-monotonic",
            JournalForm::ShortUnix => "short-unix",
            JournalForm::WithUnit => "with-unit",
            JournalForm::Verbose => "verbose",
            JournalForm::Cat => "cat",
            JournalForm::Json => "json",
        }
    }

    /// The form of this word; none if it is another of journalctl's, or none.
    pub fn from_word(word: &str) -> Option<JournalForm> {
        FORMS.into_iter().find(|form| form.as_str() == word)
    }
}

impl fmt::Display for JournalForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why systemd's tools could not tell.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The tool could not be run.
    #[error("{tool} cannot be run")]
    Run {
        /// `journalctl` or `systemctl`.
        tool: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The tool ended with an error.
    #[error("{tool}: {message}")]
    Failed {
        /// `journalctl` or `systemctl`.
        tool: &'static str,
        /// What it said.
        message: String,
    },
}

/// Why another machine gave no answer, or not all of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Its tools could not tell.
    #[error("machine {}: {reason}", machine.short())]
    Untold {
        /// The machine.
        machine: MachineId,
        /// What they said.
        reason: String,
    },
    /// It answers as many questions as it may.
    #[error("machine {} answers too many questions already: try again in a moment", machine.short())]
    Busy {
        /// The machine.
        machine: MachineId,
    },
    /// It did not answer in time: its fleetd is of an earlier version, or in trouble.
    #[error("fleetd of machine {} did not answer within {limit_s} s", machine.short())]
    Silent {
        /// The machine.
        machine: MachineId,
        /// How long was waited, in seconds.
        limit_s: u64,
    },
    /// It is gone, or its fleetd was started again, in the middle.
    #[error("machine {}: {reason}", machine.short())]
    Gone {
        /// The machine.
        machine: MachineId,
        /// What became of it.
        reason: String,
    },
    /// Too much was written to be carried through the store.
    #[error("machine {}: more than {limit_bytes} bytes were written: ask again to go on", machine.short())]
    TooMuch {
        /// The machine.
        machine: MachineId,
        /// The limit, in bytes.
        limit_bytes: usize,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
