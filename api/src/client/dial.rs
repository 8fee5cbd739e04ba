//! How connections are opened: from here, or by whoever made the client, through a tunnel say; and what is spoken on them, TLS or not.

use std::error::Error;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::endpoint::Scheme;
use super::{Endpoint, Tls, TlsError};

/// Bytes in both directions.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// A connection that is being opened.
pub type Dialling<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn ByteStream>>> + Send + 'a>>;

/// Opens connections to endpoints. Each is used for one request after another.
pub trait Dialler: Send + Sync {
    /// Opens one; the request's timeout limits how long that may take. TLS is not its business.
    fn dial<'a>(&'a self, endpoint: &'a Endpoint) -> Dialling<'a>;

    /// What is wrong if that took longer than `limit`.
    fn too_slow(&self, limit: Duration) -> io::Error;
}

/// How connections to endpoints are opened.
#[derive(Clone, Default)]
pub struct Ways {
    /// Opens connections; none opens them from here.
    pub dialler: Option<Arc<dyn Dialler>>,
    /// What is spoken with `https://` endpoints, which are out of reach without.
    pub tls: Option<Tls>,
}

impl fmt::Debug for Ways {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ways")
            .field("dialled", &self.dialler.is_some())
            .field("tls", &self.tls)
            .finish()
    }
}

impl Ways {
    /// Opens a connection on which HTTP can be spoken.
    pub(super) async fn open(&self, endpoint: &Endpoint) -> io::Result<Box<dyn ByteStream>> {
        let stream = match (&self.dialler, endpoint) {
            (Some(dialler), _) => dialler.dial(endpoint).await?,
            (None, Endpoint::Unix(path)) => Box::new(UnixStream::connect(path).await?),
            (None, Endpoint::Tcp { host, port, .. }) => tcp(host, *port).await?,
        };
        match endpoint {
            Endpoint::Unix(_) => Ok(stream),
            Endpoint::Tcp { scheme, host, .. } => match scheme {
                Scheme::Http => Ok(stream),
                Scheme::Https => self.secured(stream, host).await.map_err(io::Error::other),
            },
        }
    }

    /// The other side's refusal of what we said of ourselves, if that is why a connection ended.
    pub(super) fn refusal(&self, ended: &(dyn Error + 'static)) -> Option<TlsError> {
        self.tls.as_ref()?.refusal(ended)
    }

    async fn secured(
        &self,
        stream: Box<dyn ByteStream>,
        host: &str,
    ) -> Result<Box<dyn ByteStream>, TlsError> {
        match &self.tls {
            Some(tls) => tls.connect(stream, host).await,
            None => Err(TlsError::NotSetUp),
        }
    }
}

async fn tcp(host: &str, port: u16) -> io::Result<Box<dyn ByteStream>> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}
