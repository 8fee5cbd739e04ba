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

/// Writes that are made in one transaction, all or none, if there are at most [`OPERATIONS_MAX`] of them; by key.
pub(crate) type Together = BTreeMap<String, Write>;

/// Makes these writes, in as few transactions as possible, each only if all of `fence` holds. Several transactions are under
/// way at once and may be done in any order: what must not be seen apart, or in another order, goes together. What is
/// larger than a transaction ought to be comes after all others: etcd may refuse it, and then only it.
///
/// # Errors
/// [`WriteError::Deposed`] if the fence does not hold. Transactions before and beside that one may have been done.
pub(crate) async fn write_fenced(
    registry: &Registry,
    fence: &[Compare],
    writes: impl IntoIterator<Item = Together>,
) -> Result<(), WriteError> {
    let split = split(writes);
    for chunks in [split.chunks, split.oversized] {
        stream::iter(chunks)
            .map(|operations| write_chunk(registry, fence, operations))
            .buffer_unordered(IN_FLIGHT_MAX)
            .try_collect::<()>()
            .await?;
    }
    Ok(())
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

/// Transactions.
struct Split {
    /// Of at most [`CHUNK_BYTES_MAX`].
    chunks: Vec<Vec<TxnOp>>,
    /// Larger ones.
    oversized: Vec<Vec<TxnOp>>,
}

fn split(writes: impl IntoIterator<Item = Together>) -> Split {
    let mut packer = Packer::default();
    for together in writes {
        if together.len() <= OPERATIONS_MAX {
            packer.take(together);
        } else {
            // A unit that runs everywhere: what is written for one machine does not depend on another's.
            for (key, write) in together {
                packer.take(Together::from([(key, write)]));
            }
        }
    }
    packer.finish()
}

/// Fills one transaction after the other.
#[derive(Default)]
struct Packer {
    full: Vec<Vec<TxnOp>>,
    oversized: Vec<Vec<TxnOp>>,
    filling: Vec<TxnOp>,
    bytes: usize,
}

impl Packer {
    fn take(&mut self, together: Together) {
        let bytes = together
            .iter()
            .map(|(key, write)| key.len() + write.bytes())
            .sum::<usize>();
        let operations = together.len();
        let writes = together
            .into_iter()
            .map(|(key, write)| write.operation(key));
        if bytes > CHUNK_BYTES_MAX {
            self.oversized.push(writes.collect());
            return;
        }
        let fits = self.filling.len() + operations <= OPERATIONS_MAX
            && self.bytes + bytes <= CHUNK_BYTES_MAX;
        if !fits && !self.filling.is_empty() {
            self.full.push(std::mem::take(&mut self.filling));
            self.bytes = 0;
        }
        self.bytes += bytes;
        self.filling.extend(writes);
    }

    fn finish(mut self) -> Split {
        if !self.filling.is_empty() {
            self.full.push(self.filling);
        }
        Split {
            chunks: self.full,
            oversized: self.oversized,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alone(key: String, write: Write) -> Together {
        Together::from([(key, write)])
    }

    fn sizes_of(writes: impl IntoIterator<Item = Together>) -> Vec<usize> {
        split(writes).chunks.iter().map(Vec::len).collect()
    }

    #[test]
    fn chunks_keep_to_both_limits_and_lose_nothing() {
        let small = (0..300).map(|n| alone(format!("k{n}"), Write::Delete));
        let sizes = sizes_of(small);
        assert_eq!(sizes, [128, 128, 44]);
        let large = (0..40).map(|n| alone(format!("k{n:02}"), Write::Put(vec![0; 64 * 1024])));
        let sizes = sizes_of(large);
        assert_eq!(sizes, [15, 15, 10]);
        assert!(split([]).chunks.is_empty());
    }

    #[test]
    fn what_is_too_large_is_kept_apart_from_all_others() {
        let huge = (0..2).map(|n| alone(format!("k{n}"), Write::Put(vec![0; 2 * CHUNK_BYTES_MAX])));
        let small = (0..3).map(|n| alone(format!("s{n}"), Write::Delete));
        let split = split(huge.chain(small));
        assert_eq!((split.chunks.len(), split.oversized.len()), (1, 2));
        assert_eq!(split.chunks[0].len(), 3);
    }

    #[test]
    fn what_goes_together_is_not_split() {
        let pair = |n: usize| -> Together {
            [format!("a{n}"), format!("b{n}")]
                .map(|key| (key, Write::Delete))
                .into()
        };
        let first = [alone("first".to_owned(), Write::Delete)];
        let sizes = sizes_of(first.into_iter().chain((0..100).map(pair)));
        assert_eq!(sizes, [127, 74]);
        let everywhere: Together = (0..300)
            .map(|n| (format!("k{n:03}"), Write::Delete))
            .collect();
        let sizes = sizes_of([everywhere]);
        assert_eq!(sizes, [128, 128, 44]);
    }
}
