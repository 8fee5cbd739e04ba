//! This machine's own records: who it is and what it reports, all under its lease, and none written once another holds
//! its place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use etcd_client::{Compare, CompareOp};
use model::mutation::{Mutation, is_made};
use model::{Change, Deadline, Machine, MachineId, RecordKey, UnitStatus};
use tokio::sync::watch;
use unitfile::UnitName;

use crate::chunks::{Group, Holds, Premise, Together, Write, write_fenced, write_if};
use crate::connection::Registry;
use crate::error::{RegistryError, WriteError};
use crate::layout;
use crate::lease::{Lease, LeaseId, LeaseState};
use crate::listing::{Range, list};

/// This machine's place in the cluster. It ends with the lease it was made with.
#[derive(Debug)]
pub struct Membership {
    registry: Registry,
    machine: MachineId,
    lease: LeaseId,
    confirmations: Confirmations,
    /// Set once the machine's record has been taken away by ourselves.
    left: AtomicBool,
}

/// Follows the confirmations of a machine's lease.
#[derive(Clone, Debug)]
pub struct Confirmations {
    state: watch::Receiver<LeaseState>,
    lease_ttl: Duration,
}

impl Confirmations {
    /// What follows from the last one.
    pub fn deadline(&mut self) -> Deadline {
        let confirmed = self.state.borrow_and_update().confirmed;
        Deadline::of(confirmed.boot_ms, self.lease_ttl)
    }

    fn has_passed(&self, boot_ms: u64) -> bool {
        let confirmed_ms = self.state.borrow().confirmed.boot_ms;
        let ttl_ms = u64::try_from(self.lease_ttl.as_millis()).unwrap_or(u64::MAX);
        boot_ms >= confirmed_ms.saturating_add(ttl_ms)
    }

    /// Waits for the next one. For ever, once the lease is no longer kept alive.
    pub async fn next(&mut self) -> Deadline {
        if self.state.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.deadline()
    }
}

impl Membership {
    pub(crate) fn new(registry: Registry, machine: MachineId, lease: &Lease) -> Membership {
        Membership {
            registry,
            machine,
            lease: lease.id(),
            confirmations: Confirmations {
                state: lease.state(),
                lease_ttl: lease.ttl(),
            },
            left: AtomicBool::new(false),
        }
    }

    /// Publishes what has become of units; none means that the machine has nothing more to say of it.
    ///
    /// # Errors
    /// [`WriteError::Deposed`] if the machine's record is not under our lease any more, or the lease has ended. Some of
    /// the statuses may have been published.
    pub async fn publish(
        &self,
        statuses: Vec<(UnitName, Option<UnitStatus>)>,
    ) -> Result<(), WriteError> {
        self.publish_where_scheduled(statuses, &BTreeSet::new())
            .await
            .map(drop)
    }

    /// As [`Membership::publish`], but of the units `first` only if this machine's schedule has them: by its first status of a
    /// unit a machine takes it, and from then on it runs nowhere else. Returns those that the schedule no longer has here;
    /// of these nothing was published, and none may be started.
    ///
    /// # Errors
    /// As [`Membership::publish`].
    pub async fn publish_where_scheduled(
        &self,
        statuses: Vec<(UnitName, Option<UnitStatus>)>,
        first: &BTreeSet<UnitName>,
    ) -> Result<BTreeSet<UnitName>, WriteError> {
        let layout = self.registry.layout();
        let mut groups: BTreeMap<UnitName, Group> = BTreeMap::new();
        for (unit, status) in statuses {
            let write = match status {
                Some(status) if is_made(Mutation::StatusesWithoutLease) => {
                    Write::Put(layout::status(&status))
                }
                Some(status) => Write::PutLeased(layout::status(&status), self.lease),
                None => Write::Delete,
            };
            let record = RecordKey::Status(self.machine.clone(), unit.clone());
            let key = layout.key(&record);
            let premises = first.get(&unit).map(|unit| {
                let premise = Premise {
                    key: self.entry(unit),
                    holds: Holds::Present,
                };
                (key.clone(), vec![premise])
            });
            let premises = premises.filter(|_| !is_made(Mutation::FirstStatusNotCompared));
            let premises = premises.into_iter().collect();
            let writes = Together::from([(key, write)]);
            groups.insert(unit, Group { writes, premises });
        }
        let mut gone = BTreeSet::new();
        loop {
            let fence = [self.fence()];
            let missing = write_if(&self.registry, &fence, groups.values().cloned()).await?;
            if missing.is_empty() {
                return Ok(gone);
            }
            // Each time there are fewer of them. What was written already is written again.
            let is_missing =
                |unit: &UnitName| first.contains(unit) && missing.contains(&self.entry(unit));
            gone.extend(groups.keys().filter(|unit| is_missing(unit)).cloned());
            groups.retain(|unit, _| !is_missing(unit));
        }
    }

