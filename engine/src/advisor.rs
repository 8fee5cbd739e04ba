//! What the API asks about placement, answered by the pure functions. The last look through the
//! cluster is kept: who asks about a thousand units of a cluster at rest pays for one.

use std::sync::{Mutex, PoisonError};

use model::{Explanation, Move, Placement, Records, Revision, TrialPlan, UnitRequest};
use unitfile::UnitName;

use crate::explain::Explainer;
use crate::rebalance::rebalance;
use crate::trial::trial;

/// The engine, as far as it writes nothing.
#[derive(Debug, Default)]
pub struct Advisor {
    /// The last look, and of which revision.
    last: Mutex<Option<(Revision, Explainer)>>,
}

impl Placement for Advisor {
    fn explain(&self, records: &Records, unit: &UnitName) -> Option<Explanation> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *last {
            Some((revision, explainer)) if *revision == records.revision => explainer.explain(unit),
            stale => {
                let (_, explainer) = stale.insert((records.revision, Explainer::of(records)));
                explainer.explain(unit)
            }
        }
    }

    fn rebalance(&self, records: &Records, moves_max: usize) -> Vec<Move> {
        rebalance(records, moves_max)
    }

    fn trial(&self, records: Records, requests: &[UnitRequest]) -> TrialPlan {
        trial(records, requests)
    }
}
