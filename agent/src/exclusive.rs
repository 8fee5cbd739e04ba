//! What must never run twice: keeps the machine's guard told until when that may run, and ends it before a new membership.

use std::time::Duration;

use model::ServiceManager;
use registry::{Lease, Membership, Origin};
use tokio::time::timeout;

/// How long a new membership waits for exclusive units of an earlier one to end. They are killed at once; what lives longer hangs in
/// the kernel, and keeping the machine out of the cluster would not end it either.
const ENDING_MAX: Duration = Duration::from_secs(30);

/// Whether exclusive units may still run on this machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum ExclusiveUnits {
    /// None does.
    Ended,
    /// Some may, as the log says.
    MayRun,
}

/// Ends all exclusive units, now and by force.
pub async fn end_exclusive<S: ServiceManager>(manager: &S) -> ExclusiveUnits {
    match timeout(ENDING_MAX, manager.give_up_exclusive()).await {
        Ok(Ok(())) => return ExclusiveUnits::Ended,
        Ok(Err(error)) => tracing::error!(%error, "exclusive units may still run here"),
        Err(_) => tracing::error!(
            "exclusive units did not end within {} s and may still run here",
            ENDING_MAX.as_secs()
        ),
    }
    ExclusiveUnits::MayRun
}

/// To be called between taking a lease and joining with it. Under a lease that was resumed, exclusive units run on. Under a new one
/// none may run: what this machine said of them under the earlier lease is gone with that, so they may be running elsewhere by now.
pub async fn end_exclusive_of_earlier_lease<S: ServiceManager>(lease: &Lease, manager: &S) {
    match lease.origin() {
        Origin::Resumed => {}
        Origin::Granted => match end_exclusive(manager).await {
            ExclusiveUnits::Ended => {}
            ExclusiveUnits::MayRun => tracing::error!("they may run on another machine too"),
        },
    }
}

/// Tells the machine's guard of each confirmation of the lease, without end.
pub(crate) async fn extend<S: ServiceManager>(membership: &Membership, manager: &S) {
    let mut confirmations = membership.confirmations();
    let mut deadline = confirmations.deadline();
    loop {
        if let Err(error) = manager.extend(deadline).await {
            tracing::error!(%error, "the guard of exclusive units cannot be told that the lease is confirmed: it will stop them");
        }
        deadline = confirmations.next().await;
    }
}
