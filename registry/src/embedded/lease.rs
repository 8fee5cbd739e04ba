//! Which leases there are, when each ends and which keys hang on it. Time is handed in.
//!
//! Only a lease's id and time to live are durable: after a restart every lease runs its full time
//! again, as etcd's do after a change of leader, so that a restart of the store ends no lease.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::range::Blob;
use super::refusal::Refusal;

/// etcd's shortest time to live with its default election timeout of 1 s: half as much again,
/// rounded up. A shorter wish gets this.
pub(crate) const TTL_MIN_S: i64 = 2;

/// etcd's longest time to live.
pub(crate) const TTL_MAX_S: i64 = 9_000_000_000;

/// What `LeaseTimeToLive` says of a lease.
#[derive(Debug)]
pub(crate) struct LeaseStatus {
    pub(crate) ttl_s: i64,
    pub(crate) remaining_s: i64,
    pub(crate) keys: Vec<Blob>,
}

#[derive(Debug)]
struct Lease {
    ttl_s: i64,
    deadline: Instant,
    keys: BTreeSet<Blob>,
    /// Its end has been decided: it can no longer be kept alive.
    ending: bool,
}

/// All leases.
#[derive(Debug)]
pub(crate) struct Leases {
    leases: BTreeMap<i64, Lease>,
    deadlines: BTreeSet<(Instant, i64)>,
    seed: u64,
    chosen: u64,
    /// None ends now.
    held: bool,
}

impl Leases {
    /// No leases. `seed` decides the ids that are chosen for clients who name none.
    pub(crate) fn new(seed: u64) -> Leases {
        Leases {
            leases: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            seed,
            chosen: 0,
            held: false,
        }
    }

    /// Whether the lease exists.
    pub(crate) fn exists(&self, id: i64) -> bool {
        self.leases.contains_key(&id)
    }

    /// The ids of all leases, in order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = i64> {
        self.leases.keys().copied()
    }

    /// The id and time to live that a grant of `id` (0: choose one) for `ttl_s` would have.
    pub(crate) fn plan_grant(&mut self, id: i64, ttl_s: i64) -> Result<(i64, i64), Refusal> {
        if ttl_s > TTL_MAX_S {
            return Err(Refusal::LeaseTtlTooLarge);
        }
        if id != 0 && self.exists(id) {
            return Err(Refusal::LeaseExists);
        }
        let id = if id == 0 { self.choose_id() } else { id };
        Ok((id, ttl_s.max(TTL_MIN_S)))
    }

    fn choose_id(&mut self) -> i64 {
        loop {
            self.chosen += 1;
            // 63 bits, because etcd's ids are positive.
            let id = (scramble(self.seed.wrapping_add(self.chosen)) >> 1).cast_signed();
            if id != 0 && !self.exists(id) {
                return id;
            }
        }
    }

    /// Adds a lease that runs from `now`.
    pub(crate) fn insert(&mut self, id: i64, ttl_s: i64, now: Instant) {
        let deadline = deadline(now, ttl_s);
        self.deadlines.insert((deadline, id));
        self.leases.insert(
            id,
            Lease {
                ttl_s,
                deadline,
                keys: BTreeSet::new(),
                ending: false,
            },
        );
    }

    /// Ends the lease and says which keys hung on it, in order.
    pub(crate) fn remove(&mut self, id: i64) -> Result<Vec<Blob>, Refusal> {
        let lease = self.leases.remove(&id).ok_or(Refusal::LeaseNotFound)?;
        self.deadlines.remove(&(lease.deadline, id));
        Ok(lease.keys.into_iter().collect())
    }

    /// Runs the lease's full time again from `now` and says how long that is; nothing if there is
    /// no such lease any more.
    pub(crate) fn keep_alive(&mut self, id: i64, now: Instant) -> Option<i64> {
        let lease = self.leases.get_mut(&id).filter(|lease| !lease.ending)?;
        self.deadlines.remove(&(lease.deadline, id));
        lease.deadline = deadline(now, lease.ttl_s);
        self.deadlines.insert((lease.deadline, id));
        Some(lease.ttl_s)
    }

    /// How the lease stands.
    pub(crate) fn status(&self, id: i64, now: Instant) -> Option<LeaseStatus> {
        let lease = self.leases.get(&id)?;
        let remaining = lease.deadline.saturating_duration_since(now);
        Some(LeaseStatus {
            ttl_s: lease.ttl_s,
            remaining_s: i64::try_from(remaining.as_secs()).unwrap_or(i64::MAX),
            keys: lease.keys.iter().cloned().collect(),
        })
    }

    /// The keys on the lease, in order.
    pub(crate) fn keys(&self, id: i64) -> Option<Vec<Blob>> {
        Some(self.leases.get(&id)?.keys.iter().cloned().collect())
    }

    /// Moves `key` from the lease it hung on to another; 0 is none.
    pub(crate) fn attach(&mut self, key: &Blob, before: i64, after: i64) {
        if before != after
            && let Some(lease) = self.leases.get_mut(&before)
        {
            lease.keys.remove(key);
        }
        if let Some(lease) = self.leases.get_mut(&after) {
            lease.keys.insert(Blob::clone(key));
        }
    }

    /// When the next lease ends, if it is not kept alive.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let first = self.deadlines.first().filter(|_| !self.held);
        first.map(|(deadline, _)| *deadline)
    }

    /// From now on none ends.
    pub(crate) fn hold(&mut self) {
        self.held = true;
    }

    /// All run their full time again from `now`.
    pub(crate) fn release(&mut self, now: Instant) {
        self.held = false;
        let ids: Vec<i64> = self.ids().collect();
        for id in ids {
            self.keep_alive(id, now);
        }
    }

    /// The leases whose time has passed. They cannot be kept alive from here on.
    pub(crate) fn take_ended(&mut self, now: Instant) -> Vec<i64> {
        let mut ended = Vec::new();
        while !self.held
            && let Some((deadline, id)) = self.deadlines.first().copied()
            && deadline <= now
        {
            self.deadlines.remove(&(deadline, id));
            if let Some(lease) = self.leases.get_mut(&id) {
                lease.ending = true;
                ended.push(id);
            }
        }
        ended
    }
}

