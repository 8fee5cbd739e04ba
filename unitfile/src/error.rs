//! PURE. What can be wrong with a unit file: each error with its line, what is wrong and what to do.

use std::fmt;

use crate::limits::{
    MAX_ERRORS, MAX_EXCERPT_CHARS, MAX_FILE_BYTES, MAX_VALUE_BYTES, MAX_VALUES_PER_OPTION,
};
use crate::{GlobError, NameError};

/// One thing that is wrong with a unit file. Shown as `line 7: what is wrong. What to do`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The line, counted from 1; `None` if it is not about one line.
    pub line: Option<u32>,
    /// What is wrong.
    pub kind: ErrorKind,
    /// What to do about it; empty if `kind` already says so.
    pub hint: String,
}

impl Error {
    pub(crate) fn new(line: Option<u32>, kind: ErrorKind, hint: impl Into<String>) -> Error {
        Error {
            line,
            kind,
            hint: hint.into(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        let message = self.kind.to_string();
        write!(f, "{message}")?;
        let stop = if message.ends_with('?') { "" } else { "." };
        if self.hint.is_empty() {
            Ok(())
        } else {
            write!(f, "{stop} {}", self.hint)
        }
    }
}

impl std::error::Error for Error {}

/// What kind of thing is wrong. Its text is the message without line and remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Over [`MAX_FILE_BYTES`].
    #[error("unit file is {bytes} bytes long, and the limit is {MAX_FILE_BYTES} bytes (64 KiB)")]
    FileTooLarge {
        /// The length of the file.
        bytes: usize,
    },
    /// A NUL byte.
    #[error("unit file holds a NUL byte")]
    NulByte,
    /// Not UTF-8.
    #[error("unit file is not valid UTF-8")]
    NotUtf8,
    /// A carriage return within a line. systemd would end the line there, fleet 1.0 would not.
    #[error("carriage return in the middle of a line")]
    LoneCarriageReturn,
    /// `[` without `]` on the same line.
    #[error("unable to find end of section")]
    SectionNotClosed,
    /// Text behind the `]`.
    #[error("found garbage after section name {section}: \"{garbage}\"")]
    GarbageAfterSection {
        /// The name of the section.
        section: String,
        /// What follows.
        garbage: String,
    },
    /// A line in a section that has no `=`.
    #[error("\"{text}\" is not an option: it has no \"=\"")]
    NoEqualsSign {
        /// The line.
        text: String,
    },
    /// A line that begins with `=`.
    #[error("there is no option name before the \"=\"")]
    NoOptionName,
    /// Text, but no section at all.
    #[error("the text is in no section, and the file has none")]
    NoSection,
    /// A continued line before the first section, of which it is unclear whether it hides the section.
    #[error("a line before the first section ends in a backslash")]
    ContinuedBeforeSection,
    /// An option (of an API request) that cannot be written as a unit file.
    #[error("option \"{name}\" of section [{section}] cannot be written to a unit file")]
    NotRepresentable {
        /// The section of the option.
        section: String,
        /// The name of the option.
        name: String,
    },
    /// There is not one option in the file.
    #[error("unit file has no options")]
    NoOptions,
    /// The name of the unit cannot be submitted.
    #[error("{0}")]
    Name(NameError),
    /// A section that looks like `[X-Fleet]`.
    #[error("section [{section}] has no effect; did you mean [X-Fleet]?")]
    MisspeltSection {
        /// The name that was written.
        section: String,
    },
    /// An option of `[X-Fleet]` that does not exist.
    #[error("unknown option \"{name}\" in [X-Fleet]{}", suggest(.suggestion))]
    UnknownOption {
        /// The name that was written.
        name: String,
        /// The nearest known name, if one is near.
        suggestion: Option<&'static str>,
    },
    /// More than [`MAX_VALUES_PER_OPTION`] values.
    #[error("{option} has more than {MAX_VALUES_PER_OPTION} values")]
    TooManyValues {
        /// The option.
        option: &'static str,
    },
    /// A value over [`MAX_VALUE_BYTES`].
    #[error(
        "a value of {option} is longer than {MAX_VALUE_BYTES} bytes once specifiers are expanded"
    )]
    ValueTooLong {
        /// The option.
        option: &'static str,
    },
    /// A value of `MachineMetadata` or `Prefers` that is no demand on metadata.
    #[error("{option} \"{value}\" {reason}")]
    MalformedMetadata {
        /// The option.
        option: &'static str,
        /// The value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Terms of `MachineMetadata` that no value can satisfy together.
    #[error(
        "unresolvable requirements: no value of \"{key}\" satisfies all that MachineMetadata asks of it"
    )]
    ContradictingMetadata {
        /// The key.
        key: String,
    },
    /// A value that is not of the kind that the option takes.
    #[error("{option} \"{value}\" is not {expected}")]
    InvalidValue {
        /// The option.
        option: &'static str,
        /// The value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// `MaxPerMachine` of a unit that no other shares a template with.
    #[error("MaxPerMachine has no meaning for a unit that is not an instance of a template")]
    NoSiblings,
    /// A unit that is to run everywhere and to wait for one machine.
    #[error("Sticky contradicts Global")]
    StickyAndGlobal,
    /// More of a counted resource than any machine that `MachineMetadata` allows has.
    #[error("unresolvable requirements: no machine that MachineMetadata allows has {name}={count}")]
    ResourceMatchesNoMetadata {
        /// The resource, which is a key of the metadata.
        name: String,
        /// How many are needed.
        count: u64,
    },
    /// An exclusive unit that is to run everywhere.
    #[error("Exclusive contradicts Global")]
    ExclusiveAndGlobal,
    /// An exclusive unit that is to run on where its machine is cut off.
    #[error("Exclusive contradicts OnDisconnect=keep")]
    ExclusiveAndKept,
    /// A value of `MachineMetadata` or `Prefers` with blanks and without quotes, of which some piece is not `key=value`.
    #[error("{option} {value} has a blank in it and is not quoted")]
    UnquotedBlank {
        /// The option.
        option: &'static str,
        /// The value.
        value: String,
    },
    /// A machine id that no machine can have.
    #[error(
        "MachineID \"{value}\" can never match: machine ids have 1 to 64 characters of 0-9 A-Z a-z _ . -"
    )]
    ImpossibleMachineId {
        /// The value.
        value: String,
    },
    /// A value of `Global`, `Sticky` or `Exclusive` that is neither true nor false.
    #[error("{option} \"{value}\" is neither true nor false")]
    NotABoolean {
        /// The option.
        option: &'static str,
        /// The value.
        value: String,
    },
    /// A value of `MachineOf` that is not a unit name.
    #[error("MachineOf \"{value}\" is not a unit name: {error}")]
    InvalidPeer {
        /// The value, specifiers expanded.
        value: String,
        /// What is wrong with it.
        error: NameError,
    },
    /// A value of `MachineOf` that is a template, which never runs.
    #[error("MachineOf \"{value}\" is a template, which itself never runs")]
    TemplatePeer {
        /// The value, specifiers expanded.
        value: String,
    },
    /// A malformed pattern.
    #[error("{option} \"{value}\" is not a valid pattern: {error}")]
    InvalidPattern {
        /// The option.
        option: &'static str,
        /// The value, specifiers expanded.
        value: String,
        /// What is wrong with it.
        error: GlobError,
    },
    /// A pattern that no unit name can match.
    #[error("{option} \"{value}\" can never match a unit name: {reason}")]
    ImpossiblePattern {
        /// The option.
        option: &'static str,
        /// The value, specifiers expanded.
        value: String,
        /// Why not.
        reason: String,
    },
    /// A peer that the unit also conflicts with.
    #[error("unresolvable requirements: peer \"{peer}\" matches conflict \"{conflict}\"")]
    PeerMatchesConflict {
        /// The value of `MachineOf`.
        peer: String,
        /// The value of `Conflicts`.
        conflict: String,
    },
    /// A peer that the unit also replaces.
    #[error("unresolvable requirements: peer \"{peer}\" matches replace \"{replace}\"")]
    PeerMatchesReplace {
        /// The value of `MachineOf`.
        peer: String,
        /// The value of `Replaces`.
        replace: String,
    },
    /// A unit that is its own peer.
    #[error("unresolvable requirements: peer \"{peer}\" is the unit itself")]
    PeerIsSelf {
        /// The value of `MachineOf`.
        peer: String,
    },
    /// The same pattern both stays away and is driven away.
    #[error("unresolvable requirements: conflict \"{pattern}\" is also a replace")]
    ConflictIsReplace {
        /// The pattern.
        pattern: String,
    },
    /// Errors beyond [`MAX_ERRORS`].
    #[error("and {count} more errors")]
    More {
        /// How many are not shown.
        count: usize,
    },
}

