//! What would become of a cluster if something were asked of it: a dry run of placement.

use unitfile::UnitName;

use crate::{Hold, MachineId, Refusal};

/// Where a unit is, or would be.
#[derive(Clone, PartialEq, Debug)]
pub enum Place {
    /// It is wanted on no machine, or there is no such unit.
    Nowhere,
    /// On these machines, which are in order of their ids.
    On(Vec<MachineId>),
    /// It waits, for this reason.
    Waits(Hold),
}

/// What would become of one unit of a request.
#[derive(Clone, PartialEq, Debug)]
pub struct Trial {
    /// The unit.
    pub name: UnitName,
    /// Where it is.
    pub before: Place,
    /// Where it would be, or why the request about it would be refused.
    pub after: Result<Place, Refusal>,
    /// True if the cluster has it with another file, which would be kept: the answer is about that one.
    pub differs: bool,
}

/// A unit of which nothing is asked, and what would become of it all the same.
#[derive(Clone, PartialEq, Debug)]
pub struct Displaced {
    /// The unit.
    pub name: UnitName,
    /// Where it is.
    pub before: Place,
    /// Where it would be.
    pub after: Place,
}

/// What would become of a cluster.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct TrialPlan {
    /// The units of the request, each once, in its order.
    pub units: Vec<Trial>,
    /// Units that would be elsewhere than they are, by name.
    pub others: Vec<Displaced>,
}

impl TrialPlan {
    /// True if nothing would be refused or wait, and no other unit would lose its place.
    pub fn fits(&self) -> bool {
        let waits = |place: &Place| matches!(place, Place::Waits(_));
        let refused = |trial: &Trial| trial.after.as_ref().map_or(true, waits);
        !self.units.iter().any(refused) && !self.others.iter().any(|other| waits(&other.after))
    }
}
