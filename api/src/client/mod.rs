//! The API's client: one fleetd over a unix socket or TCP, HTTP/1.1.

mod connection;
mod dial;
mod endpoint;
mod error;
mod events;
mod requests;
mod sse;

pub use connection::Client;
pub use dial::{ByteStream, Dialler, Dialling};
pub use endpoint::{Endpoint, EndpointError};
pub use error::ClientError;
pub use requests::{OverviewQuery, Section};
