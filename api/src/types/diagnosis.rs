//! The answer to `GET /diagnosis`: what `fleetctl doctor` judges.

use serde::{Deserialize, Serialize};

use super::{Brake, Generation, MachineId, UnitName, number, text};

/// How a cluster is, at one moment. Lists are cut at [`DIAGNOSIS_ENTRIES_MAX`] entries; the counts beside them are not.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Diagnosis {
    /// The clock of the machine that answers, in milliseconds since 1970.
    pub now_unix_ms: u64,
    /// The version of the fleetd that answers.
    pub version: String,
    /// The store, member by member.
    pub store: StoreReport,
    /// Why the cluster's records cannot be read; all that follows is then empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
    /// The machine whose engine leads.
    #[serde(
        rename = "leader",
        skip_serializing_if = "Option::is_none",
        with = "text::option"
    )]
    pub leader: Option<MachineId>,
    /// How many units there are.
    pub units: usize,
    /// The machines that are there.
    pub machines: Vec<MachineReport>,
    /// The brake on mass loss: machines that were lost together and keep their units for now. None if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brake: Option<Brake>,
    /// How many units wait for a machine.
    pub held_count: usize,
    /// Units that wait for a machine.
    pub held: Vec<HeldUnit>,
    /// How many requests machines have not dealt with; those of machines that the brake is about are not counted.
    pub behind_count: usize,
    /// Requests that machines have not dealt with; for a moment that is so after every request.
    pub behind: Vec<BehindUnit>,
    /// How many units are in state failed on their machine.
    pub failed_count: usize,
    /// Units that are in state failed on their machine.
    pub failed: Vec<PlacedUnit>,
    /// How many records cannot be understood.
    pub quarantined_count: usize,
    /// Records that cannot be understood.
    pub quarantined: Vec<QuarantinedRecord>,
}

/// How long a list of a [`Diagnosis`] may be.
pub const DIAGNOSIS_ENTRIES_MAX: usize = 1_000;

/// The store.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StoreReport {
    /// One for each endpoint that fleetd was given.
    pub members: Vec<MemberReport>,
    /// Alarms that are raised, in etcd's words.
    pub alarms: Vec<String>,
    /// Why the store could not be asked for its alarms; none if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alarms_unknown: Option<String>,
    /// Why the store could not be asked for the machines' leases; none if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leases_unknown: Option<String>,
    /// Members of the store that none of the endpoints is: how they are is not known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unasked: Vec<String>,
}

/// One endpoint of the store.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MemberReport {
    /// As fleetd was given it.
    pub endpoint: String,
    /// Why it did not answer; if set, the rest is empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Its version.
    pub version: String,
    /// The size of its database in bytes.
    pub database_bytes: u64,
    /// True if it knows a leader.
    pub has_leader: bool,
    /// True if it leads.
    pub leads: bool,
    /// How long its answer took, in milliseconds.
    pub latency_ms: u64,
}

/// A machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MachineReport {
    /// Its id.
    #[serde(with = "text")]
    pub id: MachineId,
    /// The address it publishes.
    #[serde(rename = "primaryIP", default)]
    pub primary_ip: String,
    /// The version of its fleetd.
    #[serde(default)]
    pub version: String,
    /// Its lease; none if it was not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseReport>,
    /// How far its clock is ahead of that of the machine that answers, for certain, in milliseconds; negative if it is behind. None if it
    /// was not asked or did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ahead_ms: Option<i64>,
}

/// A machine's lease, in seconds; both 0 if the machine's record is under none, or if its lease has just ended.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LeaseReport {
    /// What each keep-alive brings it back to.
    pub granted_s: u64,
    /// What is left.
    pub left_s: u64,
    /// True if it has just ended, and the machine's record with it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ended: bool,
}

/// A unit that waits.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HeldUnit {
    /// The unit.
    #[serde(with = "text")]
    pub name: UnitName,
    /// Why.
    pub reason: String,
}

/// A unit on a machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PlacedUnit {
    /// The unit.
    #[serde(with = "text")]
    pub name: UnitName,
    /// The machine.
    #[serde(rename = "machineID", with = "text")]
    pub machine_id: MachineId,
}

/// A request that its machine has not dealt with.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BehindUnit {
    /// The unit.
    #[serde(with = "text")]
    pub name: UnitName,
    /// The machine.
    #[serde(rename = "machineID", with = "text")]
    pub machine_id: MachineId,
    /// The request.
    #[serde(with = "number")]
    pub requested: Generation,
    /// The last one that was dealt with; 0 for none.
    #[serde(with = "number")]
    pub dealt: Generation,
}

/// A record that cannot be understood.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct QuarantinedRecord {
    /// Its key in the store.
    pub key: String,
    /// What is wrong with it.
    pub reason: String,
}

/// The answer of `GET /quarantine`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Quarantine {
    /// The records that cannot be understood, in the order of their keys.
    pub records: Vec<QuarantinedRecord>,
}
