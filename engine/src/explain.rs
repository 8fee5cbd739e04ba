//! PURE. Why a unit is where it is, or why it waits, of one cluster as its records have it.
//!
//! It asks what placement asks: the same sets of machines, the same order, the same first obstacle.
//! A unit that has a machine is taken from it for the question, so that the answer is what would
//! decide if it were placed now.

mod effects;
pub(crate) mod standings;

use std::collections::BTreeSet;

use model::{
    Decision, Explanation, GLOBAL_MACHINES_MAX, HoldReason, NEAREST_MAX, Records, Situation,
    WhyThere,
};
use unitfile::UnitName;

use crate::bits::Bits;
use crate::cluster::{Cluster, MachineIndex, UnitIndex, Want};
use crate::explain::effects::{Known, Survey};
use crate::explain::standings::{best_of, standing};
use crate::hold::Looked;
use crate::occupancy::Occupancy;
use crate::planner::Planner;

/// Explains the unit; none if there is no such unit.
///
/// Who asks about many units of one cluster makes one [`Explainer`].
pub fn explain(records: &Records, unit: &UnitName) -> Option<Explanation> {
    Explainer::of(records).explain(unit)
}

/// Explains units of one cluster. What the records say and what the next plan will change of it is
/// found once, at its making.
#[derive(Debug)]
pub struct Explainer {
    planner: Planner,
    /// Units of which the next plan changes something.
    pending: BTreeSet<UnitName>,
    known: Known,
}

impl Explainer {
    /// For units of the cluster that has these records.
    pub fn of(records: &Records) -> Explainer {
        let mut planner = Planner::of(records);
        let decisions = planner.plan(records);
        Explainer::after(planner, &decisions)
    }

    /// For units of the planner's cluster; `decisions` are what it planned last.
    pub(crate) fn after(planner: Planner, decisions: &[Decision]) -> Explainer {
        let pending = decisions.iter().filter_map(|decision| match decision {
            Decision::Assign { unit, .. }
            | Decision::Unassign { unit, .. }
            | Decision::Hold { unit, .. }
            | Decision::Release { unit } => Some(unit.clone()),
            Decision::Brake(_) => None,
        });
        Explainer {
            pending: pending.collect(),
            planner,
            known: Known::default(),
        }
    }

    /// The planner, to plan on with.
    pub(crate) fn into_planner(self) -> Planner {
        self.planner
    }

    /// Explains the unit; none if there is no such unit.
    pub fn explain(&mut self, name: &UnitName) -> Option<Explanation> {
        let (cluster, _) = self.planner.parts();
        let unit = cluster.find(name)?;
        let want = cluster.node(unit).want.clone();
        let mut explanation = Explanation {
            unit: name.clone(),
            machines: cluster.machines.live_count(),
            situation: Situation::Inactive,
            pending: self.pending.contains(name),
            rules: Vec::new(),
            nearest: Vec::new(),
        };
        match want {
            Want::Destroyed | Want::Trace => return None,
            Want::Inactive => {}
            Want::Untouched => explanation.situation = Situation::Damaged,
            Want::Frozen(reason) => explanation.situation = self.frozen(unit, *reason),
            Want::One => self.single(unit, &mut explanation),
            Want::Everywhere => self.global(unit, &mut explanation),
        }
        Some(explanation)
    }
}

impl Explainer {
    /// A unit whose rules are not known: where it is, or that it waits.
    fn frozen(&mut self, unit: UnitIndex, reason: HoldReason) -> Situation {
        let (cluster, occupancy) = self.planner.parts();
        match by_id(cluster, occupancy.machines_of(unit)).first().copied() {
            None => Situation::Waiting(reason),
            Some(machine) => Situation::Placed {
                here: standing(cluster, occupancy, unit, machine),
                why: WhyThere::Frozen(reason),
                open: 0,
                others: Vec::new(),
            },
        }
    }

    fn single(&mut self, unit: UnitIndex, explanation: &mut Explanation) {
        let (cluster, occupancy) = self.planner.parts();
        let looked = Looked::at(cluster, occupancy, unit);
        self.known.learn(cluster, occupancy, unit);
        let place = occupancy.machines_of(unit).first().copied();
        if let Some(machine) = place {
            occupancy.unschedule(cluster, unit, machine);
        }
        let lifted = occupancy.lift(cluster, unit);
        let left = lifted.iter().map(|(_, machine)| *machine).chain(place);
        let left: Vec<MachineIndex> = left.collect();
        let survey = Survey::of(cluster, occupancy, &self.known, unit, &left);
        explanation.rules = survey.effects();
        explanation.nearest = survey.nearest(cluster, occupancy, unit, place, NEAREST_MAX);
        explanation.situation = match place {
            Some(machine) => placed(cluster, occupancy, unit, machine, survey.open()),
            None => match looked {
                Some(looked) => Situation::Waiting(looked.hold.reason),
                None => Situation::Inactive,
            },
        };
        occupancy.restore(cluster, lifted);
        if let Some(machine) = place {
            occupancy.schedule(cluster, unit, machine);
        }
    }

    fn global(&mut self, unit: UnitIndex, explanation: &mut Explanation) {
        let (cluster, occupancy) = self.planner.parts();
        let looked = Looked::at(cluster, occupancy, unit);
        self.known.learn(cluster, occupancy, unit);
        let lifted = occupancy.lift(cluster, unit);
        let left: Vec<MachineIndex> = lifted.iter().map(|(_, machine)| *machine).collect();
        let mut survey = Survey::of(cluster, occupancy, &self.known, unit, &left);
        let places = by_id(cluster, occupancy.machines_of(unit));
        survey.accept(&places);
        explanation.rules = survey.effects();
        explanation.nearest = survey.nearest(cluster, occupancy, unit, None, GLOBAL_MACHINES_MAX);
        explanation.situation = match looked {
            Some(looked) => Situation::Waiting(looked.hold.reason),
            None => {
                let named = places.iter().take(GLOBAL_MACHINES_MAX);
                Situation::Everywhere {
                    count: places.len(),
                    machines: named
                        .map(|machine| cluster.machine(*machine).clone())
                        .collect(),
                }
            }
        };
        occupancy.restore(cluster, lifted);
    }
}

/// These machines in order of their ids, which is not that of their numbers once some joined later.
fn by_id(cluster: &Cluster, machines: &[MachineIndex]) -> Vec<MachineIndex> {
    let mut machines = machines.to_vec();
    machines.sort_by(|one, other| cluster.machines.order(*one, *other));
    machines
}

/// A unit that has this machine, from which it was taken for the question.
fn placed(
    cluster: &Cluster,
    occupancy: &Occupancy,
    unit: UnitIndex,
    machine: MachineIndex,
    open: &Bits,
) -> Situation {
    let here = standing(cluster, occupancy, unit, machine);
    let mut elsewhere = open.clone();
    elsewhere.remove(machine.0);
    let others = best_of(cluster, occupancy, unit, elsewhere, NEAREST_MAX);
    let why = match others.first() {
        None => WhyThere::OnlyOne,
        Some(next) => match (here.beats(next), next.beats(&here)) {
            (None, Some(by)) => WhyThere::Stays {
                better: next.machine.clone(),
                by,
            },
            (Some(by), _) => WhyThere::Best(by),
            // Two machines are never alike: their ids differ.
            (None, None) => WhyThere::OnlyOne,
        },
    };
    Situation::Placed {
        here,
        why,
        open: open.count(),
        others,
    }
}
