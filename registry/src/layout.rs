//! Where each record is kept and how it is written down: the only file that knows keys and JSON.
//!
//! Readers of any version read what any other wrote: unknown fields are ignored, missing ones have a default, records in
//! folders that this version does not know are skipped.

use std::sync::Arc;

use model::{
    Assignment, Brake, Change, Hold, Leader, Machine, MachineId, MachineSpec, Quarantined,
    RecordKey, Unit, UnitStatus,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use unitfile::{FileHash, UnitFile, UnitName};

pub(crate) use self::question::{Asked, End, Piece};
use crate::lease::LeaseId;

mod json;
mod question;

/// How much of a reason is kept: it is shown on one line.
const REASON_CHARS_MAX: usize = 300;

/// The longest hold: [`model::HOLD_OBSTACLES_MAX`] obstacles, each with two texts of [`model::OBSTACLE_CHARS_MAX`] characters,
/// of which JSON makes six bytes at most. Thousands of units may wait, and are written together.
const HOLD_BYTES_MAX: usize = 16 * 1024;

const UNITS: &str = "units/";
const FILES: &str = "files/";
const MACHINES: &str = "machines/";
const MACHINE_SPECS: &str = "machine-specs/";
const SCHEDULE: &str = "schedule/";
const STATES: &str = "states/";
const HOLDS: &str = "holds/";
const LEADER: &str = "leader";
const BRAKE: &str = "brake";

/// Questions and answers are no records of the cluster: [`Layout::decode`] passes them over.
const QUESTIONS: &str = "questions/";
const ANSWERS: &str = "answers/";

/// The keys of one cluster.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    prefix: Arc<str>,
}

impl Layout {
    /// Every key begins with `prefix`; a slash is put between if there is none.
    pub(crate) fn new(prefix: &str) -> Layout {
        let slash = if prefix.ends_with('/') { "" } else { "/" };
        Layout {
            prefix: Arc::from(format!("{prefix}{slash}")),
        }
    }

    /// What every key of the cluster begins with.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// What the key of every unit file begins with.
    pub(crate) fn files_prefix(&self) -> String {
        format!("{}{FILES}", self.prefix)
    }

    /// What the key of every live machine begins with.
    pub(crate) fn machines_prefix(&self) -> String {
        format!("{}{MACHINES}", self.prefix)
    }

    /// What every entry of a machine's schedule begins with.
    pub(crate) fn schedule_prefix(&self, machine: &MachineId) -> String {
        format!("{}{SCHEDULE}{machine}/", self.prefix)
    }

    /// What everything that a machine reports begins with.
    pub(crate) fn states_prefix(&self, machine: &MachineId) -> String {
        format!("{}{STATES}{machine}/", self.prefix)
    }

    /// What every question to a machine begins with.
    pub(crate) fn questions_prefix(&self, machine: &MachineId) -> String {
        format!("{}{QUESTIONS}{machine}/", self.prefix)
    }

    /// What every answer of a machine begins with.
    pub(crate) fn answers_prefix(&self, machine: &MachineId) -> String {
        format!("{}{ANSWERS}{machine}/", self.prefix)
    }

    /// What every answer of any machine begins with.
    pub(crate) fn all_answers_prefix(&self) -> String {
        format!("{}{ANSWERS}", self.prefix)
    }

    /// The key of a question to a machine, and that of its answer. Each question has a lease of its own, which names it.
    pub(crate) fn question_keys(&self, machine: &MachineId, lease: LeaseId) -> (String, String) {
        let (questions, answers) = (self.questions_prefix(machine), self.answers_prefix(machine));
        (
            format!("{questions}{:016x}", lease.0),
            format!("{answers}{:016x}", lease.0),
        )
    }

    /// The lease that names the question or answer at `key`, of which everything of its kind begins with `prefix`.
    pub(crate) fn question_lease(prefix: &str, key: &[u8]) -> Option<LeaseId> {
        let id = std::str::from_utf8(key).ok()?.strip_prefix(prefix)?;
        i64::from_str_radix(id, 16).ok().map(LeaseId)
    }

    /// The key of a record.
    pub(crate) fn key(&self, record: &RecordKey) -> String {
        let prefix = &self.prefix;
        match record {
            RecordKey::Unit(name) => format!("{prefix}{UNITS}{name}"),
            RecordKey::File(hash) => format!("{prefix}{FILES}{hash}"),
            RecordKey::Machine(id) => format!("{prefix}{MACHINES}{id}"),
            RecordKey::MachineSpec(id) => format!("{prefix}{MACHINE_SPECS}{id}"),
            RecordKey::Assignment(id, name) => format!("{prefix}{SCHEDULE}{id}/{name}"),
            RecordKey::Status(id, name) => format!("{prefix}{STATES}{id}/{name}"),
            RecordKey::Hold(name) => format!("{prefix}{HOLDS}{name}"),
            RecordKey::Leader => format!("{prefix}{LEADER}"),
            RecordKey::Brake => format!("{prefix}{BRAKE}"),
        }
    }

