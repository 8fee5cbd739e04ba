//! Where the server listens, and who is at the other end.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

/// A socket that is bound and listening: opened by us or passed by systemd.
#[derive(Debug)]
pub enum Listener {
    /// A unix socket.
    Unix(UnixListener),
    /// A TCP port.
    Tcp(TcpListener),
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peer {
    /// A process of this machine, if the kernel told which user it runs as.
    Unix {
        /// The user's number.
        uid: Option<u32>,
        /// The process's number.
        pid: Option<i32>,
    },
    /// An address.
    Tcp(SocketAddr),
}

/// The bytes of a connection, of either kind.
pub(super) type Bytes = Box<dyn Socket>;

pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

impl Listener {
    /// Waits for the next connection.
    pub(super) async fn accept(&self) -> io::Result<(Bytes, Peer)> {
        match self {
            Listener::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                // A peer that is gone already has no credentials; its connection ends by itself.
                let credentials = stream.peer_cred().ok();
                let uid = credentials.as_ref().map(tokio::net::unix::UCred::uid);
                let pid = credentials.as_ref().and_then(tokio::net::unix::UCred::pid);
                Ok((Box::new(stream), Peer::Unix { uid, pid }))
            }
            Listener::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Box::new(stream), Peer::Tcp(address)))
            }
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listener::Unix(listener) => match listener.local_addr() {
                Ok(address) => match address.as_pathname() {
                    Some(path) => write!(f, "unix://{}", path.display()),
                    None => f.write_str("a unix socket without a path"),
                },
                Err(error) => write!(f, "a unix socket ({error})"),
            },
            Listener::Tcp(listener) => match listener.local_addr() {
                Ok(address) => write!(f, "http://{address}"),
                Err(error) => write!(f, "a TCP socket ({error})"),
            },
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Unix {
                uid: Some(uid),
                pid: Some(pid),
            } => write!(f, "uid {uid} (pid {pid})"),
            Peer::Unix {
                uid: Some(uid),
                pid: None,
            } => write!(f, "uid {uid}"),
            Peer::Unix { uid: None, .. } => f.write_str("an unknown user"),
            Peer::Tcp(address) => address.fmt(f),
        }
    }
}
