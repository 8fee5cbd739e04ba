//! Tables: for programs tab-separated exactly as fleet 1.0 wrote them, for people fitted to their terminal.

use api::types::UnitHash;
use comfy_table::{ColumnConstraint, ContentArrangement, Table as DrawnTable, presets};

use crate::machine_label::IdForm;
use crate::output::Reader;
use crate::tint::{Colour, Tint, decode, encode, harmless};

/// Blanks between two columns on a terminal.
const GAP: usize = 2;

/// Characters of a cell that are worth a column of their own on a terminal: less is a column of single words.
const CELL_MIN: usize = 10;

/// Columns between two tab stops.
const TAB: usize = 8;

/// Hexadecimal digits of a shortened hash.
const HASH_DIGITS: usize = 7;

/// What stands in a cell that has nothing to say.
pub(crate) const NOTHING: &str = "-";

/// Whether the column names are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Legend {
    /// Print them.
    Shown,
    /// Leave them out.
    Hidden,
}

impl Legend {
    /// What `--no-legend` says.
    pub(crate) fn of_flag(no_legend: bool) -> Legend {
        if no_legend {
            Legend::Hidden
        } else {
            Legend::Shown
        }
    }
}

/// A cell: its text, and its colour on a terminal.
pub(crate) type ColouredText = (String, Option<Tint>);

/// A list to print. Every row has a cell for every column.
#[derive(Debug)]
pub(crate) struct Table {
    /// Names of the columns, as `--fields` has them.
    pub(crate) columns: Vec<String>,
    /// The rows.
    pub(crate) rows: Vec<Vec<ColouredText>>,
}

/// A hash in this form.
pub(crate) fn hash(hash: &UnitHash, form: IdForm) -> String {
    let digits = hash.to_string();
    match form {
        IdForm::Full => digits,
        IdForm::Short => digits.chars().take(HASH_DIGITS).collect(),
    }
}

impl Table {
    /// The table as text, every line ended.
    pub(crate) fn render(&self, legend: Legend, reader: Reader) -> String {
        let legend = match legend {
            Legend::Shown => Some(
                self.columns
                    .iter()
                    .map(|name| name.to_uppercase())
                    .collect(),
            ),
            Legend::Hidden => None,
        };
        match reader {
            Reader::Program => tabbed(legend.as_ref(), &self.rows),
            Reader::Person { columns, colour } => drawn(legend, &self.rows, columns, colour),
        }
    }
}

/// Elastic tabs, as Go's tabwriter lays them out: a column is as wide as its longest cell and one blank, rounded up to a
/// tab stop, and is filled with tabs; the last cell of a row is followed by nothing.
fn tabbed(legend: Option<&Vec<String>>, rows: &[Vec<ColouredText>]) -> String {
    fn texts(row: &[ColouredText]) -> Vec<&str> {
        row.iter().map(|(text, _)| text.as_str()).collect()
    }
    let legend = legend.map(|names| names.iter().map(String::as_str).collect());
    let all: Vec<Vec<&str>> = legend
        .into_iter()
        .chain(rows.iter().map(|row| texts(row)))
        .collect();
    let lines = || all.iter();
    let mut widths: Vec<usize> = Vec::new();
    for line in lines() {
        widths.resize(widths.len().max(line.len()), 0);
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max((cell.chars().count() + 1).next_multiple_of(TAB));
        }
    }
    let mut text = String::new();
    for line in lines() {
        for (index, cell) in line.iter().enumerate() {
            text.push_str(cell);
            if index + 1 < line.len() {
                let tabs = (widths[index] - cell.chars().count()).div_ceil(TAB);
                text.extend(std::iter::repeat_n('\t', tabs));
            }
        }
        text.push('\n');
    }
    text
}

