//! `submit`, `load` and `start`: what is created from what, and what is said of it.

use insta::assert_snapshot;

use crate::cluster::{FILE, cluster, generation};

#[tokio::test(flavor = "multi_thread")]
async fn submit_makes_a_unit_known_and_starts_nothing() {
    let cluster = cluster().await;
    cluster.file("web.service", FILE);
    assert_snapshot!(cluster.run("fleetctl submit web").await, @"");
    assert_snapshot!(cluster.run("fleetctl submit web.service web").await, @"");
    assert_snapshot!(cluster.run("fleetctl list-unit-files").await, @"");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn start_submits_loads_and_starts() {
    let cluster = cluster().await;
    cluster.file("web.service", FILE);
    cluster.file("db.service", FILE);
    assert_snapshot!(cluster.run("fleetctl start web db").await, @"");
    assert_snapshot!(cluster.run("fleetctl start web").await, @"");
    assert_snapshot!(cluster.run("fleetctl list-units").await, @"");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_given_twice_is_one() {
    let cluster = cluster().await;
    cluster.file("web.service", FILE);
    assert_snapshot!(cluster.run("fleetctl start web web.service ./web").await, @"");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn load_puts_a_unit_on_a_machine_and_does_not_start_it() {
    let cluster = cluster().await;
    cluster.file("web.service", FILE);
    assert_snapshot!(cluster.run("fleetctl load web").await, @"");
    assert_snapshot!(cluster.run("fleetctl list-units --no-legend").await, @"");
    assert_snapshot!(cluster.run("fleetctl start web").await, @"");
    // Loading a unit that runs stops it.
    assert_snapshot!(cluster.run("fleetctl load web").await, @"");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_come_from_the_clusters_template_then_from_a_local_one() {
    let cluster = cluster().await;
    cluster.file("app@.service", FILE);
    assert_snapshot!(cluster.run("fleetctl start app@1").await, @"");
    assert_snapshot!(cluster.run("fleetctl submit app@").await, @"");
    std::fs::remove_file(cluster.folder.join("app@.service")).unwrap();
    assert_snapshot!(cluster.run("fleetctl start app@2 app@3").await, @"");
    assert_snapshot!(cluster.run("fleetctl cat app@3").await, @"");
    assert_snapshot!(cluster.run("fleetctl start app@").await, @"");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn global_units_are_triggered() {
    let cluster = cluster().await;
    cluster.file("log.service", "[Service]\nExecStart=/bin/log\n[X-Fleet]\nGlobal=true\n");
    assert_snapshot!(cluster.run("fleetctl start log").await, @"");
    assert_snapshot!(cluster.run("fleetctl list-unit-files --no-legend --fields=unit,global,state,target").await, @"");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_is_told_and_replaced_only_if_asked() {
    let cluster = cluster().await;
    cluster.file("web.service", FILE);
    cluster.run("fleetctl start web").await;
    cluster.file("web.service", "[Service]\nExecStart=/bin/sleep 200\n");
    assert_snapshot!(cluster.run("fleetctl start web").await, @"");
    assert_snapshot!(cluster.run("fleetctl submit --replace web").await, @"");
    assert_snapshot!(cluster.run("fleetctl start --replace web").await, @"");
    assert_snapshot!(cluster.run("fleetctl start --replace=true web").await, @"");
    assert_snapshot!(cluster.run("fleetctl cat web").await, @"");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_blocking_the_request_is_all() {
    let cluster = cluster().await;
    cluster.file("slow.service", FILE);
    assert_snapshot!(cluster.run("fleetctl start -no-block=true slow").await, @"");
    let first = generation(&cluster, "slow.service");
    assert_snapshot!(cluster.run("fleetctl start slow --no-block").await, @"");
    assert!(generation(&cluster, "slow.service") > first, "the second request is one of its own");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_units_given_is_no_error() {
    let cluster = cluster().await;
    for verb in ["submit", "load", "start", "stop", "unload", "destroy", "restart"] {
        assert_eq!(cluster.run(&format!("fleetctl {verb}")).await, "[stderr]\nNo units given\n[exit 0]");
    }
    cluster.end().await;
}
