//! The API's client: one fleetd over a unix socket, TCP or TLS, HTTP/1.1.

mod connection;
mod dial;
mod endpoint;
mod error;
mod events;
mod requests;
mod sse;
mod tls;
mod tls_files;

pub use connection::Client;
pub use dial::{ByteStream, Dialler, Dialling, Ways};
pub use endpoint::{Endpoint, EndpointError, Scheme};
pub use error::ClientError;
pub use requests::{OverviewQuery, Section};
pub use tls::{Tls, TlsError};
pub use tls_files::{TlsFiles, TlsFilesError, TlsPart};
