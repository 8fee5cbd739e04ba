//! What must never run twice: keeps the machine's guard told until when that may run, and ends it before a new membership.

use std::time::Duration;

use model::ServiceManager;
use registry::Membership;
use tokio::time::timeout;

/// How long exclusive units are waited for. They are killed at once; what lives longer hangs in the kernel, and keeping the machine out
/// of the cluster would not end it either.
const ENDING_MAX: Duration = Duration::from_secs(30);

/// How long systemd may take to say what is there before it counts as not answering.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Whether exclusive units may still run on this machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum ExclusiveUnits {
    /// None does.
    Ended,
    /// systemd answers, and they are there in spite of all: nobody can end them.
    Unkillable,
    /// Some may: systemd does not answer.
    MayRun,
}

/// Ends all exclusive units, now and by force. What may still run, the log says.
pub(crate) async fn end_exclusive<S: ServiceManager>(manager: &S) -> ExclusiveUnits {
    match timeout(ENDING_MAX, manager.give_up_exclusive()).await {
        Ok(Ok(())) => return ExclusiveUnits::Ended,
        Ok(Err(error)) => {
            tracing::error!(%error, "exclusive units may still run here");
            return ExclusiveUnits::MayRun;
        }
        Err(_) => tracing::error!(
            "exclusive units did not end within {} s and may still run here",
            ENDING_MAX.as_secs()
        ),
    }
    match timeout(ANSWER_MAX, manager.list()).await {
        Ok(Ok(_)) => ExclusiveUnits::Unkillable,
        Ok(Err(_)) | Err(_) => ExclusiveUnits::MayRun,
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
