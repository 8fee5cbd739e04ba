//! Who watches what, and how far each watcher has been served.
//!
//! There is no queue of events per watcher: history itself is the queue. A watcher with something
//! to see has a mark (`pending`) of the revision to read on from; its stream reads there when its
//! client has room. So a slow watcher costs nothing and is caught up from history, and one that is
//! so slow that its mark has been compacted is told so and cancelled, as etcd does.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::sync::Notify;

use super::mvcc::{KeyVersion, Mvcc, Version};
use super::range::{Blob, KeyRange};

/// A watch stream of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StreamId(u64);

/// Which events a watcher leaves out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Filters {
    pub(crate) no_put: bool,
    pub(crate) no_delete: bool,
}

impl Filters {
    fn admits(self, version: &Version) -> bool {
        if version.value.is_some() {
            !self.no_put
        } else {
            !self.no_delete
        }
    }
}

/// One watcher as its client asked for it.
#[derive(Debug)]
pub(crate) struct Watcher {
    pub(crate) range: KeyRange,
    /// The first revision it wants.
    pub(crate) from: i64,
    pub(crate) filters: Filters,
    pub(crate) previous: bool,
    pub(crate) progress: bool,
}

#[derive(Debug)]
struct Registration {
    watcher: Watcher,
    pending: Option<i64>,
    /// Served since the last progress notice was due.
    served: bool,
}

#[derive(Debug)]
struct StreamState {
    wake: Arc<Notify>,
    watchers: BTreeMap<i64, Registration>,
    /// Watchers with something pending, in the order in which they are served.
    ready: VecDeque<i64>,
}

/// An event with the version before it, if that was asked for.
#[derive(Debug)]
pub(crate) struct WatchEvent {
    pub(crate) now: KeyVersion,
    pub(crate) before: Option<KeyVersion>,
}

/// What a stream has to tell its client next.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// Whole revisions, in order; `through` is the last revision that has been looked at.
    Events {
        watch_id: i64,
        events: Vec<WatchEvent>,
        through: i64,
    },
    /// The watcher wanted history that is gone; it is cancelled.
    Compacted { watch_id: i64, compacted: i64 },
}

/// Revisions in one answer, as in etcd: bounds the time a catching-up watcher holds the lock.
const BATCH_REVISIONS_MAX: usize = 1_000;

/// Bytes in one answer, but for the rest of a revision: a client decodes at most 4 MiB.
const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// All watch streams.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    streams: BTreeMap<StreamId, StreamState>,
    opened: u64,
    /// Nobody is told of what is published next.
    loses_next: bool,
}

impl Hub {
    /// A new stream, with what wakes it when it has something to deliver.
    pub(crate) fn open(&mut self) -> (StreamId, Arc<Notify>) {
        self.opened += 1;
        let id = StreamId(self.opened);
        let wake = Arc::new(Notify::new());
        let state = StreamState {
            wake: Arc::clone(&wake),
            watchers: BTreeMap::new(),
            ready: VecDeque::new(),
        };
        self.streams.insert(id, state);
        (id, wake)
    }

    /// Forgets a stream and its watchers.
    pub(crate) fn close(&mut self, stream: StreamId) {
        self.streams.remove(&stream);
    }

    /// How many watchers a stream has.
    pub(crate) fn watchers(&self, stream: StreamId) -> usize {
        self.streams
            .get(&stream)
            .map_or(0, |state| state.watchers.len())
    }

    /// Whether the stream has a watcher of this id.
    pub(crate) fn has(&self, stream: StreamId, watch_id: i64) -> bool {
        self.streams
            .get(&stream)
            .is_some_and(|state| state.watchers.contains_key(&watch_id))
    }

    /// Adds a watcher; one that starts in the past is served from history at once.
    pub(crate) fn add(&mut self, stream: StreamId, watch_id: i64, watcher: Watcher, visible: i64) {
        let Some(state) = self.streams.get_mut(&stream) else {
            return;
        };
        let pending = (watcher.from <= visible).then_some(watcher.from);
        if pending.is_some() {
            state.ready.push_back(watch_id);
            state.wake.notify_one();
        }
        state.watchers.insert(
            watch_id,
            Registration {
                watcher,
                pending,
                served: false,
            },
        );
    }

    /// Ends a watcher and says whether there was one.
    pub(crate) fn cancel(&mut self, stream: StreamId, watch_id: i64) -> bool {
        let Some(state) = self.streams.get_mut(&stream) else {
            return false;
        };
        state.ready.retain(|ready| *ready != watch_id);
        state.watchers.remove(&watch_id).is_some()
    }

