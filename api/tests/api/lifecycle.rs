//! The server's end: orderly for requests, at once for streams.

use futures_util::StreamExt;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::harness::{PATIENCE, server};

#[tokio::test]
async fn shutdown_ends_streams_and_idle_connections_and_closes_the_sockets() {
    let server = server().await;
    let client = server.client();
    client.version().await.unwrap();
    let mut events = client.events(&[], None).await.unwrap();
    assert!(events.next().await.unwrap().is_ok());
    server.shutdown.cancel();
    assert!(
        timeout(PATIENCE, events.next()).await.unwrap().is_none(),
        "an orderly end"
    );
    timeout(PATIENCE, server.serving)
        .await
        .expect("the server did not end")
        .unwrap();
    // Snapshot tests beside this one start a process now and then, which has our sockets too until it is another program.
    let closed = async {
        while UnixStream::connect(&server.socket).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, closed)
        .await
        .expect("the socket is still open");
}

#[tokio::test]
async fn a_request_that_is_being_carried_out_may_end() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = server().await;
    let mut stream = UnixStream::connect(&server.socket).await.unwrap();
    let body = "{\"requests\":[]}";
    let head = format!(
        "POST /fleet/v1/batch HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut buffer = [0; 1024];
    let read = stream.read(&mut buffer).await.unwrap();
    assert!(
        buffer[..read].starts_with(b"HTTP/1.1 100"),
        "the request is being carried out"
    );
    server.shutdown.cancel();
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    timeout(PATIENCE, server.serving)
        .await
        .expect("the server did not end")
        .unwrap();
}
