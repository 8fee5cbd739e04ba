//! Decides what a transaction does: compares, refusals, reads and writes in etcd's order. PURE.
//!
//! A refusal is decided before the first write, so a refused transaction leaves nothing behind.

use std::collections::BTreeSet;

use super::mvcc::{KeyVersion, Mvcc, Revision, Version};
use super::range::{Blob, KeyRange};
use super::refusal::Refusal;

/// etcd's default limit of compares, and of operations in a branch.
pub(crate) const OPERATIONS_MAX: usize = 128;

/// How an answer to a range is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    None,
    Ascending,
    Descending,
}

/// What an answer to a range is ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SortTarget {
    Key,
    Version,
    Create,
    Mod,
    Value,
}

/// Bounds on a revision, both inclusive; 0 is no bound.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RevisionBounds {
    pub(crate) min: i64,
    pub(crate) max: i64,
}

impl RevisionBounds {
    fn is_open(self) -> bool {
        self.min == 0 && self.max == 0
    }

    fn admits(self, revision: i64) -> bool {
        (self.min == 0 || revision >= self.min) && (self.max == 0 || revision <= self.max)
    }
}

/// A read.
#[derive(Clone, Debug)]
pub(crate) struct RangeQuery {
    pub(crate) range: KeyRange,
    /// 0 is no limit.
    pub(crate) limit: usize,
    /// 0 is now.
    pub(crate) revision: i64,
    pub(crate) order: Order,
    pub(crate) target: SortTarget,
    pub(crate) keys_only: bool,
    pub(crate) count_only: bool,
    pub(crate) modified: RevisionBounds,
    pub(crate) created: RevisionBounds,
}

/// The answer to a read.
#[derive(Debug)]
pub(crate) struct RangeAnswer {
    /// The newest revision when it was read.
    pub(crate) revision: i64,
    pub(crate) found: Vec<KeyVersion>,
    pub(crate) keys_only: bool,
    pub(crate) more: bool,
    /// Keys in the range, whatever the limit and the bounds.
    pub(crate) count: usize,
}

/// A write of one key.
#[derive(Clone, Debug)]
pub(crate) struct Put {
    pub(crate) key: Blob,
    /// Nothing keeps the value that is there.
    pub(crate) value: Option<Blob>,
    /// Nothing keeps the lease that is there; 0 is none.
    pub(crate) lease: Option<i64>,
    pub(crate) previous: bool,
}

/// A deletion.
#[derive(Clone, Debug)]
pub(crate) struct Delete {
    pub(crate) range: KeyRange,
    pub(crate) previous: bool,
}

/// One step of a transaction.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Range(RangeQuery),
    Put(Put),
    Delete(Delete),
}

/// How a compare relates what is there to what is given.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Relation {
    Equal,
    NotEqual,
    Greater,
    Less,
}

/// What a compare looks at, with what it is compared to.
#[derive(Clone, Debug)]
pub(crate) enum Operand {
    Version(i64),
    Create(i64),
    Mod(i64),
    Lease(i64),
    Value(Blob),
}

/// A condition on every key of a range.
#[derive(Clone, Debug)]
pub(crate) struct Compare {
    pub(crate) range: KeyRange,
    pub(crate) relation: Relation,
    pub(crate) operand: Operand,
}

/// If all compares hold, then `success`, else `failure`, as one revision.
#[derive(Clone, Debug, Default)]
pub(crate) struct Txn {
    pub(crate) compares: Vec<Compare>,
    pub(crate) success: Vec<Operation>,
    pub(crate) failure: Vec<Operation>,
}

impl Txn {
    /// Whether it may add something, on either side.
    pub(crate) fn puts(&self) -> bool {
        let mut all = self.success.iter().chain(&self.failure);
        all.any(|operation| matches!(operation, Operation::Put(_)))
    }
}

/// The answer to one step; `revision` as etcd puts it in the step's header.
#[derive(Debug)]
pub(crate) enum OperationAnswer {
    Range(RangeAnswer),
    Put {
        revision: i64,
        previous: Option<KeyVersion>,
    },
    Delete {
        revision: i64,
        deleted: usize,
        previous: Vec<KeyVersion>,
    },
}

/// A key that was written, with the lease it hung on before.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) written: KeyVersion,
    pub(crate) lease_before: i64,
}

/// What a transaction did.
#[derive(Debug)]
pub(crate) struct TxnAnswer {
    pub(crate) revision: i64,
    pub(crate) succeeded: bool,
    pub(crate) answers: Vec<OperationAnswer>,
    pub(crate) changes: Vec<Change>,
}

