//! The help of fleetctl and of each command.

use insta::assert_snapshot;

use crate::cluster::machines_asleep;

#[tokio::test(flavor = "multi_thread")]
async fn help_of_all() {
    let cluster = machines_asleep().await;
    let help = cluster.run("fleetctl").await;
    for line in ["fleetctl help", "fleetctl --help", "fleetctl -h", "fleetctl -help"] {
        assert_eq!(cluster.run(line).await, help, "{line}");
    }
    assert_snapshot!(help, @"");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn help_of_each_command() {
    let cluster = machines_asleep().await;
    assert_snapshot!(cluster.run("fleetctl help start").await, @"");
    assert_snapshot!(cluster.run("fleetctl submit --help").await, @"");
    assert_snapshot!(cluster.run("fleetctl load --help").await, @"");
    assert_snapshot!(cluster.run("fleetctl stop --help").await, @"");
    assert_snapshot!(cluster.run("fleetctl unload --help").await, @"");
    assert_snapshot!(cluster.run("fleetctl destroy --help").await, @"");
    assert_snapshot!(cluster.run("fleetctl restart --help").await, @"");
    assert_snapshot!(cluster.run("fleetctl cat --help").await, @"");
    assert_snapshot!(cluster.run("fleetctl list-machines --help").await, @"");
    assert_snapshot!(cluster.run("fleetctl list-units --help").await, @"");
    assert_snapshot!(cluster.run("fleetctl list-unit-files --help").await, @"");
    assert_snapshot!(cluster.run("fleetctl version --help").await, @"");
    cluster.end().await;
}
