//! The messages of `GET /events`, and how they stand in a Server-Sent Event.

use serde::{Deserialize, Serialize};

use super::{
    Brake, ErrorBody, Hold, MachineId, MachineRow, QuarantinedRecord, StateRow, UnitName, UnitRow,
    text,
};

/// One message of `GET /events`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// The store's revision up to which all has been told with this: where to go on after the stream breaks. 0 if that is
    /// nowhere yet.
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
    /// Machines that were lost together keep their units for now.
    Brake(Brake),
    /// None does any longer.
    BrakeGone,
    /// A record cannot be understood, and is skipped.
    Record(QuarantinedRecord),
    /// The record of this key can be understood again, or is gone.
    RecordGone(String),
    /// The stream goes on where the reader said that it had been: what follows up to `Synced` is what it missed, and what it
    /// is not told again is as it was. Readers that pass this over lose nothing.
    Resumed,
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

#[derive(Serialize)]
struct Gone {
    gone: bool,
}

#[derive(Serialize, Deserialize)]
struct GoneRecord {
    key: String,
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
            EventKind::Brake(_) | EventKind::BrakeGone => "brake",
            EventKind::Record(_) | EventKind::RecordGone(_) => "record",
            EventKind::Resumed => "resumed",
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
            EventKind::Brake(row) => serde_json::to_string(row),
            EventKind::BrakeGone => serde_json::to_string(&Gone { gone }),
            EventKind::Record(record) => serde_json::to_string(record),
            EventKind::RecordGone(key) => serde_json::to_string(&GoneRecord {
                key: key.clone(),
                gone,
            }),
            EventKind::Resumed | EventKind::Synced => Ok("{}".to_owned()),
            EventKind::Failed(error) => serde_json::to_string(error),
        }
    }

    /// Reads an event; none if this version does not know events of that name.
    ///
    /// # Errors
    /// If the data is not what such an event has.
    pub fn read(name: &str, data: &str) -> Result<Option<EventKind>, serde_json::Error> {
        let known = [
            "unit", "state", "hold", "machine", "brake", "record", "resumed", "synced", "error",
        ];
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
            ("brake", false) => EventKind::Brake(serde_json::from_str(data)?),
            ("brake", true) => EventKind::BrakeGone,
            ("record", false) => EventKind::Record(serde_json::from_str(data)?),
            ("record", true) => {
                EventKind::RecordGone(serde_json::from_str::<GoneRecord>(data)?.key)
            }
            ("resumed", _) => EventKind::Resumed,
            ("error", _) => EventKind::Failed(serde_json::from_str(data)?),
            _ => EventKind::Synced,
        };
        Ok(Some(kind))
    }
}
