//! The shapes of `POST /plan`; its body is that of `POST /batch`.

use serde::{Deserialize, Serialize};

use super::{ErrorBody, Hold, MachineId, UnitName, text};

/// Where a unit is, or would be. Without machines and hold: nowhere, and it is not wanted anywhere.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Place {
    /// On how many machines; more than one of a global unit only.
    #[serde(default)]
    pub count: usize,
    /// Those; at most 100.
    #[serde(rename = "machineIDs", default, with = "text::list")]
    pub machine_ids: Vec<MachineId>,
    /// Why it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
}

/// What would become of a unit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PlannedUnit {
    /// The unit.
    #[serde(with = "text")]
    pub name: UnitName,
    /// Where it is.
    pub before: Place,
    /// Where it would be; nowhere if the request is refused.
    pub after: Place,
    /// Why the request would be refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorBody>,
    /// The cluster has it with another file, which would be kept: the answer is about that one.
    #[serde(default)]
    pub differs: bool,
}

/// The answer to `POST /plan`. Nothing was written.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Plan {
    /// Nothing would be refused or wait, and no other unit would lose its place.
    pub fits: bool,
    /// The units of the request, each once, in its order.
    pub units: Vec<PlannedUnit>,
    /// Other units that would be elsewhere than they are, by name.
    pub others: Vec<PlannedUnit>,
}
