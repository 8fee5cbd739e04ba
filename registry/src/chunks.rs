//! Writes in transactions as large as etcd allows, each of which fails as a whole if a record is no longer as expected.

use std::collections::{BTreeMap, BTreeSet};

use etcd_client::{Compare, CompareOp, GetOptions, PutOptions, Txn, TxnOp, TxnOpResponse};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use model::Revision;

use crate::connection::{Registry, from_revision, to_revision};
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

/// What a write rests on beside the fence: how a record of another stands.
#[derive(Clone, Debug)]
pub(crate) struct Premise {
    pub(crate) key: String,
    pub(crate) holds: Holds,
}

/// How a record has to stand.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Holds {
    /// It is there.
    Present,
    /// It was not written since this revision; it may have gone.
    UnwrittenSince(Revision),
}

impl Premise {
    fn compare(&self) -> Compare {
        let key = self.key.as_str();
        match self.holds {
            Holds::Present => Compare::create_revision(key, CompareOp::Greater, 0),
            Holds::UnwrittenSince(seen) => {
                let next = from_revision(seen).saturating_add(1);
                Compare::mod_revision(key, CompareOp::Less, next)
            }
        }
    }

    /// Whether it holds of a record that was last modified then; zero if it is not there.
    fn is_met(&self, modified: Revision) -> bool {
        match self.holds {
            Holds::Present => modified != Revision::default(),
            Holds::UnwrittenSince(seen) => modified <= seen,
        }
    }
}

/// Writes that are made together, and what they rest on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    pub(crate) writes: Together,
    /// By the key of the write that rests on them.
    pub(crate) premises: BTreeMap<String, Vec<Premise>>,
}

impl From<Together> for Group {
    fn from(writes: Together) -> Group {
        Group {
            writes,
            premises: BTreeMap::new(),
        }
    }
}

impl Group {
    fn premises(&self) -> impl Iterator<Item = &Premise> {
        self.premises.values().flatten()
    }

    /// Each write alone, with what it rests on.
    fn apart(mut self) -> impl Iterator<Item = Group> {
        self.writes.into_iter().map(move |(key, write)| Group {
            premises: self.premises.remove_entry(&key).into_iter().collect(),
            writes: Together::from([(key, write)]),
        })
    }

    /// What etcd counts of it towards the size of a request. A premise is compared, and looked at if it does not hold.
    fn bytes(&self) -> usize {
        let writes = self.writes.iter();
        let writes = writes.map(|(key, write)| key.len() + write.bytes());
        let premises = self.premises().map(|premise| 2 * premise.key.len());
        writes.chain(premises).sum()
    }
}

/// Makes these writes, in as few transactions as possible, each only if all of `fence` holds. Several transactions are under
/// way at once and may be done in any order: what must not be seen apart, or in another order, goes together. What is
/// larger than a transaction ought to be comes after all others: etcd may refuse it, and then only it.
///
/// # Errors
/// [`WriteError::Deposed`] if the fence does not hold, [`WriteError::Store`] if the store failed. Transactions before and beside that
/// one may have been done; [`WriteError::Undone`] if surely none was.
pub(crate) async fn write_fenced(
    registry: &Registry,
    fence: &[Compare],
    writes: impl IntoIterator<Item = Together>,
) -> Result<(), WriteError> {
    let groups = writes.into_iter().map(Group::from);
    write_if(registry, fence, groups).await.map(drop)
}

/// As [`write_fenced`], each transaction also only if all that its groups rest on holds. Returns the keys of records that stand
/// otherwise: then the transactions with these were not done, nor any without premises, which go last.
pub(crate) async fn write_if(
    registry: &Registry,
    fence: &[Compare],
    groups: impl IntoIterator<Item = Group>,
) -> Result<BTreeSet<String>, WriteError> {
    let split = split(groups, fence.len());
    let (with, without): (Vec<Chunk>, Vec<Chunk>) = split
        .chunks
        .into_iter()
        .partition(|chunk| !chunk.premises.is_empty());
    let mut done = Done::Nothing;
    for chunks in [with, without, split.oversized] {
        let failed = write_chunks(registry, fence, chunks, &mut done).await?;
        if !failed.is_empty() {
            return Ok(failed);
        }
    }
    Ok(BTreeSet::new())
}

/// Whether transactions were done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Done {
    Nothing,
    Something,
}

