//! Taking this machine's place in the cluster, attempt by attempt under one lease, which is remembered before anything stands under it:
//! when the answer to an attempt is lost, or fleetd dies meanwhile, the next one finds its own record and not another machine's.

use std::time::Duration;

use futures_util::FutureExt;
use model::{Machine, ServiceManager};
use registry::{Join, Lease, LeaseId, Membership, Origin, Registry, RegistryError};

use crate::exclusive::{ExclusiveUnits, end_exclusive};

/// How an attempt went.
#[derive(Debug)]
pub enum Joined {
    /// The place is ours, as long as the lease lives.
    Member(Lease, Membership),
    /// A machine with the same id is alive. The lease has nothing under it.
    Occupied {
        /// What was to be the place's.
        lease: Lease,
        /// The other one.
        other: Machine,
    },
}

/// Why an attempt failed; it is to be repeated.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] RegistryError),
    /// It is not known whether exclusive units of an earlier lease run here: they may run elsewhere by now.
    #[error(
        "systemd cannot say that exclusive units of before have ended: this machine joins once it can"
    )]
    ExclusiveMayRun,
}

/// What is kept from one attempt to the next.
#[derive(Debug, Default)]
pub struct Joining {
    lease: Option<Lease>,
    /// Nothing exclusive runs that was started under an earlier lease.
    is_clean: bool,
}

impl Joining {
    /// Tries once. Under a lease that an earlier process had (`resume`) exclusive units run on. Under a new one none may run: what
    /// this machine said of them under the earlier lease is gone with that, so they may be running elsewhere by now. `remember` is
    /// told of the lease before it is joined with.
    ///
    /// # Errors
    /// See [`JoinError`]; try again with this same value. May be dropped at any time.
    pub async fn attempt<S: ServiceManager>(
        &mut self,
        registry: &Registry,
        machine: &Machine,
        (lease_ttl, resume): (Duration, Option<LeaseId>),
        manager: &S,
        remember: impl FnOnce(LeaseId) + Send,
    ) -> Result<Joined, JoinError> {
        let lives = |lease: &Lease| lease.lost().now_or_never().is_none();
        let lease = match self.lease.take().filter(lives) {
            Some(lease) => self.lease.insert(lease),
            None => {
                self.is_clean = false;
                self.lease.insert(registry.lease(lease_ttl, resume).await?)
            }
        };
        if lease.origin() == Origin::Granted && !self.is_clean {
            match end_exclusive(manager).await {
                ExclusiveUnits::Ended => {}
                ExclusiveUnits::Unkillable => {
                    tracing::error!("they may run on another machine too");
                }
                ExclusiveUnits::MayRun => return Err(JoinError::ExclusiveMayRun),
            }
        }
        self.is_clean = true;
        remember(lease.id());
        let join = registry.join(machine, lease).await?;
        let Some(lease) = self.lease.take() else {
            // It was there all the time.
            return Err(JoinError::Store(RegistryError::LeaseEnded));
        };
        Ok(match join {
            Join::Joined(membership) => Joined::Member(lease, membership),
            Join::Occupied { other } => Joined::Occupied { lease, other },
        })
    }
}
