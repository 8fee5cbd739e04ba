//! When this machine last had no confirmed lease for long: then the store was away, and other machines may have lost their leases.

use std::time::Duration;

use futures_util::{Stream, StreamExt};
use tokio::sync::watch;
use tokio::time::Instant;

/// Out of three: confirmations further apart than so many thirds of a lease are not in order. They are a third apart when all is well,
/// and a member of etcd that takes over from another needs some seconds.
const THIRDS: u32 = 2;

/// When it was last so.
pub(crate) struct Steadiness {
    unsteady: watch::Sender<Instant>,
}

impl Steadiness {
    /// Of a machine that has not joined yet.
    pub(crate) fn new() -> Steadiness {
        Steadiness {
            unsteady: watch::channel(Instant::now()).0,
        }
    }

    pub(crate) fn unsteady(&self) -> watch::Receiver<Instant> {
        self.unsteady.subscribe()
    }

    /// Follows a lease that was just taken up; `confirmed` yields when it is confirmed, and ends with it.
    pub(crate) async fn follow(&self, lease_ttl: Duration, confirmed: impl Stream<Item = ()>) {
        let mut last = Instant::now();
        self.unsteady.send_replace(last);
        tokio::pin!(confirmed);
        while let Some(()) = confirmed.next().await {
            if last.elapsed() > lease_ttl / 3 * THIRDS {
                self.unsteady.send_replace(Instant::now());
            }
            last = Instant::now();
        }
    }

    /// The lease has ended: so have those of others perhaps, and an engine of this machine may lead before the machine has joined again.
    pub(crate) fn lease_lost(&self) {
        self.unsteady.send_replace(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_end_of_a_lease_is_unsteady() {
        let steadiness = Steadiness::new();
        let seen = steadiness.unsteady();
        let began = Instant::now();
        let confirmed = stream::iter([3, 3, 2].map(Duration::from_secs)).then(tokio::time::sleep);
        steadiness.follow(Duration::from_secs(9), confirmed).await;
        assert_eq!(*seen.borrow(), began);
        steadiness.lease_lost();
        assert_eq!(*seen.borrow() - began, Duration::from_secs(8));
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_lease_and_a_long_silence_are_unsteady() {
        let steadiness = Steadiness::new();
        let seen = steadiness.unsteady();
        let began = Instant::now();
        let unsteady_s = |seen: &watch::Receiver<Instant>| (*seen.borrow() - began).as_secs();
        let silences = [3, 3, 4, 7, 3].map(Duration::from_secs);
        let confirmed = stream::iter(silences)
            .then(tokio::time::sleep)
            .chain(stream::pending());
        let following = steadiness.follow(Duration::from_secs(9), confirmed);
        tokio::pin!(following);
        let until = async |s| tokio::time::sleep_until(began + Duration::from_secs(s)).await;
        for (at_s, expected_s) in [(1, 0), (16, 0), (18, 17), (30, 17)] {
            tokio::select! {
                biased;
                () = &mut following => {}
                () = until(at_s) => {}
            }
            assert_eq!(unsteady_s(&seen), expected_s, "after {at_s} s");
        }
    }
}