/// Returns the keys of the premises that do not hold. After an error no more are begun, but what is under way is waited for, so
/// that it is known whether anything was done.
async fn write_chunks(
    registry: &Registry,
    fence: &[Compare],
    chunks: Vec<Chunk>,
    done: &mut Done,
) -> Result<BTreeSet<String>, WriteError> {
    let mut chunks = chunks.into_iter();
    let first = chunks.by_ref().take(IN_FLIGHT_MAX);
    let mut under_way: FuturesUnordered<_> = first
        .map(|chunk| write_chunk(registry, fence, chunk))
        .collect();
    let mut failed = BTreeSet::new();
    let mut errors = Vec::new();
    while let Some(answer) = under_way.next().await {
        match answer {
            Ok(keys) if keys.is_empty() => *done = Done::Something,
            Ok(keys) => failed.extend(keys),
            Err(error) => errors.push(error),
        }
        if errors.is_empty()
            && let Some(chunk) = chunks.next()
        {
            under_way.push(write_chunk(registry, fence, chunk));
        }
    }
    let is_undone =
        |error: &WriteError| matches!(error, WriteError::Store(error) if error.is_undone());
    // The error that says most: being deposed, then what may have been done.
    errors.sort_by_key(|error| (*error != WriteError::Deposed, is_undone(error)));
    match errors.into_iter().next() {
        None => Ok(failed),
        Some(WriteError::Store(error)) if error.is_undone() && *done == Done::Nothing => {
            Err(WriteError::Undone(error))
        }
        Some(error) => Err(error),
    }
}

/// Returns the keys of the premises that do not hold.
async fn write_chunk(
    registry: &Registry,
    fence: &[Compare],
    chunk: Chunk,
) -> Result<BTreeSet<String>, WriteError> {
    let Chunk {
        operations,
        premises,
        ..
    } = chunk;
    let compares: Vec<Compare> = fence
        .iter()
        .cloned()
        .chain(premises.values().map(Premise::compare))
        .collect();
    let look = |premise: &Premise| {
        let options = GetOptions::new().with_keys_only();
        TxnOp::get(premise.key.as_str(), Some(options))
    };
    let looks: Vec<TxnOp> = premises.values().map(look).collect();
    let txn = Txn::new()
        .when(compares)
        .and_then(operations)
        .or_else(looks);
    let answer = match registry.txn(txn, Effect::Write).await {
        Ok(answer) if answer.succeeded() => return Ok(BTreeSet::new()),
        Ok(answer) => answer,
        Err(RegistryError::LeaseEnded) => return Err(WriteError::Deposed),
        Err(error) => return Err(error.into()),
    };
    let mut failed = BTreeSet::new();
    for (premise, response) in premises.values().zip(answer.op_responses()) {
        let TxnOpResponse::Get(found) = response else {
            continue;
        };
        let record = found.kvs().first();
        let modified = record.map(|record| to_revision(record.mod_revision()));
        if !premise.is_met(modified.unwrap_or_default()) {
            failed.insert(premise.key.clone());
        }
    }
    if failed.is_empty() {
        // All that they rest on is as it was: so it was the fence.
        return Err(WriteError::Deposed);
    }
    Ok(failed)
}

/// Transactions.
struct Split {
    /// Of at most [`CHUNK_BYTES_MAX`].
    chunks: Vec<Chunk>,
    /// Larger ones.
    oversized: Vec<Chunk>,
}

/// Groups with premises come first and share transactions with others only if all fits into one.
fn split(groups: impl IntoIterator<Item = Group>, fence: usize) -> Split {
    let mut packer = Packer::new(OPERATIONS_MAX - fence);
    let (with, without): (Vec<Group>, Vec<Group>) = groups
        .into_iter()
        .partition(|group| !group.premises.is_empty());
    for group in with.into_iter().chain(without) {
        if packer.empty_takes(&group) {
            packer.take(group);
        } else {
            // A unit that runs everywhere: what is written for one machine does not depend on another's.
            group.apart().for_each(|part| packer.take(part));
        }
    }
    packer.finish()
}

/// One transaction.
#[derive(Default)]
struct Chunk {
    operations: Vec<TxnOp>,
    /// By their keys: several writes may rest on the same, and then in the same way.
    premises: BTreeMap<String, Premise>,
    bytes: usize,
}

impl Chunk {
    fn add(&mut self, group: Group) {
        self.bytes += group.bytes();
        let premises = group.premises.into_values().flatten();
        self.premises
            .extend(premises.map(|premise| (premise.key.clone(), premise)));
        let writes = group.writes.into_iter();
        self.operations
            .extend(writes.map(|(key, write)| write.operation(key)));
    }

    fn takes(&self, group: &Group, premises_max: usize) -> bool {
        let is_new = |premise: &&Premise| !self.premises.contains_key(&premise.key);
        let new: BTreeSet<&str> = (group.premises().filter(is_new))
            .map(|premise| premise.key.as_str())
            .collect();
        self.operations.len() + group.writes.len() <= OPERATIONS_MAX
            && self.premises.len() + new.len() <= premises_max
            && self.bytes + group.bytes() <= CHUNK_BYTES_MAX
    }
}

/// Fills one transaction after the other.
struct Packer {
    full: Vec<Chunk>,
    oversized: Vec<Chunk>,
    filling: Chunk,
    premises_max: usize,
}

impl Packer {
    fn new(premises_max: usize) -> Packer {
        Packer {
            full: Vec::new(),
            oversized: Vec::new(),
            filling: Chunk::default(),
            premises_max,
        }
    }

