//! How requests are read: leniently in what fleet 1.0's clients do, strictly in size.

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use bytes::BytesMut;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::answer::ApiError;

/// How much of a body is thrown away beyond its limit, in bytes, before the connection is closed on its sender.
const EXCESS_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The query of an address, in its order.
pub(super) struct Parameters(pub(super) Vec<(String, String)>);

impl Parameters {
    /// The first value of `key`.
    pub(super) fn first(&self, key: &str) -> Option<&str> {
        self.all(key).next()
    }

    /// All values of `key`.
    pub(super) fn all<'a>(&'a self, key: &str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }
}

/// Reads a body of at most `limit` bytes. A longer one is read on and thrown away, up to a point: a client that still
/// sends would not see the answer.
pub(super) async fn body(mut body: Body, limit: usize) -> Result<Bytes, ApiError> {
    let mut whole = BytesMut::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|error| ApiError::bad_request(format!("unable to read body: {error}")))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        length += data.len();
        if length <= limit {
            whole.extend_from_slice(&data);
        } else if length - limit > EXCESS_BYTES_MAX {
            break;
        }
    }
    if length > limit {
        let message = format!("the body is longer than {limit} bytes");
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message));
    }
    Ok(whole.freeze())
}

/// What a body has to be. Without it, an array would be taken for an object's fields in their order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    Object,
    Array,
}

/// The first JSON value of `body`, field names in any case, unknown fields ignored, `null` as nothing at all: as Go's
/// decoder reads it, which clients rely on.
pub(super) fn lenient_json<T: DeserializeOwned + Default>(
    body: &[u8],
    shape: Shape,
) -> Result<T, ApiError> {
    let undecodable =
        |reason: String| ApiError::bad_request(format!("unable to decode body: {reason}"));
    let first = serde_json::Deserializer::from_slice(body)
        .into_iter::<Value>()
        .next();
    match first {
        None => Err(undecodable("EOF".to_owned())),
        Some(Err(error)) => Err(undecodable(error.to_string())),
        Some(Ok(Value::Null)) => Ok(T::default()),
        Some(Ok(value)) if shape == Shape::Object && !value.is_object() => {
            Err(undecodable("expected an object".to_owned()))
        }
        Some(Ok(value)) if shape == Shape::Array && !value.is_array() => {
            Err(undecodable("expected an array".to_owned()))
        }
        Some(Ok(value)) => serde_json::from_value(with_lower_case_keys(value))
            .map_err(|error| undecodable(error.to_string())),
    }
}

/// The depth is limited by serde_json, which has read the value.
fn with_lower_case_keys(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .map(|(key, value)| (key.to_lowercase(), with_lower_case_keys(value)))
            .collect(),
        Value::Array(items) => items.into_iter().map(with_lower_case_keys).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{MachinePatch, UnitPut};

    #[test]
    fn names_are_read_in_any_case_and_null_is_nothing() {
        let put: UnitPut = lenient_json(
            br#" {"DESIREDSTATE":"launched","Name":null,"new":[1],
                  "Options":[{"SECTION":"Unit","name":"Description","Value":"x"}]} trailing"#,
            Shape::Object,
        )
        .unwrap();
        assert_eq!(put.desired_state, "launched");
        assert_eq!(put.name, "");
        assert_eq!(put.options[0].section, "Unit");
        assert_eq!(put.options[0].value, "x");
        assert_eq!(
            lenient_json::<UnitPut>(b"null", Shape::Object).unwrap(),
            UnitPut::default()
        );
        let patch: Vec<MachinePatch> = lenient_json(
            br#"[{"op":"add","path":"/a/metadata/b","Value":{"value":"c"}}]"#,
            Shape::Array,
        )
        .unwrap();
        assert_eq!(patch[0].value.as_ref().unwrap().value, "c");
    }

    #[test]
    fn what_is_no_json_is_named() {
        for (body, message) in [
            (&b""[..], "unable to decode body: EOF"),
            (b"   ", "unable to decode body: EOF"),
            (
                b"{",
                "unable to decode body: EOF while parsing an object at line 1 column 1",
            ),
        ] {
            assert_eq!(
                lenient_json::<UnitPut>(body, Shape::Object)
                    .unwrap_err()
                    .body()
                    .message,
                message
            );
        }
        for body in [
            &b"[]"[..],
            b"\"x\"",
            b"{\"options\":1}",
            b"{\"name\":1}",
            b"\xff",
        ] {
            assert!(
                lenient_json::<UnitPut>(body, Shape::Object).is_err(),
                "{body:?}"
            );
        }
        assert!(
            lenient_json::<Vec<MachinePatch>>(br#"[{"value":"plain"}]"#, Shape::Array).is_err()
        );
    }
}
