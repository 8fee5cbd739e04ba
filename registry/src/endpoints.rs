//! Several endpoints of one etcd cluster as one channel: all requests go to one endpoint until it fails, then to the next.
//!
//! The client library's own balancer spreads requests over dead endpoints too and fails a third of them; this one
//! fails the request that finds out, if that, and moves on.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use etcd_client::TlsOptions;
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint};
use tower::{BoxError, Service, ServiceExt};

use crate::config::ConfigError;

/// How often an idle connection is probed, so that a frozen store or a dead link is noticed.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// How long the answer to a probe may take.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// How long making a connection may take: a LAN needs milliseconds, a lost SYN is sent again after 1 s.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

type HttpRequest = tonic::codegen::http::Request<Body>;
type HttpResponse = tonic::codegen::http::Response<Body>;

/// The sticky channel. Clones share which endpoint is in use.
#[derive(Clone, Debug)]
pub(crate) struct Endpoints {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    urls: Vec<String>,
    channels: Vec<Channel>,
    /// Counts failures; the endpoint in use is this modulo their number.
    turn: AtomicUsize,
}

/// Marks an error after which the request cannot have reached a server.
#[derive(Debug, thiserror::Error)]
#[error("no connection")]
pub(crate) struct NotSent(#[source] BoxError);

/// Which endpoint was in use at some moment, so that its failure can be reported later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn(usize);

impl Endpoints {
    /// Prepares a channel to each of `urls`; nothing is connected before the first request.
    pub(crate) fn new(urls: &[String], tls: &TlsOptions) -> Result<Endpoints, ConfigError> {
        let channels = urls
            .iter()
            .map(|url| channel(url, tls))
            .collect::<Result<Vec<_>, _>>()?;
        if channels.is_empty() {
            return Err(ConfigError::NoEndpoints);
        }
        let turn = AtomicUsize::new(0);
        Ok(Endpoints {
            shared: Arc::new(Shared {
                urls: urls.to_vec(),
                channels,
                turn,
            }),
        })
    }

    /// How many endpoints there are.
    pub(crate) fn count(&self) -> usize {
        self.shared.channels.len()
    }

    /// Each endpoint as a channel of its own, by its URL.
    pub(crate) fn each(&self) -> Vec<(String, etcd_client::Channel)> {
        let urls = self.shared.urls.iter().cloned();
        let channels = self.shared.channels.iter().cloned();
        urls.zip(channels.map(etcd_client::Channel::Tonic))
            .collect()
    }

    /// The endpoint in use now.
    pub(crate) fn turn(&self) -> Turn {
        Turn(self.shared.turn.load(Ordering::Relaxed))
    }

    /// Moves on to the next endpoint, unless another has done so since `turn`.
    pub(crate) fn failed(&self, turn: Turn) {
        self.shared.failed(turn);
    }
}

impl Shared {
    fn failed(&self, Turn(seen): Turn) {
        let next = seen.wrapping_add(1);
        let moved = self
            .turn
            .compare_exchange(seen, next, Ordering::Relaxed, Ordering::Relaxed);
        if moved.is_ok() && self.channels.len() > 1 {
            tracing::debug!(
                endpoint = next % self.channels.len(),
                "moving to the next etcd endpoint"
            );
        }
    }
}

impl Service<HttpRequest> for Endpoints {
    type Response = HttpResponse;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequest) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let turn = Turn(shared.turn.load(Ordering::Relaxed));
            let mut channel = shared.channels[turn.0 % shared.channels.len()].clone();
            let ready = match channel.ready().await {
                Ok(ready) => ready,
                Err(error) => {
                    shared.failed(turn);
                    return Err(NotSent(error.into()).into());
                }
            };
            let answer = ready.call(request).await;
            match &answer {
                Ok(response) if is_unavailable(response) => shared.failed(turn),
                Ok(_) => {}
                Err(_) => shared.failed(turn),
            }
            answer.map_err(Into::into)
        })
    }
}

/// True if the server itself says that it cannot serve now, such as a member without a leader.
fn is_unavailable(response: &HttpResponse) -> bool {
    let status = response.headers().get("grpc-status");
    status.is_some_and(|code| code.as_bytes() == b"14")
}

fn channel(url: &str, tls: &TlsOptions) -> Result<Channel, ConfigError> {
    let endpoint =
        Endpoint::from_shared(url.to_owned()).map_err(|source| ConfigError::Endpoint {
            endpoint: url.to_owned(),
            source: source.into(),
        })?;
    if endpoint.uri().host().is_none_or(str::is_empty) {
        let source = "it names no host".into();
        return Err(ConfigError::Endpoint {
            endpoint: url.to_owned(),
            source,
        });
    }
    let endpoint = if endpoint.uri().scheme_str() == Some("https") {
        endpoint
            .tls_config(tls.clone())
            .map_err(|source| ConfigError::Tls {
                endpoint: url.to_owned(),
                source: source.into(),
            })?
    } else {
        endpoint
    };
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true)
        .connect_lazy())
}
