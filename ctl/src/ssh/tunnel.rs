//! The way of API requests through an SSH host: to fleetd's socket there, or to a port that it can reach.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use api::client::{ByteStream, Dialler, Dialling, Endpoint};

use super::SshError;
use super::connection::Connection;
use super::quote::quoted;
use super::stream::{ChannelIo, Program};

/// Opens all connections to fleetd through one SSH connection.
pub(super) struct Tunnel {
    connection: Arc<Connection>,
    /// sshd has refused to forward to a socket: it is not asked again.
    refuses_sockets: AtomicBool,
}

impl Tunnel {
    /// Through this connection.
    pub(super) fn new(connection: Arc<Connection>) -> Tunnel {
        Tunnel {
            connection,
            refuses_sockets: AtomicBool::new(false),
        }
    }

    async fn open(&self, endpoint: &Endpoint) -> Result<ChannelIo, SshError> {
        match endpoint {
            Endpoint::Unix(path) => self.to_socket(path).await,
            Endpoint::Tcp { host, port, .. } => {
                let channel = self.connection.to_port(host, *port).await?;
                Ok(ChannelIo::new(channel, Arc::clone(&self.connection)))
            }
        }
    }

    /// By sshd itself, else by the fleetctl that is there, as fleet 1.0 did.
    async fn to_socket(&self, path: &Path) -> Result<ChannelIo, SshError> {
        let connection = || Arc::clone(&self.connection);
        if !self.refuses_sockets.load(Ordering::Relaxed) {
            match self.connection.to_socket(path).await {
                Ok(channel) => return Ok(ChannelIo::new(channel, connection())),
                // sshd does not say whether it may not or cannot.
                Err(SshError::Channel { .. }) => {
                    self.refuses_sockets.store(true, Ordering::Relaxed);
                }
                Err(error) => return Err(error),
            }
        }
        let channel = self.connection.session().await?;
        let command = format!("fleetctl fd-forward {}", quoted(&path.to_string_lossy()));
        channel.exec(false, command).await.map_err(|error| {
            self.connection.lost().unwrap_or_else(|| SshError::FarSide {
                host: self.connection.shown().to_owned(),
                socket: path.to_path_buf(),
                reason: error.to_string(),
            })
        })?;
        let program = Program::forwarding(path.to_path_buf());
        Ok(ChannelIo::of_program(channel, connection(), program))
    }
}

impl Dialler for Tunnel {
    fn dial<'a>(&'a self, endpoint: &'a Endpoint) -> Dialling<'a> {
        Box::pin(async move {
            match self.open(endpoint).await {
                Ok(stream) => Ok(Box::new(stream) as Box<dyn ByteStream>),
                Err(error) => Err(io::Error::other(error)),
            }
        })
    }
    fn too_slow(&self, limit: Duration) -> io::Error {
        let host = self.connection.shown().to_owned();
        let reason = format!("no answer within {} s", limit.as_secs_f64());
        io::Error::other(
            self.connection
                .lost()
                .unwrap_or(SshError::Lost { host, reason }),
        )
    }
}
