//! The JSON of the brake on mass loss.

use model::BrakePhase;
use serde::{Deserialize, Serialize};

use super::{Model, machine_id};

#[derive(Serialize, Deserialize)]
pub(in crate::layout) struct Brake {
    phase: Phase,
    #[serde(default)]
    cluster: usize,
    machines: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Phase {
    Watching,
    Holding,
    Moving,
}

impl From<&model::Brake> for Brake {
    fn from(brake: &model::Brake) -> Brake {
        Brake {
            phase: match brake.phase {
                BrakePhase::Watching => Phase::Watching,
                BrakePhase::Holding => Phase::Holding,
                BrakePhase::Moving => Phase::Moving,
            },
            cluster: brake.cluster,
            machines: brake.machines.iter().map(ToString::to_string).collect(),
        }
    }
}

impl Brake {
    pub(in crate::layout) fn into_model(self) -> Model<model::Brake> {
        let machines = self.machines.iter().map(|id| machine_id(id));
        Ok(model::Brake {
            phase: match self.phase {
                Phase::Watching => BrakePhase::Watching,
                Phase::Holding => BrakePhase::Holding,
                Phase::Moving => BrakePhase::Moving,
            },
            cluster: self.cluster,
            machines: machines.collect::<Model<_>>()?,
        })
    }
}
