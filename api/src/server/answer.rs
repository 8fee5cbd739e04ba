//! What an answer looks like: JSON as fleet 1.0 writes it, and errors with their body.

use std::io;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use model::{Refusal, StoreError};
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use crate::types::{ErrorBody, Failure};

/// The text by which clients of fleet 1.0 know a fleetd that has lost its store.
const NO_ETCD: &str = "fleet server unable to communicate with etcd";

/// An answer that is an error.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    message: String,
    /// For 405: the methods that are allowed.
    allow: Option<&'static str>,
}

/// After how many seconds whoever was told that this fleetd is busy may ask again.
const RETRY_AFTER_S: u64 = 1;

impl ApiError {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> ApiError {
        ApiError {
            status,
            message: message.into(),
            allow: None,
        }
    }

    /// As much of this kind is under way as can be, and nothing was done; for a while, says the answer.
    pub(super) fn busy(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::TOO_MANY_REQUESTS, message)
    }

    pub(super) fn bad_request(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, message)
    }

    /// The method is not one of `allow`.
    pub(super) fn method(allow: &'static str, message: &str) -> ApiError {
        let status = StatusCode::METHOD_NOT_ALLOWED;
        ApiError {
            status,
            message: message.to_owned(),
            allow: Some(allow),
        }
    }

    /// There is nothing at this address.
    pub(super) fn no_such_path() -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, "")
    }

    pub(super) fn no_such_unit() -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, Refusal::NotFound.to_string())
    }

    /// The error as it stands in a body.
    pub(super) fn body(self) -> ErrorBody {
        ErrorBody {
            code: self.status.as_u16(),
            message: self.message,
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> ApiError {
        // 503 says that nothing was done: then another fleetd may be asked.
        match &error {
            StoreError::Unreachable(_) => {
                let message = format!("{error} ({NO_ETCD})");
                ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message)
            }
            StoreError::Refused(_) => {
                ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
            }
            StoreError::Unknown(_) => ApiError::new(StatusCode::GATEWAY_TIMEOUT, error.to_string()),
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> ApiError {
        let status = match &refusal {
            Refusal::NotFound | Refusal::TemplateNotFound(_) => StatusCode::NOT_FOUND,
            Refusal::Invalid(_) | Refusal::Contradiction(_) | Refusal::IsTemplate => {
                StatusCode::BAD_REQUEST
            }
            Refusal::InState(_) | Refusal::Contested => StatusCode::CONFLICT,
            Refusal::Damaged(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        ApiError::new(status, refusal.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, allow) = (self.status, self.allow);
        let mut response = match json(status, &Failure { error: self.body() }) {
            Ok(response) => response,
            Err(_) => status.into_response(),
        };
        if let Some(allow) = allow {
            response
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if status == StatusCode::TOO_MANY_REQUESTS {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
        }
        response
    }
}

/// An answer in JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Result<Response, ApiError> {
    let mut body = Vec::with_capacity(256);
    match value.serialize(&mut Serializer::with_formatter(&mut body, HtmlSafe)) {
        Ok(()) => {
            let kind = (
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/json"),
            );
            Ok((status, [kind], body).into_response())
        }
        Err(error) => {
            let message = format!("the answer cannot be written as JSON: {error}");
            Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, message))
        }
    }
}

/// Compact JSON in which `<`, `>`, `&` and the two Unicode line ends are escaped, as Go's encoder writes it.
struct HtmlSafe;

impl Formatter for HtmlSafe {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        let special = |c| matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}');
        for piece in fragment.split_inclusive(special) {
            match piece.char_indices().next_back() {
                Some((at, last)) if special(last) => {
                    writer.write_all(&piece.as_bytes()[..at])?;
                    write!(writer, "\\u{:04x}", u32::from(last))?;
                }
                _ => writer.write_all(piece.as_bytes())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_escaped_as_go_escapes_it() {
        let mut body = Vec::new();
        let text = "a<b>&c\u{2028}\"\n</é>";
        text.serialize(&mut Serializer::with_formatter(&mut body, HtmlSafe))
            .unwrap();
        let written = String::from_utf8(body).unwrap();
        assert_eq!(
            written,
            r#""a\u003cb\u003e\u0026c\u2028\"\n\u003c/é\u003e""#
        );
        assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
    }

    #[test]
    fn a_lost_store_is_named_in_our_words_and_in_the_ancestors() {
        let body = ApiError::from(StoreError::Unreachable("no route".into())).body();
        assert_eq!(body.code, 503);
        let unknown = ApiError::from(StoreError::Unknown("late".into())).body();
        assert_eq!(unknown.code, 504, "{}", unknown.message);
        assert_eq!(
            body.message,
            "the cluster store cannot be reached: no route \
             (fleet server unable to communicate with etcd)"
        );
    }
}
