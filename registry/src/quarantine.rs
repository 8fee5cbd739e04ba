//! Removes a record that cannot be understood, and never any other, nor one that a live machine has to write anew itself.

use etcd_client::{Compare, CompareOp, GetOptions, Txn, TxnOp};
use model::{Change, MachineId, RecordKey, Removal};

use crate::connection::Registry;
use crate::error::{Effect, RegistryError};

/// How often it is tried again because somebody writes the record at the same time; then they had better be asked.
const TRIES_MAX: u32 = 8;

/// Reports looked at to see whether a machine keeps any of them alive. All that it wrote itself are under its lease, so a few would do;
/// the others were written over by hand.
const REPORTS_MAX: i64 = 1_000;

/// Deletes the record at `key`, in full, if it is damaged, and only while it is the one that was found so.
pub(crate) async fn remove(registry: &Registry, key: &str) -> Result<Removal, RegistryError> {
    for _ in 0..TRIES_MAX {
        let answer = registry.get(key.to_owned(), GetOptions::new()).await?;
        let Some(record) = answer.kvs().first() else {
            return Ok(Removal::NotQuarantined);
        };
        let change =
            (registry.layout()).decode_leased(record.key(), Some(record.value()), record.lease());
        match change {
            Some(Change::Quarantined { record: kind, .. }) => {
                if let Some(RecordKey::Machine(machine) | RecordKey::Status(machine, _)) = kind
                    && is_alive(registry, &machine).await?
                {
                    return Ok(Removal::Alive);
                }
            }
            Some(_) | None => return Ok(Removal::NotQuarantined),
        }
        let same = Compare::mod_revision(key, CompareOp::Equal, record.mod_revision());
        let txn = Txn::new().when([same]).and_then([TxnOp::delete(key, None)]);
        if registry.txn(txn, Effect::Write).await?.succeeded() {
            return Ok(Removal::Removed);
        }
    }
    Err(RegistryError::Protocol {
        reason: format!("{key} is being written again and again"),
    })
}

/// True if anything that the machine writes of itself is under a lease. The damaged record is under none if it was written by hand, also
/// while the machine is alive.
async fn is_alive(registry: &Registry, machine: &MachineId) -> Result<bool, RegistryError> {
    let layout = registry.layout();
    let key = layout.key(&RecordKey::Machine(machine.clone()));
    let place = registry.get(key, GetOptions::new().with_keys_only());
    if place.await?.kvs().iter().any(|record| record.lease() != 0) {
        return Ok(true);
    }
    let options = (GetOptions::new().with_prefix())
        .with_keys_only()
        .with_limit(REPORTS_MAX);
    let reports = registry.get(layout.states_prefix(machine), options).await?;
    Ok(reports.kvs().iter().any(|record| record.lease() != 0))
}
