//! Damaged records: which may be removed.

use std::time::Duration;

use model::{ClusterStore, Removal};
use registry::embedded::Embedded;
use registry::{Join, Registry, View};
use tokio_util::sync::CancellationToken;

use crate::etcd::{Etcd, PREFIX};
use crate::sample::{machine, name, status};

#[tokio::test]
async fn what_a_live_machine_says_of_itself_stays_over_etcd() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    what_a_live_machine_says_stays(etcd.registry().await, etcd.raw().await).await;
}

#[tokio::test]
async fn what_a_live_machine_says_of_itself_stays_over_the_embedded_store() {
    let store = Embedded::in_memory();
    let raw = etcd_client::Client::from_channel(store.channel(), None);
    what_a_live_machine_says_stays(Registry::embedded(&store, PREFIX), raw.await.unwrap()).await;
}

async fn what_a_live_machine_says_stays(registry: Registry, mut raw: etcd_client::Client) {
    let lease = registry.lease(Duration::from_secs(60), None).await.unwrap();
    let Join::Joined(membership) = registry
        .join(&machine("m1", "10.0.0.1", "boot-1"), &lease)
        .await
        .unwrap()
    else {
        panic!("nobody else is there")
    };
    for unit in ["a.service", "b.service"] {
        membership
            .publish(vec![(name(unit), Some(status("running")))])
            .await
            .unwrap();
    }
    let view = View::new(registry.clone(), CancellationToken::new());
    let (place, report) = (
        format!("{PREFIX}machines/m1"),
        format!("{PREFIX}states/m1/a.service"),
    );
    let whole = raw.get(place.as_str(), None).await.unwrap().kvs()[0]
        .value()
        .to_vec();
    println!(
        "a report is damaged, then the machine's record; both stay while anything of the machine is under a lease"
    );
    raw.put(report.as_str(), "{rubbish", None).await.unwrap();
    assert_eq!(
        view.remove_quarantined(report.clone()).await,
        Ok(Removal::Alive)
    );
    raw.put(place.as_str(), "{rubbish", None).await.unwrap();
    assert_eq!(
        view.remove_quarantined(report.clone()).await,
        Ok(Removal::Alive)
    );
    assert_eq!(
        view.remove_quarantined(place.clone()).await,
        Ok(Removal::Alive)
    );
    println!("its lease ends: the two are left, by hand under none, and can be removed");
    lease.revoke().await.unwrap();
    assert_eq!(
        view.remove_quarantined(report.clone()).await,
        Ok(Removal::Removed)
    );
    assert_eq!(
        view.remove_quarantined(place.clone()).await,
        Ok(Removal::Removed)
    );
    raw.put(place.as_str(), whole, None).await.unwrap();
    assert_eq!(
        view.remove_quarantined(place).await,
        Ok(Removal::NotQuarantined)
    );
}
