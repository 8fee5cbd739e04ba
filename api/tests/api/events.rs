//! The stream of events: the present first, then each change once, and what happens to slow clients.

use std::pin::Pin;

use api::client::ClientError;
use api::types::{Event, EventKind};
use futures_util::{Stream, StreamExt};
use insta::assert_snapshot;
use model::{Brake, BrakePhase, Change, Hold, HoldReason, StoreError, TargetState};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::harness::{
    FILE, HERE, PATIENCE, Server, THERE, assigned, machine, machine_gone, machine_id, name,
    reported, server,
};
use crate::memory::Mood;

type Events = Pin<Box<dyn Stream<Item = Result<Event, ClientError>> + Send>>;

async fn events(server: &Server, units: &[&str]) -> Events {
    let units: Vec<_> = units.iter().map(|unit| name(unit)).collect();
    Box::pin(server.client().events(&units, None).await.unwrap())
}

async fn next(events: &mut Events) -> Event {
    let event = timeout(PATIENCE, events.next())
        .await
        .expect("no event came");
    event.expect("the stream ended").unwrap()
}

/// One line per event, up to the first for which `last` holds.
async fn until(events: &mut Events, last: impl Fn(&EventKind) -> bool) -> String {
    let mut lines = String::new();
    loop {
        let event = next(events).await;
        let line = format!("{} {}", event.kind.name(), event.kind.data().unwrap());
        println!("{} {line}", event.revision);
        lines.push_str(&line);
        lines.push('\n');
        if last(&event.kind) {
            return lines;
        }
    }
}

fn synced(kind: &EventKind) -> bool {
    *kind == EventKind::Synced
}

