//! The serial form of the API: every JSON shape that server and client exchange, and the only file that has them.
//!
//! The shapes of `/units`, `/state` and `/machines` are fleet 1.0's, which other people's clients read: empty lists and
//! empty texts are left out, and no new field may be added at the top of a list answer. The rest (`/batch`, `/overview`,
//! `/events`, `/version`) is for fleetctl and may grow fields; readers ignore what they do not know.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use model::{
    ActiveState, Generation, InvocationId, JobKind, JobResult, LoadState, MachineId, Revision,
    TargetState,
};
pub use unitfile::{UnitHash, UnitName};

/// `true` for `skip_serializing_if`.
fn is_false(value: &bool) -> bool {
    !*value
}

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

/// A verb of `POST /batch`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BatchAction {
    /// Make the unit known.
    Submit,
    /// Put it on a machine, not started; a running unit is stopped.
    Load,
    /// Start it, whatever state it is in.
    Start,
    /// Stop it where it is.
    Stop,
    /// Take it from its machine.
    Unload,
    /// Stop and start it where it is.
    Restart,
    /// Forget it.
    Destroy,
}

/// One request of a batch.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BatchRequest {
    /// The unit's name, in full. Checked by the server, so that all errors of a batch come at once.
    pub name: String,
    /// What to do.
    pub action: BatchAction,
    /// The file the user has under the unit's own name, byte for byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// The template the user has for it, byte for byte; the cluster's own template comes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Take the new file if the cluster has another.
    #[serde(default, skip_serializing_if = "is_false")]
    pub replace: bool,
}

/// The body of `POST /batch`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Batch {
    /// Carried out in this order.
    pub requests: Vec<BatchRequest>,
}

/// The answer to `POST /batch`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BatchAnswer {
    /// Set if some file or name is invalid. Then **nothing** was written, and the outcomes are those of the invalid
    /// requests only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorBody>,
    /// In the order of the requests.
    pub outcomes: Vec<BatchOutcome>,
}

/// What became of one request of a batch.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BatchOutcome {
    /// The unit, as the request named it.
    pub name: String,
    /// What became of it.
    #[serde(flatten)]
    pub result: BatchResult,
}

/// See [`BatchOutcome`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum BatchResult {
    /// It was carried out.
    Done(BatchDone),
    /// It was not.
    Failed {
        /// Why.
        error: ErrorBody,
    },
}

/// What was done for one request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchDone {
    /// What was done.
    pub done: Done,
    /// What is wanted of the unit now.
    #[serde(with = "text")]
    pub target_state: TargetState,
    /// Number of the request: a state with this generation or a later one answers it. The last one if unchanged.
    #[serde(with = "number")]
    pub generation: Generation,
    /// The unit runs on every machine that fits.
    pub global: bool,
    /// The user's file differs from the cluster's, which was kept.
    pub differs: bool,
    /// A replacement was asked for which this verb may not do in the state the unit is in: this state.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "text::option"
    )]
    pub replace_refused_in: Option<TargetState>,
}

/// See [`BatchDone`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Done {
    /// The unit is new.
    Created,
    /// Its file was replaced.
    Replaced,
    /// Something else is wanted of it now.
    Updated,
    /// All is as asked already.
    Unchanged,
    /// It is forgotten.
    Destroyed,
}

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
    /// How many machines were looked at.
    #[serde(default)]
    pub machines: usize,
    /// The first rule each machine fails; for a few machines only.
    #[serde(default)]
    pub obstacles: Vec<Obstacle>,
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

/// The answer to `GET /version`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Version {
    /// The version of the fleetd that answered.
    pub version: String,
}

/// One message of `GET /events`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// The store's revision this is known at.
    pub revision: u64,
    /// What is so now.
    pub kind: EventKind,
}

/// What an [`Event`] says. Each replaces what was said before of the same thing; a repeat is harmless.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EventKind {
    /// A unit is new or changed.
    Unit(Box<UnitRow>),
    /// A unit was destroyed.
    UnitGone(UnitName),
    /// A machine reports something new of a unit.
    State(Box<StateRow>),
    /// A machine no longer has a unit, or is gone.
    StateGone(UnitName, MachineId),
    /// A unit waits.
    Hold(UnitName, Hold),
    /// A unit no longer waits.
    HoldGone(UnitName),
    /// A machine came or changed.
    Machine(MachineRow),
    /// A machine is gone.
    MachineGone(MachineId),
    /// All that was so at the beginning has been said; what follows are changes.
    Synced,
    /// The server cannot go on; the stream ends here.
    Failed(ErrorBody),
}

#[derive(Serialize, Deserialize)]
struct HoldEvent {
    #[serde(with = "text")]
    name: UnitName,
    #[serde(flatten)]
    hold: Hold,
}

#[derive(Serialize, Deserialize)]
struct GoneUnit {
    #[serde(with = "text")]
    name: UnitName,
    gone: bool,
}

#[derive(Serialize, Deserialize)]
struct GoneState {
    #[serde(with = "text")]
    name: UnitName,
    #[serde(rename = "machineID", with = "text")]
    machine_id: MachineId,
    gone: bool,
}

#[derive(Serialize, Deserialize)]
struct GoneMachine {
    #[serde(with = "text")]
    id: MachineId,
    gone: bool,
}

#[derive(Deserialize)]
struct GoneMark {
    #[serde(default)]
    gone: bool,
}

