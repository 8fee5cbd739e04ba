//! `GET /healthz`: whether this fleetd can do its work now, for load balancers and monitors.
//!
//! It can if its store answers: everything else it does begins there. The store is asked each time, so that the answer is
//! never a memory; that is one small read.

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use model::ClusterStore;
use tokio::time::timeout;

use super::answer::ApiError;
use super::{Api, Journal};

/// How long the store may take. Monitors wait 5 s or more, and an answer with a reason is worth more than none.
const STORE_LIMIT: Duration = Duration::from_secs(3);

/// `GET` and `HEAD /healthz`
pub(super) async fn health<C: ClusterStore, J: Journal>(
    State(api): State<Api<C, J>>,
    method: Method,
) -> Result<Response, ApiError> {
    if method != Method::GET && method != Method::HEAD {
        let message = "only GET and HEAD supported against this resource";
        return Err(ApiError::method("GET, HEAD", message));
    }
    match timeout(STORE_LIMIT, api.store.reach()).await {
        Ok(reached) => reached?,
        Err(_elapsed) => {
            let message = format!(
                "the cluster store did not answer within {} s",
                STORE_LIMIT.as_secs()
            );
            return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message));
        }
    }
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, "ok\n").into_response())
}
