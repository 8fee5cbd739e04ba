//! `submit`, `load` and `start`: what is created from what, and what is said of it.

use api::types::{BatchAnswer, BatchOutcome, BatchResult, ErrorBody};
use insta::assert_snapshot;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};

use crate::cluster::{FILE, cluster, generation, machines_asleep};

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

/// Units that one request holds, and names of as many.
const REQUEST_UNITS: usize = 10_000;

fn many() -> String {
    let names: Vec<String> = (0..REQUEST_UNITS)
        .map(|number| format!("many@{number}"))
        .collect();
    names.join(" ")
}

/// One request as it stands on the wire, or one answer.
async fn message(from: &mut BufStream<TcpStream>) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    let mut length = 0;
    loop {
        let start = message.len();
        if from.read_until(b'\n', &mut message).await.unwrap() == 0 {
            return None;
        }
        let line = String::from_utf8_lossy(&message[start..]).to_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
    }
    let head = message.len();
    message.resize(head + length, 0);
    from.read_exact(&mut message[head..]).await.unwrap();
    Some(message)
}

/// A fleetd of which only the first request is answered by `address`; every later one is refused by one that knows less.
async fn second_refused(listener: TcpListener, address: String) {
    let (stream, _) = listener.accept().await.unwrap();
    let mut fleetctl = BufStream::new(stream);
    let mut fleetd = BufStream::new(TcpStream::connect(address).await.unwrap());
    let mut requests = 0;
    while let Some(request) = message(&mut fleetctl).await {
        requests += 1;
        let answer = if requests == 1 {
            fleetd.write_all(&request).await.unwrap();
            fleetd.flush().await.unwrap();
            message(&mut fleetd).await.unwrap()
        } else {
            let error = |message: &str| ErrorBody {
                code: 400,
                message: message.to_owned(),
            };
            let answer = BatchAnswer {
                error: Some(error("1 of 1 requests are invalid: nothing was written")),
                outcomes: vec![BatchOutcome {
                    name: "last.service".to_owned(),
                    result: BatchResult::Failed {
                        error: error("option \"Later\" is not known here"),
                    },
                }],
            };
            let body = serde_json::to_string(&answer).unwrap();
            let length = body.len();
            format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
        };
        fleetctl.write_all(&answer).await.unwrap();
        fleetctl.flush().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_request_that_is_refused_does_not_hide_the_first() {
    let cluster = machines_asleep().await;
    cluster.file("many@.service", FILE);
    cluster.file("last.service", FILE);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let proxy = tokio::spawn(second_refused(listener, cluster.address.clone()));
    let line = format!("fleetctl submit {} last", many());
    let seen = cluster.run_at(&endpoint, &line).await;
    proxy.await.unwrap();
    let (done, refused) = seen.split_once("[stderr]\n").unwrap();
    assert_eq!(done.matches(" inactive\n").count(), REQUEST_UNITS);
    assert_snapshot!(refused, @r#"
    last.service: option "Later" is not known here
    Error creating units: 1 of 1 requests are invalid: nothing was written
    Nothing was done of this part.
    Before that, the request was accepted for 10000 of 10001 units. It is safe to repeat the command.
    [exit 1]
    "#);
    assert_eq!(cluster.store.records().units.len(), REQUEST_UNITS);
    cluster.end().await;
}