    /// What it means that `key` now has this value, or none. None if the key is in no folder that this version knows.
    pub(crate) fn decode(&self, key: &[u8], value: Option<&[u8]>) -> Option<Change> {
        let record = match self.record(key) {
            Ok(Some(record)) => record,
            Ok(None) => return None,
            Err(reason) => return Some(quarantined(None, key, &reason)),
        };
        Some(match change(&record, value) {
            Ok(change) => change,
            Err(reason) => quarantined(Some(record), key, &reason),
        })
    }

    /// The same of a value under `lease`, 0 for none. A leader's record without a lease was written by hand: it would stand for ever,
    /// whoever dies, and is damaged.
    pub(crate) fn decode_leased(
        &self,
        key: &[u8],
        value: Option<&[u8]>,
        lease: i64,
    ) -> Option<Change> {
        let change = self.decode(key, value)?;
        if lease == 0 && matches!(change, Change::Leader(Some(_))) {
            let reason = "it is under no lease, so it would never end";
            return Some(quarantined(Some(RecordKey::Leader), key, reason));
        }
        Some(change)
    }

    /// Which record is kept at `key`; none if its folder is unknown.
    fn record(&self, key: &[u8]) -> Result<Option<RecordKey>, String> {
        let Some(rest) = key.strip_prefix(self.prefix.as_bytes()) else {
            return Ok(None);
        };
        let rest = std::str::from_utf8(rest).map_err(|_| "its key is not text".to_owned())?;
        let record = if let Some(name) = rest.strip_prefix(UNITS) {
            RecordKey::Unit(unit_name(name)?)
        } else if let Some(hash) = rest.strip_prefix(FILES) {
            RecordKey::File(file_hash(hash)?)
        } else if let Some(id) = rest.strip_prefix(MACHINES) {
            RecordKey::Machine(machine_id(id)?)
        } else if let Some(id) = rest.strip_prefix(MACHINE_SPECS) {
            RecordKey::MachineSpec(machine_id(id)?)
        } else if let Some(name) = rest.strip_prefix(HOLDS) {
            RecordKey::Hold(unit_name(name)?)
        } else if let Some(rest) = rest.strip_prefix(SCHEDULE) {
            let (id, name) = machine_and_unit(rest)?;
            RecordKey::Assignment(id, name)
        } else if let Some(rest) = rest.strip_prefix(STATES) {
            let (id, name) = machine_and_unit(rest)?;
            RecordKey::Status(id, name)
        } else if rest == LEADER {
            RecordKey::Leader
        } else if rest == BRAKE {
            RecordKey::Brake
        } else {
            return Ok(None);
        };
        Ok(Some(record))
    }
}

/// A unit, as it is written down.
pub(crate) fn unit(unit: &Unit) -> Vec<u8> {
    encode(&json::Unit::from(unit))
}

/// A unit file, as it is written down: its text, so that `etcdctl get` shows it.
pub(crate) fn file(file: &UnitFile) -> Vec<u8> {
    file.raw().as_bytes().to_vec()
}

/// A machine, as it is written down.
pub(crate) fn machine(machine: &Machine) -> Vec<u8> {
    encode(&json::Machine::from(machine))
}

/// What operators set on a machine, as it is written down.
pub(crate) fn machine_spec(spec: &MachineSpec) -> Vec<u8> {
    encode(&json::MachineSpec::from(spec))
}

/// A schedule entry, as it is written down.
pub(crate) fn assignment(assignment: &Assignment) -> Vec<u8> {
    encode(&json::Assignment::from(assignment))
}

/// What a machine reports of a unit, as it is written down.
pub(crate) fn status(status: &UnitStatus) -> Vec<u8> {
    encode(&json::Status::from(status))
}

/// Why a unit waits, as it is written down: at most [`HOLD_BYTES_MAX`]. What is longer, though nothing the engine makes is,
/// leaves its obstacles out, so that one unit that waits never keeps others from being placed.
pub(crate) fn hold(hold: &Hold) -> Vec<u8> {
    let written = encode(&json::Hold::from(hold));
    if written.len() <= HOLD_BYTES_MAX {
        return written;
    }
    encode(&json::Hold::from(&Hold {
        reason: hold.reason.clone(),
        obstacles: Vec::new(),
        machines: hold.machines,
    }))
}

/// Who leads, as it is written down.
pub(crate) fn leader(leader: &Leader) -> Vec<u8> {
    encode(&json::Leader::from(leader))
}

/// The brake on mass loss, as it is written down.
pub(crate) fn brake(brake: &Brake) -> Vec<u8> {
    encode(&json::Brake::from(brake))
}

