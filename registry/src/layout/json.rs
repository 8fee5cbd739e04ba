//! The JSON of each record, and its way from and to the types of `model`.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use model::{BootId, Capacity, Generation, HoldReason, MachineId, Schedulable, TargetState};
use serde::{Deserialize, Serialize};
use unitfile::UnitName;

mod brake;
mod status;

pub(super) use brake::Brake;
pub(super) use status::Status;

type Model<T> = Result<T, String>;

#[derive(Serialize, Deserialize)]
pub(super) struct Unit {
    file: String,
    hash: String,
    target: String,
    #[serde(default)]
    generation: u64,
    #[serde(default)]
    start: u64,
    #[serde(default)]
    restart: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    relocation: Option<Relocation>,
}

#[derive(Serialize, Deserialize)]
struct Relocation {
    to: String,
    generation: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Assignment {
    file: String,
    target: String,
    #[serde(default)]
    generation: u64,
    #[serde(default)]
    start: u64,
    #[serde(default)]
    restart: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Machine {
    boot: String,
    #[serde(default)]
    address: String,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    #[serde(default)]
    version: String,
    #[serde(default)]
    memory_bytes: u64,
    #[serde(default)]
    cpu_milli: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct MachineSpec {
    #[serde(default)]
    metadata: BTreeMap<String, Option<String>>,
    #[serde(default)]
    cordoned: bool,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Hold {
    reason: Reason,
    #[serde(default)]
    machines: usize,
    #[serde(default)]
    obstacles: Vec<MachineObstacle>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Reason {
    NoMachines,
    NothingFits,
    Stopping { on: String },
    Moving { from: String, to: String },
    AwaitsMachine { machine: String },
    MassLoss { machine: String },
    FileMissing { file: String },
    Invalid { message: String },
}

#[derive(Serialize, Deserialize)]
struct MachineObstacle {
    machine: String,
    #[serde(flatten)]
    obstacle: Obstacle,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Obstacle {
    MachineId {
        wanted: String,
    },
    Metadata {
        wanted: String,
        actual: Option<String>,
    },
    MachineOf {
        peer: String,
    },
    Conflict {
        with: String,
    },
    NoRoom {
        resource: String,
        needed: u64,
        left: u64,
    },
    MaxPerMachine {
        limit: usize,
    },
    Replaced {
        by: String,
    },
    Cordoned,
    Stopping {
        on: String,
    },
}

#[derive(Serialize, Deserialize)]
pub(super) struct Leader {
    machine: String,
}

impl From<&model::Unit> for Unit {
    fn from(unit: &model::Unit) -> Unit {
        Unit {
            file: unit.file.to_string(),
            hash: unit.hash.to_string(),
            target: unit.target.to_string(),
            generation: unit.generation.0,
            start: unit.start.0,
            restart: unit.restart.0,
            relocation: unit.relocation.as_ref().map(|it| Relocation {
                to: it.to.to_string(),
                generation: it.generation.0,
            }),
        }
    }
}

impl Unit {
    pub(super) fn into_model(self, name: UnitName) -> Model<model::Unit> {
        Ok(model::Unit {
            name,
            file: parse("file", &self.file)?,
            hash: parse("hash", &self.hash)?,
            target: parse("target", &self.target)?,
            generation: Generation(self.generation),
            start: Generation(self.start),
            restart: Generation(self.restart),
            relocation: match self.relocation {
                Some(it) => Some(model::Relocation {
                    to: machine_id(&it.to)?,
                    generation: Generation(it.generation),
                }),
                None => None,
            },
        })
    }
}

impl From<&model::Assignment> for Assignment {
    fn from(entry: &model::Assignment) -> Assignment {
        Assignment {
            file: entry.file.to_string(),
            target: entry.target.to_string(),
            generation: entry.generation.0,
            start: entry.start.0,
            restart: entry.restart.0,
        }
    }
}

impl Assignment {
    pub(super) fn into_model(self) -> Model<model::Assignment> {
        let target = parse("target", &self.target)?;
        if target == TargetState::Inactive {
            return Err("target: a schedule entry cannot be inactive".to_owned());
        }
        Ok(model::Assignment {
            file: parse("file", &self.file)?,
            target,
            generation: Generation(self.generation),
            start: Generation(self.start),
            restart: Generation(self.restart),
        })
    }
}

impl From<&model::Machine> for Machine {
    fn from(machine: &model::Machine) -> Machine {
        Machine {
            boot: machine.boot.0.clone(),
            address: machine.address.clone(),
            metadata: machine.metadata.clone(),
            version: machine.version.clone(),
            memory_bytes: machine.capacity.memory_bytes,
            cpu_milli: machine.capacity.cpu_milli,
        }
    }
}

impl Machine {
    pub(super) fn into_model(self, id: MachineId) -> model::Machine {
        model::Machine {
            id,
            boot: BootId(self.boot),
            address: self.address,
            metadata: self.metadata,
            version: self.version,
            capacity: Capacity {
                memory_bytes: self.memory_bytes,
                cpu_milli: self.cpu_milli,
            },
        }
    }
}

impl From<&model::MachineSpec> for MachineSpec {
    fn from(spec: &model::MachineSpec) -> MachineSpec {
        let cordoned = match spec.schedulable {
            Schedulable::Yes => false,
            Schedulable::Cordoned => true,
        };
        MachineSpec {
            metadata: spec.metadata.clone(),
            cordoned,
        }
    }
}

impl MachineSpec {
    pub(super) fn into_model(self) -> Model<model::MachineSpec> {
        let schedulable = if self.cordoned {
            Schedulable::Cordoned
        } else {
            Schedulable::Yes
        };
        Ok(model::MachineSpec {
            metadata: self.metadata,
            schedulable,
        })
    }
}

impl From<&model::Hold> for Hold {
    fn from(hold: &model::Hold) -> Hold {
        let obstacles = hold
            .obstacles
            .iter()
            .map(|(machine, obstacle)| MachineObstacle {
                machine: machine.to_string(),
                obstacle: Obstacle::from(obstacle),
            });
        Hold {
            reason: Reason::from(&hold.reason),
            machines: hold.machines,
            obstacles: obstacles.collect(),
        }
    }
}

impl Hold {
    pub(super) fn into_model(self) -> Model<model::Hold> {
        let obstacles = self
            .obstacles
            .into_iter()
            .map(|entry| Ok((machine_id(&entry.machine)?, entry.obstacle.into_model()?)))
            .collect::<Model<Vec<_>>>()?;
        Ok(model::Hold {
            reason: self.reason.into_model()?,
            obstacles,
            machines: self.machines,
        })
    }
}

impl From<&HoldReason> for Reason {
    fn from(reason: &HoldReason) -> Reason {
        match reason {
            HoldReason::NoMachines => Reason::NoMachines,
            HoldReason::NothingFits => Reason::NothingFits,
            HoldReason::Stopping { on } => Reason::Stopping { on: on.to_string() },
            HoldReason::Moving { from, to } => Reason::Moving {
                from: from.to_string(),
                to: to.to_string(),
            },
            HoldReason::AwaitsMachine { machine } => Reason::AwaitsMachine {
                machine: machine.to_string(),
            },
            HoldReason::MassLoss { machine } => Reason::MassLoss {
                machine: machine.to_string(),
            },
            HoldReason::FileMissing { file } => Reason::FileMissing {
                file: file.to_string(),
            },
            HoldReason::Invalid { message } => Reason::Invalid {
                message: message.clone(),
            },
        }
    }
}

impl Reason {
    fn into_model(self) -> Model<HoldReason> {
        Ok(match self {
            Reason::NoMachines => HoldReason::NoMachines,
            Reason::NothingFits => HoldReason::NothingFits,
            Reason::Stopping { on } => HoldReason::Stopping {
                on: machine_id(&on)?,
            },
            Reason::Moving { from, to } => HoldReason::Moving {
                from: machine_id(&from)?,
                to: machine_id(&to)?,
            },
            Reason::AwaitsMachine { machine } => HoldReason::AwaitsMachine {
                machine: machine_id(&machine)?,
            },
            Reason::MassLoss { machine } => HoldReason::MassLoss {
                machine: machine_id(&machine)?,
            },
            Reason::FileMissing { file } => HoldReason::FileMissing {
                file: parse("file", &file)?,
            },
            Reason::Invalid { message } => HoldReason::Invalid { message },
        })
    }
}

impl From<&model::Obstacle> for Obstacle {
    fn from(obstacle: &model::Obstacle) -> Obstacle {
        match obstacle {
            model::Obstacle::MachineId { wanted } => Obstacle::MachineId {
                wanted: wanted.clone(),
            },
            model::Obstacle::Metadata { wanted, actual } => Obstacle::Metadata {
                wanted: wanted.clone(),
                actual: actual.clone(),
            },
            model::Obstacle::MachineOf { peer } => Obstacle::MachineOf {
                peer: peer.to_string(),
            },
            model::Obstacle::Conflict { with } => Obstacle::Conflict {
                with: with.to_string(),
            },
            model::Obstacle::NoRoom {
                resource,
                needed,
                left,
            } => Obstacle::NoRoom {
                resource: resource.clone(),
                needed: *needed,
                left: *left,
            },
            model::Obstacle::MaxPerMachine { limit } => Obstacle::MaxPerMachine { limit: *limit },
            model::Obstacle::Replaced { by } => Obstacle::Replaced { by: by.to_string() },
            model::Obstacle::Cordoned => Obstacle::Cordoned,
            model::Obstacle::Stopping { on } => Obstacle::Stopping { on: on.to_string() },
        }
    }
}

impl Obstacle {
    fn into_model(self) -> Model<model::Obstacle> {
        Ok(match self {
            Obstacle::MachineId { wanted } => model::Obstacle::MachineId { wanted },
            Obstacle::Metadata { wanted, actual } => model::Obstacle::Metadata { wanted, actual },
            Obstacle::MachineOf { peer } => model::Obstacle::MachineOf {
                peer: parse("peer", &peer)?,
            },
            Obstacle::Conflict { with } => model::Obstacle::Conflict {
                with: parse("with", &with)?,
            },
            Obstacle::NoRoom {
                resource,
                needed,
                left,
            } => model::Obstacle::NoRoom {
                resource,
                needed,
                left,
            },
            Obstacle::MaxPerMachine { limit } => model::Obstacle::MaxPerMachine { limit },
            Obstacle::Replaced { by } => model::Obstacle::Replaced {
                by: parse("by", &by)?,
            },
            Obstacle::Cordoned => model::Obstacle::Cordoned,
            Obstacle::Stopping { on } => model::Obstacle::Stopping {
                on: machine_id(&on)?,
            },
        })
    }
}

impl From<&model::Leader> for Leader {
    fn from(leader: &model::Leader) -> Leader {
        Leader {
            machine: leader.machine.to_string(),
        }
    }
}

impl Leader {
    pub(super) fn into_model(self) -> Model<model::Leader> {
        Ok(model::Leader {
            machine: machine_id(&self.machine)?,
        })
    }
}

fn parse<T: FromStr<Err: Display>>(field: &str, text: &str) -> Model<T> {
    text.parse().map_err(|error| format!("{field}: {error}"))
}

fn machine_id(text: &str) -> Model<MachineId> {
    MachineId::parse(text).map_err(|error| error.to_string())
}
