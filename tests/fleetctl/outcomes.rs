//! How waiting ends when not all is well: units that fail, units that fit nowhere, time that runs out.

use futures_util::StreamExt;
use insta::assert_snapshot;
use model::{Change, ClusterStore, TargetState, Unit};
use unitfile::UnitName;

use crate::cluster::{Cluster, FILE, cluster, machines_asleep};

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_that_fails_is_told_with_machine_result_and_journal() {
    let cluster = cluster().await;
    for name in ["broken.service", "web.service"] {
        cluster.file(name, FILE);
    }
    assert_snapshot!(cluster.run("fleetctl start broken").await, @r#"
    [stdout]
    Unit broken.service inactive
    [stderr]
    Error starting units: unit broken.service failed on aaaaaaaa.../10.0.0.1: its start ended with result "failed"; systemd says loaded, failed (failed)
      one of 10 lines of broken.service
      ExecStart failed: no such file
    [exit 1]
    "#);
    // It is asked for anew, and fails anew.
    assert_snapshot!(cluster.run("fleetctl start broken").await, @r#"
    [stderr]
    Error starting units: unit broken.service failed on aaaaaaaa.../10.0.0.1: its start ended with result "failed"; systemd says loaded, failed (failed)
      one of 10 lines of broken.service
      ExecStart failed: no such file
    [exit 1]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_that_fails_after_its_start_has_failed_too() {
    let cluster = cluster().await;
    cluster.file("dying.service", FILE);
    cluster.file("flapping.service", FILE);
    cluster.file("unloadable.service", FILE);
    assert_snapshot!(cluster.run("fleetctl start dying").await, @r#"
    [stdout]
    Unit dying.service inactive
    [stderr]
    Error starting units: unit dying.service failed on aaaaaaaa.../10.0.0.1: systemd says loaded, failed (failed)
      one of 10 lines of dying.service
      ExecStart failed: no such file
    [exit 1]
    "#);
    assert_snapshot!(cluster.run("fleetctl start flapping").await, @r#"
    [stdout]
    Unit flapping.service inactive
    [stderr]
    Error starting units: unit flapping.service failed on aaaaaaaa.../10.0.0.1: systemd says loaded, activating (auto-restart)
      one of 10 lines of flapping.service
      ExecStart failed: no such file
    [exit 1]
    "#);
    assert_snapshot!(cluster.run("fleetctl load unloadable").await, @r#"
    [stdout]
    Unit unloadable.service inactive
    [stderr]
    Error loading units: unit unloadable.service failed on aaaaaaaa.../10.0.0.1: its load ended with result "failed": No space left on device; systemd says loaded, inactive (dead)
      one of 10 lines of unloadable.service
      ExecStart failed: no such file
    [exit 1]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_oneshot_that_has_ended_is_a_success() {
    let cluster = cluster().await;
    cluster.file("oneshot.service", FILE);
    assert_snapshot!(cluster.run("fleetctl start oneshot").await, @r#"
    [stdout]
    Unit oneshot.service inactive
    Unit oneshot.service launched on aaaaaaaa.../10.0.0.1
    [exit 0]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_that_no_machine_can_run_is_told_machine_by_machine() {
    let cluster = cluster().await;
    cluster.file("nowhere.service", FILE);
    cluster.file("web.service", FILE);
    assert_snapshot!(cluster.run("fleetctl start nowhere web").await, @r#"
    [stdout]
    Unit nowhere.service inactive
    Unit web.service inactive
    Unit web.service launched on aaaaaaaa.../10.0.0.1
    [stderr]
    Error starting units: unit nowhere.service waits: no machine can run it
      aaaaaaaa.../10.0.0.1: metadata region=us is wanted, it has eu
      bbbbbbbb.../10.0.0.2: metadata region=us is wanted, it has no such key
    It stays submitted, and goes on as soon as a machine can run it. --block-attempts=N waits for that, --no-block does not wait at all.
    [exit 1]
    "#);
    // It waits for as long as it is told to, and says why it waits.
    assert_snapshot!(cluster.run("fleetctl start --block-attempts=1 nowhere").await, @r#"
    [stderr]
    Error starting units: timed out waiting for unit nowhere.service to report state launched; unit nowhere.service waits: no machine can run it
      aaaaaaaa.../10.0.0.1: metadata region=us is wanted, it has eu
      bbbbbbbb.../10.0.0.2: metadata region=us is wanted, it has no such key
    [exit 1]
    "#);
    assert_snapshot!(cluster.run("fleetctl start --no-block nowhere").await, @r#"
    [stdout]
    Triggered unit nowhere.service start
    [exit 0]
    "#);
    // What runs nowhere can be stopped.
    assert_snapshot!(cluster.run("fleetctl stop nowhere").await, @r#"
    [stdout]
    Unit nowhere.service inactive
    [stderr]
    Successfully stopped units [nowhere.service].
    [exit 0]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn block_attempts_limit_the_wait() {
    let cluster = cluster().await;
    cluster.file("slow.service", FILE);
    cluster.file("ignored.service", FILE);
    assert_snapshot!(cluster.run("fleetctl start --block-attempts 3 slow").await, @r#"
    [stdout]
    Unit slow.service inactive
    [stderr]
    Error starting units: timed out waiting for unit slow.service to report state launched; systemd on aaaaaaaa.../10.0.0.1 says activating (start-pre)
    [exit 1]
    "#);
    assert_snapshot!(cluster.run("fleetctl load --block-attempts=3 ignored").await, @r#"
    [stdout]
    Unit ignored.service inactive
    [stderr]
    Error loading units: timed out waiting for unit ignored.service to report state loaded; no engine has placed it: does a fleetd with its engine enabled run?
    [exit 1]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_ask_for_meanwhile_ends_the_wait() {
    let cluster = machines_asleep().await;
    cluster.file("web.service", FILE);
    let meddle = async {
        let mut unit = asked_for(&cluster, "web.service").await;
        unit.target = TargetState::Inactive;
        unit.generation.0 += 10;
        let change = Change::Unit(unit.name.clone(), Some(unit));
        cluster.store.change(vec![change]);
    };
    let (seen, ()) = tokio::join!(cluster.run("fleetctl start web"), meddle);
    assert_snapshot!(seen, @r#"
    [stdout]
    Unit web.service inactive
    [stderr]
    Error starting units: unit web.service was asked to be inactive meanwhile, by another request
    [exit 1]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleetd_that_goes_away_is_waited_for_and_then_told() {
    let cluster = machines_asleep().await;
    cluster.file("web.service", FILE);
    let stop = async {
        asked_for(&cluster, "web.service").await;
        cluster.stop_fleetd();
    };
    let line = "fleetctl start web --request-timeout=5";
    let (seen, ()) = tokio::join!(cluster.run(line), stop);
    assert!(
        seen.contains("Error starting units: lost touch with the cluster while waiting: "),
        "{seen}"
    );
    assert!(
        seen.ends_with("The request was accepted and will be carried out.\n[exit 1]"),
        "{seen}"
    );
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleetd_that_comes_back_is_found_again() {
    let cluster = machines_asleep().await;
    cluster.file("web.service", FILE);
    let restart = async {
        asked_for(&cluster, "web.service").await;
        cluster.stop_fleetd();
        cluster.start_fleetd()
    };
    let line = "fleetctl start web --request-timeout=30";
    let (seen, again) = tokio::join!(cluster.run(line), restart);
    assert_snapshot!(seen, @r#"
    [stdout]
    Unit web.service inactive
    Unit web.service launched on aaaaaaaa.../10.0.0.1
    [exit 0]
    "#);
    again.end().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_goes_on_at_the_next_endpoint_where_it_broke_off() {
    let cluster = machines_asleep().await;
    cluster.file("web.service", FILE);
    let other = cluster.another_fleetd().await;
    #[allow(clippy::async_yields_async, reason = "the machines work on meanwhile")]
    let stop = async {
        asked_for(&cluster, "web.service").await;
        until_listened_to(&cluster).await;
        // Else the stream could still tell what the machines do.
        cluster.stopped_fleetd().await;
        other.wake_machines(&cluster)
    };
    let endpoints = format!(
        "unix://{},http://{}",
        cluster.socket.display(),
        other.address
    );
    let environment = [("FLEETCTL_ENDPOINT", endpoints.as_str())];
    let line = "fleetctl start web --request-timeout=30 --debug";
    let (seen, machines) = tokio::join!(cluster.run_with(&environment, line), stop);
    let seen = seen.replace(&other.address, "OTHER");
    let stdout = seen.split("[stderr]").next().unwrap();
    assert_snapshot!(stdout, @r#"
    [stdout]
    Unit web.service inactive
    Unit web.service launched on aaaaaaaa.../10.0.0.1
    "#);
    let streams: Vec<_> = seen
        .lines()
        .filter(|line| line.contains("events of"))
        .collect();
    let [first, second] = streams[..] else {
        panic!("{seen}")
    };
    assert_eq!(first, "DEBUG unix://SOCKET: events of 1 unit");
    assert!(
        second.starts_with("DEBUG http://OTHER: events of 1 unit since "),
        "{second}"
    );
    other.end().await;
    machines.await.unwrap();
    cluster.end().await;
}

/// Returns once somebody reads events.
async fn until_listened_to(cluster: &Cluster) {
    while cluster.store.subscribers() == 0 {
        tokio::task::yield_now().await;
    }
}

/// Returns the unit once fleetctl has asked for it to be started.
async fn asked_for(cluster: &Cluster, name: &str) -> Unit {
    let name = UnitName::parse(name).unwrap();
    let mut updates = cluster.store.subscribe().await.unwrap();
    loop {
        let records = cluster.store.records();
        if let Some(unit) = records.units.get(&name)
            && unit.target == TargetState::Launched
        {
            return unit.clone();
        }
        updates.next().await;
    }
}
