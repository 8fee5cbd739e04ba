//! One hollow machine: joins, has fleet's own agent work on a systemd that only pretends, joins again if its lease is
//! lost, and ends its lease when told to leave.
//!
//! It does not live `agent::Lifecycle`, which fleetd and the simulation share: thousands leave at once here by no more than ending
//! their leases, come in through a door that only so many fit, each watch by a connection of its own, and keep nothing between processes. What is
//! measured with them, an agent at work, is the same.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use agent::fake::FakeSystemd;
use model::{BootId, Capacity, Machine, MachineId, StoreError};
use registry::{Join, Lease, Membership, Registry, RegistryError};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::boot_clock::BootClock;

/// Says that a machine is hollow, and which process it is of.
pub(super) const HOLLOW_METADATA: &str = "hollow";

/// The pause after joining failed.
const RETRY: Duration = Duration::from_secs(1);

/// What a hollow machine claims to have: a small server.
const CAPACITY: Capacity = Capacity {
    memory_bytes: 16 * 1024 * 1024 * 1024,
    cpu_milli: 8000,
};

/// What all hollow machines of this process share.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    /// The connection.
    pub(super) registry: Registry,
    /// How long a machine is taken to live without a sign of it.
    pub(super) lease_ttl: Duration,
    /// How the machines are.
    pub(super) roll: watch::Sender<Roll>,
    /// One permit for each machine that may be joining or leaving.
    pub(super) doors: Arc<Semaphore>,
    /// Ends them all.
    pub(super) leave: CancellationToken,
}

/// How many machines there are, and what keeps others from joining.
#[derive(Clone, Debug, Default)]
pub(super) struct Roll {
    /// Machines that are in the cluster.
    pub(super) present: u32,
    /// Leases that were lost while their machine was in the cluster.
    pub(super) lost: u32,
    /// Leases that were not ended: they end by themselves.
    pub(super) left_behind: u32,
    /// The last failure to join.
    pub(super) problem: Option<String>,
}

/// Describes machine `number` of the process named `tag`.
pub(super) fn describe(id: MachineId, tag: &str, number: u32, version: &str) -> Machine {
    Machine {
        id,
        boot: BootId(format!("{tag}-{number}")),
        address: String::new(),
        metadata: BTreeMap::from([
            (HOLLOW_METADATA.to_owned(), tag.to_owned()),
            ("number".to_owned(), number.to_string()),
        ]),
        version: version.to_owned(),
        capacity: CAPACITY,
    }
}

impl Shared {
    /// Is this machine until told to leave.
    pub(super) async fn live(self, machine: Machine) {
        let systemd = Arc::new(FakeSystemd::new(Arc::new(BootClock)));
        systemd.forget_history();
        while let Some((lease, membership)) = self.join(&machine).await {
            self.roll.send_modify(|roll| roll.present += 1);
            let told_to_leave = self.work(&machine, &lease, &membership, &systemd).await;
            self.roll.send_modify(|roll| roll.present -= 1);
            if told_to_leave {
                return self.end(lease).await;
            }
            self.roll.send_modify(|roll| roll.lost += 1);
        }
    }

    /// Takes the machine's place; none if told to leave meanwhile.
    async fn join(&self, machine: &Machine) -> Option<(Lease, Membership)> {
        loop {
            let joined = tokio::select! {
                () = self.leave.cancelled() => return None,
                joined = self.try_join(machine) => joined,
            };
            let problem = match joined {
                Ok((lease, Join::Joined(membership))) => return Some((lease, membership)),
                Ok((lease, Join::Occupied { .. })) => {
                    self.end(lease).await;
                    format!("{} is in the cluster already", machine.id)
                }
                Err(error) => StoreError::from(error).to_string(),
            };
            self.roll
                .send_modify(|roll| roll.problem = Some(problem.clone()));
            tokio::select! {
                () = self.leave.cancelled() => return None,
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }

    async fn try_join(&self, machine: &Machine) -> Result<(Lease, Join), RegistryError> {
        // Closed only with the process.
        let _door = self.doors.acquire().await;
        let lease = self.registry.lease(self.lease_ttl, None).await?;
        let joined = self.registry.join(machine, &lease).await?;
        Ok((lease, joined))
    }

    /// Works under one membership. True if it was told to leave, false if the lease was lost.
    async fn work(
        &self,
        machine: &Machine,
        lease: &Lease,
        membership: &Membership,
        systemd: &Arc<FakeSystemd>,
    ) -> bool {
        let agent = agent::run(
            self.registry.another(),
            machine.id.clone(),
            membership,
            Arc::clone(systemd),
            self.leave.clone(),
        );
        tokio::select! {
            () = agent => self.leave.is_cancelled(),
            _ = lease.lost() => false,
        }
    }

    async fn end(&self, lease: Lease) {
        let _door = self.doors.acquire().await;
        if let Err(error) = lease.revoke().await {
            tracing::debug!(%error, "a lease could not be ended; it ends by itself");
            self.roll.send_modify(|roll| roll.left_behind += 1);
        }
    }
}
