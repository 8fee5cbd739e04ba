//! The shapes of `POST /rebalance`.

use serde::{Deserialize, Serialize};

use super::{ErrorBody, MachineId, Standing, TargetState, UnitName, text};

/// The body of `POST /rebalance`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RebalanceRequest {
    /// At most so many moves; all if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_moves: Option<usize>,
    /// Only say which moves would be made.
    #[serde(default)]
    pub dry_run: bool,
}

/// A unit that is better off on another machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnitMove {
    /// The unit.
    #[serde(with = "text")]
    pub name: UnitName,
    /// Its machine.
    #[serde(with = "text")]
    pub from: MachineId,
    /// The best machine for it.
    #[serde(with = "text")]
    pub to: MachineId,
    /// What that one is better by: `spread`, `siblings`, `preference` or `load`.
    pub by: String,
    /// Moves of one round are made at once, those of the next when they are done. From 1.
    pub round: usize,
    /// Its machine, as if it were not there.
    pub before: Standing,
    /// The other one.
    pub after: Standing,
    /// Number of the request to move it, if that was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// What is wanted of it, if it was asked to move.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "text::option"
    )]
    pub target_state: Option<TargetState>,
    /// Why the request to move it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorBody>,
}

/// The answer to `POST /rebalance`: in a dry run all moves, else those of the first round, which were asked for. Who wants the
/// others asks again when these are done.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Rebalancing {
    /// In the order in which they are made.
    pub moves: Vec<UnitMove>,
    /// How many there would be after these.
    pub left: usize,
}
