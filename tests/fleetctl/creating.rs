//! `submit`, `load` and `start`: what is created from what, and what is said of it.

use insta::assert_snapshot;

use crate::cluster::{FILE, cluster, generation};

#[tokio::test(flavor = "multi_thread")]
async fn submit_makes_a_unit_known_and_starts_nothing() {
    let cluster = cluster().await;
    cluster.file("web.service", FILE);
    assert_snapshot!(cluster.run("fleetctl submit web").await, @r#"
    [stdout]
    Unit web.service inactive
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl submit web.service web").await, @r#"
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl list-unit-files").await, @r#"
    [stdout]
    UNIT⇥⇥HASH⇥DSTATE⇥⇥STATE⇥⇥TARGET
    web.service⇥1c6fb6f⇥inactive⇥inactive⇥-
    [exit 0]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn start_submits_loads_and_starts() {
    let cluster = cluster().await;
    cluster.file("web.service", FILE);
    cluster.file("db.service", FILE);
    assert_snapshot!(cluster.run("fleetctl start web db").await, @r#"
    [stdout]
    Unit web.service inactive
    Unit db.service inactive
    Unit db.service launched on aaaaaaaa.../10.0.0.1
    Unit web.service launched on aaaaaaaa.../10.0.0.1
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl start web").await, @r#"
    [stdout]
    Unit web.service launched on aaaaaaaa.../10.0.0.1
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl list-units").await, @r#"
    [stdout]
    UNIT⇥⇥MACHINE⇥⇥⇥ACTIVE⇥SUB
    db.service⇥aaaaaaaa.../10.0.0.1⇥active⇥running
    web.service⇥aaaaaaaa.../10.0.0.1⇥active⇥running
    [exit 0]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_given_twice_is_one() {
    let cluster = cluster().await;
    cluster.file("web.service", FILE);
    assert_snapshot!(cluster.run("fleetctl start web web.service ./web").await, @r#"
    [stdout]
    Unit web.service inactive
    Unit web.service launched on aaaaaaaa.../10.0.0.1
    [exit 0]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn load_puts_a_unit_on_a_machine_and_does_not_start_it() {
    let cluster = cluster().await;
    cluster.file("web.service", FILE);
    assert_snapshot!(cluster.run("fleetctl load web").await, @r#"
    [stdout]
    Unit web.service inactive
    Unit web.service loaded on aaaaaaaa.../10.0.0.1
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl list-units --no-legend").await, @r#"
    [stdout]
    web.service⇥aaaaaaaa.../10.0.0.1⇥inactive⇥dead
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl start web").await, @r#"
    [stdout]
    Unit web.service launched on aaaaaaaa.../10.0.0.1
    [exit 0]
    "#);
    // Loading a unit that runs stops it.
    assert_snapshot!(cluster.run("fleetctl load web").await, @r#"
    [stdout]
    Unit web.service loaded on aaaaaaaa.../10.0.0.1
    [exit 0]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_come_from_the_clusters_template_then_from_a_local_one() {
    let cluster = cluster().await;
    cluster.file("app@.service", FILE);
    assert_snapshot!(cluster.run("fleetctl start app@1").await, @r#"
    [stdout]
    Unit app@1.service inactive
    Unit app@1.service launched on aaaaaaaa.../10.0.0.1
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl submit app@").await, @r#"
    [stdout]
    Unit app@.service inactive
    [exit 0]
    "#);
    std::fs::remove_file(cluster.folder.join("app@.service")).unwrap();
    assert_snapshot!(cluster.run("fleetctl start app@2 app@3").await, @r#"
    [stdout]
    Unit app@2.service inactive
    Unit app@3.service inactive
    Unit app@2.service launched on aaaaaaaa.../10.0.0.1
    Unit app@3.service launched on aaaaaaaa.../10.0.0.1
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl cat app@3").await, @r#"
    [stdout]
    [Service]
    ExecStart=/bin/sleep 100
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl start app@").await, @r#"
    [stderr]
    Error starting units: unit app@.service: cannot activate template
    [exit 1]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn global_units_are_triggered() {
    let cluster = cluster().await;
    cluster.file(
        "log.service",
        "[Service]\nExecStart=/bin/log\n[X-Fleet]\nGlobal=true\n",
    );
    assert_snapshot!(cluster.run("fleetctl start log").await, @r#"
    [stdout]
    Unit log.service inactive
    Triggered global unit log.service start
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl list-unit-files --no-legend --fields=unit,global,state,target").await, @r#"
    [stdout]
    log.service⇥true⇥-⇥global
    [exit 0]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_is_told_and_replaced_only_if_asked() {
    let cluster = cluster().await;
    cluster.file("web.service", FILE);
    cluster.run("fleetctl start web").await;
    cluster.file("web.service", "[Service]\nExecStart=/bin/sleep 200\n");
    assert_snapshot!(cluster.run("fleetctl start web").await, @r#"
    [stdout]
    Unit web.service launched on aaaaaaaa.../10.0.0.1
    [stderr]
    WARNING: Unit web.service in registry differs from local unit file web.service. Add --replace to override.
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl submit --replace web").await, @r#"
    [stderr]
    Warning: can not replace Unit(web.service) in state 'launched', use the appropriate command
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl start --replace web").await, @r#"
    [stdout]
    Unit web.service inactive
    Unit web.service launched on aaaaaaaa.../10.0.0.1
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl start --replace=true web").await, @r#"
    [stdout]
    Found same Unit(web.service) in Registry, nothing to do
    Unit web.service launched on aaaaaaaa.../10.0.0.1
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl cat web").await, @r#"
    [stdout]
    [Service]
    ExecStart=/bin/sleep 200
    [exit 0]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_blocking_the_request_is_all() {
    let cluster = cluster().await;
    cluster.file("slow.service", FILE);
    assert_snapshot!(cluster.run("fleetctl start -no-block=true slow").await, @r#"
    [stdout]
    Unit slow.service inactive
    Triggered unit slow.service start
    [exit 0]
    "#);
    let first = generation(&cluster, "slow.service");
    assert_snapshot!(cluster.run("fleetctl start slow --no-block").await, @r#"
    [stdout]
    Triggered unit slow.service start
    [exit 0]
    "#);
    assert!(
        generation(&cluster, "slow.service") > first,
        "the second request is one of its own"
    );
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_units_given_is_no_error() {
    let cluster = cluster().await;
    for verb in [
        "submit", "load", "start", "stop", "unload", "destroy", "restart",
    ] {
        assert_eq!(
            cluster.run(&format!("fleetctl {verb}")).await,
            "[stderr]\nNo units given\n[exit 0]"
        );
    }
    cluster.end().await;
}
