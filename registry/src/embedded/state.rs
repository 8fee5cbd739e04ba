//! The whole state in memory: history, leases and watchers, and what each command does to it.
//!
//! Commands act on the newest revision (`head`), reads and watches see only what is durable
//! (`visible`). Between the two lie the writes that are on their way to the disk.

use tokio::time::Instant;

use super::hub::Hub;
use super::lease::Leases;
use super::mvcc::{KeyVersion, Mvcc, Revision};
use super::range::KeyRange;
use super::refusal::Refusal;
use super::txn::{self, Delete, Operation, RangeAnswer, RangeQuery, Txn, TxnAnswer};

/// A request that changes something.
#[derive(Debug)]
pub(crate) enum Command {
    Txn(Txn),
    Compact { revision: i64 },
    Grant { id: i64, ttl_s: i64 },
    Revoke { id: i64 },
}

/// The answer to a command.
#[derive(Debug)]
pub(crate) enum Answer {
    Txn(TxnAnswer),
    Granted { id: i64, ttl_s: i64 },
    Done,
}

/// What must be on disk before a command is answered.
#[derive(Clone, Debug)]
pub(crate) enum Record {
    /// A version of a key.
    Version(KeyVersion),
    /// A version that compaction removed.
    Forget(Revision),
    /// A lease and its time to live.
    Grant { id: i64, ttl_s: i64 },
    /// A lease that ended.
    Revoke { id: i64 },
    /// The newest revision and the compacted one, after everything before it.
    Position { head: i64, compacted: i64 },
}

/// History, leases and watchers.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) mvcc: Mvcc,
    pub(crate) leases: Leases,
    pub(crate) hub: Hub,
    /// As under etcd's alarm `NOSPACE`: nothing is added.
    pub(crate) full: bool,
    visible: i64,
}

impl State {
    /// A state all of which is durable.
    pub(crate) fn new(mvcc: Mvcc, leases: Leases) -> State {
        let visible = mvcc.head();
        State {
            mvcc,
            leases,
            hub: Hub::default(),
            full: false,
            visible,
        }
    }

    /// The newest durable revision.
    pub(crate) fn visible(&self) -> i64 {
        self.visible
    }

    /// Reads what is durable.
    pub(crate) fn read(&self, query: &RangeQuery) -> Result<RangeAnswer, Refusal> {
        txn::read(&self.mvcc, query, self.visible)
    }

    /// Carries out `command` on the newest revision and adds to `records` what must be durable
    /// before it is answered.
    pub(crate) fn apply(
        &mut self,
        command: &Command,
        now: Instant,
        records: &mut Vec<Record>,
    ) -> Result<Answer, Refusal> {
        match command {
            Command::Txn(txn) if self.full && txn.puts() => Err(Refusal::NoSpace),
            Command::Grant { .. } if self.full => Err(Refusal::NoSpace),
            Command::Txn(txn) => self.transact(txn, records).map(Answer::Txn),
            Command::Compact { revision } => {
                let removed = self.mvcc.compact(*revision)?;
                records.extend(removed.into_iter().map(Record::Forget));
                self.record_position(records);
                Ok(Answer::Done)
            }
            Command::Grant { id, ttl_s } => {
                let (id, ttl_s) = self.leases.plan_grant(*id, *ttl_s)?;
                self.leases.insert(id, ttl_s, now);
                records.push(Record::Grant { id, ttl_s });
                Ok(Answer::Granted { id, ttl_s })
            }
            Command::Revoke { id } => self.revoke(*id, records),
        }
    }

    fn transact(&mut self, txn: &Txn, records: &mut Vec<Record>) -> Result<TxnAnswer, Refusal> {
        txn::check(txn)?;
        let leases = &self.leases;
        let answer = txn::execute(&mut self.mvcc, txn, &|id| leases.exists(id))?;
        for change in &answer.changes {
            let KeyVersion { key, version } = &change.written;
            self.leases.attach(key, change.lease_before, version.lease);
            records.push(Record::Version(change.written.clone()));
        }
        if !answer.changes.is_empty() {
            self.record_position(records);
        }
        Ok(answer)
    }

    /// All keys of a lease go in one revision.
    fn revoke(&mut self, id: i64, records: &mut Vec<Record>) -> Result<Answer, Refusal> {
        let keys = self.leases.keys(id).ok_or(Refusal::LeaseNotFound)?;
        let deletions = keys.into_iter().map(|key| {
            Operation::Delete(Delete {
                range: KeyRange::One(key),
                previous: false,
            })
        });
        // Not checked against the limit of operations: that is for clients, a lease may hold more.
        let txn = Txn {
            success: deletions.collect(),
            ..Txn::default()
        };
        let answer = txn::execute(&mut self.mvcc, &txn, &|_| false)?;
        self.leases.remove(id)?;
        records.extend(
            answer
                .changes
                .into_iter()
                .map(|change| Record::Version(change.written)),
        );
        records.push(Record::Revoke { id });
        self.record_position(records);
        Ok(Answer::Done)
    }

    fn record_position(&self, records: &mut Vec<Record>) {
        let (head, compacted) = (self.mvcc.head(), self.mvcc.compacted());
        records.push(Record::Position { head, compacted });
    }

    /// Everything up to the newest revision is durable now: readers and watchers may see it.
    pub(crate) fn publish(&mut self) {
        let before = self.visible;
        self.visible = self.mvcc.head();
        if before < self.visible {
            self.hub.publish(&self.mvcc, before, self.visible);
        }
    }

    /// Takes over what was found on disk after a failed write. Watchers stay and see what they
    /// have not seen yet.
    pub(crate) fn replace(&mut self, mvcc: Mvcc, leases: Leases) {
        self.mvcc = mvcc;
        self.leases = leases;
        self.publish();
    }
}