/// Everything that is wrong with a unit file, in the order of its lines. Never empty. Shown one error a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errors(Vec<Error>);

impl Errors {
    /// `Ok` if there is nothing wrong. Keeps at most [`MAX_ERRORS`] and counts the rest.
    pub(crate) fn check(mut errors: Vec<Error>) -> Result<(), Errors> {
        if errors.is_empty() {
            return Ok(());
        }
        // Errors about the whole file come last: the lines are what the reader mends first.
        errors.sort_by_key(|error| error.line.unwrap_or(u32::MAX));
        if errors.len() > MAX_ERRORS {
            let count = errors.len() - MAX_ERRORS;
            errors.truncate(MAX_ERRORS);
            errors.push(Error::new(None, ErrorKind::More { count }, ""));
        }
        Err(Errors(errors))
    }

    /// The errors, at least one.
    pub fn as_slice(&self) -> &[Error] {
        &self.0
    }

    /// The errors one by one.
    pub fn iter(&self) -> std::slice::Iter<'_, Error> {
        self.0.iter()
    }
}

impl From<Error> for Errors {
    fn from(error: Error) -> Errors {
        Errors(vec![error])
    }
}

impl IntoIterator for Errors {
    type Item = Error;
    type IntoIter = std::vec::IntoIter<Error>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Errors {
    type Item = &'a Error;
    type IntoIter = std::slice::Iter<'a, Error>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

/// The beginning of `text` on one line, for a message.
pub(crate) fn excerpt(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or("");
    if line.chars().count() <= MAX_EXCERPT_CHARS {
        return line.to_owned();
    }
    line.chars().take(MAX_EXCERPT_CHARS).chain(['…']).collect()
}

fn suggest(suggestion: &Option<&'static str>) -> String {
    suggestion.map_or(String::new(), |name| format!("; did you mean \"{name}\"?"))
}
