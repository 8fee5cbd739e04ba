//! What monitors ask: `/healthz` and `/metrics`.

use std::collections::BTreeMap;
use std::time::Duration;

use api::server::{EngineFigures, EngineProbe, Settings};
use insta::assert_snapshot;
use model::{Change, Hold, HoldReason, StoreError, TargetState};

use crate::harness::{
    FILE, HERE, Server, THERE, machine, name, reported, server, server_with, settings,
};
use crate::memory::Mood;

#[tokio::test]
async fn health_is_whether_the_store_answers() {
    let server = server().await;
    let answer = server.get("/healthz").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"));
    assert_eq!(server.request("HEAD", "/healthz", "").await.status, 200);
    let refused = server.request("POST", "/healthz", "").await;
    assert_eq!(
        (refused.status, refused.error().as_str()),
        (405, "only GET and HEAD supported against this resource")
    );
    server
        .store
        .mood(Mood::Fails(StoreError::Unreachable("no route".into())));
    let answer = server.get("/healthz").await;
    assert_eq!(answer.status, 503);
    assert!(answer.error().contains("no route"), "{answer:?}");
    server.store.mood(Mood::Hangs);
    let answer = server.get("/healthz").await;
    assert_eq!(answer.status, 503);
    assert_eq!(
        answer.error(),
        "the cluster store did not answer within 3 s"
    );
    server.store.mood(Mood::Well);
    assert_eq!(server.get("/healthz").await.status, 200);
}

async fn metrics(server: &Server, query: &str) -> String {
    let answer = server.get(&format!("/metrics{query}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        answer.headers["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    check_format(&answer.body);
    answer.body
}

/// Every sample belongs to the family above it, no series is there twice, every value is a number.
fn check_format(text: &str) {
    let mut family = String::new();
    let mut series = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            family = rest.split(' ').next().unwrap().to_owned();
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (one, value) = line.rsplit_once(' ').unwrap();
        value.parse::<f64>().unwrap();
        assert_eq!(one.split('{').next().unwrap(), family, "{line}");
        assert_eq!(series.insert(one.to_owned(), ()), None, "twice: {line}");
    }
    assert!(series.len() > 3, "{text}");
}

/// Without help texts, and without what differs from run to run.
fn samples(text: &str) -> String {
    let lines = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.starts_with("process_"));
    lines.map(|line| format!("{line}\n")).collect()
}

#[tokio::test]
async fn metrics_are_of_the_engine_and_of_every_unit() {
    let figures = EngineFigures {
        leading_since_unix_s: Some(1_700_000_000),
        elections: 2,
        passes: 30,
        last_pass: Duration::from_micros(1500),
        assigned: 4,
        unassigned: 3,
        assign_failures: 2,
        unassign_failures: 1,
        machines_gone: 5,
        unfit: 6,
        held: 7,
        machines_braked: 8,
    };
    let server = server_with(Settings {
        engine: Some(EngineProbe::new(move || figures.clone())),
        ..settings()
    })
    .await;
    server.submit("a.service", FILE).await;
    server.submit("b.service", FILE).await;
    let hold = Hold {
        reason: HoldReason::NothingFits,
        obstacles: Vec::new(),
        machines: 2,
    };
    server.store.change([
        machine(HERE, "", &[]),
        machine(THERE, "", &[]),
        reported("a.service", HERE, TargetState::Launched, "running"),
        reported("a.service", THERE, TargetState::Loaded, "dead"),
        reported("a.service", "gone", TargetState::Loaded, "dead"),
        Change::Hold(name("b.service"), Some(hold)),
    ]);
    let text = metrics(&server, "").await;
    for name in [
        "process_resident_memory_bytes ",
        "process_start_time_seconds ",
    ] {
        assert!(text.lines().any(|line| line.starts_with(name)), "{text}");
    }
    assert_snapshot!(samples(&text), @r#"
    fleet_build_info{version="2.0.0"} 1
    fleet_store_up 1
    fleet_engine_leader_start_time 1700000000
    fleet_engine_elections_total 2
    fleet_engine_task_count_total{type="attemptscheduleunit"} 4
    fleet_engine_task_count_total{type="unscheduleunit"} 3
    fleet_engine_task_failure_count_total{type="attemptscheduleunit"} 2
    fleet_engine_task_failure_count_total{type="unscheduleunit"} 1
    fleet_engine_reconcile_count_total 30
    fleet_engine_reconcile_last_duration_seconds 0.0015
    fleet_engine_machines_braked 8
    fleet_engine_reconcile_failure_count_total{type="machine_away"} 5
    fleet_engine_reconcile_failure_count_total{type="run"} 6
    fleet_engine_reconcile_failure_count_total{type="schedule"} 7
    fleet_machines 2
    fleet_units{desired="inactive"} 2
    fleet_units{desired="launched"} 0
    fleet_units{desired="loaded"} 0
    fleet_unit_held{unit="b.service"} 1
    fleet_quarantined_records 0
    fleet_unit_state{unit="a.service",machine="aaaaaaaa000000000000000000000001",active="active"} 1
    fleet_unit_state{unit="a.service",machine="bbbbbbbb000000000000000000000002",active="inactive"} 1
    "#);
    let own = metrics(&server, "?scope=machine").await;
    assert_eq!(own.matches("fleet_unit_state{").count(), 1, "{own}");
    assert_eq!(server.get("/metrics?scope=all").await.status, 400);

    println!("without its store it still tells of itself");
    for mood in [
        Mood::Fails(StoreError::Unreachable("no route".into())),
        Mood::Hangs,
    ] {
        server.store.mood(mood);
        let text = metrics(&server, "").await;
        assert!(text.contains("\nfleet_store_up 0\n"), "{text}");
        assert!(text.contains("fleet_engine_reconcile_count_total 30\n"));
        assert!(!text.contains("fleet_unit_state"), "{text}");
    }
}

#[tokio::test]
async fn a_machine_without_an_engine_tells_of_none() {
    let server = server().await;
    let text = metrics(&server, "").await;
    assert!(!text.contains("fleet_engine_"), "{text}");
    assert!(text.contains("\nfleet_store_up 1\n"), "{text}");
}