fn drawn(
    legend: Option<Vec<String>>,
    rows: &[Vec<ColouredText>],
    columns: u16,
    colour: Colour,
) -> String {
    if legend.is_none() && rows.is_empty() {
        return String::new();
    }
    let mut table = DrawnTable::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(columns);
    let whole = whole_columns(legend.as_deref(), rows, usize::from(columns));
    if let Some(legend) = legend {
        table.set_header(legend);
    }
    let cells = |row: &Vec<ColouredText>| {
        let cell = |(text, tint): &ColouredText| encode(&harmless(text), *tint);
        row.iter().map(cell).collect::<Vec<_>>()
    };
    table.add_rows(rows.iter().map(cells));
    for (column, whole) in table.column_iter_mut().zip(whole) {
        column.set_padding((0, 2));
        if whole {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    decode(&table.trim_fmt(), colour) + "\n"
}

/// Which columns are not to be broken: those of names, ids and states, which people copy, from the left as long as the others
/// have a little room.
fn whole_columns(
    legend: Option<&[String]>,
    rows: &[Vec<ColouredText>],
    columns: usize,
) -> Vec<bool> {
    let count = rows.first().map_or(0, Vec::len);
    let count = legend.map_or(count, <[String]>::len);
    let mut widths = vec![0; count];
    let mut is_text = vec![false; count];
    for (width, name) in widths.iter_mut().zip(legend.unwrap_or_default()) {
        *width = name.chars().count();
    }
    for row in rows {
        for (index, (cell, _)) in row.iter().enumerate() {
            widths[index] = widths[index].max(harmless(cell).chars().count());
            is_text[index] |= cell.contains(' ');
        }
    }
    let least: usize = widths.iter().map(|width| GAP + CELL_MIN.min(*width)).sum();
    let mut room = columns.saturating_sub(least);
    let mut whole = vec![false; count];
    for (index, width) in widths
        .iter()
        .enumerate()
        .filter(|(index, _)| !is_text[*index])
    {
        let more = width.saturating_sub(CELL_MIN);
        if more <= room {
            room -= more;
            whole[index] = true;
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: &[&str], rows: &[&[&str]]) -> Table {
        let owned = |cells: &[&str]| {
            cells
                .iter()
                .map(|cell| (*cell).to_owned())
                .collect::<Vec<_>>()
        };
        Table {
            columns: owned(columns),
            rows: rows
                .iter()
                .map(|row| owned(row).into_iter().map(|cell| (cell, None)).collect())
                .collect(),
        }
    }

    #[test]
    fn for_programs_columns_are_filled_with_tabs_to_the_next_stop() {
        let table = table(
            &["unit", "machine", "active", "sub"],
            &[
                &["hello.service", "1234abcd.../10.0.0.1", "active", "running"],
                &["a", "-", "inactive", "dead"],
            ],
        );
        // hello.service is 13 long: 14 rounded up is 16. The machine is 20 long: 24. "inactive" is 8 long: 16.
        let expected = concat!(
            "UNIT\t\tMACHINE\t\t\tACTIVE\t\tSUB\n",
            "hello.service\t1234abcd.../10.0.0.1\tactive\t\trunning\n",
            "a\t\t-\t\t\tinactive\tdead\n",
        );
        assert_eq!(table.render(Legend::Shown, Reader::Program), expected);
        let without: String = expected.split_inclusive('\n').skip(1).collect();
        assert_eq!(table.render(Legend::Hidden, Reader::Program), without);
    }

    #[test]
    fn a_cell_as_long_as_a_tab_stop_makes_the_column_a_stop_wider() {
        let text =
            |rows: &[&[&str]]| table(&["a", "b"], rows).render(Legend::Hidden, Reader::Program);
        assert_eq!(text(&[&["1234567", "x"], &["", "y"]]), "1234567\tx\n\ty\n");
        assert_eq!(
            text(&[&["12345678", "x"], &["", "y"]]),
            "12345678\tx\n\t\ty\n"
        );
    }

    #[test]
    fn no_rows_and_no_legend_is_no_output() {
        let table = table(&["unit"], &[]);
        assert_eq!(table.render(Legend::Hidden, Reader::Program), "");
        let person = Reader::Person {
            columns: 80,
            colour: Colour::Shown,
        };
        assert_eq!(table.render(Legend::Hidden, person), "");
        assert_eq!(table.render(Legend::Shown, Reader::Program), "UNIT\n");
    }

    #[test]
    fn for_people_the_table_fits_the_terminal() {
        let said = "says hello over and over again, for ever and ever";
        let table = table(&["unit", "desc"], &[&["hello.service", said]]);
        let person = Reader::Person {
            columns: 40,
            colour: Colour::Hidden,
        };
        let text = table.render(Legend::Shown, person);
        assert!(
            text.lines().all(|line| line.chars().count() <= 40),
            "{text}"
        );
        assert!(text.starts_with("UNIT"), "{text}");
    }

    #[test]
    fn for_people_names_are_broken_last() {
        let table = table(
            &["unit", "machine", "desc"],
            &[&[
                "a-long-name.service",
                "aaaaaaaa.../10.0.0.1",
                "says hello for ever",
            ]],
        );
        let render = |columns| {
            let colour = Colour::Hidden;
            table.render(Legend::Hidden, Reader::Person { columns, colour })
        };
        let blanks = " ".repeat(43);
        assert_eq!(
            render(55),
            format!("a-long-name.service  aaaaaaaa.../10.0.0.1  says hello\n{blanks}for ever\n")
        );
        for (columns, first) in [(50, "a-long-name.service  aaaaaaaa"), (40, "a-long-nam")] {
            let text = render(columns);
            assert!(text.starts_with(first), "{text}");
            let columns = usize::from(columns);
            assert!(text.lines().all(|line| line.len() <= columns), "{text}");
        }
        assert!(!render(40).contains("a-long-name.service"));
    }

    #[test]
    fn for_people_states_have_colours_and_nothing_else_commands_the_terminal() {
        let cells = vec![
            ("web\u{1b}[2J".to_owned(), None),
            ("failed".to_owned(), Some(Tint::Bad)),
            ("x".to_owned(), None),
        ];
        let table = Table {
            columns: vec!["unit".to_owned(), "active".to_owned(), "sub".to_owned()],
            rows: vec![cells],
        };
        let person = |colour| Reader::Person {
            columns: 80,
            colour,
        };
        assert_eq!(
            table.render(Legend::Hidden, person(Colour::Shown)),
            "web\\u{1b}[2J  \u{1b}[1;31mfailed\u{1b}[0m  x\n"
        );
        assert_eq!(
            table.render(Legend::Hidden, person(Colour::Hidden)),
            "web\\u{1b}[2J  failed  x\n"
        );
        assert_eq!(
            table.render(Legend::Hidden, Reader::Program),
            "web\u{1b}[2J\tfailed\tx\n"
        );
    }
}
