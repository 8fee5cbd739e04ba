//! Why a request got no good answer.

use std::io;

use super::Endpoint;

/// Why a request got no good answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection to any endpoint; this is the last one tried. The request was not sent.
    #[error("cannot reach fleetd at {endpoint}")]
    Unreachable {
        /// The endpoint.
        endpoint: Endpoint,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No answer within the request timeout. The request may have been carried out.
    #[error("fleetd at {endpoint} did not answer within {seconds} s")]
    TimedOut {
        /// The endpoint.
        endpoint: Endpoint,
        /// The limit.
        seconds: f64,
    },
    /// The connection broke before the answer was complete. The request may have been carried out.
    #[error("the connection to fleetd at {endpoint} broke")]
    Broken {
        /// The endpoint.
        endpoint: Endpoint,
        /// What the connection said.
        #[source]
        source: hyper::Error,
    },
    /// fleetd answered with an error.
    #[error("{}", show(*code, message))]
    Api {
        /// The HTTP status.
        code: u16,
        /// The message of the answer; may be empty.
        message: String,
    },
    /// An error that fleetd does not word so: the answer is from a proxy before it, or from something else altogether. The request may have
    /// been carried out.
    #[error("what answers at {endpoint} is not fleetd (status {code})")]
    Foreign {
        /// The endpoint.
        endpoint: Endpoint,
        /// The HTTP status.
        code: u16,
    },
    /// The answer is not what fleetd would say: the endpoint is something else, or a much newer fleetd.
    #[error("the answer of {endpoint} makes no sense: {reason}")]
    Malformed {
        /// The endpoint.
        endpoint: Endpoint,
        /// What is wrong with it.
        reason: String,
    },
}

impl ClientError {
    /// Whether what came back was no HTTP at all.
    pub fn is_no_http(&self) -> bool {
        matches!(self, ClientError::Broken { source, .. } if source.is_parse())
    }

    /// Whether fleetd answered with one of these codes.
    pub(super) fn has_code(&self, codes: &[u16]) -> bool {
        matches!(self, ClientError::Api { code, .. } if codes.contains(code))
    }
}

fn show(code: u16, message: &str) -> String {
    if message.is_empty() {
        format!("fleetd answered with status {code}")
    } else {
        message.to_owned()
    }
}