    /// Publishes what the machine now says of itself.
    ///
    /// # Errors
    /// As [`Membership::publish`]; also after [`Membership::leave_schedule`] it changes nothing.
    pub async fn update(&self, machine: &Machine) -> Result<(), WriteError> {
        if self.left.load(Ordering::Relaxed) {
            return Ok(());
        }
        let write = Write::PutLeased(layout::machine(machine), self.lease);
        write_fenced(
            &self.registry,
            &[self.fence()],
            [Together::from([(self.key(), write)])],
        )
        .await
    }

    /// Takes the machine's record away, so that nothing new is placed on it, while its lease and statuses live on.
    ///
    /// # Errors
    /// As [`Membership::publish`]. May be repeated.
    pub async fn leave_schedule(&self) -> Result<(), WriteError> {
        if self.left.load(Ordering::Relaxed) {
            return Ok(());
        }
        let result = write_fenced(
            &self.registry,
            &[self.fence()],
            [Together::from([(self.key(), Write::Delete)])],
        )
        .await;
        // After a lost answer the record may be gone: then the fence of what follows must not ask for it.
        let gone = match &result {
            Ok(()) => true,
            Err(WriteError::Store(RegistryError::Unknown { .. })) => {
                let range = Range::Key(self.key());
                let mut present = false;
                list(&self.registry, &range, |_| present = true).await?;
                !present
            }
            Err(
                WriteError::Deposed
                | WriteError::Contested
                | WriteError::Undone(_)
                | WriteError::Store(_),
            ) => false,
        };
        if gone {
            self.left.store(true, Ordering::Relaxed);
            return Ok(());
        }
        result
    }

    /// True if the lease has not been confirmed for as long as it lives: the cluster may take this machine for lost.
    pub fn may_have_ended(&self) -> bool {
        self.confirmations.has_passed(self.registry.boot_ms())
    }

    /// How far what must never run twice may run, confirmation by confirmation of the lease.
    pub fn confirmations(&self) -> Confirmations {
        self.confirmations.clone()
    }

    /// What the machine has published, as the store has it now. Damaged records are left out, and so are those under an earlier
    /// lease, with which they will end: publish them again.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn statuses(&self) -> Result<BTreeMap<UnitName, UnitStatus>, RegistryError> {
        let mut statuses = BTreeMap::new();
        let layout = self.registry.layout();
        let range = Range::Prefix(layout.states_prefix(&self.machine));
        list(&self.registry, &range, |record| {
            if record.lease() == self.lease.0
                && let Some(Change::Status(_, unit, Some(status))) =
                    layout.decode(record.key(), Some(record.value()))
            {
                statuses.insert(unit, status);
            }
        })
        .await?;
        Ok(statuses)
    }

    /// The key of a unit's entry in this machine's schedule.
    fn entry(&self, unit: &UnitName) -> String {
        let record = RecordKey::Assignment(self.machine.clone(), unit.clone());
        self.registry.layout().key(&record)
    }

    fn key(&self) -> String {
        self.registry
            .layout()
            .key(&RecordKey::Machine(self.machine.clone()))
    }

    /// Holds while the place is ours: the record is under our lease, or nobody's after we left.
    fn fence(&self) -> Compare {
        if self.left.load(Ordering::Relaxed) {
            Compare::create_revision(self.key(), CompareOp::Equal, 0)
        } else {
            Compare::lease(self.key(), CompareOp::Equal, self.lease.0)
        }
    }
}
