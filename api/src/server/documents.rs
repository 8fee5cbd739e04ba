//! The API's descriptions of itself, for programs: Google's discovery format, from which clients of fleet 1.0 generate
//! themselves, and OpenAPI. Both are files that people can read; tests hold them against the routes.

use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};

use super::answer::ApiError;
use super::only_get;

/// What fleet 1.0's clients know, and no more: its `rootUrl` is a placeholder that they replace.
const DISCOVERY: &str = include_str!("discovery.json");

/// Everything.
const OPENAPI: &str = include_str!("../../../docs/openapi.json");

/// `GET /discovery`
pub(super) async fn discovery(method: Method) -> Result<Response, ApiError> {
    // The ancestor's answer; everywhere else it is 405.
    if method != Method::GET {
        let message = "only HTTP GET supported against this resource";
        return Err(ApiError::bad_request(message));
    }
    Ok(document(DISCOVERY))
}

/// `GET /openapi.json`
pub(super) async fn openapi(method: Method) -> Result<Response, ApiError> {
    only_get(&method)?;
    Ok(document(OPENAPI))
}

fn document(text: &'static str) -> Response {
    let kind = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}
