//! Several endpoints of one etcd cluster as one channel: all requests go to one endpoint until it fails, then to the next.
//!
//! The client library's own balancer spreads requests over dead endpoints too and fails a third of them; this one
//! fails the request that finds out, if that, and moves on.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;

use etcd_client::TlsOptions;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint};
use tower::{BoxError, Service, ServiceExt};

use crate::certificates::Certificates;
use crate::config::{ConfigError, TlsFiles};

/// How often an idle connection is probed, so that a frozen store or a dead link is noticed.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// How long the answer to a probe may take.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// How long making a connection may take: a LAN needs milliseconds, a lost SYN is sent again after 1 s.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How often certificates are read again at most, while the store refuses us.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(1);

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
    channels: RwLock<Vec<Channel>>,
    /// Where certificates are; none if there are none to renew.
    files: Option<TlsFiles>,
    /// What was read last, and when.
    certificates: Mutex<(Certificates, Instant)>,
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
    pub(crate) async fn new(urls: &[String], files: &TlsFiles) -> Result<Endpoints, ConfigError> {
        let certificates = Certificates::read(files).await?;
        let channels = channels(urls, &certificates)?;
        if channels.is_empty() {
            return Err(ConfigError::NoEndpoints);
        }
        Ok(Endpoints {
            shared: Arc::new(Shared {
                urls: urls.to_vec(),
                channels: RwLock::new(channels),
                files: (!files.is_empty()).then(|| files.clone()),
                certificates: Mutex::new((certificates, Instant::now())),
                turn: AtomicUsize::new(0),
            }),
        })
    }

    /// How many endpoints there are.
    pub(crate) fn count(&self) -> usize {
        self.shared.urls.len()
    }

    /// Each endpoint as a channel of its own, by its URL.
    pub(crate) fn each(&self) -> Vec<(String, etcd_client::Channel)> {
        let urls = self.shared.urls.iter().cloned();
        let channels = self.shared.channels().clone();
        urls.zip(channels.into_iter().map(etcd_client::Channel::Tonic))
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
    fn channels(&self) -> std::sync::RwLockReadGuard<'_, Vec<Channel>> {
        self.channels.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the channels anew if the certificates have been renewed since they were read.
    async fn renew(&self) {
        let (Some(files), Ok(mut last)) = (&self.files, self.certificates.try_lock()) else {
            return;
        };
        if last.1.elapsed() < RENEWAL_INTERVAL {
            return;
        }
        last.1 = Instant::now();
        let renewed = match Certificates::read(files).await {
            Ok(found) if found == last.0 => return,
            Ok(found) => channels(&self.urls, &found).map(|channels| (found, channels)),
            Err(error) => Err(error),
        };
        match renewed {
            Ok((found, channels)) => {
                tracing::info!("the certificates for etcd were renewed");
                last.0 = found;
                *self
                    .channels
                    .write()
                    .unwrap_or_else(PoisonError::into_inner) = channels;
            }
            Err(error) => {
                tracing::warn!(%error, "the certificates for etcd cannot be renewed");
            }
        }
    }

    fn failed(&self, Turn(seen): Turn) {
        let next = seen.wrapping_add(1);
        let moved = self
            .turn
            .compare_exchange(seen, next, Ordering::Relaxed, Ordering::Relaxed);
        if moved.is_ok() && self.urls.len() > 1 {
            tracing::debug!(
                endpoint = next % self.urls.len(),
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
            let mut channel = {
                let channels = shared.channels();
                channels[turn.0 % channels.len()].clone()
            };
            let ready = match channel.ready().await {
                Ok(ready) => ready,
                Err(error) => {
                    shared.failed(turn);
                    shared.renew().await;
                    return Err(NotSent(error.into()).into());
                }
            };
            let answer = ready.call(request).await;
            match &answer {
                Ok(response) if is_unavailable(response) => shared.failed(turn),
                Ok(_) => {}
                Err(_) => {
                    shared.failed(turn);
                    shared.renew().await;
                }
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

fn channels(urls: &[String], certificates: &Certificates) -> Result<Vec<Channel>, ConfigError> {
    let tls = certificates.options();
    urls.iter().map(|url| channel(url, &tls)).collect()
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
