//! Connections: which endpoint is asked, when a connection is used again, when a request is tried again.
//!
//! Sent again, at the next endpoint, is what has not been sent yet, what this fleetd says it has done nothing of (it is cut off from
//! its store, which another may reach, or busy), and what only reads. What failed at one endpoint makes the next request begin
//! with another. If all are busy, a short request waits and asks again.
//!
//! There are no tasks: a connection is driven by whoever waits for an answer on it.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::time::{sleep, timeout};

use super::dial::{ByteStream, Ways};
use super::endpoint::authority;
use super::{ClientError, Endpoint};

/// Unused connections that are kept: more than one command ever has at once.
const IDLE_CONNECTIONS_MAX: usize = 8;

/// The longest answer that is read, in bytes: an overview of 100,000 units is below it.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;

/// The status of a fleetd that has done nothing: it has lost its store.
const NOT_NOW: u16 = 503;

/// The status of a fleetd that has done nothing: it does as much of this kind as it can already.
const BUSY: u16 = 429;

/// The status of a fleetd that does not know whether it was done: its store did not say in time.
const NOT_KNOWN: u16 = 504;

/// How often a short request is made while all endpoints are busy: what they are busy with takes a second or two.
const BUSY_ATTEMPTS_MAX: u32 = 3;

/// How long it waits in between.
const BUSY_PAUSE: Duration = Duration::from_secs(1);

/// Host header for a unix socket, as the ancestor's client sends it.
const SOCKET_HOST: &str = "domain-sock";

/// A client of one fleetd at a time. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
    /// How long a request may take at each endpoint.
    request_timeout: Duration,
}

struct Inner {
    endpoints: Vec<Endpoint>,
    /// How long a request may take that is not given more time; for opening a connection, however long it is then used.
    request_timeout: Duration,
    /// Which endpoint is asked first: the one that answered last, or the one after the one that failed.
    preferred: AtomicUsize,
    idle: Mutex<Vec<(usize, Connection)>>,
    /// How connections are opened.
    ways: Ways,
}

type Driver = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// One open connection and the work that moves its bytes.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// None once the connection has ended.
    driver: Option<Driver>,
}

/// What is asked, apart from where.
pub(super) struct Ask {
    pub(super) method: Method,
    /// Below `/fleet/v1`, with a `/` in front and the query.
    pub(super) path: String,
    /// JSON.
    pub(super) body: Bytes,
    /// The revision after which a stream of events goes on.
    pub(super) last_event: Option<u64>,
    pub(super) repeatable: Repeatable,
}

/// Whether the same request may be sent a second time if it is not known what became of the first.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeatable {
    Yes,
    No,
}

impl Ask {
    pub(super) fn get(path: impl Into<String>) -> Ask {
        Ask {
            method: Method::GET,
            path: path.into(),
            body: Bytes::new(),
            last_event: None,
            repeatable: Repeatable::Yes,
        }
    }

    pub(super) fn post(path: impl Into<String>, body: Vec<u8>) -> Ask {
        Ask {
            method: Method::POST,
            body: body.into(),
            repeatable: Repeatable::No,
            ..Ask::get(path)
        }
    }