/// Refuses what can be refused without looking at the keys.
pub(crate) fn check(txn: &Txn) -> Result<(), Refusal> {
    if txn
        .compares
        .len()
        .max(txn.success.len())
        .max(txn.failure.len())
        > OPERATIONS_MAX
    {
        return Err(Refusal::TooManyOperations);
    }
    check_written_once(&txn.success)?;
    check_written_once(&txn.failure)
}

/// A key may be put once, and not be put and deleted; it may be deleted twice.
fn check_written_once(operations: &[Operation]) -> Result<(), Refusal> {
    let mut put: BTreeSet<&[u8]> = BTreeSet::new();
    for operation in operations {
        if let Operation::Put(operation) = operation
            && !put.insert(&operation.key)
        {
            return Err(Refusal::DuplicateKey);
        }
    }
    for operation in operations {
        if let Operation::Delete(operation) = operation
            && !operation.range.is_empty()
            && put
                .range::<[u8], _>(operation.range.bounds())
                .next()
                .is_some()
        {
            return Err(Refusal::DuplicateKey);
        }
    }
    Ok(())
}

/// Reads at `current`, the newest revision the reader may see.
pub(crate) fn read(mvcc: &Mvcc, query: &RangeQuery, current: i64) -> Result<RangeAnswer, Refusal> {
    check_revision(mvcc, query, current)?;
    let revision = if query.revision <= 0 {
        current
    } else {
        query.revision
    };
    let mut answer = RangeAnswer {
        revision: current,
        found: Vec::new(),
        keys_only: query.keys_only,
        more: false,
        count: 0,
    };
    // As etcd does: bounds and an explicit order look at everything, otherwise one more than the
    // limit is enough to know that there is more.
    let whole = query.order != Order::None
        || !query.modified.is_open()
        || !query.created.is_open()
        || query.limit == 0;
    for (key, version) in mvcc.range(&query.range, revision) {
        answer.count += 1;
        if query.count_only || (!whole && answer.found.len() > query.limit) {
            continue;
        }
        if query.modified.admits(version.at.main) && query.created.admits(version.create_revision) {
            answer.found.push(KeyVersion {
                key: Blob::clone(key),
                version: version.clone(),
            });
        }
    }
    sort(&mut answer.found, query.order, query.target);
    if query.limit > 0 && answer.found.len() > query.limit {
        answer.found.truncate(query.limit);
        answer.more = true;
    }
    Ok(answer)
}

fn sort(found: &mut [KeyVersion], order: Order, target: SortTarget) {
    let by_target = |a: &KeyVersion, b: &KeyVersion| match target {
        SortTarget::Key => a.key.cmp(&b.key),
        SortTarget::Version => a.version.version.cmp(&b.version.version),
        SortTarget::Create => a.version.create_revision.cmp(&b.version.create_revision),
        SortTarget::Mod => a.version.at.main.cmp(&b.version.at.main),
        SortTarget::Value => a.version.value.cmp(&b.version.value),
    };
    match order {
        Order::None if target == SortTarget::Key => {}
        Order::None | Order::Ascending => found.sort_by(by_target),
        Order::Descending => found.sort_by(|a, b| by_target(b, a)),
    }
}

fn check_revision(mvcc: &Mvcc, query: &RangeQuery, current: i64) -> Result<(), Refusal> {
    if query.revision > current {
        return Err(Refusal::FutureRevision);
    }
    if query.revision > 0 && query.revision < mvcc.compacted() {
        return Err(Refusal::Compacted);
    }
    Ok(())
}

/// Carries out a checked transaction on the newest revision.
pub(crate) fn execute(
    mvcc: &mut Mvcc,
    txn: &Txn,
    lease_exists: &dyn Fn(i64) -> bool,
) -> Result<TxnAnswer, Refusal> {
    let before = mvcc.head();
    let succeeded = txn.compares.iter().all(|compare| holds(mvcc, compare));
    let operations = if succeeded {
        &txn.success
    } else {
        &txn.failure
    };
    for operation in operations {
        check_against_keys(mvcc, operation, lease_exists)?;
    }
    let mut writer = Writer {
        mvcc,
        main: before + 1,
        changes: Vec::new(),
    };
    let mut answers = Vec::with_capacity(operations.len());
    for operation in operations {
        answers.push(writer.carry_out(operation)?);
    }
    let changes = writer.changes;
    let revision = if changes.is_empty() {
        before
    } else {
        before + 1
    };
    mvcc.advance(revision);
    Ok(TxnAnswer {
        revision,
        succeeded,
        answers,
        changes,
    })
}

