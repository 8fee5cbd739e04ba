//! `-o`: the form in which a read command answers, and how documents for programs are written. The schema of each command is
//! documented in docs/output.md, and tested in tests/fleetctl/formats.rs.

use clap::ValueEnum;
use serde_json::Value;

use crate::error::CommandError;
use crate::output::Output;
use crate::yaml;

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// Lines for people, in columns that scripts can split.
    #[default]
    Table,
    /// The same with every column there is.
    Wide,
    /// One JSON document.
    Json,
    /// The same document as YAML.
    Yaml,
}

/// `-o` of a read command.
#[derive(Debug, clap::Args)]
pub(crate) struct FormatArgs {
    /// How to answer: as a table, with all its columns, or as a document for programs
    #[arg(
        long = "output",
        short = 'o',
        value_name = "FORMAT",
        default_value = "table"
    )]
    pub(crate) format: Format,
}

/// A language that documents are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

impl Format {
    /// The language of the document; none if it is text for people.
    pub(crate) fn language(self) -> Option<Language> {
        match self {
            Format::Table | Format::Wide => None,
            Format::Json => Some(Language::Json),
            Format::Yaml => Some(Language::Yaml),
        }
    }
}

/// Writes `value` to stdout as one document.
pub(crate) fn write(
    value: &Value,
    language: Language,
    output: &mut Output,
) -> Result<(), CommandError> {
    let text = match language {
        Language::Json => format!("{value:#}\n"),
        Language::Yaml => yaml::document(value),
    };
    output.text(&text)
}
