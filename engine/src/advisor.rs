//! What the API asks about placement, answered by the pure functions. The last look through the
//! cluster is kept for a while: who asks about a thousand units pays for one, and for what changes
//! meanwhile.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::{Explanation, Move, Placement, Records, Revision, TrialPlan, UnitRequest};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use unitfile::UnitName;

use crate::look::Look;
use crate::rebalance::rebalance;
use crate::trial::trial;

/// For how long the last look is kept though nobody asks: it takes as much memory as a leader's.
const KEPT_UNUSED: Duration = Duration::from_secs(60);

/// The engine, as far as it writes nothing.
#[derive(Debug, Default)]
pub struct Advisor {
    last: Mutex<Option<Look>>,
    used: Notify,
}

impl Advisor {
    /// Forgets the last look a minute after it was last used. Ends with `shutdown`.
    pub async fn forget_unused(&self, shutdown: &CancellationToken) {
        let forget = async {
            loop {
                self.used.notified().await;
                while timeout(KEPT_UNUSED, self.used.notified()).await.is_ok() {}
                *self.last() = None;
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = forget => {}
        }
    }

    fn last(&self) -> MutexGuard<'_, Option<Look>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Placement for Advisor {
    fn explain(&self, records: Records, unit: &UnitName) -> Option<Explanation> {
        // Not held meanwhile: who asks about what was looked at last would wait.
        let last = self.last().take();
        let mut look = match last {
            Some(last) => last.renew(records),
            None => Look::of(records),
        };
        let explanation = look.explain(unit);
        *self.last() = Some(look);
        self.used.notify_one();
        explanation
    }

    fn explain_again(&self, revision: Revision, unit: &UnitName) -> Option<Explanation> {
        let mut last = self.last();
        let look = last.as_mut()?;
        if look.records().revision != revision {
            return None;
        }
        self.used.notify_one();
        look.explain(unit)
    }

    fn rebalance(&self, records: &Records, moves_max: usize) -> Vec<Move> {
        rebalance(records, moves_max)
    }

    fn trial(&self, records: Records, requests: &[UnitRequest]) -> TrialPlan {
        trial(records, requests)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::{Generation, TargetState, Unit};
    use tokio::task::JoinSet;
    use tokio::time::advance;
    use unitfile::UnitFile;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_look_is_kept_while_it_is_used_and_forgotten_after_a_minute() {
        let file = UnitFile::parse("[Service]\n".to_owned()).unwrap();
        let unit = Unit {
            name: UnitName::parse("a.service").unwrap(),
            file: file.file_hash(),
            hash: file.hash(),
            target: TargetState::Inactive,
            generation: Generation(1),
            start: Generation(1),
            restart: Generation(0),
            relocation: None,
        };
        let mut records = Records::default();
        records.files.insert(unit.file, Arc::new(file));
        records.units.insert(unit.name.clone(), unit.clone());
        records.revision = Revision(7);
        let advisor = Arc::new(Advisor::default());
        let (kept, shutdown) = (Arc::clone(&advisor), CancellationToken::new());
        let mut tasks = JoinSet::new();
        let ended = shutdown.clone();
        tasks.spawn(async move { kept.forget_unused(&ended).await });
        let again = |revision| advisor.explain_again(Revision(revision), &unit.name);
        assert_eq!(again(7), None);
        let first = advisor.explain(records, &unit.name);
        assert!(first.is_some());
        for _ in 0..3 {
            tokio::task::yield_now().await;
            advance(KEPT_UNUSED - Duration::from_secs(1)).await;
            assert_eq!(again(7), first);
            assert_eq!(again(8), None);
        }
        // Both wakes and the minute.
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
        advance(KEPT_UNUSED * 2).await;
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
        assert_eq!(again(7), None);
        shutdown.cancel();
        tasks.join_all().await;
    }
}
