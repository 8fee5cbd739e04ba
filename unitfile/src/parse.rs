//! PURE. Reads the text of a unit file into options, and writes options as text.
//!
//! The rules are fleet 1.0's, so that hashes agree, but where its reading of a file and systemd's differ,
//! systemd's is taken: what fleet understands is what runs. The crate documentation lists these places.

use std::collections::BTreeMap;

use crate::error::{Error, ErrorKind, Errors, excerpt};
use crate::file::UnitOption;

/// All options of `raw`, in order.
pub(crate) fn parse(raw: &str) -> Result<Vec<UnitOption>, Errors> {
    let text = raw.strip_prefix('\u{feff}').unwrap_or(raw);
    // `\r` before a line feed is part of the line's end. A line feed at the end of the file makes one
    // last, blank line here, which means nothing.
    let lines: Vec<&str> = text
        .split('\n')
        .map(|line| line.trim_end_matches('\r'))
        .collect();
    let mut parser = Parser {
        lines: &lines,
        section: None,
        text_outside: None,
        options: Vec::new(),
        errors: Vec::new(),
    };
    parser.check_characters();
    parser.run();
    let Parser {
        section,
        text_outside,
        options,
        mut errors,
        ..
    } = parser;
    if let (None, Some(line)) = (section, text_outside) {
        let hint = "Options belong below a section, for example [Service]";
        errors.push(Error::new(Some(line), ErrorKind::NoSection, hint));
    }
    Errors::check(errors)?;
    Ok(options)
}

/// The canonical text of `options`: sections in the order in which they first occur, each with its options in order.
pub(crate) fn print(options: &[UnitOption]) -> String {
    let mut index_of: BTreeMap<&str, usize> = BTreeMap::new();
    let mut bodies: Vec<String> = Vec::new();
    for option in options {
        let index = *index_of.entry(&option.section).or_insert(bodies.len());
        if index == bodies.len() {
            let gap = if index == 0 { "" } else { "\n" };
            bodies.push(format!("{gap}[{}]\n", option.section));
        }
        let body = &mut bodies[index];
        body.push_str(&option.name);
        body.push('=');
        body.push_str(&option.value);
        if is_continued(&option.value) {
            // A value may end in a backslash that does not continue it, because a blank followed it in
            // the file. Without that blank the next option would become part of this one.
            body.push(' ');
        }
        body.push('\n');
    }
    bodies.concat()
}

/// The value as systemd reads it: each continuation becomes a blank, and comments in between vanish.
pub(crate) fn joined(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for (index, line) in value.split('\n').enumerate() {
        if index > 0 && is_comment(line) {
            continue;
        }
        match line.strip_suffix('\\') {
            Some(start) if is_continued(line) => {
                text.push_str(start);
                text.push(' ');
            }
            Some(_) | None => text.push_str(line),
        }
    }
    text.trim().to_owned()
}

struct Parser<'l> {
    lines: &'l [&'l str],
    section: Option<String>,
    /// The first line with text before any section.
    text_outside: Option<u32>,
    options: Vec<UnitOption>,
    errors: Vec<Error>,
}

impl Parser<'_> {
    fn run(&mut self) {
        let mut index = 0;
        while let Some(line) = self.lines.get(index) {
            let text = line.trim_start();
            index = if text.trim_end().is_empty() || is_comment(text) {
                index + 1
            } else if let Some(header) = text.strip_prefix('[') {
                self.section(index, header);
                index + 1
            } else if self.section.is_none() {
                self.outside(index);
                index + 1
            } else {
                self.option(index, text)
            };
        }
    }

    fn check_characters(&mut self) {
        for (index, line) in self.lines.iter().enumerate() {
            if line.contains('\0') {
                self.error(
                    index,
                    ErrorKind::NulByte,
                    "A unit file is text; remove the byte",
                );
            }
            if line.contains('\r') {
                let hint =
                    "End lines with a line feed, with or without a carriage return before it";
                self.error(index, ErrorKind::LoneCarriageReturn, hint);
            }
        }
    }

    fn section(&mut self, index: usize, header: &str) {
        let Some((section, garbage)) = header.split_once(']') else {
            self.error(
                index,
                ErrorKind::SectionNotClosed,
                "Write the section as [Name] on one line",
            );
            self.section = Some(header.trim().to_owned());
            return;
        };
        if !garbage.trim().is_empty() {
            let kind = ErrorKind::GarbageAfterSection {
                section: excerpt(section),
                garbage: excerpt(garbage),
            };
            self.error(index, kind, "Put it on a line of its own");
        }
        self.section = Some(section.to_owned());
    }

    fn outside(&mut self, index: usize) {
        if is_continued(self.lines[index]) {
            let hint = "Remove the line, or put it below a section";
            self.error(index, ErrorKind::ContinuedBeforeSection, hint);
        }
        self.text_outside.get_or_insert(line_number(index));
    }

    /// Reads the option that begins on line `index` and returns the index of the line after it.
    fn option(&mut self, index: usize, text: &str) -> usize {
        let (name, value, next) = match text.split_once('=') {
            Some((name, first)) => {
                let (value, next) = self.value(index, first);
                (name.trim(), value, next)
            }
            None => {
                let kind = ErrorKind::NoEqualsSign {
                    text: excerpt(text),
                };
                self.error(index, kind, self.hint_without_equals(index));
                return self.value(index, text).1;
            }
        };
        if name.is_empty() {
            self.error(index, ErrorKind::NoOptionName, "Write it as Name=value");
        } else if let Some(section) = &self.section {
            let (section, name) = (section.clone(), name.to_owned());
            self.options.push(UnitOption {
                section,
                name,
                value,
                line: line_number(index),
            });
        }
        next
    }

    /// Reads a value of which `first` stands on line `index`; returns it with the index of the line after it.
    fn value(&self, index: usize, first: &str) -> (String, usize) {
        let mut next = index + 1;
        let mut value = String::from(first);
        let mut more = is_continued(first);
        while more {
            value.push('\n');
            match self.lines.get(next) {
                Some(line) if !line.trim().is_empty() => {
                    value.push_str(line);
                    more = is_continued(line) || is_comment(line);
                    next += 1;
                }
                // A blank line, or the end of the file, ends the value, and its line feed stays.
                Some(_) | None => return (format!("{}\n", value.trim()), next + 1),
            }
        }
        (value.trim().to_owned(), next)
    }

    fn hint_without_equals(&self, index: usize) -> &'static str {
        let previous = index
            .checked_sub(1)
            .and_then(|previous| self.lines.get(previous));
        match previous {
            Some(line) if is_comment(line) && is_continued(line) => {
                "A comment is not continued by a backslash: begin this line with # too"
            }
            Some(line) if line.trim_end().ends_with('\\') && !is_continued(line.trim_start()) => {
                "To continue the line before it, end that in one backslash with nothing behind it"
            }
            Some(_) | None => {
                "Write it as Name=value, or begin the line with # to make it a comment"
            }
        }
    }

    fn error(&mut self, index: usize, kind: ErrorKind, hint: &str) {
        self.errors
            .push(Error::new(Some(line_number(index)), kind, hint));
    }
}

/// Whether `line` goes on in the next one: it ends in a backslash that is not itself escaped by one.
fn is_continued(line: &str) -> bool {
    let backslashes = line.len() - line.trim_end_matches('\\').len();
    backslashes % 2 == 1
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with(['#', ';'])
}

/// Lines are counted from 1. A file is limited to 64 KiB, so a line number always fits.
fn line_number(index: usize) -> u32 {
    u32::try_from(index + 1).unwrap_or(u32::MAX)
}
