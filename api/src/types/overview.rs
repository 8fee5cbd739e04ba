//! The shapes of `GET /overview`, which events have too.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    ActiveState, Generation, JobKind, JobResult, LoadState, MachineId, TargetState, UnitHash,
    UnitName, number, text,
};

/// The answer to `GET /overview`: one consistent view. Sections that were not asked for are empty.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Overview {
    /// The store's revision all of it was read at.
    pub revision: u64,
    /// By id.
    pub machines: Vec<MachineRow>,
    /// By name.
    pub units: Vec<UnitRow>,
    /// By unit, then machine; only of machines that are there.
    pub states: Vec<StateRow>,
    /// With the machines: those that were lost together and keep their units for now; none if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brake: Option<Brake>,
}

/// The brake on mass loss: machines that were lost together and keep their units for now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Brake {
    /// What is done: `watching` whether more go, `holding` all, or `moving` the units of one machine after another.
    pub phase: String,
    /// How many machines the cluster had when it was pulled, those that were lost among them.
    pub cluster: usize,
    /// The machines, by id.
    #[serde(with = "text::list")]
    pub machines: Vec<MachineId>,
}

/// A machine in an [`Overview`] or an [`Event`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MachineRow {
    /// Its id.
    #[serde(with = "text")]
    pub id: MachineId,
    /// The address it publishes; empty if it has none.
    #[serde(rename = "primaryIP", default)]
    pub primary_ip: String,
    /// Its metadata, with what operators set laid over it.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// The version of its fleetd.
    #[serde(default)]
    pub version: String,
}

/// A unit in an [`Overview`] or an [`Event`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnitRow {
    /// Its name.
    #[serde(with = "text")]
    pub name: UnitName,
    /// Hash of its file.
    #[serde(with = "text")]
    pub hash: UnitHash,
    /// `Description=` of its file; empty if it has none.
    #[serde(default)]
    pub description: String,
    /// How far its users want it brought.
    #[serde(with = "text")]
    pub desired_state: TargetState,
    /// How far the assigned machine has brought it; for a global unit see `launched_on`.
    #[serde(with = "text")]
    pub current_state: TargetState,
    /// The machine it is assigned to; none for a global unit.
    #[serde(
        rename = "machineID",
        default,
        skip_serializing_if = "Option::is_none",
        with = "text::option"
    )]
    pub machine_id: Option<MachineId>,
    /// It runs on every machine that fits.
    #[serde(default)]
    pub global: bool,
    /// Number of the last accepted request.
    #[serde(with = "number")]
    pub generation: Generation,
    /// Why it waits, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// For a global unit, on how many machines it is launched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launched_on: Option<usize>,
}

/// Why a unit waits.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hold {
    /// For people.
    pub reason: String,
    /// What has to happen until it has a machine.
    #[serde(default)]
    pub needs: Needs,
    /// How many machines were looked at.
    #[serde(default)]
    pub machines: usize,
    /// The first rule each machine fails; for a few machines only.
    #[serde(default)]
    pub obstacles: Vec<Obstacle>,
}

/// What has to happen until a unit that waits has a machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Needs {
    /// Nothing but time: what keeps it waiting ends by itself.
    Time,
    /// Somebody has to change the unit, other units or the machines. An earlier fleetd does not say.
    #[default]
    Change,
}

/// Why one machine cannot take a unit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Obstacle {
    /// The machine.
    #[serde(rename = "machineID", with = "text")]
    pub machine_id: MachineId,
    /// For people; reads on after the machine's id.
    pub reason: String,
}

/// What one machine reports of one unit, in full.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StateRow {
    /// The unit.
    #[serde(with = "text")]
    pub name: UnitName,
    /// The machine.
    #[serde(rename = "machineID", with = "text")]
    pub machine_id: MachineId,
    /// Hash of the file that is loaded there.
    #[serde(with = "text")]
    pub hash: UnitHash,
    /// systemd's load state.
    #[serde(with = "text")]
    pub systemd_load_state: LoadState,
    /// systemd's active state.
    #[serde(with = "text")]
    pub systemd_active_state: ActiveState,
    /// systemd's sub state.
    #[serde(default)]
    pub systemd_sub_state: String,
    /// How far the machine has brought it: `loaded` or `launched`.
    #[serde(with = "text")]
    pub target_state: TargetState,
    /// The latest request the machine is through with, whether it ended well or not.
    #[serde(with = "number")]
    pub generation: Generation,
    /// How the last thing asked of systemd ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Job>,
    /// When the active state last changed, in milliseconds since 1970 by the machine's clock.
    #[serde(default)]
    pub since_unix_ms: u64,
    /// systemd's id of this activation; unchanged means that the unit was not touched.
    #[serde(
        rename = "invocationID",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub invocation_id: Option<String>,
}

/// How the last thing asked of systemd for a unit ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Job {
    /// What was asked.
    #[serde(with = "text")]
    pub kind: JobKind,
    /// How it ended.
    #[serde(with = "text")]
    pub result: JobResult,
    /// The request it was asked for.
    #[serde(with = "number")]
    pub generation: Generation,
    /// What systemd or the file system said, where the result alone does not tell; empty if nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}