fn deadline(now: Instant, ttl_s: i64) -> Instant {
    now + Duration::from_secs(ttl_s.unsigned_abs())
}

/// The finaliser of SplitMix64: consecutive numbers become unlike ones.
fn scramble(number: u64) -> u64 {
    let mut bits = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_ended_lease_cannot_be_kept_alive() {
        let mut leases = Leases::new(1);
        let now = Instant::now();
        let (id, ttl_s) = leases.plan_grant(0, 1).unwrap();
        assert_eq!(ttl_s, TTL_MIN_S);
        leases.insert(id, ttl_s, now);
        leases.insert(7, 10, now);
        assert_eq!(leases.plan_grant(7, 10), Err(Refusal::LeaseExists));
        assert_eq!(
            leases.plan_grant(8, TTL_MAX_S + 1),
            Err(Refusal::LeaseTtlTooLarge)
        );

        let later = now + Duration::from_secs(2);
        assert_eq!(leases.next_deadline(), Some(later));
        assert_eq!(leases.take_ended(later), vec![id]);
        assert_eq!(leases.keep_alive(id, later), None);
        assert_eq!(leases.keep_alive(7, later), Some(10));
        assert_eq!(
            leases.next_deadline(),
            Some(later + Duration::from_secs(10))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_held_lease_runs_its_full_time_again_when_it_is_released() {
        let mut leases = Leases::new(1);
        let now = Instant::now();
        leases.insert(7, 10, now);
        leases.hold();
        let later = now + Duration::from_secs(3_600);
        assert_eq!(leases.next_deadline(), None);
        assert!(leases.take_ended(later).is_empty());
        leases.release(later);
        assert_eq!(
            leases.next_deadline(),
            Some(later + Duration::from_secs(10))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_hangs_on_one_lease() {
        let mut leases = Leases::new(1);
        let now = Instant::now();
        leases.insert(1, 10, now);
        leases.insert(2, 10, now);
        let key: Blob = b"k"[..].into();
        leases.attach(&key, 0, 1);
        leases.attach(&key, 1, 2);
        assert_eq!(leases.status(1, now).unwrap().keys.len(), 0);
        assert_eq!(leases.remove(2).unwrap(), vec![key]);
        assert_eq!(leases.remove(2), Err(Refusal::LeaseNotFound));
    }
}