fn check_against_keys(
    mvcc: &Mvcc,
    operation: &Operation,
    lease_exists: &dyn Fn(i64) -> bool,
) -> Result<(), Refusal> {
    match operation {
        Operation::Range(query) => check_revision(mvcc, query, mvcc.head()),
        Operation::Put(put) => {
            let keeps = put.value.is_none() || put.lease.is_none();
            if keeps && mvcc.get(&put.key, mvcc.head()).is_none() {
                return Err(Refusal::KeyNotFound);
            }
            match put.lease {
                Some(lease) if lease != 0 && !lease_exists(lease) => Err(Refusal::LeaseNotFound),
                Some(_) | None => Ok(()),
            }
        }
        Operation::Delete(_) => Ok(()),
    }
}

fn holds(mvcc: &Mvcc, compare: &Compare) -> bool {
    let mut found = mvcc.range(&compare.range, mvcc.head()).peekable();
    if found.peek().is_none() {
        // A missing key has no value to compare; its numbers are all 0.
        return match &compare.operand {
            Operand::Value(_) => false,
            Operand::Version(given)
            | Operand::Create(given)
            | Operand::Mod(given)
            | Operand::Lease(given) => relates(&0, compare.relation, given),
        };
    }
    found.all(|(_, version)| match &compare.operand {
        Operand::Version(given) => relates(&version.version, compare.relation, given),
        Operand::Create(given) => relates(&version.create_revision, compare.relation, given),
        Operand::Mod(given) => relates(&version.at.main, compare.relation, given),
        Operand::Lease(given) => relates(&version.lease, compare.relation, given),
        Operand::Value(given) => relates(
            &version.value.as_deref().unwrap_or_default(),
            compare.relation,
            &&**given,
        ),
    })
}

fn relates<T: Ord>(found: &T, relation: Relation, given: &T) -> bool {
    match relation {
        Relation::Equal => found == given,
        Relation::NotEqual => found != given,
        Relation::Greater => found > given,
        Relation::Less => found < given,
    }
}

/// Writes of one transaction, all at revision `main`.
struct Writer<'a> {
    mvcc: &'a mut Mvcc,
    main: i64,
    changes: Vec<Change>,
}

impl Writer<'_> {
    fn carry_out(&mut self, operation: &Operation) -> Result<OperationAnswer, Refusal> {
        match operation {
            Operation::Range(query) => {
                let current = if self.changes.is_empty() {
                    self.main - 1
                } else {
                    self.main
                };
                Ok(OperationAnswer::Range(read(self.mvcc, query, current)?))
            }
            Operation::Put(put) => Ok(self.put(put)),
            Operation::Delete(delete) => Ok(self.delete(delete)),
        }
    }

    fn put(&mut self, put: &Put) -> OperationAnswer {
        let before = self.mvcc.get(&put.key, self.main).cloned();
        let kept_value = before.as_ref().and_then(|before| before.value.clone());
        let lease_before = before.as_ref().map_or(0, |before| before.lease);
        let version = Version {
            at: self.next(),
            create_revision: before
                .as_ref()
                .map_or(self.main, |before| before.create_revision),
            version: before.as_ref().map_or(1, |before| before.version + 1),
            lease: put.lease.unwrap_or(lease_before),
            value: Some(put.value.clone().or(kept_value).unwrap_or_default()),
        };
        self.write(Blob::clone(&put.key), version, lease_before);
        let previous = if put.previous { before } else { None };
        OperationAnswer::Put {
            revision: self.main,
            previous: previous.map(|version| KeyVersion {
                key: Blob::clone(&put.key),
                version,
            }),
        }
    }

    fn delete(&mut self, delete: &Delete) -> OperationAnswer {
        let doomed: Vec<KeyVersion> = self
            .mvcc
            .range(&delete.range, self.main)
            .map(|(key, version)| KeyVersion {
                key: Blob::clone(key),
                version: version.clone(),
            })
            .collect();
        for KeyVersion { key, version } in &doomed {
            let tombstone = Version {
                at: self.next(),
                create_revision: 0,
                version: 0,
                lease: 0,
                value: None,
            };
            self.write(Blob::clone(key), tombstone, version.lease);
        }
        OperationAnswer::Delete {
            revision: if self.changes.is_empty() {
                self.main - 1
            } else {
                self.main
            },
            deleted: doomed.len(),
            previous: if delete.previous { doomed } else { Vec::new() },
        }
    }

    fn next(&self) -> Revision {
        // A transaction writes at most what it names and deletes: far fewer than 2^32 keys.
        Revision {
            main: self.main,
            sub: u32::try_from(self.changes.len()).unwrap_or(u32::MAX),
        }
    }

    fn write(&mut self, key: Blob, version: Version, lease_before: i64) {
        self.mvcc.insert(Blob::clone(&key), version.clone());
        self.changes.push(Change {
            written: KeyVersion { key, version },
            lease_before,
        });
    }
}
