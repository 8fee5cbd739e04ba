//! A machine of the cluster: who it is, what it says of itself, and what operators have set on it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The longest machine id accepted, in bytes.
const MACHINE_ID_BYTES_MAX: usize = unitfile::MAX_MACHINE_ID_BYTES;

/// How many characters the short form of a machine id has, as in every table of the ancestor.
pub(crate) const SHORT_ID_CHARS: usize = 8;

/// Identity of a machine: the content of its `/etc/machine-id`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MachineId(Arc<str>);

/// Why a text is not a machine id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a machine id: expected 1 to 64 characters of 0-9 A-Z a-z _ . -, as in /etc/machine-id"
)]
pub struct MachineIdError(pub String);

impl MachineId {
    /// Returns the id in `text`.
    ///
    /// # Errors
    /// If it is empty, longer than 64 bytes, or holds a character that could not be part of a key.
    pub fn parse(text: &str) -> Result<MachineId, MachineIdError> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        if text.is_empty() || text.len() > MACHINE_ID_BYTES_MAX || !text.bytes().all(legal) {
            return Err(MachineIdError(text.to_owned()));
        }
        Ok(MachineId(Arc::from(text)))
    }

    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first eight characters, or the whole id if it is shorter.
    pub fn short(&self) -> &str {
        self.0.get(..SHORT_ID_CHARS).unwrap_or(&self.0)
    }

    /// True if `wanted` is this id in full or in its short form (`MachineID=` in a unit accepts both).
    pub fn is_named(&self, wanted: &str) -> bool {
        wanted == &*self.0 || wanted == self.short()
    }
}

impl fmt::Display for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The kernel's id of one boot (`/proc/sys/kernel/random/boot_id`): tells a machine that rebooted from its clone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BootId(pub String);

/// What a machine has to give to units that declare what they need.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Capacity {
    /// Memory in bytes; 0 if unknown.
    pub memory_bytes: u64,
    /// Processors in thousandths; 0 if unknown.
    pub cpu_milli: u64,
}

/// A live machine, as its own agent describes it. Exists in the cluster only while the machine's lease lives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Machine {
    /// Who it is.
    pub id: MachineId,
    /// Which boot of it this is.
    pub boot: BootId,
    /// The address it publishes; empty if none is known.
    pub address: String,
    /// Metadata from its configuration; see [`MachineSpec`] for what operators laid over it.
    pub metadata: BTreeMap<String, String>,
    /// The version of its fleetd.
    pub version: String,
    /// What it has to give.
    pub capacity: Capacity,
}

/// Whether new units may be placed on a machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Schedulable {
    /// It takes units.
    #[default]
    Yes,
    /// An operator keeps new units away from it; those it has stay.
    Cordoned,
}

/// What operators have set on a machine, kept whether or not the machine is there.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MachineSpec {
    /// Laid over the machine's own metadata; `None` removes a key.
    pub metadata: BTreeMap<String, Option<String>>,
    /// Whether it takes new units.
    pub schedulable: Schedulable,
}

impl MachineSpec {
    /// The machine's own metadata with this specification laid over it.
    pub fn overlay(&self, own: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut merged = own.clone();
        for (key, value) in &self.metadata {
            match value {
                Some(value) => merged.insert(key.clone(), value.clone()),
                None => merged.remove(key),
            };
        }
        merged
    }
}

/// Whether a machine that has booted and does not reach the store starts its units by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OfflineStart {
    /// When it could not be reached for so long.
    After(Duration),
    /// Never.
    Never,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_id_names_the_machine_too() {
        let id = MachineId::parse("6a8f4c1d0b9e4f2a8d7c6b5a49382716").unwrap();
        assert_eq!(id.short(), "6a8f4c1d");
        assert!(id.is_named("6a8f4c1d") && id.is_named(id.as_str()));
        assert!(!id.is_named("6a8f4c1") && !id.is_named(""));
    }

    #[test]
    fn an_id_that_could_not_be_a_key_is_refused() {
        for bad in ["", "a/b", "a b", "\n", &"x".repeat(65)] {
            assert!(MachineId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_specification_overrides_adds_and_removes() {
        let own = BTreeMap::from([("disk".into(), "hdd".into()), ("zone".into(), "a".into())]);
        let spec = MachineSpec {
            metadata: BTreeMap::from([
                ("disk".into(), Some("ssd".into())),
                ("zone".into(), None),
                ("rack".into(), Some("7".into())),
            ]),
            ..MachineSpec::default()
        };
        let expected = BTreeMap::from([("disk".into(), "ssd".into()), ("rack".into(), "7".into())]);
        assert_eq!(spec.overlay(&own), expected);
    }
}
