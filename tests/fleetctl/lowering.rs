//! `stop`, `unload`, `destroy`, `restart`: they wait for the machines, and unknown units are no error.

use insta::assert_snapshot;

use crate::cluster::{Cluster, FILE, cluster, generation};

async fn running(names: &[&str]) -> Cluster {
    let cluster = cluster().await;
    for name in names {
        cluster.file(&format!("{name}.service"), FILE);
    }
    cluster.run(&format!("fleetctl start {}", names.join(" "))).await;
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_says_where_and_that_it_is_done() {
    let cluster = running(&["web", "db"]).await;
    assert_snapshot!(cluster.run("fleetctl stop web db web").await, @"");
    assert_snapshot!(cluster.run("fleetctl list-units").await, @"");
    assert_snapshot!(cluster.run("fleetctl stop web --no-block").await, @"");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_of_what_is_not_there_or_not_up() {
    let cluster = running(&["web"]).await;
    cluster.file("idle.service", FILE);
    cluster.run("fleetctl submit idle").await;
    assert_snapshot!(cluster.run("fleetctl stop nothing").await, @"");
    assert_snapshot!(cluster.run("fleetctl stop web nothing").await, @"");
    assert_snapshot!(cluster.run("fleetctl stop idle").await, @"");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unload_takes_units_from_their_machines() {
    let cluster = running(&["web", "db"]).await;
    assert_snapshot!(cluster.run("fleetctl unload web").await, @"");
    assert_snapshot!(cluster.run("fleetctl list-units --no-legend").await, @"");
    assert_snapshot!(cluster.run("fleetctl unload web").await, @"");
    assert_snapshot!(cluster.run("fleetctl unload --no-block db").await, @"");
    assert_snapshot!(cluster.run("fleetctl unload nothing").await, @"");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn destroy_waits_until_all_is_gone() {
    let cluster = running(&["web", "db"]).await;
    assert_snapshot!(cluster.run("fleetctl destroy web nothing").await, @"");
    let records = cluster.store.records();
    assert!(records.statuses.keys().all(|name| name.as_str() != "web.service"), "the machine has it still");
    assert_snapshot!(cluster.run("fleetctl destroy web").await, @"");
    assert_snapshot!(cluster.run("fleetctl destroy --no-block=true db").await, @"");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restart_is_a_request_of_its_own_and_waits_for_its_end() {
    let cluster = running(&["web"]).await;
    let before = generation(&cluster, "web.service");
    assert_snapshot!(cluster.run("fleetctl restart web").await, @"");
    assert!(generation(&cluster, "web.service") > before);
    cluster.file("idle.service", FILE);
    cluster.run("fleetctl submit idle").await;
    assert_snapshot!(cluster.run("fleetctl restart idle nothing").await, @"");
    assert_snapshot!(cluster.run("fleetctl restart nothing").await, @"");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn globals_are_triggered() {
    let cluster = cluster().await;
    cluster.file("log.service", "[Service]\nExecStart=/bin/log\n[X-Fleet]\nGlobal=true\n");
    cluster.run("fleetctl start log").await;
    assert_snapshot!(cluster.run("fleetctl stop log").await, @"");
    assert_snapshot!(cluster.run("fleetctl unload log").await, @"");
    assert_snapshot!(cluster.run("fleetctl destroy log").await, @"");
    cluster.end().await;
}