/// A question, as it is written down.
pub(crate) fn asked(asked: &Asked) -> Vec<u8> {
    encode(asked)
}

/// A piece of an answer, as it is written down.
pub(crate) fn piece(piece: &Piece) -> Vec<u8> {
    encode(piece)
}

/// Reads back a question.
pub(crate) fn read_asked(value: &[u8]) -> Result<Asked, String> {
    decode(value)
}

/// Reads back a piece of an answer.
pub(crate) fn read_piece(value: &[u8]) -> Result<Piece, String> {
    decode(value)
}

/// Reads back a machine.
pub(crate) fn read_machine(id: &MachineId, value: &[u8]) -> Result<Machine, String> {
    Ok(decode::<json::Machine>(value)?.into_model(id.clone()))
}

/// Reads back what operators set on a machine.
pub(crate) fn read_machine_spec(value: &[u8]) -> Result<MachineSpec, String> {
    decode::<json::MachineSpec>(value)?.into_model()
}

/// Reads back who leads.
pub(crate) fn read_leader(value: &[u8]) -> Result<Leader, String> {
    decode::<json::Leader>(value)?.into_model()
}

fn encode(record: &impl Serialize) -> Vec<u8> {
    // Plain structs with text keys: the serializer has no way to fail. An empty value would be read back as damaged.
    serde_json::to_vec(record).unwrap_or_default()
}

fn decode<T: DeserializeOwned>(value: &[u8]) -> Result<T, String> {
    if value.is_empty() {
        return Err("it is empty".to_owned());
    }
    serde_json::from_slice(value).map_err(|error| format!("not the JSON expected: {error}"))
}

fn change(record: &RecordKey, value: Option<&[u8]>) -> Result<Change, String> {
    Ok(match record {
        RecordKey::Unit(name) => {
            let unit = |value| decode::<json::Unit>(value)?.into_model(name.clone());
            Change::Unit(name.clone(), value.map(unit).transpose()?)
        }
        RecordKey::File(hash) => Change::File(
            *hash,
            value.map(|value| read_file(hash, value)).transpose()?,
        ),
        RecordKey::Machine(id) => Change::Machine(
            id.clone(),
            value.map(|value| read_machine(id, value)).transpose()?,
        ),
        RecordKey::MachineSpec(id) => {
            Change::MachineSpec(id.clone(), value.map(read_machine_spec).transpose()?)
        }
        RecordKey::Assignment(id, name) => {
            let assignment = |value| decode::<json::Assignment>(value)?.into_model();
            Change::Assignment(id.clone(), name.clone(), value.map(assignment).transpose()?)
        }
        RecordKey::Status(id, name) => {
            let status = |value| decode::<json::Status>(value)?.into_model();
            Change::Status(id.clone(), name.clone(), value.map(status).transpose()?)
        }
        RecordKey::Hold(name) => {
            let hold = |value| decode::<json::Hold>(value)?.into_model();
            Change::Hold(name.clone(), value.map(hold).transpose()?)
        }
        RecordKey::Leader => Change::Leader(value.map(read_leader).transpose()?),
        RecordKey::Brake => {
            let brake = |value| decode::<json::Brake>(value)?.into_model();
            Change::Brake(value.map(brake).transpose()?)
        }
    })
}

fn read_file(hash: &FileHash, value: &[u8]) -> Result<Arc<UnitFile>, String> {
    if FileHash::of_raw(value) != *hash {
        return Err("its content is not the one its address names".to_owned());
    }
    let file = UnitFile::from_bytes(value).map_err(|errors| errors.to_string())?;
    Ok(Arc::new(file))
}

fn quarantined(record: Option<RecordKey>, key: &[u8], reason: &str) -> Change {
    let key = String::from_utf8_lossy(key).into_owned();
    let reason = reason.chars().take(REASON_CHARS_MAX).collect();
    Change::Quarantined {
        record,
        problem: Quarantined { key, reason },
    }
}

fn unit_name(text: &str) -> Result<UnitName, String> {
    UnitName::parse(text).map_err(|error| error.to_string())
}

fn machine_id(text: &str) -> Result<MachineId, String> {
    MachineId::parse(text).map_err(|error| error.to_string())
}

fn file_hash(text: &str) -> Result<FileHash, String> {
    let hash: FileHash = text
        .parse()
        .map_err(|error: unitfile::HashError| error.to_string())?;
    // Another spelling would be another key for the same record.
    if hash.to_string() == text {
        Ok(hash)
    } else {
        Err("its address is not in lower case".to_owned())
    }
}

fn machine_and_unit(rest: &str) -> Result<(MachineId, UnitName), String> {
    let (id, name) = rest
        .split_once('/')
        .ok_or_else(|| "its key names no unit".to_owned())?;
    Ok((machine_id(id)?, unit_name(name)?))
}

#[cfg(test)]
mod tests;
