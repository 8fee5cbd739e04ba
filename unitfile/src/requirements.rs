//! PURE. What a unit demands of the machine it runs on: `[X-Fleet]` as typed values.
//!
//! Options combine freely, each being a plain predicate over unit and machine.

use std::collections::BTreeMap;

use crate::error::{Error, Errors};
use crate::x_fleet_reader::read;
use crate::{Glob, MetadataTerm, UnitFile, UnitName};

/// The requirements of one unit, specifiers expanded. The default demands nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requirements {
    /// Only the machine with this id; 8 characters stand for the beginning of an id.
    pub machine_id: Option<String>,
    /// What the machine's metadata must be: all terms, ordered by key.
    pub metadata: Vec<MetadataTerm>,
    /// Units that must run on the same machine: all of them, in the order of the file, each once.
    pub machine_of: Vec<UnitName>,
    /// Units that must not run on the same machine, in the order of the file, each once.
    pub conflicts: Vec<Glob>,
    /// Units that have to leave the machine on which this one is placed, in the order of the file, each once.
    pub replaces: Vec<Glob>,
    /// Whether the unit runs on every machine that fits, rather than on one.
    pub global: bool,
    /// The metadata key over whose values units of the same template are spread evenly.
    pub spread: Option<String>,
    /// Metadata that it would like, in the order of the file.
    pub prefers: Vec<Preference>,
    /// How much it counts as load.
    pub weight: Weight,
    /// What it needs of the machine's resources.
    pub demand: Demand,
    /// How many units of the same template a machine may have where this one is.
    pub max_per_machine: Option<u32>,
    /// Whether it waits for its machine rather than move when that is gone.
    pub sticky: bool,
    /// What becomes of it on a machine that is cut off, unless it is exclusive.
    pub on_disconnect: OnDisconnect,
    /// Whether it must never run on two machines: then it is stopped on one that is cut off.
    pub exclusive: bool,
}

/// What becomes of a unit on a machine that is cut off from the cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum OnDisconnect {
    /// It runs on; the cluster starts another elsewhere once the machine counts as lost, and stops this one when both are seen.
    #[default]
    Keep,
}

/// How much a unit counts when units are spread evenly; 1 unless stated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weight(pub u32);

impl Default for Weight {
    fn default() -> Weight {
        Weight(1)
    }
}

/// Metadata that a unit would like its machine to have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Preference {
    /// How much, against its other preferences; 1 unless stated.
    pub weight: u32,
    /// What.
    pub term: MetadataTerm,
}

/// What a unit needs of a machine's resources. The default needs nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Demand {
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Processors in thousandths.
    pub cpu_milli: u64,
    /// Anything that is counted, by name; none of them 0.
    pub counted: BTreeMap<String, u64>,
}

impl Demand {
    /// True if nothing is needed.
    pub fn is_nothing(&self) -> bool {
        *self == Demand::default()
    }
}

impl Requirements {
    /// Reads and checks `[X-Fleet]` of a unit that is being submitted.
    ///
    /// For a template the result has an empty `%i`; what is checked is what an instance would get.
    ///
    /// # Errors
    /// Everything that is wrong, each with its line: unknown options, malformed values, contradictions.
    pub fn of(name: &UnitName, file: &UnitFile) -> Result<Requirements, Errors> {
        let (requirements, errors) = match example_instance(name) {
            Some(instance) => (read(name, file).0, read(&instance, file).1),
            None => read(name, file),
        };
        Errors::check(errors)?;
        Ok(requirements)
    }

    /// Reads `[X-Fleet]` of a unit that is already stored, whatever is in it.
    ///
    /// What is unknown or malformed has no effect and is returned beside the rest, so that one bad record
    /// (written by an older or newer fleet) costs no other unit anything.
    pub fn of_stored(name: &UnitName, file: &UnitFile) -> (Requirements, Vec<Error>) {
        read(name, file)
    }

    /// Whether a machine with this metadata satisfies every term.
    pub fn allow_metadata(&self, metadata: &BTreeMap<String, String>) -> bool {
        self.metadata
            .iter()
            .all(|term| term.allows(metadata.get(&term.key).map(String::as_str)))
    }

    /// Whether this unit refuses to share a machine with `other`. The other may refuse too: ask both.
    pub fn conflict_with(&self, other: &UnitName) -> bool {
        self.conflicts
            .iter()
            .any(|pattern| pattern.matches(other.as_str()))
    }

    /// Whether this unit drives `other` away.
    pub fn replace(&self, other: &UnitName) -> bool {
        self.replaces
            .iter()
            .any(|pattern| pattern.matches(other.as_str()))
    }
}

/// An instance that stands for all instances of a template; `None` if `name` is not a template.
fn example_instance(name: &UnitName) -> Option<UnitName> {
    // Values with `%i` in them must be checked with something in its place. A long name may leave room for
    // one character only.
    name.with_instance("0").ok()
}
