//! Why a unit is where it is, or why it waits: each rule with the machines it leaves, what was compared, and which machines
//! come nearest.
//!
//! An explanation is made when it is asked for, from what the cluster is then; it is kept nowhere.

use std::fmt;

use unitfile::UnitName;

use crate::{HoldReason, MachineId, Obstacle};

/// How many machines an explanation names as nearest, or as next best: enough to see what would have to change.
pub const NEAREST_MAX: usize = 5;

/// How many machines are named of a global unit, each way; the rest are counted. So an answer stays small in a cluster of
/// 10,000 machines.
pub const GLOBAL_MACHINES_MAX: usize = 100;

/// One rule of placement, as it bears on one unit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Rule {
    /// `MachineID=`.
    MachineId {
        /// The id the unit asks for.
        wanted: String,
    },
    /// One term of `MachineMetadata=`.
    Metadata {
        /// The term, as the user would write it.
        wanted: String,
    },
    /// `MachineOf=`.
    MachineOf {
        /// The unit it must be with.
        peer: UnitName,
    },
    /// `Conflicts=`, of the unit or of those that are there.
    Conflicts,
    /// What the unit reserves of one resource must be left.
    Room {
        /// The resource: `memory`, `cpu`, or the name of a counted one.
        resource: String,
    },
    /// `MaxPerMachine=`, of the unit or of one of its template.
    MaxPerMachine,
    /// An operator keeps new units away from some machines.
    Cordon,
    /// `Replaces=`, of the unit or of others: where one would have to give way to the other. Counts only while it leaves a
    /// machine.
    Replaces,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::MachineId { wanted } => write!(f, "MachineID={wanted}"),
            Rule::Metadata { wanted } => write!(f, "MachineMetadata={wanted}"),
            Rule::MachineOf { peer } => write!(f, "MachineOf={peer}"),
            Rule::Conflicts => f.write_str("Conflicts="),
            Rule::Room { resource } if resource == "memory" => f.write_str("Memory="),
            Rule::Room { resource } if resource == "cpu" => f.write_str("CPU="),
            Rule::Room { resource } => write!(f, "Resources={resource}"),
            Rule::MaxPerMachine => f.write_str("MaxPerMachine="),
            Rule::Cordon => f.write_str("cordon"),
            Rule::Replaces => f.write_str("Replaces="),
        }
    }
}

/// One rule and what it leaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleEffect {
    /// The rule.
    pub rule: Rule,
    /// Machines that pass it, whatever the other rules say.
    pub passes: usize,
    /// Machines that pass it and all rules before it.
    pub left: usize,
}

/// A machine that cannot take the unit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Nearest {
    /// The machine.
    pub machine: MachineId,
    /// How many of the rules it fails.
    pub failed: usize,
    /// The first of them.
    pub obstacle: Obstacle,
}

/// What one machine has to offer the unit, in the order in which it is compared: less in its zone, then fewer siblings, then
/// more of what `Prefers=` asks for, then less load, then the smaller id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    /// The machine.
    pub machine: MachineId,
    /// With `Spread=`: units of its template in the machine's zone (or what else the key is), without itself; else none.
    pub in_domain: Option<usize>,
    /// Units of its template on the machine, without itself.
    pub siblings: usize,
    /// What `Prefers=` gives the machine.
    pub preference: u64,
    /// Weight of the units on the machine, without itself.
    pub load: usize,
}

/// What machines are compared by, the most important first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Criterion {
    /// `Spread=`: units of the template in the zone.
    Spread,
    /// Units of the template on the machine.
    Siblings,
    /// `Prefers=`.
    Preference,
    /// Weight of the units on the machine.
    Load,
    /// The machine's id.
    Id,
}

impl Criterion {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Criterion::Spread => "spread",
            Criterion::Siblings => "siblings",
            Criterion::Preference => "preference",
            Criterion::Load => "load",
            Criterion::Id => "id",
        }
    }
}

impl Standing {
    /// The first criterion by which the two differ, if this one is the better by it; none if the other is.
    pub fn beats(&self, other: &Standing) -> Option<Criterion> {
        let compared = [
            (Criterion::Spread, self.in_domain.cmp(&other.in_domain)),
            (Criterion::Siblings, self.siblings.cmp(&other.siblings)),
            (
                Criterion::Preference,
                other.preference.cmp(&self.preference),
            ),
            (Criterion::Load, self.load.cmp(&other.load)),
            (Criterion::Id, self.machine.cmp(&other.machine)),
        ];
        let (criterion, order) = compared.into_iter().find(|(_, order)| order.is_ne())?;
        order.is_lt().then_some(criterion)
    }
}

/// Why a unit is where it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WhyThere {
    /// No other machine can take it.
    OnlyOne,
    /// Of all that can take it this is the best, before the next by this.
    Best(Criterion),
    /// Another is better by now, but a unit that is fine is not moved.
    Stays {
        /// The best now.
        better: MachineId,
        /// What it is better by.
        by: Criterion,
    },
    /// What it demands cannot be told, so it is left there.
    Frozen(HoldReason),
}

/// How it stands with a unit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Situation {
    /// Its users want it on no machine.
    Inactive,
    /// Its record is damaged and was never seen whole: nothing is done to it.
    Damaged,
    /// It has a machine.
    Placed {
        /// Its machine, as if the unit were not there.
        here: Standing,
        /// Why there.
        why: WhyThere,
        /// How many machines could take it if it were placed now.
        open: usize,
        /// The best of the others; at most [`NEAREST_MAX`].
        others: Vec<Standing>,
    },
    /// It is to be on every machine that fits.
    Everywhere {
        /// How many have it.
        count: usize,
        /// Those; at most [`GLOBAL_MACHINES_MAX`].
        machines: Vec<MachineId>,
    },
    /// It is to run and has no machine.
    Waiting(HoldReason),
}

/// Why a unit is where it is, or why it waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explanation {
    /// The unit.
    pub unit: UnitName,
    /// How many machines there are.
    pub machines: usize,
    /// How it stands with it.
    pub situation: Situation,
    /// True if this is decided but not yet written: the leader is about to.
    pub pending: bool,
    /// Each rule that bears on it, in the order in which machines are asked, with what it leaves. For a unit that has a
    /// machine: what it would leave if the unit were placed now.
    pub rules: Vec<RuleEffect>,
    /// The machines that cannot take it but come nearest, those that fail the fewest rules first, then by id. At most
    /// [`NEAREST_MAX`], of a global unit at most [`GLOBAL_MACHINES_MAX`].
    pub nearest: Vec<Nearest>,
}
