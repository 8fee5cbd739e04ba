//! `doctor`: what it says of a cluster that is well, of one that is not, and of one that does not answer.

use insta::assert_snapshot;
use model::{Change, Quarantined, StoreError};

use crate::cluster::{FILE, cluster, machines_asleep};
use crate::memory::Mood;

#[tokio::test(flavor = "multi_thread")]
async fn all_is_well() {
    let cluster = cluster().await;
    cluster.file("web.service", FILE);
    cluster.run("fleetctl start web").await;
    assert_snapshot!(cluster.run("fleetctl doctor").await);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn much_is_wrong_and_each_is_named() {
    let cluster = machines_asleep().await;
    cluster.store.change([Change::Quarantined {
        record: None,
        problem: Quarantined {
            key: "/_coreos.com/fleet/units/x".to_owned(),
            reason: "not JSON".to_owned(),
        },
    }]);
    assert_snapshot!(cluster.run("fleetctl doctor").await);
    assert_snapshot!(
        cluster
            .run("fleetctl doctor --no-legend --fields=check,severity")
            .await
    );
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_answer_is_told_of_and_the_rest_is_not_guessed() {
    let cluster = machines_asleep().await;
    let gone = StoreError::Unreachable("gone".to_owned());
    cluster.store.mood(Mood::Fails(gone));
    assert_snapshot!(cluster.run("fleetctl doctor").await);
    cluster.end().await;
}
