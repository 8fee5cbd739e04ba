//! The versions of every key: reads at any kept revision, writes at the next one, compaction. PURE.
//!
//! Three structures say the same thing in three orders: `keys` (key → its versions, oldest first)
//! answers reads, `log` (revision → key) answers watches that catch up, and `garbage` (what has been
//! superseded, in the order of superseding) makes compaction cost only what it removes.
//! Each key has at most one version per revision, because a transaction may write a key only once.

use std::collections::{BTreeMap, VecDeque};

use super::range::{Blob, KeyRange};
use super::refusal::Refusal;

/// A place in history: the revision, and the position within the transaction that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Revision {
    /// etcd's revision: one per transaction that wrote.
    pub(crate) main: i64,
    /// Counts the writes of one transaction from 0.
    pub(crate) sub: u32,
}

/// What a key became at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    /// Where in history.
    pub(crate) at: Revision,
    /// The revision that created the key; 0 where it was deleted.
    pub(crate) create_revision: i64,
    /// Counts the writes since the key was created, from 1; 0 where it was deleted.
    pub(crate) version: i64,
    /// The lease the key hangs on; 0 is none.
    pub(crate) lease: i64,
    /// The value, or nothing where the key was deleted.
    pub(crate) value: Option<Blob>,
}

/// A key with one of its versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyVersion {
    pub(crate) key: Blob,
    pub(crate) version: Version,
}

/// A version that compaction may remove once everything before `free_at` is given up.
#[derive(Debug)]
struct Garbage {
    free_at: i64,
    at: Revision,
    bytes: usize,
}

/// Versions of superseded keys that are kept for watchers and for reads in the past. A watcher that
/// was away for longer reads everything again, so this trades memory against rare re-reads: 5,000
/// revisions are 40 transactions of 128 operations, or minutes of a busy small cluster.
pub(crate) const HISTORY_VERSIONS_MAX: usize = 5_000;

/// The same in bytes, because unit files may be 64 KiB each and fleetd stays under 20 MiB.
pub(crate) const HISTORY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a version costs besides its value, roughly: its place in the three structures.
const VERSION_BYTES: usize = 160;

/// The revision of an etcd that was never written to.
const FIRST_REVISION: i64 = 1;

/// All keys and their history.
#[derive(Debug)]
pub(crate) struct Mvcc {
    head: i64,
    compacted: i64,
    keys: BTreeMap<Blob, VecDeque<Version>>,
    log: BTreeMap<Revision, Blob>,
    garbage: VecDeque<Garbage>,
    garbage_bytes: usize,
}

impl Mvcc {
    /// An etcd that was never written to.
    pub(crate) fn new() -> Mvcc {
        Mvcc {
            head: FIRST_REVISION,
            compacted: 0,
            keys: BTreeMap::new(),
            log: BTreeMap::new(),
            garbage: VecDeque::new(),
            garbage_bytes: 0,
        }
    }

    /// An etcd that had come to `head` and was compacted at `compacted`. Its versions are still to
    /// be inserted, in order.
    pub(crate) fn at(head: i64, compacted: i64) -> Mvcc {
        let mut mvcc = Mvcc::new();
        mvcc.head = head.max(FIRST_REVISION);
        mvcc.compacted = compacted;
        mvcc
    }

    /// The newest revision.
    pub(crate) fn head(&self) -> i64 {
        self.head
    }

    /// The revision below which history is gone; 0 if none is.
    pub(crate) fn compacted(&self) -> i64 {
        self.compacted
    }

    /// Makes `revision` the newest: the end of a transaction that wrote.
    pub(crate) fn advance(&mut self, revision: i64) {
        self.head = revision;
    }

