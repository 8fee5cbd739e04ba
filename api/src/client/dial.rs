//! How connections are opened where an endpoint is not reached from here: by whoever made the client, through a tunnel say.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use super::Endpoint;

/// Bytes in both directions.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// A connection that is being opened.
pub type Dialling<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn ByteStream>>> + Send + 'a>>;

/// Opens connections to endpoints. Each is used for one request after another.
pub trait Dialler: Send + Sync {
    /// Opens one; the request's timeout limits how long that may take.
    fn dial<'a>(&'a self, endpoint: &'a Endpoint) -> Dialling<'a>;

    /// What is wrong if that took longer than `limit`.
    fn too_slow(&self, limit: Duration) -> io::Error;
}
