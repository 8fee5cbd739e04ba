//! fleetd or its store is away, slow, or something else altogether.

use insta::assert_snapshot;
use model::StoreError;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::cluster::{FILE, cluster};
use crate::memory::Mood;

#[tokio::test(flavor = "multi_thread")]
async fn no_fleetd() {
    let cluster = cluster().await;
    cluster.file("web.service", FILE);
    assert_snapshot!(cluster.run_at("unix:///none.sock", "fleetctl start web").await, @"");
    assert_snapshot!(cluster.run_at("unix:///none.sock", "fleetctl stop web").await, @"");
    assert_snapshot!(cluster.run_at("unix:///none.sock", "fleetctl list-machines").await, @"");
    assert_snapshot!(cluster.run_at("unix:///none.sock", "fleetctl list-units").await, @"");
    assert_snapshot!(cluster.run_at("unix:///none.sock", "fleetctl cat web").await, @"");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_endpoint_that_answers_is_used() {
    let cluster = cluster().await;
    let endpoints = format!("unix:///none.sock,http://{}", cluster.address);
    assert_snapshot!(cluster.run_at(&endpoints, "fleetctl list-machines --no-legend").await, @"");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_store() {
    let cluster = cluster().await;
    cluster.file("web.service", FILE);
    cluster.store.mood(Mood::Fails(StoreError::Unreachable("http://10.0.0.9:2379: connection refused".into())));
    assert_snapshot!(cluster.run("fleetctl start web").await, @"");
    assert_snapshot!(cluster.run("fleetctl list-units").await, @"");
    assert_snapshot!(cluster.run("fleetctl destroy web").await, @"");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_never_answers_is_waited_for_no_longer_than_told() {
    let cluster = cluster().await;
    cluster.store.mood(Mood::Hangs);
    assert_snapshot!(cluster.run("fleetctl --request-timeout=0.2 list-units").await, @"");
    assert_snapshot!(cluster.run("fleetctl --request-timeout=0.2 stop web").await, @"");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn something_that_is_not_fleetd() {
    let cluster = cluster().await;
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = other.local_addr().unwrap();
    let answer = async {
        let (mut stream, _) = other.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await.unwrap();
        // Read to the end, so that the answer is not lost with the connection.
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.unwrap();
    };
    let endpoint = format!("http://{address}");
    let (seen, ()) = tokio::join!(cluster.run_at(&endpoint, "fleetctl list-units"), answer);
    assert_snapshot!(seen.replace(&address.to_string(), "OTHER"), @"");
    cluster.end().await;
}