impl EventKind {
    /// The event's name on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            EventKind::Unit(_) | EventKind::UnitGone(_) => "unit",
            EventKind::State(_) | EventKind::StateGone(..) => "state",
            EventKind::Hold(..) | EventKind::HoldGone(_) => "hold",
            EventKind::Machine(_) | EventKind::MachineGone(_) => "machine",
            EventKind::Synced => "synced",
            EventKind::Failed(_) => "error",
        }
    }

    /// The event's data on the wire: one line of JSON.
    ///
    /// # Errors
    /// None that these types can cause.
    pub fn data(&self) -> Result<String, serde_json::Error> {
        let gone = true;
        match self {
            EventKind::Unit(row) => serde_json::to_string(row),
            EventKind::UnitGone(name) | EventKind::HoldGone(name) => {
                serde_json::to_string(&GoneUnit {
                    name: name.clone(),
                    gone,
                })
            }
            EventKind::State(row) => serde_json::to_string(row),
            EventKind::StateGone(name, machine) => {
                let (name, machine_id) = (name.clone(), machine.clone());
                serde_json::to_string(&GoneState {
                    name,
                    machine_id,
                    gone,
                })
            }
            EventKind::Hold(name, hold) => serde_json::to_string(&HoldEvent {
                name: name.clone(),
                hold: hold.clone(),
            }),
            EventKind::Machine(row) => serde_json::to_string(row),
            EventKind::MachineGone(id) => serde_json::to_string(&GoneMachine {
                id: id.clone(),
                gone,
            }),
            EventKind::Synced => Ok("{}".to_owned()),
            EventKind::Failed(error) => serde_json::to_string(error),
        }
    }

    /// Reads an event; none if this version does not know events of that name.
    ///
    /// # Errors
    /// If the data is not what such an event has.
    pub fn read(name: &str, data: &str) -> Result<Option<EventKind>, serde_json::Error> {
        let known = ["unit", "state", "hold", "machine", "synced", "error"];
        if !known.contains(&name) {
            return Ok(None);
        }
        let gone = serde_json::from_str::<GoneMark>(data)?.gone;
        let kind = match (name, gone) {
            ("unit", false) => EventKind::Unit(serde_json::from_str(data)?),
            ("unit", true) => EventKind::UnitGone(serde_json::from_str::<GoneUnit>(data)?.name),
            ("state", false) => EventKind::State(serde_json::from_str(data)?),
            ("state", true) => {
                let gone: GoneState = serde_json::from_str(data)?;
                EventKind::StateGone(gone.name, gone.machine_id)
            }
            ("hold", false) => {
                let event: HoldEvent = serde_json::from_str(data)?;
                EventKind::Hold(event.name, event.hold)
            }
            ("hold", true) => EventKind::HoldGone(serde_json::from_str::<GoneUnit>(data)?.name),
            ("machine", false) => EventKind::Machine(serde_json::from_str(data)?),
            ("machine", true) => {
                EventKind::MachineGone(serde_json::from_str::<GoneMachine>(data)?.id)
            }
            ("error", _) => EventKind::Failed(serde_json::from_str(data)?),
            _ => EventKind::Synced,
        };
        Ok(Some(kind))
    }
}

/// `null` is as good as nothing: fleet 1.0's clients send it.
fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Types of ours that are one word of text on the wire.
mod text {
    use model::{ActiveState, JobKind, JobResult, LoadState, MachineId, TargetState};
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};
    use unitfile::{UnitHash, UnitName};

    pub(super) trait Word: Sized {
        fn word(&self) -> String;
        fn from_word(word: &str) -> Result<Self, String>;
    }

    macro_rules! parsed {
        ($($type:ty => $parse:expr,)+) => {
            $(impl Word for $type {
                fn word(&self) -> String {
                    self.to_string()
                }
                fn from_word(word: &str) -> Result<Self, String> {
                    $parse(word).map_err(|error| error.to_string())
                }
            })+
        };
    }
    parsed! {
        UnitName => UnitName::parse,
        MachineId => MachineId::parse,
        TargetState => str::parse::<TargetState>,
        UnitHash => str::parse::<UnitHash>,
    }

    macro_rules! any_word {
        ($($type:ty,)+) => {
            $(impl Word for $type {
                fn word(&self) -> String {
                    self.as_str().to_owned()
                }
                fn from_word(word: &str) -> Result<Self, String> {
                    Ok(<$type>::from_word(word))
                }
            })+
        };
    }
    any_word! { LoadState, ActiveState, JobResult, }

    impl Word for JobKind {
        fn word(&self) -> String {
            self.as_str().to_owned()
        }
        fn from_word(word: &str) -> Result<Self, String> {
            [
                JobKind::Load,
                JobKind::Start,
                JobKind::Stop,
                JobKind::Restart,
            ]
            .into_iter()
            .find(|kind| kind.as_str() == word)
            .ok_or_else(|| format!("{word:?} is not a kind of job"))
        }
    }

    pub(super) fn serialize<T: Word, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&value.word())
    }

    pub(super) fn deserialize<'de, T: Word, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
        T::from_word(&String::deserialize(from)?).map_err(D::Error::custom)
    }

    pub(super) mod option {
        use super::{Deserialize, Deserializer, Error, Serializer, Word};

        pub(in super::super) fn serialize<T: Word, S: Serializer>(
            value: &Option<T>,
            to: S,
        ) -> Result<S::Ok, S::Error> {
            match value {
                Some(value) => super::serialize(value, to),
                None => to.serialize_none(),
            }
        }

        pub(in super::super) fn deserialize<'de, T: Word, D: Deserializer<'de>>(
            from: D,
        ) -> Result<Option<T>, D::Error> {
            match Option::<String>::deserialize(from)? {
                Some(word) => T::from_word(&word).map(Some).map_err(D::Error::custom),
                None => Ok(None),
            }
        }
    }
}

/// Generations are plain numbers on the wire.
mod number {
    use model::Generation;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Generation, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(value.0)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Generation, D::Error> {
        u64::deserialize(from).map(Generation)
    }
}