    /// Whether the group is not too many writes or premises for one transaction.
    fn empty_takes(&self, group: &Group) -> bool {
        group.writes.len() <= OPERATIONS_MAX && group.premises().count() <= self.premises_max
    }

    fn take(&mut self, group: Group) {
        if group.bytes() > CHUNK_BYTES_MAX {
            let mut alone = Chunk::default();
            alone.add(group);
            self.oversized.push(alone);
            return;
        }
        let fits = self.filling.takes(&group, self.premises_max);
        if !fits && !self.filling.operations.is_empty() {
            self.full.push(std::mem::take(&mut self.filling));
        }
        self.filling.add(group);
    }

    fn finish(mut self) -> Split {
        if !self.filling.operations.is_empty() {
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

    fn sizes(writes: impl IntoIterator<Item = Together>) -> Vec<usize> {
        split(writes.into_iter().map(Group::from), 1)
            .chunks
            .iter()
            .map(|chunk| chunk.operations.len())
            .collect()
    }

    #[test]
    fn chunks_keep_to_both_limits_and_lose_nothing() {
        let small = (0..300).map(|n| alone(format!("k{n}"), Write::Delete));
        assert_eq!(sizes(small), [128, 128, 44]);
        let large = (0..40).map(|n| alone(format!("k{n:02}"), Write::Put(vec![0; 64 * 1024])));
        assert_eq!(sizes(large), [15, 15, 10]);
        assert!(sizes([]).is_empty());
    }

    #[test]
    fn what_is_too_large_is_kept_apart_from_all_others() {
        let huge = (0..2).map(|n| alone(format!("k{n}"), Write::Put(vec![0; 2 * CHUNK_BYTES_MAX])));
        let small = (0..3).map(|n| alone(format!("s{n}"), Write::Delete));
        let split = split(huge.chain(small).map(Group::from), 1);
        assert_eq!((split.chunks.len(), split.oversized.len()), (1, 2));
        assert_eq!(split.chunks[0].operations.len(), 3);
    }

    #[test]
    fn what_goes_together_is_not_split() {
        let pair = |n: usize| -> Together {
            [format!("a{n}"), format!("b{n}")]
                .map(|key| (key, Write::Delete))
                .into()
        };
        let first = alone("first".to_owned(), Write::Delete);
        assert_eq!(
            sizes([first].into_iter().chain((0..100).map(pair))),
            [127, 74]
        );
        let everywhere: Together = (0..300)
            .map(|n| (format!("k{n:03}"), Write::Delete))
            .collect();
        assert_eq!(sizes([everywhere]), [128, 128, 44]);
    }

    #[test]
    fn fence_and_premises_are_within_what_one_transaction_may_compare() {
        let group = |n: usize| Group {
            writes: alone(format!("k{n}"), Write::Delete),
            premises: resting(format!("k{n}"), format!("p{n}")),
        };
        let plain = |n: usize| Group::from(alone(format!("w{n}"), Write::Delete));
        let groups = (0..100).flat_map(|n| [plain(n), group(n)]);
        let filled: Vec<(usize, usize)> = split(groups, 1)
            .chunks
            .iter()
            .map(|chunk| (chunk.operations.len(), chunk.premises.len()))
            .collect();
        assert_eq!(filled, [(128, 100), (72, 0)], "what rests on others first");
        let filled: Vec<usize> = split((0..300).map(group), 1)
            .chunks
            .iter()
            .map(|chunk| chunk.premises.len())
            .collect();
        assert_eq!(filled, [127, 127, 46]);
    }

    #[test]
    fn what_is_split_keeps_what_it_rests_on() {
        for count in [127, 128, 300] {
            let keys = || (0..count).map(|n| format!("k{n:03}"));
            let everywhere = Group {
                writes: keys().map(|key| (key, Write::Delete)).collect(),
                premises: (keys().flat_map(|key| resting(key.clone(), format!("p{key}"))))
                    .collect(),
            };
            let split = split([everywhere], 1);
            let premises = split.chunks.iter().map(|chunk| chunk.premises.len());
            assert!(premises.clone().all(|count| count <= 127));
            assert_eq!(premises.sum::<usize>(), count);
            let operations = split.chunks.iter().map(|chunk| chunk.operations.len());
            assert_eq!(operations.sum::<usize>(), count);
        }
    }

    #[test]
    fn what_several_rest_on_is_compared_once() {
        let groups = (0..128).map(|n| Group {
            writes: alone(format!("k{n}"), Write::Delete),
            premises: resting(format!("k{n}"), "shared".to_owned()),
        });
        let split = split(groups, 1);
        let [chunk] = &split.chunks[..] else {
            panic!("{} transactions", split.chunks.len())
        };
        assert_eq!((chunk.operations.len(), chunk.premises.len()), (128, 1));
    }

    fn resting(write: String, premise: String) -> BTreeMap<String, Vec<Premise>> {
        let premise = Premise {
            key: premise,
            holds: Holds::Present,
        };
        [(write, vec![premise])].into()
    }
}