    /// What is published next is lost to all that watch now, if they have been served so far.
    pub(crate) fn lose_next(&mut self) {
        self.loses_next = true;
    }

    /// Marks every watcher that wants something of the revisions after `before` through `visible`.
    pub(crate) fn publish(&mut self, mvcc: &Mvcc, before: i64, visible: i64) {
        if std::mem::take(&mut self.loses_next) {
            return;
        }
        let news: Vec<(&Blob, &Version)> = mvcc.history(before + 1, visible).collect();
        for state in self.streams.values_mut() {
            let mut wake = false;
            for (watch_id, registration) in &mut state.watchers {
                if registration.pending.is_some() {
                    continue;
                }
                let watcher = &registration.watcher;
                let first = news.iter().find(|(key, version)| {
                    version.at.main >= watcher.from
                        && watcher.range.contains(key)
                        && watcher.filters.admits(version)
                });
                if let Some((_, version)) = first {
                    registration.pending = Some(version.at.main);
                    state.ready.push_back(*watch_id);
                    wake = true;
                }
            }
            if wake {
                state.wake.notify_one();
            }
        }
    }

    /// The next thing to deliver on a stream.
    pub(crate) fn take(&mut self, mvcc: &Mvcc, visible: i64, stream: StreamId) -> Option<Delivery> {
        let state = self.streams.get_mut(&stream)?;
        while let Some(watch_id) = state.ready.pop_front() {
            let Some(registration) = state.watchers.get_mut(&watch_id) else {
                continue;
            };
            let Some(from) = registration.pending.take() else {
                continue;
            };
            if from < mvcc.compacted() {
                state.watchers.remove(&watch_id);
                return Some(Delivery::Compacted {
                    watch_id,
                    compacted: mvcc.compacted(),
                });
            }
            let (events, through) = collect(mvcc, &registration.watcher, from, visible);
            if through < visible {
                registration.pending = Some(through + 1);
                state.ready.push_back(watch_id);
            }
            if !events.is_empty() {
                registration.served = true;
                return Some(Delivery::Events {
                    watch_id,
                    events,
                    through,
                });
            }
        }
        None
    }

    /// Whether a stream has nothing left to deliver.
    pub(crate) fn is_served(&self, stream: StreamId) -> bool {
        self.streams
            .get(&stream)
            .is_none_or(|state| state.ready.is_empty())
    }

    /// The watchers that asked for progress notices and saw no event since the last one was due.
    pub(crate) fn take_idle(&mut self, stream: StreamId) -> Vec<i64> {
        let Some(state) = self.streams.get_mut(&stream) else {
            return Vec::new();
        };
        let mut idle = Vec::new();
        for (watch_id, registration) in &mut state.watchers {
            let served = std::mem::replace(&mut registration.served, false);
            if registration.watcher.progress && !served && registration.pending.is_none() {
                idle.push(*watch_id);
            }
        }
        idle
    }
}

/// The events of whole revisions from `from`, and the last revision looked at.
fn collect(mvcc: &Mvcc, watcher: &Watcher, from: i64, visible: i64) -> (Vec<WatchEvent>, i64) {
    let mut events = Vec::new();
    let mut revisions = 0;
    let mut bytes = 0;
    let mut last = from - 1;
    for (key, version) in mvcc.history(from, visible) {
        if version.at.main != last {
            if revisions >= BATCH_REVISIONS_MAX || bytes >= BATCH_BYTES_MAX {
                return (events, last);
            }
            revisions += 1;
            last = version.at.main;
        }
        if !watcher.range.contains(key) || !watcher.filters.admits(version) {
            continue;
        }
        let before = if watcher.previous {
            before(mvcc, key, version)
        } else {
            None
        };
        bytes += size(key, version) + before.as_ref().map_or(0, |it| size(&it.key, &it.version));
        let now = KeyVersion {
            key: Blob::clone(key),
            version: version.clone(),
        };
        events.push(WatchEvent { now, before });
    }
    (events, visible)
}

fn before(mvcc: &Mvcc, key: &Blob, version: &Version) -> Option<KeyVersion> {
    let revision = version.at.main - 1;
    if revision < mvcc.compacted() {
        return None;
    }
    let version = mvcc.get(key, revision)?.clone();
    Some(KeyVersion {
        key: Blob::clone(key),
        version,
    })
}

fn size(key: &Blob, version: &Version) -> usize {
    key.len() + version.value.as_ref().map_or(0, |value| value.len())
}
