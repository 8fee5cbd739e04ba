//! `stop`, `unload`, `destroy`, `restart`: they wait for the machines, and unknown units are no error.

use insta::assert_snapshot;

use crate::cluster::{Cluster, FILE, cluster, generation};

async fn running(names: &[&str]) -> Cluster {
    let cluster = cluster().await;
    for name in names {
        cluster.file(&format!("{name}.service"), FILE);
    }
    cluster
        .run(&format!("fleetctl start {}", names.join(" ")))
        .await;
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_says_where_and_that_it_is_done() {
    let cluster = running(&["web", "db"]).await;
    assert_snapshot!(cluster.run("fleetctl stop web db web").await, @r#"
    [stdout]
    Unit db.service loaded on aaaaaaaa.../10.0.0.1
    Unit web.service loaded on aaaaaaaa.../10.0.0.1
    [stderr]
    Successfully stopped units [web.service db.service].
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl list-units").await, @r#"
    [stdout]
    UNIT⇥⇥MACHINE⇥⇥⇥ACTIVE⇥⇥SUB
    db.service⇥aaaaaaaa.../10.0.0.1⇥inactive⇥dead
    web.service⇥aaaaaaaa.../10.0.0.1⇥inactive⇥dead
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl stop web --no-block").await, @r#"
    [stdout]
    Triggered unit web.service stop
    [stderr]
    Successfully stopped units [web.service].
    [exit 0]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_of_what_is_not_there_or_not_up() {
    let cluster = running(&["web"]).await;
    cluster.file("idle.service", FILE);
    cluster.run("fleetctl submit idle").await;
    assert_snapshot!(cluster.run("fleetctl stop nothing").await, @r#"
    [stderr]
    Units not found in registry
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl stop web nothing").await, @r#"
    [stdout]
    Unit web.service loaded on aaaaaaaa.../10.0.0.1
    [stderr]
    Unit nothing.service not found in registry
    Successfully stopped units [web.service].
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl stop idle").await, @r#"
    [stderr]
    Unable to stop unit idle.service in state inactive
    [exit 1]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unload_takes_units_from_their_machines() {
    let cluster = running(&["web", "db"]).await;
    assert_snapshot!(cluster.run("fleetctl unload web").await, @r#"
    [stdout]
    Unit web.service inactive
    [stderr]
    Successfully unloaded units [web.service].
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl list-units --no-legend").await, @r#"
    [stdout]
    db.service⇥aaaaaaaa.../10.0.0.1⇥active⇥running
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl unload web").await, @r#"
    [stdout]
    Unit web.service inactive
    [stderr]
    Successfully unloaded units [web.service].
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl unload --no-block db").await, @r#"
    [stdout]
    Triggered unit db.service unload
    [stderr]
    Successfully unloaded units [db.service].
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl unload nothing").await, @r#"
    [stderr]
    Units not found in registry
    [exit 0]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn destroy_waits_until_all_is_gone() {
    let cluster = running(&["web", "db"]).await;
    assert_snapshot!(cluster.run("fleetctl destroy web nothing").await, @r#"
    [stdout]
    Destroyed web.service
    [exit 0]
    "#);
    let records = cluster.store.records();
    assert!(
        records
            .statuses
            .keys()
            .all(|name| name.as_str() != "web.service"),
        "the machine has it still"
    );
    assert_snapshot!(cluster.run("fleetctl destroy web").await, @r#"
    [stderr]
    Units not found in registry
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl destroy --no-block=true db").await, @r#"
    [stdout]
    Destroyed db.service
    [exit 0]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restart_is_a_request_of_its_own_and_waits_for_its_end() {
    let cluster = running(&["web"]).await;
    let before = generation(&cluster, "web.service");
    assert_snapshot!(cluster.run("fleetctl restart web").await, @r#"
    [stdout]
    Unit web.service launched on aaaaaaaa.../10.0.0.1
    [exit 0]
    "#);
    assert!(generation(&cluster, "web.service") > before);
    cluster.file("idle.service", FILE);
    cluster.run("fleetctl submit idle").await;
    assert_snapshot!(cluster.run("fleetctl restart idle nothing").await, @r#"
    [stderr]
    Unit nothing.service not found in registry
    Unable to restart unit idle.service in state inactive
    [exit 1]
    "#);
    assert_snapshot!(cluster.run("fleetctl restart nothing").await, @r#"
    [stderr]
    Units not found in registry
    [exit 0]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn globals_are_triggered() {
    let cluster = cluster().await;
    cluster.file(
        "log.service",
        "[Service]\nExecStart=/bin/log\n[X-Fleet]\nGlobal=true\n",
    );
    cluster.run("fleetctl start log").await;
    assert_snapshot!(cluster.run("fleetctl stop log").await, @r#"
    [stdout]
    Triggered global unit log.service stop
    [stderr]
    Successfully stopped units [log.service].
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl unload log").await, @r#"
    [stdout]
    Triggered global unit log.service unload
    [stderr]
    Successfully unloaded units [log.service].
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl destroy log").await, @r#"
    [stdout]
    Destroyed log.service
    [exit 0]
    "#);
    cluster.end().await;
}
