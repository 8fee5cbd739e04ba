//! `quarantine`: lists records that cannot be understood, removes them, and nothing else.

use insta::assert_snapshot;
use model::{Change, Quarantined};

use crate::cluster::cluster;

#[tokio::test(flavor = "multi_thread")]
async fn damaged_records_are_listed_and_removed_one_by_one() {
    let cluster = cluster().await;
    for (key, reason) in [
        (
            "/_coreos.com/fleet/units/x.service",
            "expected value at line 1 column 1",
        ),
        ("/_coreos.com/fleet/machines/ä?&=#", "its key is not an id"),
    ] {
        let (key, reason) = (key.to_owned(), reason.to_owned());
        let problem = Quarantined { key, reason };
        cluster.store.change([Change::Quarantined {
            record: None,
            problem,
        }]);
    }
    assert_snapshot!(cluster.run("fleetctl quarantine").await);
    assert_snapshot!(cluster.run("fleetctl quarantine list -o json").await);
    assert_snapshot!(
        cluster
            .run("fleetctl quarantine remove /_coreos.com/fleet/machines/ä?&=#")
            .await
    );
    assert_snapshot!(
        cluster
            .run("fleetctl quarantine remove /_coreos.com/fleet/machines/ä?&=#")
            .await
    );
    assert_snapshot!(cluster.run("fleetctl quarantine remove").await);
    assert_snapshot!(cluster.run("fleetctl quarantine list x").await);
    assert_snapshot!(
        cluster
            .run("fleetctl quarantine --no-legend --fields=key")
            .await
    );
    cluster.end().await;
}
