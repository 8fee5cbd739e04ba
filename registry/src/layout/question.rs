//! The JSON of a question to a machine and of its answer. Both are there for moments only, under the asker's lease.

use model::{JournalForm, Question, Topic};
use serde::{Deserialize, Serialize};
use unitfile::UnitName;

/// The topic that is no unit's.
const CLOCK: &str = "clock";

/// A question, and how much of the answer the asker has read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Asked {
    unit: String,
    topic: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    form: String,
    lines: u16,
    /// The number of the last piece that was read; 0 for none.
    #[serde(default)]
    pub(crate) heard: u64,
}

/// One piece of an answer. The next takes its place once the asker has read this.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Piece {
    /// From 1.
    pub(crate) number: u64,
    #[serde(default)]
    pub(crate) text: String,
    /// With the last piece.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) end: Option<End>,
    /// For people, of an end that is no good one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) reason: String,
}

/// How an answer ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum End {
    /// All was told.
    Done,
    /// systemd's tools could not tell.
    Untold,
    /// Too many are asking.
    Busy,
    /// The fleetd that had begun to answer is no more.
    Restarted,
    /// There is more than may be carried through the store.
    TooMuch,
    /// A later version's.
    #[serde(other)]
    Unknown,
}

impl Asked {
    pub(crate) fn new(question: &Question, heard: u64) -> Asked {
        let (topic, form) = match question.topic {
            Topic::Status => ("status", ""),
            Topic::Journal(form) => ("journal", form.as_str()),
            Topic::Following(form) => ("following", form.as_str()),
        };
        Asked {
            unit: question.unit.to_string(),
            topic: topic.to_owned(),
            form: form.to_owned(),
            lines: question.lines,
            heard,
        }
    }

    /// What the machine's clock says.
    pub(crate) fn of_clock() -> Asked {
        Asked {
            unit: String::new(),
            topic: CLOCK.to_owned(),
            form: String::new(),
            lines: 0,
            heard: 0,
        }
    }

    /// True if no unit is asked about but the machine's clock.
    pub(crate) fn is_of_clock(&self) -> bool {
        self.topic == CLOCK
    }

    /// The question.
    pub(crate) fn question(&self) -> Result<Question, String> {
        let form = || {
            JournalForm::from_word(&self.form)
                .ok_or_else(|| format!("this version has no form {:?}", self.form))
        };
        let topic = match self.topic.as_str() {
            "status" => Topic::Status,
            "journal" => Topic::Journal(form()?),
            "following" => Topic::Following(form()?),
            other => return Err(format!("this version cannot tell {other:?}")),
        };
        Ok(Question {
            unit: UnitName::parse(&self.unit).map_err(|error| error.to_string())?,
            topic,
            lines: self.lines,
        })
    }
}
