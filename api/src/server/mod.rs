//! The API's server: routes over the cluster's store, on unix sockets and TCP ports.
//!
//! ```text
//! let router = api::server::router(store, journal, settings, shutdown.clone());
//! api::server::serve(router, listeners, shutdown).await;
//! ```

mod answer;
mod batch;
mod connections;
mod diagnosis;
mod documents;
mod events;
mod explained;
mod exposition;
mod feed;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod health;
mod input;
mod journal;
mod listener;
mod lists;
mod metrics;
mod overview;
mod paging;
mod path;
mod placement;
mod process;
mod quarantine;
mod rows;
mod units;

use std::convert::Infallible;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{FromRef, FromRequestParts, Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use model::{ClusterStore, Journal, MachineId, Placement};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use connections::serve;
pub use listener::{Listener, Peer};
pub use metrics::{EngineFigures, EngineProbe};

use answer::ApiError;
use input::Parameters;

use crate::types::Version;

/// What the server says it is, in every answer.
const SERVER: &str = concat!("fleetd/", env!("CARGO_PKG_VERSION"));

/// The two names of the API; fleet 1.0's clients use either.
const PREFIXES: [&str; 2] = ["/fleet/v1", "/v1-alpha"];

/// What the server is told of its machine, and what an operator may set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The machine this server is on.
    pub machine: MachineId,
    /// Entries in one page of a list (`token_limit`).
    pub token_limit: NonZeroU16,
    /// How long a request may take until it is answered with 504; a stream of events only until it begins.
    pub request_timeout: Duration,
    /// How the engine of this process does, for `/metrics`; none if it has no engine.
    pub engine: Option<EngineProbe>,
    /// Who explains placement and rehearses it; none: such requests are answered with 501.
    pub placement: Option<Arc<dyn Placement>>,
}

impl Settings {
    /// Settings for this machine: pages of 100 entries, 60 s for a request (a batch of 10,000 units is carried out
    /// in a few), no engine and nobody who explains.
    pub fn new(machine: MachineId) -> Settings {
        let token_limit = NonZeroU16::MIN.saturating_add(99);
        Settings {
            machine,
            token_limit,
            request_timeout: Duration::from_secs(60),
            engine: None,
            placement: None,
        }
    }
}

/// What the routes share.
struct Api<C, J> {
    store: C,
    journal: Arc<J>,
    settings: Arc<Settings>,
    /// Ends the streams of events.
    shutdown: CancellationToken,
    /// One permit per stream of events.
    event_streams: Arc<Semaphore>,
    /// One permit per rehearsal of placement.
    rehearsals: Arc<Semaphore>,
    /// One permit per status or journal that is being read.
    questions: Arc<Semaphore>,
}

impl<C: Clone, J> Clone for Api<C, J> {
    fn clone(&self) -> Api<C, J> {
        Api {
            store: self.store.clone(),
            journal: Arc::clone(&self.journal),
            settings: Arc::clone(&self.settings),
            shutdown: self.shutdown.clone(),
            event_streams: Arc::clone(&self.event_streams),
            rehearsals: Arc::clone(&self.rehearsals),
            questions: Arc::clone(&self.questions),
        }
    }
}

impl<C: Clone, J> FromRef<Api<C, J>> for Arc<Settings> {
    fn from_ref(api: &Api<C, J>) -> Arc<Settings> {
        Arc::clone(&api.settings)
    }
}