#[tokio::test]
async fn the_brake_on_mass_loss_is_told() {
    let server = server().await;
    let brake = |phase| {
        Change::Brake(Some(Brake {
            phase,
            cluster: 12,
            machines: [machine_id(THERE), machine_id(HERE)].into(),
        }))
    };
    server.store.change([brake(BrakePhase::Holding)]);
    let mut stream = events(&server, &["a.service"]).await;
    assert_snapshot!(until(&mut stream, synced).await, @r#"
    brake {"phase":"holding","cluster":12,"machines":["aaaaaaaa000000000000000000000001","bbbbbbbb000000000000000000000002"]}
    synced {}
    "#);
    let told = |kind: &EventKind| matches!(kind, EventKind::Brake(_) | EventKind::BrakeGone);
    server.store.change([brake(BrakePhase::Moving)]);
    assert_snapshot!(until(&mut stream, told).await, @r#"
    brake {"phase":"moving","cluster":12,"machines":["aaaaaaaa000000000000000000000001","bbbbbbbb000000000000000000000002"]}
    "#);
    server.store.change([Change::Brake(None)]);
    assert_snapshot!(until(&mut stream, told).await, @r#"
    brake {"gone":true}
    "#);
}

#[tokio::test]
async fn the_present_comes_first_and_then_changes() {
    let server = server().await;
    server.submit("a.service", FILE).await;
    server.store.change([
        machine(HERE, "10.0.0.1", &[]),
        reported("a.service", HERE, TargetState::Loaded, "dead"),
    ]);
    let mut stream = events(&server, &[]).await;
    assert_snapshot!(until(&mut stream, synced).await, @r#"
    machine {"id":"aaaaaaaa000000000000000000000001","primaryIP":"10.0.0.1","metadata":{},"version":"2.0.0"}
    unit {"name":"a.service","hash":"f392349514e58de034c952564ce97774d191284b","description":"A <sleep>","desiredState":"inactive","currentState":"inactive","global":false,"generation":101}
    state {"name":"a.service","machineID":"aaaaaaaa000000000000000000000001","hash":"f392349514e58de034c952564ce97774d191284b","systemdLoadState":"loaded","systemdActiveState":"inactive","systemdSubState":"dead","targetState":"loaded","generation":101,"job":{"kind":"start","result":"done","generation":101},"sinceUnixMs":1700000000000,"invocationID":"00ff"}
    synced {}
    "#);

    println!("a start: wanted, held, assigned, reported");
    assert_eq!(
        server
            .put("a.service", "{\"desiredState\":\"launched\"}")
            .await
            .status,
        204
    );
    let hold = Hold {
        reason: HoldReason::NoMachines,
        obstacles: Vec::new(),
        machines: 0,
    };
    server
        .store
        .change([Change::Hold(name("a.service"), Some(hold))]);
    assert_snapshot!(
        until(&mut stream, |kind| matches!(kind, EventKind::Hold(..))).await, @r#"
    unit {"name":"a.service","hash":"f392349514e58de034c952564ce97774d191284b","description":"A <sleep>","desiredState":"launched","currentState":"inactive","global":false,"generation":103}
    unit {"name":"a.service","hash":"f392349514e58de034c952564ce97774d191284b","description":"A <sleep>","desiredState":"launched","currentState":"inactive","global":false,"generation":103,"hold":{"reason":"there is no machine in the cluster","needs":"change","machines":0,"obstacles":[]}}
    hold {"name":"a.service","reason":"there is no machine in the cluster","needs":"change","machines":0,"obstacles":[]}
    "#
    );
    server.store.change([
        Change::Hold(name("a.service"), None),
        assigned("a.service", HERE, TargetState::Launched),
        reported("a.service", HERE, TargetState::Launched, "running"),
    ]);
    assert_snapshot!(
        until(&mut stream, |kind| matches!(kind, EventKind::State(..))).await, @r#"
    unit {"name":"a.service","hash":"f392349514e58de034c952564ce97774d191284b","description":"A <sleep>","desiredState":"launched","currentState":"launched","machineID":"aaaaaaaa000000000000000000000001","global":false,"generation":103}
    hold {"name":"a.service","gone":true}
    state {"name":"a.service","machineID":"aaaaaaaa000000000000000000000001","hash":"f392349514e58de034c952564ce97774d191284b","systemdLoadState":"loaded","systemdActiveState":"active","systemdSubState":"running","targetState":"launched","generation":101,"job":{"kind":"start","result":"done","generation":101},"sinceUnixMs":1700000000000,"invocationID":"00ff"}
    "#
    );

    println!("the machine is lost, with all that it reported; the unit is destroyed");
    server.store.change([machine_gone(HERE)]);
    assert_eq!(
        server
            .request("DELETE", "/fleet/v1/units/a.service", "")
            .await
            .status,
        204
    );
    assert_snapshot!(
        until(&mut stream, |kind| matches!(kind, EventKind::UnitGone(_))).await, @r#"
    machine {"id":"aaaaaaaa000000000000000000000001","gone":true}
    unit {"name":"a.service","hash":"f392349514e58de034c952564ce97774d191284b","description":"A <sleep>","desiredState":"launched","currentState":"inactive","machineID":"aaaaaaaa000000000000000000000001","global":false,"generation":103}
    state {"name":"a.service","machineID":"aaaaaaaa000000000000000000000001","gone":true}
    unit {"name":"a.service","gone":true}
    "#
    );
}

#[tokio::test]
async fn only_what_is_asked_for_is_told_and_nothing_twice() {
    let server = server().await;
    let mut stream = events(&server, &["b.service"]).await;
    assert_eq!(until(&mut stream, synced).await, "synced {}\n");
    server.submit("a.service", FILE).await;
    println!("the file of b.service is in the store already");
    server.submit("b.service", FILE).await;
    server.store.change([machine(HERE, "", &[])]);
    let same = reported("b.service", HERE, TargetState::Launched, "running");
    server.store.change([
        same.clone(),
        reported("a.service", HERE, TargetState::Loaded, "dead"),
    ]);
    server.store.change([same]);
    server.store.change([machine(THERE, "", &[])]);
    let told = until(
        &mut stream,
        |kind| matches!(kind, EventKind::Machine(row) if row.id.as_str() == THERE),
    )
    .await;
    let names: Vec<_> = told
        .lines()
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert_eq!(names, ["unit", "machine", "state", "machine"]);
    assert!(told.contains("\"description\":\"A <sleep>\"") && !told.contains("a.service"));
}

#[tokio::test]
async fn a_slow_client_is_told_what_is_so_now() {
    let server = server().await;
    server.store.change([machine(HERE, "", &[])]);
    server.submit("keep.service", FILE).await;
    server.submit("gone.service", FILE).await;
    let mut stream = events(&server, &[]).await;
    until(&mut stream, synced).await;
    println!("the client does not read while more happens than the store and the sockets hold");
    let long = "x".repeat(20_000);
    for number in 0..400 {
        let sub = format!("{number}{long}");
        server
            .store
            .change([reported("keep.service", HERE, TargetState::Launched, &sub)]);
        // Lets the server write until nobody takes it any more.
        tokio::task::yield_now().await;
    }
    assert_eq!(
        server
            .request("DELETE", "/fleet/v1/units/gone.service", "")
            .await
            .status,
        204
    );
    for _ in 0..8 {
        server.store.change([reported(
            "keep.service",
            HERE,
            TargetState::Launched,
            "almost",
        )]);
    }
    server.store.change([reported(
        "keep.service",
        HERE,
        TargetState::Launched,
        "last",
    )]);
    let mut gone = 0;
    let mut states = 0;
    loop {
        match next(&mut stream).await.kind {
            EventKind::UnitGone(unit) if unit.as_str() == "gone.service" => gone += 1,
            EventKind::State(row) if row.systemd_sub_state == "last" => break,
            EventKind::State(_) => states += 1,
            other => panic!("{other:?}"),
        }
    }
    println!("{states} of 402 states were told");
    assert_eq!(gone, 1, "what went in the meantime is told too");
    assert!(states < 402, "some were skipped");
    server.submit("new.service", FILE).await;
    assert!(
        matches!(next(&mut stream).await.kind, EventKind::Unit(row) if row.name.as_str() == "new.service")
    );
}

#[tokio::test]
async fn a_store_lost_while_a_client_is_behind_ends_the_stream_with_the_reason() {
    let server = server().await;
    server.store.change([machine(HERE, "", &[])]);
    let mut stream = events(&server, &["a.service"]).await;
    until(&mut stream, synced).await;
    server
        .store
        .mood(Mood::Fails(StoreError::Unreachable("no route".into())));
    println!("more changes at once than the store keeps for a subscriber");
    server.store.change([machine(THERE, "", &[])]);
    for address in ["1", "2", "3", "4", "5", "6", "7", "8"] {
        server.store.change([machine(THERE, address, &[])]);
    }
    loop {
        match timeout(PATIENCE, stream.next()).await.unwrap() {
            Some(Ok(event)) => println!("{event:?}"),
            Some(Err(error)) => {
                assert!(
                    matches!(error, ClientError::Api { code: 503, .. }),
                    "{error:?}"
                );
                break;
            }
            None => panic!("the stream ended without a reason"),
        }
    }
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn more_names_than_an_address_holds_are_narrowed_by_the_client() {
    let server = server().await;
    server.submit("u1.service", FILE).await;
    server.submit("other.service", FILE).await;
    let units: Vec<_> = (0..2_000)
        .map(|number| format!("u{number}.service"))
        .collect();
    let units: Vec<_> = units.iter().map(String::as_str).collect();
    let mut stream = events(&server, &units).await;
    let told = until(&mut stream, synced).await;
    assert!(
        told.contains("u1.service") && !told.contains("other.service"),
        "{told}"
    );
}

/// Time is paused: it jumps ahead as soon as everybody waits.
#[tokio::test(start_paused = true)]
async fn a_silent_stream_is_kept_alive_by_comments() {
    let server = server().await;
    let mut stream = UnixStream::connect(&server.socket).await.unwrap();
    let request = "GET /fleet/v1/events HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while text.matches(": keep-alive\n\n").count() < 3 {
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(read > 0, "{text}");
        text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
    println!("{text}");
    assert!(text.contains("content-type: text/event-stream\r\n"));
    assert!(text.contains("id: 100\nevent: synced\ndata: {}\n\n"));
}
