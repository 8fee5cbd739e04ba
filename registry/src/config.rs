//! How to reach the store: what an operator sets, checked before anything is connected.

use std::path::PathBuf;
use std::time::Duration;

const HTTP: &str = "http://";
const HTTPS: &str = "https://";

/// Files for TLS to the store, all in PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate authority that the store's certificate must come from; none means the system's own.
    pub ca: Option<PathBuf>,
    /// This client's certificate.
    pub cert: Option<PathBuf>,
    /// The key of that certificate.
    pub key: Option<PathBuf>,
}

/// How to reach the store.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// Addresses such as `http://10.0.0.1:2379`. Without a scheme it is https if any TLS file is given, else http.
    pub endpoints: Vec<String>,
    /// What every key begins with, such as `/_coreos.com/fleet/`.
    pub key_prefix: String,
    /// Files for TLS.
    pub tls: TlsFiles,
    /// Name of the store's user, if it wants one.
    pub username: Option<String>,
    /// That user's password.
    pub password: Option<String>,
    /// How long one request may take.
    pub request_timeout: Duration,
}

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no endpoint.
    #[error("no etcd endpoint is given: set etcd_servers")]
    NoEndpoints,
    /// An endpoint cannot be understood.
    #[error(
        "{endpoint:?} is not the address of an etcd: expected http://HOST:PORT or https://HOST:PORT"
    )]
    Endpoint {
        /// The endpoint.
        endpoint: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A TLS file is given, but an endpoint is plain.
    #[error(
        "{endpoint:?} is not encrypted, but etcd_cafile, etcd_certfile or etcd_keyfile is set: write https://, or remove them"
    )]
    PlainWithTls {
        /// The endpoint.
        endpoint: String,
    },
    /// A certificate without its key, or the other way round.
    #[error("etcd_certfile and etcd_keyfile belong together: one of them is missing")]
    HalfIdentity,
    /// A TLS file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The TLS files cannot be used.
    #[error("the TLS files for {endpoint} cannot be used")]
    Tls {
        /// The endpoint.
        endpoint: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The key prefix cannot be one.
    #[error("{prefix:?} is not a key prefix: expected text such as /_coreos.com/fleet/")]
    KeyPrefix {
        /// The prefix.
        prefix: String,
    },
    /// A user without password, or the other way round.
    #[error("etcd_username and etcd_password belong together: one of them is missing")]
    HalfUser,
    /// A request timeout of zero.
    #[error("the request timeout is zero: nothing could ever be answered")]
    ZeroTimeout,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("endpoints", &self.endpoints)
            .field("key_prefix", &self.key_prefix)
            .field("tls", &self.tls)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "(set)"))
            .field("request_timeout", &self.request_timeout)
            .finish()
    }
}

impl TlsFiles {
    pub(crate) fn is_empty(&self) -> bool {
        self.ca.is_none() && self.cert.is_none() && self.key.is_none()
    }
}

impl Config {
    /// The endpoints with their scheme.
    pub(crate) fn urls(&self) -> Result<Vec<String>, ConfigError> {
        if self.endpoints.is_empty() {
            return Err(ConfigError::NoEndpoints);
        }
        self.endpoints
            .iter()
            .map(|endpoint| self.url(endpoint.trim()))
            .collect()
    }

    fn url(&self, endpoint: &str) -> Result<String, ConfigError> {
        if endpoint.starts_with(HTTPS) {
            return Ok(endpoint.to_owned());
        }
        if endpoint.starts_with(HTTP) {
            if !self.tls.is_empty() {
                return Err(ConfigError::PlainWithTls {
                    endpoint: endpoint.to_owned(),
                });
            }
            return Ok(endpoint.to_owned());
        }
        let scheme = if self.tls.is_empty() { HTTP } else { HTTPS };
        Ok(format!("{scheme}{endpoint}"))
    }

    /// User and password, if both are given.
    pub(crate) fn user(&self) -> Result<Option<(String, String)>, ConfigError> {
        match (&self.username, &self.password) {
            (Some(name), Some(password)) => Ok(Some((name.clone(), password.clone()))),
            (None, None) => Ok(None),
            (Some(_), None) | (None, Some(_)) => Err(ConfigError::HalfUser),
        }
    }

    /// Checks what needs no file.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.key_prefix.is_empty() || self.key_prefix.chars().any(char::is_control) {
            return Err(ConfigError::KeyPrefix {
                prefix: self.key_prefix.clone(),
            });
        }
        if self.request_timeout.is_zero() {
            return Err(ConfigError::ZeroTimeout);
        }
        Ok(())
    }
}
