//! `Last-Event-ID`: who was here a moment ago is told what it missed; who was away too long, everything.

use api::types::EventKind;
use insta::assert_snapshot;
use model::{Change, Hold, HoldReason, TargetState};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::{
    FILE, HERE, PATIENCE, Server, THERE, assigned, machine, machine_gone, name, reported, server,
};

/// What a client reads up to `synced`: the names of events with what they are about, and the last id.
async fn events_after(server: &Server, query: &str, last: Option<&str>) -> (String, String) {
    let mut stream = TcpStream::connect(&server.address).await.unwrap();
    let header = last.map_or(String::new(), |last| format!("Last-Event-ID: {last}\r\n"));
    let request = format!("GET /fleet/v1/events{query} HTTP/1.0\r\nHost: x\r\n{header}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    while !text.contains("event: synced\ndata: {}\n\n") {
        let mut buffer = [0; 4096];
        let read = timeout(PATIENCE, stream.read(&mut buffer)).await;
        let read = read.expect("no event came").unwrap();
        assert!(read > 0, "the stream ended: {text}");
        text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    let field = |event: &str, name: &str| -> Option<String> {
        let mut lines = event.lines();
        let value = lines.find_map(|line| line.strip_prefix(name))?;
        Some(value.to_owned())
    };
    let mut lines = String::new();
    let mut id = String::new();
    for event in body.trim_end().split("\n\n") {
        assert_eq!(
            id, "",
            "who is cut off before the end comes back with the id before"
        );
        id = field(event, "id: ").unwrap_or_default();
        let kind = field(event, "event: ").unwrap();
        let data = field(event, "data: ").unwrap();
        let about = match EventKind::read(&kind, &data).unwrap() {
            Some(EventKind::Unit(row)) => {
                format!("{} is {}", row.name, row.current_state)
            }
            Some(EventKind::State(row)) => format!("{} on {}", row.name, row.machine_id),
            Some(EventKind::Hold(name, _)) => name.to_string(),
            Some(EventKind::Machine(row)) => row.id.to_string(),
            _ => data,
        };
        lines.push_str(&format!("{kind} {about}\n"));
    }
    (lines, id)
}

#[tokio::test]
async fn only_what_was_missed_is_told() {
    let server = server().await;
    for unit in ["a.service", "b.service", "c.service", "d.service"] {
        server.submit(unit, FILE).await;
    }
    let hold = Hold {
        reason: HoldReason::NothingFits,
        obstacles: Vec::new(),
        machines: 2,
    };
    server.store.change([
        machine(HERE, "", &[]),
        machine(THERE, "", &[]),
        reported("a.service", HERE, TargetState::Loaded, "dead"),
        reported("b.service", THERE, TargetState::Launched, "running"),
        Change::Hold(name("d.service"), Some(hold)),
    ]);
    let (all, id) = events_after(&server, "", None).await;
    assert!(all.starts_with("machine "), "{all}");
    assert_eq!(all.lines().count(), 2 + 4 + 2 + 1 + 1, "{all}");

    println!("nothing was missed");
    let (told, same) = events_after(&server, "", Some(&id)).await;
    assert_eq!((told.as_str(), &same), ("resumed {}\nsynced {}\n", &id));

    println!("a is started, c destroyed, d assigned, a machine lost, and a unit came and went");
    server.submit("e.service", FILE).await;
    for unit in ["c.service", "e.service"] {
        let path = format!("/fleet/v1/units/{unit}");
        assert_eq!(server.request("DELETE", &path, "").await.status, 204);
    }
    server.store.change([
        assigned("a.service", HERE, TargetState::Launched),
        reported("a.service", HERE, TargetState::Launched, "running"),
        Change::Hold(name("d.service"), None),
    ]);
    server.store.change([machine_gone(THERE)]);
    let (told, later) = events_after(&server, "", Some(&id)).await;
    assert_snapshot!(told, @r#"
    resumed {}
    unit a.service is launched
    state a.service on aaaaaaaa000000000000000000000001
    unit b.service is inactive
    unit d.service is inactive
    unit {"name":"e.service","gone":true}
    unit {"name":"c.service","gone":true}
    hold {"name":"d.service","gone":true}
    machine {"id":"bbbbbbbb000000000000000000000002","gone":true}
    state {"name":"b.service","machineID":"bbbbbbbb000000000000000000000002","gone":true}
    synced {}
    "#);
    assert!(later.parse::<u64>().unwrap() > id.parse().unwrap());
    assert_eq!(
        events_after(&server, "", Some(&later)).await.0,
        "resumed {}\nsynced {}\n"
    );

    println!("only units that are asked for, and machines");
    assert_snapshot!(events_after(&server, "?unitName=a.service", Some(&id)).await.0, @r#"
    resumed {}
    unit a.service is launched
    state a.service on aaaaaaaa000000000000000000000001
    machine {"id":"bbbbbbbb000000000000000000000002","gone":true}
    synced {}
    "#);
}

#[tokio::test]
async fn after_it_resumed_it_goes_on_with_each_change_once() {
    let server = server().await;
    server.submit("a.service", FILE).await;
    let (_, id) = events_after(&server, "", None).await;
    server.store.change([machine(HERE, "", &[])]);
    let mut stream = TcpStream::connect(&server.address).await.unwrap();
    let request =
        format!("GET /fleet/v1/events HTTP/1.0\r\nHost: x\r\nLast-Event-ID: {id}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    let mut wrote = false;
    while !text.contains("10.0.0.2") {
        let mut buffer = [0; 4096];
        let read = timeout(PATIENCE, stream.read(&mut buffer)).await;
        let read = read.expect("no event came").unwrap();
        assert!(read > 0, "{text}");
        text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        if text.contains("event: synced") && !wrote {
            wrote = true;
            let same = reported("a.service", HERE, TargetState::Launched, "running");
            server.store.change([same.clone()]);
            server.store.change([same]);
            server.store.change([machine(THERE, "10.0.0.2", &[])]);
        }
    }
    assert_eq!(text.matches("event: state").count(), 1, "{text}");
    assert_eq!(text.matches("event: machine").count(), 2, "{text}");
    assert_eq!(text.matches("event: unit").count(), 0, "{text}");
}

#[tokio::test]
async fn who_was_away_too_long_or_comes_from_elsewhere_is_told_everything() {
    let server = server().await;
    server.submit("a.service", FILE).await;
    let (all, id) = events_after(&server, "", None).await;
    assert_eq!(all, "unit a.service is inactive\nsynced {}\n");
    server.store.change([machine(HERE, "", &[])]);
    let everything = events_after(&server, "", None).await.0;
    server.store.forget();
    for last in [id.as_str(), "1", "999999999", "", "abc", "-1", "1.5"] {
        println!("Last-Event-ID: {last}");
        assert_eq!(events_after(&server, "", Some(last)).await.0, everything);
    }
}
