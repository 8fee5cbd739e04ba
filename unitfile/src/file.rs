//! PURE. A unit file: its text byte for byte, and the options that the text holds.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Errors};
use crate::hash::{FileHash, UnitHash};
use crate::limits::MAX_FILE_BYTES;
use crate::parse;

/// A unit file that could be read. Cloning is cheap.
///
/// Two are equal if their bytes are. Whether they mean the same is told by [`UnitFile::hash`].
#[derive(Debug, Clone)]
pub struct UnitFile {
    raw: Arc<str>,
    options: Arc<[UnitOption]>,
}

/// One `Name=value` of a unit file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitOption {
    /// The section, without brackets.
    pub section: String,
    /// The name of the option.
    pub name: String,
    /// The value, blanks around it removed. Continuations are kept: backslash, line feed, indentation.
    pub value: String,
    /// The line of the file on which the option begins, counted from 1.
    pub line: u32,
}

impl UnitOption {
    /// The value as systemd reads it: each continuation is a blank, comments between them are gone.
    pub fn joined_value(&self) -> String {
        parse::joined(&self.value)
    }
}

impl UnitFile {
    /// Reads a unit file and keeps its text.
    ///
    /// # Errors
    /// Everything that is wrong with the file, each with its line.
    pub fn parse(raw: impl Into<Arc<str>>) -> Result<UnitFile, Errors> {
        let raw: Arc<str> = raw.into();
        check_size(raw.len())?;
        let options = parse::parse(&raw)?.into();
        Ok(UnitFile { raw, options })
    }

    /// Reads a unit file from bytes, as they come from a disk or a request.
    ///
    /// # Errors
    /// As [`UnitFile::parse`], and if the bytes are not UTF-8.
    pub fn from_bytes(raw: &[u8]) -> Result<UnitFile, Errors> {
        check_size(raw.len())?;
        match std::str::from_utf8(raw) {
            Ok(text) => UnitFile::parse(text),
            Err(error) => {
                let before = &raw[..error.valid_up_to()];
                let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
                let line = u32::try_from(line).ok();
                let hint = "Save the file as UTF-8 text";
                Err(Error::new(line, ErrorKind::NotUtf8, hint).into())
            }
        }
    }

    /// The unit file of these (section, name, value), as API clients send them. Its text is the canonical one.
    ///
    /// # Errors
    /// Options that no file can hold (such as a value with a line feed that no backslash precedes), or too many.
    pub fn from_options<S: AsRef<str>>(options: &[(S, S, S)]) -> Result<UnitFile, Errors> {
        // A bound on the work below; the exact limit is checked on the text.
        check_size(
            options
                .iter()
                .map(|(_, name, value)| name.as_ref().len() + value.as_ref().len())
                .sum(),
        )?;
        let mut readable = Vec::with_capacity(options.len());
        let mut errors = Vec::new();
        for (section, name, value) in options {
            let (section, name, value) = (section.as_ref(), name.as_ref(), value.as_ref());
            match read_back(section, name, value) {
                Some(option) => readable.push(option),
                None => {
                    let kind = ErrorKind::NotRepresentable {
                        section: section.into(),
                        name: name.into(),
                    };
                    let hint = "Name and section must fit on one line, and each line of the value but the last must end in a backslash";
                    errors.push(Error::new(None, kind, hint));
                }
            }
        }
        Errors::check(errors)?;
        UnitFile::parse(parse::print(&readable))
    }

    /// The text exactly as it was submitted.
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// The same text, shared rather than copied.
    pub fn raw_shared(&self) -> Arc<str> {
        Arc::clone(&self.raw)
    }

    /// All options in the order of the file.
    pub fn options(&self) -> &[UnitOption] {
        &self.options
    }

    /// Whether there is no option at all.
    pub fn is_empty(&self) -> bool {
        self.options.is_empty()
    }

    /// The names of the sections that have options, in the order in which they first occur.
    pub fn sections(&self) -> Vec<&str> {
        let mut seen = BTreeSet::new();
        let sections = self.options.iter().map(|option| option.section.as_str());
        sections.filter(|section| seen.insert(*section)).collect()
    }

    /// The values of every occurrence of an option, in order. Names are case-sensitive, as for systemd.
    pub fn get_all(&self, section: &str, name: &str) -> impl Iterator<Item = &str> {
        self.options
            .iter()
            .filter(move |option| option.section == section && option.name == name)
            .map(|option| option.value.as_str())
    }

    /// Whether the unit is to be enabled when it is loaded: there is an option in `[Install]`.
    pub fn has_install(&self) -> bool {
        self.options
            .iter()
            .any(|option| option.section == "Install")
    }

    /// What `[Unit] Description=` says: its last value, if that is not empty. Specifiers are not expanded.
    pub fn description(&self) -> Option<&str> {
        self.get_all("Unit", "Description")
            .last()
            .filter(|text| !text.is_empty())
    }

    /// The text without comments and spacing, sections merged: what fleet 1.0 stored and hashed.
    ///
    /// Reading this text and printing it again gives the same text.
    pub fn canonical(&self) -> String {
        parse::print(&self.options)
    }

    /// The hash of what the file says; comments and spacing do not change it.
    pub fn hash(&self) -> UnitHash {
        UnitHash::of_canonical(&self.canonical())
    }

    /// The hash of the bytes of the file.
    pub fn file_hash(&self) -> FileHash {
        FileHash::of_raw(self.raw.as_bytes())
    }
}

impl PartialEq for UnitFile {
    fn eq(&self, other: &UnitFile) -> bool {
        self.raw == other.raw
    }
}

impl Eq for UnitFile {}

fn check_size(bytes: usize) -> Result<(), Errors> {
    if bytes <= MAX_FILE_BYTES {
        return Ok(());
    }
    let hint = "Move scripts and data out of the unit into files of their own";
    Err(Error::new(None, ErrorKind::FileTooLarge { bytes }, hint).into())
}

/// The option as it comes back from a file; `None` if it does not come back the same but for blanks around it.
fn read_back(section: &str, name: &str, value: &str) -> Option<UnitOption> {
    let written = UnitOption {
        section: section.into(),
        name: name.into(),
        value: value.into(),
        line: 0,
    };
    let mut options = parse::parse(&parse::print(std::slice::from_ref(&written))).ok()?;
    let option = options.pop()?;
    let same = options.is_empty()
        && option.section == section
        && option.name == name.trim()
        && option.value.trim() == value.trim();
    same.then_some(option)
}
