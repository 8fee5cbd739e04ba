//! fleetd is killed, or the store's answer is lost, just after the machine's record was written: the next attempt finds its own record, and
//! waits for nobody.

use std::pin::pin;
use std::sync::Mutex;

use agent::{Joined, Joining};
use futures_util::poll;
use registry::LeaseId;
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::bed::{Bed, TTL};

/// What is left of the first attempt.
#[derive(Clone, Copy, Debug)]
enum Left {
    /// The process goes on; only the answer was lost.
    Process,
    /// The file that remembers the lease.
    LeaseFile,
}

async fn break_off_and_join(left: Left) {
    let bed = Bed::new().await;
    let far = bed.far().await;
    let machine = bed.another("m2");
    let remembered: Mutex<Option<LeaseId>> = Mutex::new(None);
    let remember = |lease| *remembered.lock().unwrap() = Some(lease);
    let mut joining = Joining::default();
    {
        let attempt = joining.attempt(&far, &machine, (TTL, None), &bed.systemd, remember);
        let mut attempt = pin!(attempt);
        while !bed.is_member("m2").await {
            assert!(poll!(attempt.as_mut()).is_pending(), "nothing was written");
            yield_now().await;
        }
    }
    println!("the record stands, and its answer was never read; left is: {left:?}");
    match left {
        Left::Process => {}
        Left::LeaseFile => joining = Joining::default(),
    }
    let lease = *remembered.lock().unwrap();
    let again = joining.attempt(&far, &machine, (TTL, lease), &bed.systemd, |_| {});
    // Another machine's record would be watched for as long as its lease lives.
    let joined = timeout(TTL / 2, again).await.unwrap().unwrap();
    assert!(matches!(joined, Joined::Member(..)), "{joined:?}");
}

#[tokio::test]
async fn a_join_whose_answer_was_lost_is_taken_up_again() {
    break_off_and_join(Left::Process).await;
}

#[tokio::test]
async fn a_join_during_which_fleetd_was_killed_is_taken_up_again() {
    break_off_and_join(Left::LeaseFile).await;
}
