//! Writes in transactions as large as etcd allows, each of which fails as a whole if a record is no longer as expected.

use std::collections::BTreeMap;

use etcd_client::{Compare, PutOptions, Txn, TxnOp};
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::connection::Registry;
use crate::error::{Effect, RegistryError, WriteError};
use crate::lease::LeaseId;

/// Operations, and likewise compares, that etcd takes in one transaction (its default, `--max-txn-ops`).
pub(crate) const OPERATIONS_MAX: usize = 128;

/// Bytes of keys and values in one transaction: etcd refuses requests over 1.5 MiB, and the frame needs some.
pub(crate) const CHUNK_BYTES_MAX: usize = 1024 * 1024;

/// Transactions under way at once: enough to keep etcd's disk busy, too few to crowd out others.
pub(crate) const IN_FLIGHT_MAX: usize = 4;

/// What is to become of one key.
#[derive(Clone, Debug)]
pub(crate) enum Write {
    /// It gets this value and no lease.
    Put(Vec<u8>),
    /// It gets this value and goes with the lease.
    PutLeased(Vec<u8>, LeaseId),
    /// It goes.
    Delete,
}

impl Write {
    /// What etcd counts of it towards the size of a request, except the key.
    fn bytes(&self) -> usize {
        match self {
            Write::Put(value) | Write::PutLeased(value, _) => value.len(),
            Write::Delete => 0,
        }
    }

    /// The operation on `key`.
    pub(crate) fn operation(self, key: String) -> TxnOp {
        match self {
            Write::Put(value) => TxnOp::put(key, value, None),
            Write::PutLeased(value, lease) => {
                TxnOp::put(key, value, Some(PutOptions::new().with_lease(lease.0)))
            }
            Write::Delete => TxnOp::delete(key, None),
        }
    }
}

/// Makes these writes, in as few transactions as possible, each only if all of `fence` holds.
///
/// # Errors
/// [`WriteError::Deposed`] if the fence does not hold. Transactions before and beside that one may have been done.
pub(crate) async fn write_fenced(
    registry: &Registry,
    fence: &[Compare],
    writes: BTreeMap<String, Write>,
) -> Result<(), WriteError> {
    stream::iter(split(writes))
        .map(|operations| write_chunk(registry, fence, operations))
        .buffer_unordered(IN_FLIGHT_MAX)
        .try_collect()
        .await
}

async fn write_chunk(
    registry: &Registry,
    fence: &[Compare],
    operations: Vec<TxnOp>,
) -> Result<(), WriteError> {
    let txn = Txn::new().when(fence).and_then(operations);
    match registry.txn(txn, Effect::Write).await {
        Ok(answer) if answer.succeeded() => Ok(()),
        Ok(_) | Err(RegistryError::LeaseEnded) => Err(WriteError::Deposed),
        Err(error) => Err(error.into()),
    }
}

fn split(writes: BTreeMap<String, Write>) -> Vec<Vec<TxnOp>> {
    let mut chunks = Vec::new();
    let mut chunk = Vec::new();
    let mut bytes = 0;
    for (key, write) in writes {
        let more = key.len() + write.bytes();
        if chunk.len() == OPERATIONS_MAX || (!chunk.is_empty() && bytes + more > CHUNK_BYTES_MAX) {
            chunks.push(std::mem::take(&mut chunk));
            bytes = 0;
        }
        bytes += more;
        chunk.push(write.operation(key));
    }
    if !chunk.is_empty() {
        chunks.push(chunk);
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_keep_to_both_limits_and_lose_nothing() {
        let small = (0..300).map(|n| (format!("k{n}"), Write::Delete)).collect();
        let sizes: Vec<usize> = split(small).iter().map(Vec::len).collect();
        assert_eq!(sizes, [128, 128, 44]);
        let large = (0..40)
            .map(|n| (format!("k{n:02}"), Write::Put(vec![0; 64 * 1024])))
            .collect();
        let sizes: Vec<usize> = split(large).iter().map(Vec::len).collect();
        assert_eq!(sizes, [15, 15, 10]);
        let huge = (0..2)
            .map(|n| (format!("k{n}"), Write::Put(vec![0; 2 * CHUNK_BYTES_MAX])))
            .collect();
        assert_eq!(split(huge).len(), 2);
        assert!(split(BTreeMap::new()).is_empty());
    }
}
