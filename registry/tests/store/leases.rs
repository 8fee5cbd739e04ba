//! Leases: kept, resumed, lost.

use std::time::Duration;

use registry::embedded::Embedded;
use registry::{LeaseId, LeaseLost, Registry};

use crate::etcd::{Etcd, PREFIX, soon};

/// Longer than a busy machine stands still, for a lease that is not kept alive in time ends rightly.
const TTL: Duration = Duration::from_secs(9);

#[tokio::test]
async fn leases_of_the_embedded_store() {
    let store = Embedded::in_memory();
    lives_and_resumes(Registry::embedded(&store, PREFIX)).await;
}

#[tokio::test]
async fn leases_of_etcd() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    lives_and_resumes(etcd.registry().await).await;
}

async fn lives_and_resumes(registry: Registry) {
    let lease = registry.lease(TTL, None).await.unwrap();
    assert_eq!(lease.ttl(), TTL);
    let granted = lease.confirmed_at();
    println!("waiting for keep-alives of lease {:?}", lease.id());
    soon("two keep-alives", async {
        while lease.confirmed_at() < granted + TTL / 2 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let id = lease.id();
    drop(lease);
    let resumed = registry
        .lease(Duration::from_secs(60), Some(id))
        .await
        .unwrap();
    assert_eq!((resumed.id(), resumed.ttl()), (id, TTL), "the same lease");
    let end = resumed.confirmed_at() + TTL;
    let kept_beyond = soon("a keep-alive after what was its end", async {
        while resumed.confirmed_at() <= end {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    tokio::select! {
        lost = resumed.lost() => panic!("it is not kept alive beyond its time: {lost:?}"),
        () = kept_beyond => {}
    }
    resumed.revoke().await.unwrap();
    let new = registry.lease(TTL, Some(id)).await.unwrap();
    assert_ne!(new.id(), id, "the old one was gone");
    let never = registry.lease(TTL, Some(LeaseId(4711))).await.unwrap();
    assert_ne!(never.id(), LeaseId(4711));
}

#[tokio::test]
async fn a_lease_revoked_by_another_is_lost() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    let registry = etcd.registry().await;
    let lease = registry.lease(TTL, None).await.unwrap();
    etcd.raw().await.lease_revoke(lease.id().0).await.unwrap();
    assert_eq!(soon("the loss", lease.lost()).await, LeaseLost::Ended);
}

#[tokio::test]
async fn a_lease_that_nobody_confirms_is_lost_when_its_time_is_over() {
    let Some(mut etcd) = Etcd::start().await else {
        return;
    };
    let registry = etcd.registry().await;
    let lease = registry.lease(TTL, None).await.unwrap();
    etcd.kill();
    assert_eq!(soon("the loss", lease.lost()).await, LeaseLost::Unconfirmed);
    assert!(lease.confirmed_at().elapsed() >= TTL, "not before");
}

#[tokio::test]
async fn a_lease_outlives_a_short_absence_of_etcd() {
    let Some(mut etcd) = Etcd::start().await else {
        return;
    };
    let registry = etcd.registry().await;
    let lease = registry.lease(Duration::from_secs(20), None).await.unwrap();
    etcd.kill();
    etcd.boot().await;
    let back = tokio::time::Instant::now();
    soon("a keep-alive", async {
        while lease.confirmed_at() < back {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}
