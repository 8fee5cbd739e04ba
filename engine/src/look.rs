//! PURE. A look through a cluster that explains its units, and is brought up to date at the cost of
//! what has changed since: who asks about units of a busy cluster pays for a whole look once.

use model::{Decision, Explanation, Records};
use unitfile::UnitName;

use crate::differences::differences;
use crate::explain::Explainer;
use crate::planner::Planner;

/// So many changes are taken in one by one in any case; beyond, one for so many units.
const CHANGES_MIN: usize = 1_000;
const UNITS_PER_CHANGE: usize = 8;

/// A cluster, looked through.
#[derive(Debug)]
pub struct Look {
    /// The records that the planner has.
    records: Records,
    /// What it decided last, which is not in them.
    decisions: Vec<Decision>,
    explainer: Explainer,
}

impl Look {
    /// At the cluster that has these records.
    pub fn of(records: Records) -> Look {
        let mut planner = Planner::of(&records);
        let decisions = planner.plan(&records);
        Look {
            explainer: Explainer::after(planner, &decisions),
            records,
            decisions,
        }
    }

    /// The records that were looked at.
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// Looks again, now that the cluster has these records.
    pub fn renew(self, now: Records) -> Look {
        let Look {
            mut records,
            decisions,
            explainer,
        } = self;
        let mut planner = explainer.into_planner();
        // A planner goes on from what it decided. What of it was not done is taken back below.
        for decision in decisions {
            planner.take_in(&mut records, decision.into_change());
        }
        let most = CHANGES_MIN + now.units.len() / UNITS_PER_CHANGE;
        let changes = differences(&records, &now).filter(|changes| changes.len() <= most);
        let Some(changes) = changes else {
            return Look::of(now);
        };
        for change in changes {
            planner.take_in(&mut records, change);
        }
        records.revision = now.revision;
        let decisions = planner.plan(&records);
        Look {
            explainer: Explainer::after(planner, &decisions),
            records,
            decisions,
        }
    }

    /// Explains the unit; none if there is no such unit.
    pub fn explain(&mut self, unit: &UnitName) -> Option<Explanation> {
        self.explainer.explain(unit)
    }
}
