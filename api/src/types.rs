//! The serial form of the API: every JSON shape that server and client exchange, and (with the files below `types/`)
//! the only place that has them.
//!
//! The shapes of `/units`, `/state` and `/machines` are fleet 1.0's, which other people's clients read: empty lists and
//! empty texts are left out, and no new field may be added at the top of a list answer. The rest (`/batch`, `/plan`, `/rebalance`, `/overview`,
//! `/events`, `/version`, explanations) is for fleetctl and may grow fields; readers ignore what they do not know.

mod batch;
mod diagnosis;
mod event;
mod explanation;
mod number;
mod overview;
mod plan;
mod rebalance;
mod text;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use model::{
    ActiveState, Generation, InvocationId, JobKind, JobResult, JournalForm, LoadState, MachineId,
    Revision, TargetState,
};
pub use unitfile::{UnitHash, UnitName};

pub use batch::{
    Batch, BatchAction, BatchAnswer, BatchDone, BatchOutcome, BatchRequest, BatchResult, Done,
};
pub use diagnosis::{
    BehindUnit, DIAGNOSIS_ENTRIES_MAX, Diagnosis, HeldUnit, LeaseReport, MachineReport,
    MemberReport, PlacedUnit, Quarantine, QuarantinedRecord, StoreReport,
};
pub use event::{Event, EventKind};
pub use explanation::{Choice, Explanation, Nearest, RuleEffect, Situation, Standing, Why};
pub use overview::{Brake, Hold, Job, MachineRow, Needs, Obstacle, Overview, StateRow, UnitRow};
pub use plan::{Place, Plan, PlannedUnit};
pub use rebalance::{RebalanceRequest, Rebalancing, UnitMove};

/// The body of every answer that is an error.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// What went wrong.
    pub error: ErrorBody,
}

/// What went wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The HTTP status.
    pub code: u16,
    /// For people; may be empty.
    #[serde(default)]
    pub message: String,
}

/// One message of a journal that is followed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct JournalLines {
    /// Whole lines; a very long one may be cut. May be empty.
    pub text: String,
}

/// One option of a unit file, as fleet 1.0's clients exchange it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct UnitOption {
    /// The option's name.
    #[serde(default, deserialize_with = "null_is_default")]
    pub name: String,
    /// Its section, without brackets.
    #[serde(default, deserialize_with = "null_is_default")]
    pub section: String,
    /// Its value; left out if empty.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub value: String,
}

/// A unit, as `GET /units` and `GET /units/<name>` have it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unit {
    /// How far the assigned machine has brought it. Left out for a single global unit; `inactive` for one in a list.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "text::option"
    )]
    pub current_state: Option<TargetState>,
    /// How far its users want it brought.
    #[serde(with = "text")]
    pub desired_state: TargetState,
    /// The machine it is assigned to; none for a global unit.
    #[serde(
        rename = "machineID",
        default,
        skip_serializing_if = "Option::is_none",
        with = "text::option"
    )]
    pub machine_id: Option<MachineId>,
    /// Its name.
    #[serde(with = "text")]
    pub name: UnitName,
    /// The options of its file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<UnitOption>,
}

/// The answer to `GET /units`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UnitPage {
    /// By name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub units: Vec<Unit>,
    /// Set if there is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

/// The body of `PUT /units/<name>`. Field names are taken in any case.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UnitPut {
    /// If there, must be the name in the URL.
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub name: String,
    /// `inactive`, `loaded` or `launched`; empty if not asked for.
    #[serde(
        alias = "desiredstate",
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub desired_state: String,
    /// The unit file; empty if only the state is to change.
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub options: Vec<UnitOption>,
}

/// What one machine reports of one unit, as `GET /state` has it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnitState {
    /// Hash of the file that is loaded there.
    #[serde(with = "text")]
    pub hash: UnitHash,
    /// The machine.
    #[serde(rename = "machineID", with = "text")]
    pub machine_id: MachineId,
    /// The unit.
    #[serde(with = "text")]
    pub name: UnitName,
    /// systemd's active state.
    #[serde(with = "text")]
    pub systemd_active_state: ActiveState,
    /// systemd's load state.
    #[serde(with = "text")]
    pub systemd_load_state: LoadState,
    /// systemd's sub state.
    #[serde(default)]
    pub systemd_sub_state: String,
}

/// The answer to `GET /state`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatePage {
    /// By unit, then machine.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<UnitState>,
    /// Set if there is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

/// A machine, as `GET /machines` has it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// Its id.
    #[serde(with = "text")]
    pub id: MachineId,
    /// Its metadata, with what operators set laid over it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// The address it publishes; empty if it has none.
    #[serde(
        rename = "primaryIP",
        default,
        skip_serializing_if = "String::is_empty"
    )]
    pub primary_ip: String,
}

/// The answer to `GET /machines`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MachinePage {
    /// By id.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub machines: Vec<Machine>,
    /// Set if there is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

/// One step of `PATCH /machines`. Field names are taken in any case.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MachinePatch {
    /// `add`, `replace` or `remove`.
    #[serde(deserialize_with = "null_is_default")]
    pub op: String,
    /// `/<machine id>/metadata/<key>`.
    #[serde(deserialize_with = "null_is_default")]
    pub path: String,
    /// The value; not for `remove`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<MachinePatchValue>,
}

/// The value of a [`MachinePatch`]: fleet 1.0 has it wrapped in an object.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MachinePatchValue {
    /// The text.
    #[serde(deserialize_with = "null_is_default")]
    pub value: String,
}

/// The answer to `GET /version`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Version {
    /// The version of the fleetd that answered.
    pub version: String,
}

/// `null` is as good as nothing: fleet 1.0's clients send it.
fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}
