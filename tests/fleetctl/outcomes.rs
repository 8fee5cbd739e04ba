//! How waiting ends when not all is well: units that fail, units that fit nowhere, time that runs out.

use insta::assert_snapshot;
use model::{Change, TargetState};
use unitfile::UnitName;

use crate::cluster::{FILE, cluster, machines_asleep};

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_that_fails_is_told_with_machine_result_and_journal() {
    let cluster = cluster().await;
    for name in ["broken.service", "web.service"] {
        cluster.file(name, FILE);
    }
    assert_snapshot!(cluster.run("fleetctl start broken").await, @"");
    // It is asked for anew, and fails anew.
    assert_snapshot!(cluster.run("fleetctl start broken").await, @"");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_that_fails_after_its_start_has_failed_too() {
    let cluster = cluster().await;
    cluster.file("dying.service", FILE);
    cluster.file("flapping.service", FILE);
    cluster.file("unloadable.service", FILE);
    assert_snapshot!(cluster.run("fleetctl start dying").await, @"");
    assert_snapshot!(cluster.run("fleetctl start flapping").await, @"");
    assert_snapshot!(cluster.run("fleetctl load unloadable").await, @"");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_oneshot_that_has_ended_is_a_success() {
    let cluster = cluster().await;
    cluster.file("oneshot.service", FILE);
    assert_snapshot!(cluster.run("fleetctl start oneshot").await, @"");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_that_no_machine_can_run_is_told_machine_by_machine() {
    let cluster = cluster().await;
    cluster.file("nowhere.service", FILE);
    cluster.file("web.service", FILE);
    assert_snapshot!(cluster.run("fleetctl start nowhere web").await, @"");
    // It waits for as long as it is told to, and says why it waits.
    assert_snapshot!(cluster.run("fleetctl start --block-attempts=1 nowhere").await, @"");
    assert_snapshot!(cluster.run("fleetctl start --no-block nowhere").await, @"");
    // What runs nowhere can be stopped.
    assert_snapshot!(cluster.run("fleetctl stop nowhere").await, @"");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn block_attempts_limit_the_wait() {
    let cluster = cluster().await;
    cluster.file("slow.service", FILE);
    cluster.file("ignored.service", FILE);
    assert_snapshot!(cluster.run("fleetctl start --block-attempts 1 slow").await, @"");
    assert_snapshot!(cluster.run("fleetctl load --block-attempts=1 ignored").await, @"");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_ask_for_meanwhile_ends_the_wait() {
    let cluster = machines_asleep().await;
    cluster.file("web.service", FILE);
    let name = UnitName::parse("web.service").unwrap();
    let meddle = async {
        // Once fleetctl has asked for it, somebody else unloads it.
        let mut unit = loop {
            let records = cluster.store.records();
            if let Some(unit) = records.units.get(&name).filter(|unit| unit.target == TargetState::Launched) {
                break unit.clone();
            }
            tokio::task::yield_now().await;
        };
        unit.target = TargetState::Inactive;
        unit.generation.0 += 10;
        cluster.store.change(vec![Change::Unit(name.clone(), Some(unit))]);
    };
    let (seen, ()) = tokio::join!(cluster.run("fleetctl start web"), meddle);
    assert_snapshot!(seen, @"");
    cluster.end().await;
}
