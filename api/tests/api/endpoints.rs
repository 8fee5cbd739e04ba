//! Several endpoints, of which one is dead, hangs or breaks off: what is tried elsewhere, what is not, and who is asked next.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use api::client::{Client, ClientError, Endpoint, OverviewQuery};
use api::types::{BatchAction, BatchRequest, Event, EventKind};
use futures_util::{Stream, StreamExt};
use model::StoreError;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::harness::{FILE, HERE, PATIENCE, Server, machine, server, server_over, settings};
use crate::memory::Mood;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Fault {
    /// It accepts, and says nothing.
    Hangs,
    /// It cuts the connection when the request is there.
    Resets,
    /// It dies in the middle of an answer.
    Truncates,
}

struct Faulty {
    endpoint: Endpoint,
    /// Requests that have come in.
    asked: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl Faulty {
    async fn start(fault: Fault) -> Faulty {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = at(&listener);
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let serving = tokio::spawn(async move {
            let mut kept = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                // What is not read makes the kernel reset the connection when it is closed.
                if stream.peek(&mut [0]).await.unwrap() == 0 {
                    continue;
                }
                count.fetch_add(1, Ordering::SeqCst);
                match fault {
                    Fault::Hangs => kept.push(stream),
                    Fault::Resets => drop(stream),
                    Fault::Truncates => {
                        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{\"ver";
                        stream.write_all(answer).await.unwrap();
                    }
                }
            }
        });
        Faulty {
            endpoint,
            asked,
            serving,
        }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn at(listener: &TcpListener) -> Endpoint {
    let address = listener.local_addr().unwrap();
    format!("http://{address}").parse().unwrap()
}

/// Nobody listens there: the lowest port is one that no process is given without asking for it.
fn dead() -> Endpoint {
    "http://127.0.0.1:1".parse().unwrap()
}

/// How long a request may take: short only where a test has to wait for it, and then still enough for a live server.
fn limit(fault: Fault) -> Duration {
    match fault {
        Fault::Hangs => Duration::from_secs(3),
        Fault::Resets | Fault::Truncates => PATIENCE,
    }
}

fn batch() -> [BatchRequest; 1] {
    [BatchRequest {
        name: "a.service".into(),
        action: BatchAction::Submit,
        content: Some(FILE.into()),
        template: None,
        replace: false,
    }]
}

fn units(server: &Server) -> usize {
    server.store.records().units.len()
}

const FAULTS: [Fault; 3] = [Fault::Hangs, Fault::Resets, Fault::Truncates];

#[tokio::test]
async fn what_only_reads_is_asked_of_the_next_which_is_then_remembered() {
    for fault in FAULTS {
        println!("{fault:?}");
        let (faulty, server) = (Faulty::start(fault).await, server().await);
        let endpoints = vec![dead(), faulty.endpoint.clone(), server.endpoint()];
        let client = Client::new(endpoints, limit(fault));
        for _ in 0..3 {
            client.version().await.unwrap();
            assert_eq!(client.endpoint(), Some(&server.endpoint()));
        }
        assert_eq!(faulty.asked(), 1, "it was asked once and then left alone");
    }
}

#[tokio::test]
async fn what_writes_is_not_sent_again_once_it_may_have_arrived() {
    for fault in FAULTS {
        println!("{fault:?}");
        let (faulty, server) = (Faulty::start(fault).await, server().await);
        let endpoints = vec![faulty.endpoint.clone(), server.endpoint()];
        let client = Client::new(endpoints, limit(fault));
        let error = client.batch(&batch()).await.unwrap_err();
        match (&error, fault) {
            (ClientError::TimedOut { .. }, Fault::Hangs) => {}
            (ClientError::Broken { .. }, Fault::Resets | Fault::Truncates) => {}
            _ => panic!("{error:?}"),
        }
        assert_eq!((faulty.asked(), units(&server)), (1, 0));
        println!("the next request goes to another");
        client.version().await.unwrap();
        assert_eq!(faulty.asked(), 1);
    }
}

#[tokio::test]
async fn what_writes_is_sent_to_the_next_if_nobody_took_the_connection() {
    let server = server().await;
    let nowhere = Endpoint::Unix("/nonexistent/fleet.sock".into());
    let endpoints = vec![nowhere, dead(), server.endpoint()];
    let client = Client::new(endpoints, PATIENCE);
    client.batch(&batch()).await.unwrap();
    assert_eq!(units(&server), 1);
}

#[tokio::test]
async fn if_all_fail_the_last_is_named() {
    let (faulty, dead) = (Faulty::start(Fault::Resets).await, dead());
    let client = Client::new(vec![faulty.endpoint.clone(), dead.clone()], PATIENCE);
    let error = client.version().await.unwrap_err();
    assert!(error.to_string().ends_with(&dead.to_string()), "{error}");
    assert!(
        matches!(error, ClientError::Unreachable { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_fleetd_without_its_store_is_passed_over_and_its_reason_is_what_is_told() {
    let (cut_off, server) = (server().await, server().await);
    let no_route = StoreError::Unreachable("no route".into());
    cut_off.store.mood(Mood::Fails(no_route));
    let client = Client::new(vec![cut_off.endpoint(), server.endpoint()], PATIENCE);
    client.overview(OverviewQuery::default()).await.unwrap();
    assert_eq!(client.endpoint(), Some(&server.endpoint()));
    assert!(client.events(&[], None).await.is_ok());

    println!("so is it by what writes: nothing was done");
    let endpoints = vec![cut_off.endpoint(), server.endpoint()];
    let client = Client::new(endpoints.clone(), PATIENCE);
    client.batch(&batch()).await.unwrap();
    assert_eq!(units(&server), 1);
    assert_eq!(client.endpoint(), Some(&server.endpoint()));

    println!(
        "unless it is not known what was done: then only the next request is asked of another"
    );
    server.store.take_calls();
    let late = Mood::Fails(StoreError::Unknown("no answer".into()));
    cut_off.store.mood(late);
    let client = Client::new(endpoints, PATIENCE);
    let error = client.batch(&batch()).await.unwrap_err();
    assert!(
        matches!(error, ClientError::Api { code: 504, .. }),
        "{error:?}"
    );
    assert_eq!(server.store.take_calls().get("apply"), None);
    assert_eq!(client.endpoint(), Some(&server.endpoint()));
    let no_route = StoreError::Unreachable("no route".into());
    cut_off.store.mood(Mood::Fails(no_route));

    println!("the other is dead");
    let client = Client::new(vec![cut_off.endpoint(), dead()], PATIENCE);
    let error = client.overview(OverviewQuery::default()).await.unwrap_err();
    assert!(error.to_string().contains("no route"), "{error}");
}

#[tokio::test]
async fn a_request_that_may_take_longer_is_made_where_the_last_was_answered() {
    let (faulty, server) = (Faulty::start(Fault::Resets).await, server().await);
    let client = Client::new(vec![faulty.endpoint.clone(), server.endpoint()], PATIENCE);
    client.version().await.unwrap();
    client.patient(PATIENCE * 2).batch(&batch()).await.unwrap();
    assert_eq!((faulty.asked(), units(&server)), (1, 1));
}

async fn next(events: &mut (impl Stream<Item = Result<Event, ClientError>> + Unpin)) -> Event {
    let event = timeout(PATIENCE, events.next()).await;
    event
        .expect("no event came")
        .expect("the stream ended")
        .unwrap()
}

#[tokio::test]
async fn a_stream_that_breaks_goes_on_at_the_next_endpoint() {
    let first = server().await;
    let second = server_over(first.store.clone(), settings()).await;
    first.submit("a.service", FILE).await;
    let client = Client::new(vec![first.endpoint(), second.endpoint()], PATIENCE);
    let mut events = client.events(&[], None).await.unwrap();
    assert_eq!(
        next(&mut events).await.revision,
        0,
        "not all of it has been told"
    );
    let calls = first.store.take_calls();
    assert_eq!(
        (calls["subscribe"], calls["read"], first.store.subscribers()),
        (1, 1, 1)
    );
    let synced = next(&mut events).await;
    assert_eq!((&synced.kind, synced.revision), (&EventKind::Synced, 101));
    first.shutdown.cancel();
    assert!(timeout(PATIENCE, events.next()).await.unwrap().is_none());
    assert_eq!(client.endpoint(), Some(&second.endpoint()));

    first.store.change([machine(HERE, "10.0.0.1", &[])]);
    let mut events = client.events(&[], Some(synced.revision)).await.unwrap();
    let (resumed, missed) = (next(&mut events).await, next(&mut events).await);
    assert_eq!(resumed.kind, EventKind::Resumed);
    assert!(matches!(missed.kind, EventKind::Machine(_)), "{missed:?}");
    let synced = next(&mut events).await;
    assert_eq!((&synced.kind, synced.revision), (&EventKind::Synced, 102));

    println!("nobody knows any more what happened since");
    first.store.forget();
    let mut events = client.events(&[], Some(101)).await.unwrap();
    assert!(matches!(
        next(&mut events).await.kind,
        EventKind::Machine(_)
    ));
    assert!(matches!(next(&mut events).await.kind, EventKind::Unit(_)));
}

#[tokio::test]
async fn a_stream_too_many_is_opened_elsewhere_or_told_to_come_back() {
    let first = server().await;
    let second = server_over(first.store.clone(), settings()).await;
    let client = first.client();
    let mut open = Vec::new();
    loop {
        match client.events(&[], None).await {
            Ok(events) => open.push(events),
            Err(error) => {
                assert!(
                    matches!(error, ClientError::Api { code: 429, .. }),
                    "{error:?}"
                );
                break;
            }
        }
    }
    println!("{} streams are open", open.len());
    let answer = first.get("/fleet/v1/events").await;
    assert_eq!(
        (answer.status, answer.headers["retry-after"].as_str()),
        (429, "1")
    );
    let client = Client::new(vec![first.endpoint(), second.endpoint()], PATIENCE);
    drop(client.events(&[], None).await.unwrap());
    assert_eq!(client.endpoint(), Some(&second.endpoint()));
}
