//! Connections from accept to end, their limits, and the orderly stop.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::listener::{Bytes, Listener, Peer};

/// Open connections of one listener; more wait in the kernel's queue. Far above what a cluster's tools use, and small
/// enough that connections left open cannot use up the process's files.
const CONNECTIONS_MAX: usize = 512;

/// How long a client may take for the head of a request, waiting between requests included.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest head of a request, in bytes: fleetctl puts up to 16 KiB of unit names into an address.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// How long requests that are being carried out may take to end once the server is told to stop.
const GRACE: Duration = Duration::from_secs(5);

/// The pause after a failed accept, which is almost always a process out of files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Serves all `listeners` until `shutdown`: then no connection is accepted any more, requests that are being carried
/// out get 5 s to end, and the rest is cut off. Returns when all of it has ended.
///
/// Dropping the future cuts off everything at once.
pub async fn serve(router: Router, listeners: Vec<Listener>, shutdown: CancellationToken) {
    let mut accepting = JoinSet::new();
    for listener in listeners {
        tracing::info!(%listener, "API listens");
        accepting.spawn(accept(router.clone(), listener, shutdown.clone()));
    }
    while let Some(ended) = accepting.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "Failed serving HTTP on listener");
        }
    }
}

async fn accept(router: Router, listener: Listener, shutdown: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    let next = async || {
        // Never closed, so this waits for a place and nothing else.
        let place = Arc::clone(&places).acquire_owned().await.ok();
        (place, listener.accept().await)
    };
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(ended) = connections.join_next() => report(ended),
            (place, accepted) = next() => match accepted {
                Ok((bytes, peer)) => {
                    connections.spawn(converse(router.clone(), bytes, peer, place, shutdown.clone()));
                }
                Err(error) if is_of_one_connection(&error) => {
                    tracing::debug!(%listener, %error, "a connection ended before it was accepted");
                }
                Err(error) => {
                    tracing::error!(%listener, %error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    let ending = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    };
    if tokio::time::timeout(GRACE, ending).await.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "API connections are cut off"
        );
        connections.shutdown().await;
    }
}

/// Whether the next connection may well be accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, InvalidInput, NotConnected};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | InvalidInput | NotConnected
    )
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "an API connection ended in a fault of ours");
    }
}

async fn converse(
    router: Router,
    bytes: Bytes,
    peer: Peer,
    place: Option<OwnedSemaphorePermit>,
    shutdown: CancellationToken,
) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        let answer = router.clone().oneshot(request.map(Body::new));
        async move { answer.await as Result<Response, Infallible> }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(bytes), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "API connection broke");
    }
    drop(place);
}
