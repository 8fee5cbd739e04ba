//! Whether a follower has missed something, seen by comparing what it knows with the store from time to time: etcd has lost events
//! of watches that stand (etcd issues 15220, 17780, 20418), and no watch ever tells.

use std::time::Duration;

use model::Revision;
use tokio::time::Instant;

use crate::backoff::Salt;
use crate::known::{Known, Verdict};
use crate::listing::Account;

/// A watch that stands is compared with the store after half of this to all of it: an event that etcd lost is made good that soon.
/// With the two watches of an idle machine this adds a fourteenth to the requests that its keep-alives are.
const EVERY: Duration = Duration::from_mins(2);

/// And after no less than half of this for each key: etcd looks at every key of the range to answer, which takes it some
/// microseconds each, so that this is some thousandths of one processor however large the cluster is.
const EVERY_PER_KEY: Duration = Duration::from_millis(2);

/// How long what the store had may take to be heard, from one event to the next.
const ARRIVAL_MAX: Duration = Duration::from_secs(10);

/// A comparison under way, or when the next is due.
pub(crate) struct Audit {
    salt: Salt,
    turn: u64,
    due: Instant,
    account: Option<Account>,
}

impl Audit {
    /// None is due before something is known.
    pub(crate) fn new(salt: Salt) -> Audit {
        Audit {
            salt,
            turn: 0,
            due: Instant::now() + EVERY,
            account: None,
        }
    }

    /// When the store is to be asked for an account; with one under way, when all of it must have been heard.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    /// Ends the comparison under way, if there is one, and says whether there was.
    pub(crate) fn end(&mut self) -> bool {
        self.account.take().is_some()
    }

    /// Not before some time has passed again, which differs from process to process and from turn to turn.
    pub(crate) fn put_off(&mut self, known: Option<&Known>) {
        let keys = known.map_or(0, |known| known.reached.keys);
        let keys = u32::try_from(keys).unwrap_or(u32::MAX);
        let most = EVERY.max(EVERY_PER_KEY.saturating_mul(keys));
        self.due = Instant::now() + self.salt.spread(self.turn, most);
        self.turn += 1;
    }

    /// Begins a comparison with what the store had.
    pub(crate) fn begin(&mut self, account: Account) {
        self.account = Some(account);
        self.due = Instant::now() + ARRIVAL_MAX;
    }

    /// Goes on with the comparison under way. `next` is the revision of what is about to be taken in, if something is.
    pub(crate) fn go_on(&mut self, known: &mut Known, next: Option<Revision>) -> Verdict {
        let Some(account) = &self.account else {
            return Verdict::Whole;
        };
        let verdict = known.compare(account, next);
        match verdict {
            Verdict::Whole => {
                self.account = None;
                self.put_off(Some(known));
            }
            Verdict::Pending => self.due = Instant::now() + ARRIVAL_MAX,
            Verdict::Missed => {}
        }
        verdict
    }
}
