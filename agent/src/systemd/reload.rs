//! Lets concurrent wishes for a `daemon-reload` share one: it reads every unit file of the host and PID 1 is deaf meanwhile.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::ServiceError;
use tokio::sync::Mutex;
use tokio::time::sleep;

/// How long a reload waits for others that need one too. Units of one batch end their stops a few milliseconds apart, and a
/// reload itself takes 35 ms at 30 units and more beyond.
const GATHER: Duration = Duration::from_millis(20);

/// Numbers the wishes; a reload covers those numbered before it began.
#[derive(Debug, Default)]
pub(super) struct ReloadGate {
    wishes: AtomicU64,
    /// The last wish covered, and how that reload ended.
    covered: Mutex<(u64, Option<ServiceError>)>,
}

impl ReloadGate {
    /// Returns once a reload that began after this call has ended.
    pub(super) async fn reload<F>(&self, reload: impl FnOnce() -> F) -> Result<(), ServiceError>
    where
        F: Future<Output = Result<(), ServiceError>>,
    {
        let wish = self.wishes.fetch_add(1, Ordering::SeqCst) + 1;
        let mut covered = self.covered.lock().await;
        if covered.0 < wish {
            sleep(GATHER).await;
            let covers = self.wishes.load(Ordering::SeqCst);
            let outcome = reload().await;
            *covered = (covers, outcome.err());
        }
        covered.1.clone().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn many_wishes_share_a_reload_and_its_outcome() {
        let gate = ReloadGate::default();
        let reloads = AtomicUsize::new(0);
        let refused = ServiceError::Refused {
            message: "no".into(),
        };
        let wish = |outcome: Result<(), ServiceError>| {
            let (gate, reloads) = (&gate, &reloads);
            async move {
                gate.reload(|| async {
                    reloads.fetch_add(1, Ordering::SeqCst);
                    outcome
                })
                .await
            }
        };
        let outcomes = join_all((0..200).map(|_| wish(Err(refused.clone())))).await;
        assert_eq!(reloads.load(Ordering::SeqCst), 1);
        assert!(
            outcomes
                .iter()
                .all(|outcome| *outcome == Err(refused.clone()))
        );
        assert_eq!(
            wish(Ok(())).await,
            Ok(()),
            "a later wish is not answered by an earlier reload"
        );
        assert_eq!(reloads.load(Ordering::SeqCst), 2);
    }
}
