//! The shapes of `GET /units/<name>/explanation`.

use serde::{Deserialize, Serialize};

use super::{MachineId, Needs, UnitName, text};

/// How it stands with a unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Situation {
    /// Its users want it on no machine.
    Inactive,
    /// Its record is damaged: nothing is done to it.
    Damaged,
    /// It has a machine.
    Placed,
    /// It is global, and on machines.
    Everywhere,
    /// It is to run and has no machine.
    Waiting,
}

/// Why a unit is where it is, or why it waits. Made when it is asked for, of the cluster as it is then.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The unit.
    #[serde(with = "text")]
    pub name: UnitName,
    /// How it stands with it.
    pub situation: Situation,
    /// The whole in a sentence, for people; reads on after the unit's name.
    pub summary: String,
    /// This is decided and about to be written.
    #[serde(default)]
    pub pending: bool,
    /// Of a unit that waits: what has to happen until it has a machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<Needs>,
    /// How many machines there are.
    pub machines: usize,
    /// Of a unit that is placed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice: Option<Choice>,
    /// Of a unit that is everywhere: on how many machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
    /// Those machines; at most 100.
    #[serde(
        rename = "machineIDs",
        default,
        skip_serializing_if = "Vec::is_empty",
        with = "text::list"
    )]
    pub machine_ids: Vec<MachineId>,
    /// Each rule that bears on the unit, in the order in which machines are asked.
    #[serde(default)]
    pub rules: Vec<RuleEffect>,
    /// Machines that cannot take it, those that fail the fewest rules first; a few only.
    #[serde(default)]
    pub nearest: Vec<Nearest>,
}

/// What one rule leaves.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RuleEffect {
    /// The rule, as the unit file has it; `cordon` if operators keep units away from machines.
    pub rule: String,
    /// Machines that pass it, whatever the others say.
    pub passes: usize,
    /// Machines that pass it and all before it.
    pub left: usize,
}

/// A machine that cannot take the unit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Nearest {
    /// The machine.
    #[serde(rename = "machineID", with = "text")]
    pub machine_id: MachineId,
    /// How many rules it fails.
    pub failed: usize,
    /// The first of them, for people; reads on after the machine's id.
    pub reason: String,
}

/// Why a unit is on its machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Choice {
    /// The machine, as if the unit were not there.
    pub here: Standing,
    /// Why there.
    pub why: Why,
    /// What decided: `spread`, `siblings`, `preference`, `load` or `id`; none if nothing was compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// How many machines could take it if it were placed now.
    pub open: usize,
    /// The best of the others, best first; a few only.
    #[serde(default)]
    pub others: Vec<Standing>,
}

/// See [`Choice`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Why {
    /// No other machine can take it.
    Only,
    /// Of all that can take it this is the best.
    Best,
    /// Another is better by now, but a unit that is fine is not moved.
    Stays,
    /// What it demands cannot be told, so it is left there.
    Frozen,
}

/// What a machine has to offer a unit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// The machine.
    #[serde(rename = "machineID", with = "text")]
    pub machine_id: MachineId,
    /// With `Spread=`: units of its template in the machine's zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_domain: Option<usize>,
    /// Units of its template on the machine.
    pub siblings: usize,
    /// What `Prefers=` gives the machine.
    pub preference: u64,
    /// Weight of the units on the machine.
    pub load: usize,
}