    /// Records what `key` became. `version.at` must be after everything recorded before.
    pub(crate) fn insert(&mut self, key: Blob, version: Version) {
        let at = version.at;
        let deleted = version.value.is_none();
        let key_bytes = key.len();
        let history = self
            .keys
            .entry(Blob::clone(&key))
            .or_insert_with(|| VecDeque::with_capacity(1));
        let superseded = match history.back() {
            Some(Version {
                at,
                value: Some(value),
                ..
            }) => Some((*at, value.len())),
            Some(_) | None => None,
        };
        history.push_back(version);
        self.log.insert(at, key);
        if let Some((superseded_at, value_bytes)) = superseded {
            self.discard(at.main, superseded_at, key_bytes + value_bytes);
        }
        if deleted {
            // Kept at the compacted revision itself, so that a watch resumed there sees the deletion.
            self.discard(at.main + 1, at, key_bytes);
        }
    }

    fn discard(&mut self, free_at: i64, at: Revision, bytes: usize) {
        let bytes = bytes + VERSION_BYTES;
        self.garbage_bytes += bytes;
        self.garbage.push_back(Garbage { free_at, at, bytes });
    }

    /// What `key` was at `revision`, unless it did not exist then.
    pub(crate) fn get(&self, key: &[u8], revision: i64) -> Option<&Version> {
        live_at(self.keys.get(key)?, revision)
    }

    /// The keys of `range` that existed at `revision`, in order.
    pub(crate) fn range(
        &self,
        range: &KeyRange,
        revision: i64,
    ) -> impl Iterator<Item = (&Blob, &Version)> {
        let within = (!range.is_empty()).then(|| self.keys.range::<[u8], _>(range.bounds()));
        within
            .into_iter()
            .flatten()
            .filter_map(move |(key, history)| Some((key, live_at(history, revision)?)))
    }

    /// Everything that happened from revision `from` through `through`, in order, deletions too.
    pub(crate) fn history(
        &self,
        from: i64,
        through: i64,
    ) -> impl Iterator<Item = (&Blob, &Version)> {
        let first = Revision { main: from, sub: 0 };
        let last = Revision {
            main: through.max(from),
            sub: u32::MAX,
        };
        self.log
            .range(first..=last)
            .take_while(move |(at, _)| at.main <= through)
            .filter_map(|(at, key)| Some((key, self.version_at(key, *at)?)))
    }

    fn version_at(&self, key: &[u8], at: Revision) -> Option<&Version> {
        let history = self.keys.get(key)?;
        let index = history
            .binary_search_by_key(&at, |version| version.at)
            .ok()?;
        history.get(index)
    }

    /// Gives up all history before `revision` and says which versions are gone.
    pub(crate) fn compact(&mut self, revision: i64) -> Result<Vec<Revision>, Refusal> {
        if revision <= self.compacted {
            return Err(Refusal::Compacted);
        }
        if revision > self.head {
            return Err(Refusal::FutureRevision);
        }
        self.compacted = revision;
        let mut removed = Vec::new();
        while let Some(garbage) = self.garbage.pop_front_if(|next| next.free_at <= revision) {
            self.garbage_bytes -= garbage.bytes;
            self.remove(garbage.at);
            removed.push(garbage.at);
        }
        Ok(removed)
    }

    fn remove(&mut self, at: Revision) {
        let Some(key) = self.log.remove(&at) else {
            return;
        };
        let Some(history) = self.keys.get_mut(&key) else {
            return;
        };
        if let Ok(index) = history.binary_search_by_key(&at, |version| version.at) {
            history.remove(index);
        }
        if history.is_empty() {
            self.keys.remove(&key);
        } else if history.capacity() > 2 * history.len() {
            history.shrink_to_fit();
        }
    }

    /// The revision to compact to when more history is kept than the limits allow. Gives up half of
    /// it, so that this is rare.
    pub(crate) fn compaction_due(&self) -> Option<i64> {
        let too_much =
            self.garbage.len() > HISTORY_VERSIONS_MAX || self.garbage_bytes > HISTORY_BYTES_MAX;
        if !too_much {
            return None;
        }
        let middle = if self.garbage.len() > HISTORY_VERSIONS_MAX {
            self.garbage.get(self.garbage.len() / 2)?.free_at
        } else {
            let mut bytes = 0;
            self.garbage
                .iter()
                .find(|garbage| {
                    bytes += garbage.bytes;
                    bytes >= self.garbage_bytes / 2
                })?
                .free_at
        };
        let revision = middle.min(self.head);
        (revision > self.compacted).then_some(revision)
    }
}

