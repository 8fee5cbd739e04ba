//! A unit file as a value: parse, print, hash, names, specifiers and `[X-Fleet]` requirements. No I/O.
//!
//! - [`UnitName`] is a valid name; [`UnitName::from_user`] is what `fleetctl start hello` means.
//! - [`UnitFile`] keeps the text of a unit **byte for byte** and knows its options. Two hashes: of what it says
//!   ([`UnitFile::hash`], fleet 1.0's) and of its bytes ([`UnitFile::file_hash`], its address in the store).
//! - [`Requirements`] is what `[X-Fleet]` demands, typed, specifiers expanded.
//! - [`check_submission`] is every check that a unit passes before it is stored; API and fleetctl call the same.
//!
//! All errors of a file are reported at once ([`Errors`]), each with its line and a remedy.
//!
//! ```
//! use unitfile::{UnitFile, UnitName, check_submission};
//!
//! let name = UnitName::parse("web@1.service")?;
//! let file = UnitFile::parse("[Service]\nExecStart=/bin/web\n[X-Fleet]\nConflicts=%p@*.service\n")?;
//! let requirements = check_submission(&name, &file)?;
//! assert!(requirements.conflict_with(&UnitName::parse("web@2.service")?));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How a file is read
//!
//! systemd's reading is taken where it and fleet 1.0's differ (both were checked, systemd at 252), so that what
//! fleet understands is what runs. Where they agree, which is almost everywhere, so do the hashes.
//!
//! | text | fleet 1.0 | systemd 252 | here |
//! |---|---|---|---|
//! | line of 2,048 bytes or more | refused | up to 1 MiB | only the file is limited, see [`MAX_FILE_BYTES`] |
//! | comment ending in `\` | hides the next line | ends with its line | as systemd |
//! | comment inside a continuation | a comment without `\` ends it | skipped | as systemd; the text stays in the value |
//! | line ending in `\\` (escaped) | continued | not continued | as systemd |
//! | `\` before CR LF | not continued | continued | as systemd |
//! | `\` before blanks at the end | not continued, but is so once printed | not continued | not continued, printed with a blank |
//! | `\` at the very end of the file | hash changes when read again | ends the value | as if a line feed followed |
//! | CR in the middle of a line | part of the value | ends the line | refused |
//! | `[` within text before the first section | begins a section | ignored | ignored |
//! | `\` at the end of text before the first section | ignored | may hide the section | refused |
//! | text and no section at all | accepted, empty | ignored | refused |
//! | line without `=`, text behind `]`, `[` without `]` | refused | ignored with a warning | refused |
//! | line beginning with `=` | option without name | ignored with a warning | refused |
//! | section name over several lines | accepted | ignored with a warning | refused |
//! | invalid UTF-8, NUL | accepted | ignored with a warning, or refused | refused |
//! | `Name=` | an empty value is kept | resets a list | kept; resets in `[X-Fleet]` |
//!
//! # Differences from fleet 1.0 in `[X-Fleet]`
//!
//! - Unknown options, malformed `MachineMetadata`, values of `Global` that are neither true nor false, malformed
//!   patterns and patterns that can match no unit name are errors at submission. fleet 1.0 ignored them, and the
//!   unit ran anywhere. In records that are already stored they are ignored here too, see [`Requirements::of_stored`].
//! - A section such as `[x-fleet]` is an error at submission; fleet 1.0 ignored it.
//! - `MachineMetadata=a=b c=d` without quotes is two terms, `MachineOf=` and `Replaces=` are lists separated by
//!   blanks, as `Conflicts=` always was. fleet 1.0 read each as one value.
//! - `MachineOf=`, `MachineID=` and `Replaces=` without a value drop the values before them, as in systemd's lists;
//!   fleet 1.0 read an empty name, and the unit could not be placed.
//! - A continuation in a value is a blank, as systemd reads it; fleet 1.0 kept backslash and line feed.
//! - Any options combine. fleet 1.0 refused `MachineID` with `MachineOf`, `Conflicts`, `Global` or `Replaces`, `Global`
//!   with `MachineOf` or `Replaces`, and `Conflicts` with `Replaces`. Refused is what can never hold: a peer that matches
//!   a conflict or a replace (in the ancestor's words), a unit that is its own peer, a template as a peer, a pattern
//!   that is both conflict and replace.
//! - Types that a machine cannot run (`.target`, `.slice`, …), names of 256 bytes and names such as `.service` are
//!   refused at submission, see [`UnitName::check_runnable`].

mod name;

mod file;
mod hash;
mod parse;

mod glob;
mod metadata;
mod quantity;
mod requirements;
mod specifier;
mod x_fleet;
mod x_fleet_contradictions;
mod x_fleet_placement;
mod x_fleet_policy;
mod x_fleet_reader;

mod error;
mod limits;
mod submit;

pub use error::{Error, ErrorKind, Errors};
pub use file::{UnitFile, UnitOption};
pub use glob::{Glob, GlobError};
pub use hash::{FileHash, HashError, UnitHash};
pub use limits::{
    MAX_ERRORS, MAX_FILE_BYTES, MAX_MACHINE_ID_BYTES, MAX_NAME_BYTES, MAX_PATTERN_BYTES,
    MAX_RUNNABLE_NAME_BYTES, MAX_VALUE_BYTES, MAX_VALUES_PER_OPTION, MAX_WEIGHT,
};
pub use metadata::{Comparison, Decimal, MetadataTerm, MetadataTest, contradicting_key};
pub use name::{NameError, UnitName, UnitType};
pub use requirements::{Demand, OnDisconnect, Preference, Requirements, Weight};
pub use specifier::expand_specifiers;
pub use submit::check_submission;
pub use x_fleet::{X_FLEET, X_FLEET_OPTIONS, XFleetKey, XFleetOption};
