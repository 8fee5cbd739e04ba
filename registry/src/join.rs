//! Taking this machine's place in the cluster, unless another machine with the same id is alive.

use std::time::Duration;

use etcd_client::{
    Compare, CompareOp, GetOptions, KeyValue, PutOptions, Txn, TxnOp, TxnOpResponse,
};
use model::{Machine, RecordKey};
use tokio::time::{Instant, sleep};

use crate::connection::Registry;
use crate::error::{Effect, RegistryError};
use crate::layout;
use crate::lease::{Lease, LeaseId};
use crate::membership::Membership;

/// How often it is looked whether another's record is kept alive or gone. Only while joining, for at most its time to live.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// A record that outlives its lease's time to live by this is being kept alive: etcd looks for ended leases twice a second,
/// and a new etcd leader gives all leases an election timeout more.
const EXPIRY_SLACK: Duration = Duration::from_secs(3);

/// How joining went.
#[derive(Debug)]
pub enum Join {
    /// The place is ours.
    Joined(Membership),
    /// A machine with the same id is alive.
    Occupied {
        /// The other one.
        other: Machine,
    },
}

/// What one look at the other's record showed.
enum Look {
    /// It is gone or changed hands: try again.
    Changed,
    /// It is still there, and its lease has this long to live.
    Remains(Duration),
}

impl Registry {
    /// Takes the machine's place. A record under this very lease is ours; one of an earlier boot of this machine (same
    /// address, other boot) is taken over at once; any other is waited for until it ends, or is seen being kept alive.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn join(&self, machine: &Machine, lease: &Lease) -> Result<Join, RegistryError> {
        let key = self.layout().key(&RecordKey::Machine(machine.id.clone()));
        loop {
            let Some(found) = self.create_machine(&key, machine, lease).await? else {
                return Ok(self.joined(machine, lease));
            };
            let other = layout::read_machine(&machine.id, found.value());
            let ours = found.lease() == lease.id().0;
            let earlier_boot = other.as_ref().is_ok_and(|other| {
                !machine.address.is_empty()
                    && other.address == machine.address
                    && other.boot != machine.boot
            });
            if ours || earlier_boot || found.lease() == 0 {
                // A record without a lease would never end by itself: nobody keeps it alive.
                if self.take_over(&key, machine, lease, &found).await? {
                    return Ok(self.joined(machine, lease));
                }
                continue;
            }
            if self.is_kept_alive(&key, &found).await? {
                let other = other.map_err(|reason| RegistryError::Damaged {
                    key: key.clone(),
                    reason,
                })?;
                return Ok(Join::Occupied { other });
            }
        }
    }

    fn joined(&self, machine: &Machine, lease: &Lease) -> Join {
        Join::Joined(Membership::new(self.clone(), machine.id.clone(), lease))
    }

    /// Creates the record; returns the one that is there already.
    async fn create_machine(
        &self,
        key: &str,
        machine: &Machine,
        lease: &Lease,
    ) -> Result<Option<KeyValue>, RegistryError> {
        let options = PutOptions::new().with_lease(lease.id().0);
        let txn = Txn::new()
            .when([Compare::create_revision(key, CompareOp::Equal, 0)])
            .and_then([TxnOp::put(key, layout::machine(machine), Some(options))])
            .or_else([TxnOp::get(key, None)]);
        let answer = self.txn(txn, Effect::Write).await?;
        if answer.succeeded() {
            return Ok(None);
        }
        match answer.op_responses().into_iter().next() {
            Some(TxnOpResponse::Get(mut found)) => match found.take_kvs().into_iter().next() {
                Some(record) => Ok(Some(record)),
                None => Err(RegistryError::Protocol {
                    reason: "a record that is there and is not".to_owned(),
                }),
            },
            Some(_) | None => Err(RegistryError::Protocol {
                reason: "a read without an answer".to_owned(),
            }),
        }
    }

    /// Overwrites the record if it is still the one found, then ends the lease it was under, and with it the statuses of
    /// the earlier boot. In this order the machine is never seen gone.
    async fn take_over(
        &self,
        key: &str,
        machine: &Machine,
        lease: &Lease,
        found: &KeyValue,
    ) -> Result<bool, RegistryError> {
        let options = PutOptions::new().with_lease(lease.id().0);
        let txn = Txn::new()
            .when([Compare::mod_revision(
                key,
                CompareOp::Equal,
                found.mod_revision(),
            )])
            .and_then([TxnOp::put(key, layout::machine(machine), Some(options))]);
        if !self.txn(txn, Effect::Write).await?.succeeded() {
            return Ok(false);
        }
        if found.lease() != 0 && found.lease() != lease.id().0 {
            self.revoke_lease(LeaseId(found.lease())).await?;
        }
        Ok(true)
    }

    /// Waits until the record found changes or goes (false), or its lease is seen to be kept alive (true).
    async fn is_kept_alive(&self, key: &str, found: &KeyValue) -> Result<bool, RegistryError> {
        let lease = LeaseId(found.lease());
        let Some((mut lowest, granted)) = self.lease_remaining(lease).await? else {
            sleep(LOOK_INTERVAL).await;
            return Ok(false);
        };
        let started = Instant::now();
        loop {
            sleep(LOOK_INTERVAL).await;
            match self.look(key, found, lease).await? {
                Look::Changed => return Ok(false),
                Look::Remains(remaining) if remaining > lowest => return Ok(true),
                Look::Remains(remaining) => lowest = remaining,
            }
            if started.elapsed() > granted + EXPIRY_SLACK {
                return Ok(true);
            }
        }
    }

    async fn look(
        &self,
        key: &str,
        found: &KeyValue,
        lease: LeaseId,
    ) -> Result<Look, RegistryError> {
        let answer = self
            .get(key.to_owned(), GetOptions::new().with_keys_only())
            .await?;
        let same = answer
            .kvs()
            .first()
            .is_some_and(|record| record.mod_revision() == found.mod_revision());
        if !same {
            return Ok(Look::Changed);
        }
        Ok(match self.lease_remaining(lease).await? {
            Some((remaining, _)) => Look::Remains(remaining),
            None => Look::Changed,
        })
    }
}
