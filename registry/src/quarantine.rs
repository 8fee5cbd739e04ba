//! Removes a record that cannot be understood, and never any other.

use etcd_client::{Compare, CompareOp, Txn, TxnOp};
use model::{Change, Removal};

use crate::connection::Registry;
use crate::error::{Effect, RegistryError};

/// How often it is tried again because somebody writes the record at the same time; then they had better be asked.
const TRIES_MAX: u32 = 8;

/// Deletes the record at `key`, in full, if it is damaged, and only while it is the one that was found so.
pub(crate) async fn remove(registry: &Registry, key: &str) -> Result<Removal, RegistryError> {
    for _ in 0..TRIES_MAX {
        let answer = registry
            .get(key.to_owned(), etcd_client::GetOptions::new())
            .await?;
        let Some(record) = answer.kvs().first() else {
            return Ok(Removal::NotQuarantined);
        };
        let change =
            (registry.layout()).decode_leased(record.key(), Some(record.value()), record.lease());
        match change {
            Some(Change::Quarantined { .. }) => {}
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
