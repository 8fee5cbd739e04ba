//! What a follower knows of its scope, and how that compares with what the store has.

use std::collections::{BTreeMap, BTreeSet};

use model::{Change, Revision};

use crate::connection::Registry;
use crate::listing::{Account, Standing};
use crate::stream::KeyEvent;

/// How far a follower has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reached {
    /// Everything up to this revision is known.
    pub(crate) revision: Revision,
    /// How many keys there are in the scope at that revision.
    pub(crate) keys: u64,
}

impl Reached {
    /// True if everything that had happened when `standing` was read is known.
    pub(crate) fn covers(&self, standing: &Standing) -> bool {
        self.revision >= standing.revision
            || (self.revision >= standing.modified && self.keys == standing.keys)
    }
}

/// What is known of the scope, so that it can be resumed and compared with what the store has.
pub(crate) struct Known {
    pub(crate) reached: Reached,
    pub(crate) cluster: u64,
    pub(crate) damaged: BTreeSet<Vec<u8>>,
    /// Nothing up to this revision was missed.
    audited: Revision,
    /// Keys that are there and were modified since, each with when. At most one for each key of the scope, and none in a cluster
    /// where nothing happens.
    recent: BTreeMap<Vec<u8>, Revision>,
}

/// How what is known compares with an account of what the store had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// Nothing was missed.
    Whole,
    /// Not all of it is known; it may be on its way.
    Pending,
    /// Something was missed: it will not come any more.
    Missed,
}

impl Known {
    /// Everything as of a listing.
    pub(crate) fn of(reached: Reached, cluster: u64, damaged: BTreeSet<Vec<u8>>) -> Known {
        Known {
            reached,
            cluster,
            damaged,
            audited: reached.revision,
            recent: BTreeMap::new(),
        }
    }

    /// Since when an account is needed.
    pub(crate) fn audited(&self) -> Revision {
        self.audited
    }

    /// Compares with an account of what changed since [`Known::audited`]. `next` is the revision of what is about to be taken in, if
    /// something is: all before it has been heard.
    ///
    /// A key that is there was either modified since, then it is in the account, or it is known from before; as many keys are there
    /// as are known. So nothing else can be known, nor any of it be old.
    pub(crate) fn compare(&mut self, account: &Account, next: Option<Revision>) -> Verdict {
        let is_known =
            |(key, modified): (&Vec<u8>, &Revision)| self.recent.get(key) == Some(modified);
        if self.reached.keys == account.keys && account.modified.iter().all(is_known) {
            self.audited = account.revision;
            let later = |modified: &Revision| *modified > account.revision;
            self.recent.retain(|_, modified| later(modified));
            return Verdict::Whole;
        }
        let heard_all = self.reached.revision >= account.revision
            || next.is_some_and(|next| next > account.revision);
        match heard_all {
            true => Verdict::Missed,
            false => Verdict::Pending,
        }
    }

    /// A mistake: what lies between is taken for known.
    pub(crate) fn skip_to(&mut self, now: &Standing) {
        self.reached.revision = now.revision;
        self.reached.keys = now.keys;
        self.audited = now.revision;
        self.recent.clear();
    }

    /// Takes in what happened at one revision; returns what it means.
    pub(crate) fn take_in(
        &mut self,
        registry: &Registry,
        revision: Revision,
        events: Vec<KeyEvent>,
    ) -> Vec<Change> {
        let mut changes = Vec::with_capacity(events.len());
        self.reached.revision = revision;
        for event in events {
            match &event.value {
                Some(_) => {
                    self.reached.keys += u64::from(event.created);
                    self.recent.insert(event.key.clone(), revision);
                }
                None => {
                    self.reached.keys = self.reached.keys.saturating_sub(1);
                    self.recent.remove(&event.key);
                }
            }
            let layout = registry.layout();
            let value = event.value.as_deref();
            let Some(change) = layout.decode_leased(&event.key, value, event.lease) else {
                continue;
            };
            let damaged = matches!(change, Change::Quarantined { .. });
            if damaged && event.value.is_some() {
                self.damaged.insert(event.key);
                changes.push(change);
                continue;
            }
            if self.damaged.remove(&event.key) {
                changes.push(Change::Healed {
                    key: String::from_utf8_lossy(&event.key).into_owned(),
                });
            }
            if !damaged {
                changes.push(change);
            }
        }
        changes
    }
}