fn live_at(history: &VecDeque<Version>, revision: i64) -> Option<&Version> {
    let after = history.partition_point(|version| version.at.main <= revision);
    history
        .get(after.checked_sub(1)?)
        .filter(|version| version.value.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(mvcc: &mut Mvcc, key: &str, value: &str) -> i64 {
        let main = mvcc.head() + 1;
        let before = mvcc.get(key.as_bytes(), main);
        let version = Version {
            at: Revision { main, sub: 0 },
            create_revision: before.map_or(main, |before| before.create_revision),
            version: before.map_or(1, |before| before.version + 1),
            lease: 0,
            value: Some(value.as_bytes().into()),
        };
        mvcc.insert(key.as_bytes().into(), version);
        mvcc.advance(main);
        main
    }

    fn delete(mvcc: &mut Mvcc, key: &str) -> i64 {
        let main = mvcc.head() + 1;
        let version = Version {
            at: Revision { main, sub: 0 },
            create_revision: 0,
            version: 0,
            lease: 0,
            value: None,
        };
        mvcc.insert(key.as_bytes().into(), version);
        mvcc.advance(main);
        main
    }

    #[test]
    fn reads_the_past_until_it_is_compacted() {
        let mut mvcc = Mvcc::new();
        let first = put(&mut mvcc, "a", "1");
        let second = put(&mut mvcc, "a", "2");
        let gone = delete(&mut mvcc, "a");
        let again = put(&mut mvcc, "a", "3");
        assert_eq!(
            mvcc.get(b"a", first).unwrap().value.as_deref(),
            Some(&b"1"[..])
        );
        assert_eq!(mvcc.get(b"a", second).unwrap().version, 2);
        assert!(mvcc.get(b"a", gone).is_none());
        assert_eq!(mvcc.get(b"a", again).unwrap().version, 1);

        let removed = mvcc.compact(gone).unwrap();
        assert_eq!(removed.len(), 2, "both versions before the deletion");
        assert_eq!(
            mvcc.history(gone, again).count(),
            2,
            "the deletion and the new key"
        );
        assert_eq!(mvcc.compact(gone), Err(Refusal::Compacted));
        assert_eq!(mvcc.compact(again + 1), Err(Refusal::FutureRevision));
        assert_eq!(mvcc.compact(again).unwrap().len(), 1, "the deletion itself");
    }

    #[test]
    fn a_deleted_key_leaves_nothing_behind() {
        let mut mvcc = Mvcc::new();
        put(&mut mvcc, "a", "1");
        delete(&mut mvcc, "a");
        let last = put(&mut mvcc, "b", "1");
        mvcc.compact(last).unwrap();
        assert_eq!(
            (mvcc.keys.len(), mvcc.log.len(), mvcc.garbage.len()),
            (1, 1, 0)
        );
        assert_eq!(mvcc.garbage_bytes, 0);
    }

    #[test]
    fn history_stays_bounded_under_churn() {
        let mut mvcc = Mvcc::new();
        for turn in 0..4 * HISTORY_VERSIONS_MAX {
            put(&mut mvcc, "churn", &turn.to_string());
            if let Some(revision) = mvcc.compaction_due() {
                mvcc.compact(revision).unwrap();
            }
            assert!(mvcc.log.len() <= HISTORY_VERSIONS_MAX + 2);
        }
        let large = "x".repeat(64 * 1024);
        for _ in 0..200 {
            put(&mut mvcc, "large", &large);
            if let Some(revision) = mvcc.compaction_due() {
                mvcc.compact(revision).unwrap();
            }
            assert!(mvcc.garbage_bytes <= HISTORY_BYTES_MAX);
        }
    }
}