    pub(super) fn delete(path: impl Into<String>) -> Ask {
        Ask {
            method: Method::DELETE,
            repeatable: Repeatable::No,
            ..Ask::get(path)
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("endpoints", &self.inner.endpoints)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client of whoever listens at one of `endpoints`. They are tried in this order until one answers, which is
    /// then asked first. Connects when first asked something.
    ///
    /// `request_timeout` limits each request at each endpoint, connecting included.
    pub fn new(endpoints: Vec<Endpoint>, request_timeout: Duration) -> Client {
        Client::through(Ways::default(), endpoints, request_timeout)
    }

    /// As [`new`](Client::new), with connections that are opened so.
    pub fn through(ways: Ways, endpoints: Vec<Endpoint>, request_timeout: Duration) -> Client {
        let preferred = AtomicUsize::new(0);
        let idle = Mutex::new(Vec::new());
        Client {
            inner: Arc::new(Inner {
                endpoints,
                request_timeout,
                preferred,
                idle,
                ways,
            }),
            request_timeout,
        }
    }

    /// This client, with all it knows of its endpoints, for requests that take up to this long once a connection is there.
    pub fn patient(&self, request_timeout: Duration) -> Client {
        Client {
            inner: Arc::clone(&self.inner),
            request_timeout,
        }
    }

    /// The endpoint that is asked first now; none if there are no endpoints.
    pub fn endpoint(&self) -> Option<&Endpoint> {
        self.inner
            .endpoints
            .get(self.inner.preferred.load(Ordering::Relaxed))
    }

    /// Sends a request and reads the whole answer.
    pub(super) async fn exchange(&self, ask: &Ask) -> Result<(StatusCode, Bytes), ClientError> {
        for _ in 1..BUSY_ATTEMPTS_MAX {
            match self.exchange_once(ask).await {
                Err(error) if error.has_code(&[BUSY]) => sleep(BUSY_PAUSE).await,
                answered => return answered,
            }
        }
        self.exchange_once(ask).await
    }

    async fn exchange_once(&self, ask: &Ask) -> Result<(StatusCode, Bytes), ClientError> {
        self.first_endpoint(ask, async |index| {
            let work = async {
                let (response, mut connection) = self.send(index, ask).await?;
                let status = response.status();
                let body = self.body(index, response, &mut connection).await?;
                self.keep(index, connection);
                self.refuse_foreign(index, status, &body)?;
                if [NOT_NOW, BUSY, NOT_KNOWN].contains(&status.as_u16()) {
                    return Err(super::requests::failure(status, &body));
                }
                Ok((status, body))
            };
            match timeout(self.request_timeout, work).await {
                Ok(result) => result,
                Err(_elapsed) => Err(self.timed_out(index, self.request_timeout)),
            }
        })
        .await
    }

    /// Sends a request and returns once the answer's head is there; an answer that is an error is read wholly.
    /// The connection is the caller's, to be driven while the body is read.
    pub(super) async fn open(
        &self,
        ask: &Ask,
    ) -> Result<(Response<Incoming>, Connection, usize), ClientError> {
        self.first_endpoint(ask, async |index| {
            let work = async {
                let (response, mut connection) = self.send(index, ask).await?;
                if response.status() == StatusCode::OK {
                    return Ok((response, connection, index));
                }
                let code = response.status();
                let body = self.body(index, response, &mut connection).await?;
                self.refuse_foreign(index, code, &body)?;
                Err(super::requests::failure(code, &body))
            };
            match timeout(self.request_timeout, work).await {
                Ok(result) => result,
                Err(_elapsed) => Err(self.timed_out(index, self.request_timeout)),
            }
        })
        .await
    }

    /// Tries the endpoints one after the other, beginning with the preferred one. If none is of use, the error is the last
    /// one's, unless a fleetd said why it is of none.
    async fn first_endpoint<T>(
        &self,
        ask: &Ask,
        attempt: impl AsyncFn(usize) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let count = self.inner.endpoints.len();
        let first = self.inner.preferred.load(Ordering::Relaxed);
        let repeatable = ask.repeatable == Repeatable::Yes;
        let mut last = None;
        for index in (0..count).map(|step| (first + step) % count) {
            match attempt(index).await {
                Err(error) if error.has_code(&[NOT_NOW, BUSY]) => last = Some(error),
                Err(error) if error.has_code(&[NOT_KNOWN]) && !repeatable => {
                    self.move_on_from(index);
                    return Err(error);
                }
                Err(error @ ClientError::Unreachable { .. }) => last = worse(last, error),
                Err(
                    error @ (ClientError::TimedOut { .. }
                    | ClientError::Broken { .. }
                    | ClientError::Foreign { .. }),
                ) => {
                    if !repeatable {
                        self.move_on_from(index);
                        return Err(error);
                    }
                    last = worse(last, error);
                }
                answered => {
                    self.inner.preferred.store(index, Ordering::Relaxed);
                    return answered;
                }
            }
        }
        Err(last.unwrap_or_else(|| ClientError::Unreachable {
            endpoint: Endpoint::Unix("".into()),
            source: io::Error::new(io::ErrorKind::InvalidInput, "no endpoint is given"),
        }))
    }

    /// Has the next request begin with another endpoint than this, which failed.
    pub(super) fn move_on_from(&self, index: usize) {
        let next = (index + 1) % self.inner.endpoints.len().max(1);
        // Whoever has moved on already knows better: the result says only that.
        let preferred = &self.inner.preferred;
        _ = preferred.compare_exchange(index, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Sends a request on a connection that is there already or on a new one.
    async fn send(
        &self,
        index: usize,
        ask: &Ask,
    ) -> Result<(Response<Incoming>, Connection), ClientError> {
        let mut request = self.request(index, ask)?;
        // A kept connection may have been closed by the other side. Each is used at most once here, so this ends.
        while let Some(mut connection) = self.take_idle(index) {
            let sent = connection.sender.try_send_request(request);
            match connection.drive(sent).await {
                Ok(response) => return Ok((response, connection)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None if ask.repeatable == Repeatable::Yes => {
                        request = self.request(index, ask)?;
                    }
                    None => return Err(self.broken(index, error.into_error())),
                },
            }
        }
        let mut connection = self.connect(index).await?;
        let sent = connection.sender.send_request(request);
        let response = connection
            .drive(sent)
            .await
            .map_err(|error| self.broken(index, error))?;
        Ok((response, connection))
    }

    fn request(&self, index: usize, ask: &Ask) -> Result<Request<Full<Bytes>>, ClientError> {
        let endpoint = &self.inner.endpoints[index];
        let (host, prefix) = match endpoint {
            Endpoint::Unix(_) => (SOCKET_HOST.to_owned(), ""),
            Endpoint::Tcp {
                host,
                port,
                path_prefix,
                ..
            } => (authority(host, *port), path_prefix.as_str()),
        };
        let mut request = Request::builder()
            .method(ask.method.clone())
            .uri(format!("{prefix}/fleet/v1{}", ask.path))
            .header(HOST, host)
            .header(USER_AGENT, concat!("fleetctl/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, HeaderValue::from_static("application/json"));
        if !ask.body.is_empty() {
            request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(revision) = ask.last_event {
            request = request.header("Last-Event-ID", revision);
        }
        request
            .body(Full::new(ask.body.clone()))
            .map_err(|error| ClientError::Unreachable {
                endpoint: endpoint.clone(),
                source: io::Error::new(io::ErrorKind::InvalidInput, error),
            })
    }

    async fn connect(&self, index: usize) -> Result<Connection, ClientError> {
        let endpoint = &self.inner.endpoints[index];
        let unreachable = |source| ClientError::Unreachable {
            endpoint: endpoint.clone(),
            source,
        };
        // A host that swallows packets must leave time for the next endpoint to be tried, as any other refusal.
        let connecting = async { handshake(self.inner.ways.open(endpoint).await?).await };
        let limit = self.inner.request_timeout;
        match timeout(limit.mul_f64(0.9), connecting).await {
            Ok(connected) => connected.map_err(unreachable),
            Err(_elapsed) => Err(unreachable(match &self.inner.ways.dialler {
                Some(dialler) => dialler.too_slow(limit),
                None => io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("no connection within {} s", limit.as_secs_f64()),
                ),
            })),
        }
    }

    async fn body(
        &self,
        index: usize,
        response: Response<Incoming>,
        connection: &mut Connection,
    ) -> Result<Bytes, ClientError> {
        let mut body = response.into_body();
        let mut whole = BytesMut::new();
        while let Some(frame) = connection.drive(body.frame()).await {
            let frame = frame.map_err(|error| self.broken(index, error))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if whole.len() + data.len() > ANSWER_BYTES_MAX {
                let reason = format!("it is longer than {ANSWER_BYTES_MAX} bytes");
                return Err(self.nonsense(index, reason));
            }
            whole.extend_from_slice(&data);
        }
        Ok(whole.freeze())
    }

    fn take_idle(&self, index: usize) -> Option<Connection> {
        let mut idle = self
            .inner
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let at = idle.iter().position(|(of, _)| *of == index)?;
        Some(idle.swap_remove(at).1)
    }

    fn keep(&self, index: usize, connection: Connection) {
        let mut idle = self
            .inner
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if connection.driver.is_some() && idle.len() < IDLE_CONNECTIONS_MAX {
            idle.push((index, connection));
        }
    }

    /// What a connection's end means. The other side's refusal of TLS may come only when the request is under way, but before it
    /// is read.
    pub(super) fn broken(&self, index: usize, source: hyper::Error) -> ClientError {
        let endpoint = self.inner.endpoints[index].clone();
        match self.inner.ways.refusal(&source) {
            Some(refusal) => ClientError::Unreachable {
                endpoint,
                source: io::Error::other(refusal),
            },
            None => ClientError::Broken { endpoint, source },
        }
    }

    /// # Errors
    /// If this is an error of something else than a fleetd. Who is too busy may be anybody, and has done nothing.
    fn refuse_foreign(
        &self,
        index: usize,
        status: StatusCode,
        body: &Bytes,
    ) -> Result<(), ClientError> {
        let known = status.is_success() || status.as_u16() == BUSY;
        match known || super::requests::is_failure(body) {
            true => Ok(()),
            false => Err(ClientError::Foreign {
                endpoint: self.inner.endpoints[index].clone(),
                code: status.as_u16(),
            }),
        }
    }

    pub(super) fn timed_out(&self, index: usize, limit: Duration) -> ClientError {
        ClientError::TimedOut {
            endpoint: self.inner.endpoints[index].clone(),
            seconds: limit.as_secs_f64(),
        }
    }

    pub(super) fn nonsense(&self, index: usize, reason: String) -> ClientError {
        ClientError::Malformed {
            endpoint: self.inner.endpoints[index].clone(),
            reason,
        }
    }
}

impl Connection {
    /// Waits for `work`, which needs bytes of this connection, and moves them meanwhile.
    pub(super) async fn drive<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|context| {
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(done);
            }
            // Whatever ended the connection, `work` is told of it: the result says nothing more.
            if let Some(driver) = &mut self.driver
                && driver.as_mut().poll(context).is_ready()
            {
                self.driver = None;
            }
            work.as_mut().poll(context)
        })
        .await
    }
}

/// Of two errors the one to tell: what a fleetd said of itself, or else the later.
fn worse(known: Option<ClientError>, later: ClientError) -> Option<ClientError> {
    match known {
        Some(ClientError::Api { .. }) => known,
        Some(_) | None => Some(later),
    }
}

async fn handshake(stream: Box<dyn ByteStream>) -> io::Result<Connection> {
    let (sender, driver) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    Ok(Connection {
        sender,
        driver: Some(Box::pin(driver)),
    })
}