/// The routes. `shutdown` ends streams of events; everything else ends by itself within the request timeout.
pub fn router<C: ClusterStore, J: Journal>(
    store: C,
    journal: J,
    settings: Settings,
    shutdown: CancellationToken,
) -> Router {
    let api = Api {
        store,
        journal: Arc::new(journal),
        settings: Arc::new(settings),
        shutdown,
        event_streams: Arc::new(Semaphore::new(events::STREAMS_MAX)),
        rehearsals: Arc::new(Semaphore::new(placement::REHEARSALS_MAX)),
        questions: Arc::new(Semaphore::new(journal::QUESTIONS_MAX)),
    };
    let mut router = Router::new()
        .route("/", any(no_method))
        .route("/healthz", any(health::health))
        .route("/metrics", any(metrics::metrics))
        .route("/openapi.json", any(documents::openapi));
    for prefix in PREFIXES {
        let at = |path: &str| format!("{prefix}{path}");
        router = router
            .route(prefix, any(no_method))
            .route(&at("/units"), any(units::list))
            .route(&at("/units/{name}"), any(units::one))
            .route(&at("/units/{name}/file"), any(units::file))
            .route(&at("/units/{name}/explanation"), any(placement::explain))
            .route(&at("/units/{name}/journal"), any(journal::lines))
            .route(&at("/units/{name}/status"), any(journal::status))
            .route(&at("/state"), any(lists::states))
            .route(&at("/state/{name}"), any(lists::state))
            .route(&at("/machines"), any(lists::machines))
            .route(&at("/batch"), any(batch::batch))
            .route(&at("/plan"), any(placement::plan))
            .route(&at("/rebalance"), any(placement::rebalance))
            .route(&at("/overview"), any(overview::overview))
            .route(&at("/events"), any(events::events))
            .route(&at("/diagnosis"), any(diagnosis::diagnosis))
            .route(&at("/quarantine"), any(quarantine::quarantine))
            .route(&at("/discovery"), any(documents::discovery))
            .route(&at("/version"), any(version));
    }
    router
        .fallback(async || ApiError::no_such_path())
        .layer(from_fn_with_state(api.clone(), limit_time::<C, J>))
        .layer(from_fn(redirect_unclean))
        .layer(from_fn(log))
        .layer(map_response(name_server))
        .with_state(api)
}

/// The unit named in the address. It may be no valid name; one with a slash is another address altogether.
struct Named(String);

impl<S: Sync + Send> FromRequestParts<S> for Named {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Named, ApiError> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(name)) if !name.contains('/') => Ok(Named(name)),
            Ok(_) | Err(_) => Err(ApiError::no_such_path()),
        }
    }
}

impl<S: Sync + Send> FromRequestParts<S> for Parameters {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Parameters, Infallible> {
        // Like the ancestor's, the server ignores a query that it cannot understand.
        Ok(
            match Query::<Vec<(String, String)>>::try_from_uri(&parts.uri) {
                Ok(Query(pairs)) => Parameters(pairs),
                Err(_) => Parameters(Vec::new()),
            },
        )
    }
}

/// Refuses every method but GET; HEAD too, as the ancestor does.
fn only_get(method: &Method) -> Result<(), ApiError> {
    only("GET", method)
}

/// Refuses every method but POST.
fn only_post(method: &Method) -> Result<(), ApiError> {
    only("POST", method)
}

fn only(allowed: &'static str, method: &Method) -> Result<(), ApiError> {
    if method.as_str() == allowed {
        return Ok(());
    }
    let message = format!("only {allowed} supported against this resource");
    Err(ApiError::method(allowed, &message))
}

async fn no_method() -> ApiError {
    ApiError::method("", "")
}

async fn version(method: Method) -> Result<Response, ApiError> {
    only_get(&method)?;
    answer::json(
        StatusCode::OK,
        &Version {
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
    )
}

async fn limit_time<C: ClusterStore, J: Journal>(
    State(api): State<Api<C, J>>,
    request: Request,
    next: Next,
) -> Response {
    let limit = api.settings.request_timeout;
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_elapsed) => {
            let message = format!(
                "the request did not end within {} s: whether it was carried out is not known",
                limit.as_secs_f64()
            );
            ApiError::new(StatusCode::GATEWAY_TIMEOUT, message).into_response()
        }
    }
}

async fn redirect_unclean(request: Request, next: Next) -> Response {
    let Some(mut clean) = path::cleaned(request.uri().path()) else {
        return next.run(request).await;
    };
    if let Some(query) = request.uri().query() {
        clean.push('?');
        clean.push_str(query);
    }
    match HeaderValue::try_from(clean) {
        Ok(to) => (StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, to)]).into_response(),
        Err(_) => ApiError::no_such_path().into_response(),
    }
}

/// Writes down who changed something, and at debug level who asked what.
async fn log(request: Request, next: Next) -> Response {
    let peer = request
        .extensions()
        .get::<Peer>()
        .map(ToString::to_string)
        .unwrap_or_default();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    let status = response.status().as_u16();
    if method == Method::GET || method == Method::HEAD {
        tracing::debug!(%peer, %method, %path, status, "API request");
    } else {
        tracing::info!(%peer, %method, %path, status, "API request");
    }
    response
}

async fn name_server(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(header::SERVER, HeaderValue::from_static(SERVER));
    response
}
