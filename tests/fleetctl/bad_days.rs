//! fleetd or its store is away, slow, or something else altogether.

use insta::assert_snapshot;
use model::StoreError;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpListener;

use crate::cluster::{FILE, machines_asleep};
use crate::memory::Mood;

#[tokio::test(flavor = "multi_thread")]
async fn no_fleetd() {
    let cluster = machines_asleep().await;
    cluster.file("web.service", FILE);
    assert_snapshot!(cluster.run_at("unix:///none.sock", "fleetctl start web").await, @r#"
    [stderr]
    Error starting units: cannot reach fleetd at unix:///none.sock: No such file or directory (os error 2)
    Is fleetd running on this machine (systemctl status fleet)? To use another machine's, give --endpoint=http://HOST:PORT or set FLEETCTL_ENDPOINT.
    [exit 1]
    "#);
    assert_snapshot!(cluster.run_at("unix:///none.sock", "fleetctl stop web").await, @r#"
    [stderr]
    Error stopping units: cannot reach fleetd at unix:///none.sock: No such file or directory (os error 2)
    Is fleetd running on this machine (systemctl status fleet)? To use another machine's, give --endpoint=http://HOST:PORT or set FLEETCTL_ENDPOINT.
    [exit 1]
    "#);
    assert_snapshot!(cluster.run_at("unix:///none.sock", "fleetctl list-machines").await, @r#"
    [stderr]
    Error retrieving list of active machines from fleet API (cannot reach fleetd at unix:///none.sock: No such file or directory (os error 2))
    Possible issues:
      etcd is unhealthy and/or lost quorum
      connection cannot be established to any etcd servers
    Is fleetd running on this machine (systemctl status fleet)? To use another machine's, give --endpoint=http://HOST:PORT or set FLEETCTL_ENDPOINT.
    [exit 1]
    "#);
    assert_snapshot!(cluster.run_at("unix:///none.sock", "fleetctl list-units").await, @r#"
    [stderr]
    Error retrieving list of units from repository: cannot reach fleetd at unix:///none.sock: No such file or directory (os error 2)
    Is fleetd running on this machine (systemctl status fleet)? To use another machine's, give --endpoint=http://HOST:PORT or set FLEETCTL_ENDPOINT.
    [exit 1]
    "#);
    assert_snapshot!(cluster.run_at("unix:///none.sock", "fleetctl cat web").await, @r#"
    [stderr]
    Error retrieving Unit web.service: cannot reach fleetd at unix:///none.sock: No such file or directory (os error 2)
    Is fleetd running on this machine (systemctl status fleet)? To use another machine's, give --endpoint=http://HOST:PORT or set FLEETCTL_ENDPOINT.
    [exit 1]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_endpoint_that_answers_is_used() {
    let cluster = machines_asleep().await;
    let endpoints = format!("unix:///none.sock,http://{}", cluster.address);
    assert_snapshot!(cluster.run_at(&endpoints, "fleetctl list-machines --no-legend").await, @r#"
    [stdout]
    aaaaaaaa...⇥10.0.0.1⇥disk=ssd,region=eu
    bbbbbbbb...⇥10.0.0.2⇥-
    [exit 0]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_store() {
    let cluster = machines_asleep().await;
    cluster.file("web.service", FILE);
    cluster.store.mood(Mood::Fails(StoreError::Unreachable(
        "http://10.0.0.9:2379: connection refused".into(),
    )));
    assert_snapshot!(cluster.run("fleetctl start web").await, @r#"
    [stderr]
    Error starting units: the cluster store cannot be reached: http://10.0.0.9:2379: connection refused (fleet server unable to communicate with etcd)
    The cluster's store (etcd) is not at work. Running units are not touched. What is wrong with it: fleetctl doctor
    [exit 1]
    "#);
    assert_snapshot!(cluster.run("fleetctl list-units").await, @r#"
    [stderr]
    Error retrieving list of units from repository: the cluster store cannot be reached: http://10.0.0.9:2379: connection refused (fleet server unable to communicate with etcd)
    The cluster's store (etcd) is not at work. Running units are not touched. What is wrong with it: fleetctl doctor
    [exit 1]
    "#);
    assert_snapshot!(cluster.run("fleetctl destroy web").await, @r#"
    [stderr]
    Error destroying units: the cluster store cannot be reached: http://10.0.0.9:2379: connection refused (fleet server unable to communicate with etcd)
    The cluster's store (etcd) is not at work. Running units are not touched. What is wrong with it: fleetctl doctor
    [exit 1]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_never_answers_is_waited_for_no_longer_than_told() {
    let cluster = machines_asleep().await;
    cluster.store.mood(Mood::Hangs);
    assert_snapshot!(cluster.run("fleetctl --request-timeout=0.2 list-units").await, @r#"
    [stderr]
    Error retrieving list of units from repository: fleetd at unix://SOCKET did not answer within 0.2 s
    It is safe to repeat the command, whether the request was carried out or not. --request-timeout=SECONDS waits longer.
    [exit 1]
    "#);
    assert_snapshot!(cluster.run("fleetctl --request-timeout=0.2 stop web").await, @r#"
    [stderr]
    Error stopping units: fleetd at unix://SOCKET did not answer within 0.2 s
    It is safe to repeat the command, whether the request was carried out or not. --request-timeout=SECONDS waits longer.
    [exit 1]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn something_that_is_not_fleetd() {
    let cluster = machines_asleep().await;
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = other.local_addr().unwrap();
    let answer = async {
        let (stream, _) = other.accept().await.unwrap();
        let mut stream = BufStream::new(stream);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line).await.unwrap();
        }
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        stream.write_all(answer).await.unwrap();
        stream.flush().await.unwrap();
    };
    let endpoint = format!("http://{address}");
    let (seen, ()) = tokio::join!(cluster.run_at(&endpoint, "fleetctl list-units"), answer);
    assert_snapshot!(seen.replace(&address.to_string(), "OTHER"), @r#"
    [stderr]
    Error retrieving list of units from repository: the answer of http://OTHER makes no sense: expected value at line 1 column 1
    [exit 1]
    "#);
    cluster.end().await;
}
