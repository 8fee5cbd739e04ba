//! What the list commands have in common: fields that are columns of a table and keys of a document alike.

use serde_json::{Map, Value};

use crate::cli::TableArgs;
use crate::error::{CommandError, Kind};
use crate::format::{self, Format};
use crate::output::Output;
use crate::table::{Legend, NOTHING, Table};
use crate::tint::Tint;

/// A field of a list: its name, and in which forms it is shown unless `--fields` says which are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field<F> {
    /// As `--fields` has it.
    pub(crate) name: &'static str,
    /// Where it is shown.
    pub(crate) shown: Shown,
    /// Which it is.
    pub(crate) field: F,
}

/// In which forms a field is shown unless `--fields` says which are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// In all.
    Always,
    /// In wide tables and in documents.
    Wide,
    /// In documents.
    Document,
    /// In none: it has to be named.
    Named,
}

/// What a row has to say of a field.
#[derive(Debug)]
pub(crate) struct Cell {
    /// In a table; empty if there is nothing to say.
    pub(crate) text: String,
    /// In a document; null if there is nothing to say.
    pub(crate) value: Value,
    /// Its colour in a table.
    pub(crate) tint: Option<Tint>,
}

impl Cell {
    /// The same text everywhere.
    pub(crate) fn plain(text: impl Into<String>) -> Cell {
        let text = text.into();
        let value = match text.as_str() {
            "" => Value::Null,
            some => Value::from(some),
        };
        Cell {
            text,
            value,
            tint: None,
        }
    }

    /// One thing in tables and another in documents.
    pub(crate) fn with_value(text: impl Into<String>, value: impl Into<Value>) -> Cell {
        Cell {
            text: text.into(),
            value: value.into(),
            tint: None,
        }
    }

    /// In this colour.
    pub(crate) fn tinted(self, tint: Option<Tint>) -> Cell {
        Cell { tint, ..self }
    }
}

/// The fields to show, in order.
pub(crate) type Selected<F> = Vec<Field<F>>;

/// Reads `--fields`: finds each name among `known`. Without it, those that the form shows.
///
/// # Errors
/// In fleet 1.0's words, if there is no name or an unknown one.
pub(crate) fn select<F: Copy>(
    args: &TableArgs,
    text: Option<&str>,
    known: &[Field<F>],
) -> Result<Selected<F>, CommandError> {
    let Some(text) = text else {
        let shown = |field: &&Field<F>| match (args.format.format, field.shown) {
            (_, Shown::Always)
            | (Format::Wide, Shown::Wide)
            | (Format::Json | Format::Yaml, Shown::Wide | Shown::Document) => true,
            (_, Shown::Named)
            | (Format::Table, Shown::Wide)
            | (Format::Table | Format::Wide, Shown::Document) => false,
        };
        return Ok(known.iter().filter(shown).copied().collect());
    };
    if text.is_empty() {
        return Err(CommandError::new(Kind::Usage, "Must define output format"));
    }
    let mut fields = Vec::new();
    for name in text.split(',') {
        let Some(field) = known.iter().find(|known| known.name == name) else {
            let valid: Vec<_> = known.iter().map(|known| known.name).collect();
            let message = format!("Invalid key in output format: \"{name}\"");
            let hint = format!("Valid fields are: {}", valid.join(", "));
            return Err(CommandError::new(Kind::Usage, message).with_hint(&hint));
        };
        fields.push(*field);
    }
    Ok(fields)
}

/// Prints a list in the form that was asked for.
pub(crate) fn print<R, F: Copy>(
    args: &TableArgs,
    fields: &Selected<F>,
    rows: &[R],
    cell: impl Fn(&R, F) -> Cell,
    output: &mut Output,
) -> Result<(), CommandError> {
    if let Some(language) = args.format.format.language() {
        let object = |row: &R| {
            let pairs = fields
                .iter()
                .map(|field| (field.name.to_owned(), cell(row, field.field).value));
            Value::Object(pairs.collect::<Map<_, _>>())
        };
        let list = rows.iter().map(object).collect();
        return format::write(&Value::Array(list), language, output);
    }
    let row = |row: &R| {
        let cells = fields.iter().map(|field| {
            let cell = cell(row, field.field);
            match cell.text.as_str() {
                "" => (NOTHING.to_owned(), None),
                _ => (cell.text, cell.tint),
            }
        });
        cells.collect()
    };
    let table = Table {
        columns: fields.iter().map(|field| field.name.to_owned()).collect(),
        rows: rows.iter().map(row).collect(),
    };
    let text = table.render(Legend::of_flag(args.no_legend), output.reader());
    output.text(&text)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        table: TableArgs,
    }

    const KNOWN: [Field<u8>; 4] = [
        Field {
            name: "unit",
            shown: Shown::Always,
            field: 1,
        },
        Field {
            name: "sub",
            shown: Shown::Wide,
            field: 2,
        },
        Field {
            name: "ip",
            shown: Shown::Document,
            field: 3,
        },
        Field {
            name: "old",
            shown: Shown::Named,
            field: 4,
        },
    ];

    fn selected(line: &str, text: Option<&str>) -> Result<Vec<u8>, String> {
        let args = Line::try_parse_from(line.split(' ')).unwrap().table;
        match select(&args, text, &KNOWN) {
            Ok(fields) => Ok(fields.iter().map(|field| field.field).collect()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn the_form_shows_its_fields_unless_they_are_named() {
        assert_eq!(selected("list", None).unwrap(), [1]);
        assert_eq!(selected("list -o wide", None).unwrap(), [1, 2]);
        assert_eq!(selected("list --output=json", None).unwrap(), [1, 2, 3]);
        assert_eq!(selected("list -oyaml", None).unwrap(), [1, 2, 3]);
        assert_eq!(selected("list -o json", Some("old,unit")).unwrap(), [4, 1]);
    }

    #[test]
    fn unknown_and_missing_fields_are_refused() {
        let error = |text: &str| selected("list", Some(text)).unwrap_err();
        assert_eq!(error(""), "Must define output format");
        assert_eq!(error("unit,x"), "Invalid key in output format: \"x\"");
    }
}
