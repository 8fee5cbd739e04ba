//! The way of API requests through an SSH host: to fleetd's socket there, or to a port that it can reach.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use api::client::{ByteStream, Dialler, Dialling, Endpoint};

use super::SshError;
use super::connection::Connection;
use super::quote::quoted;
use super::stream::{ChannelIo, Program};

/// Opens all connections to fleetd through one SSH connection.
pub(super) struct Tunnel {
    connection: Arc<Connection>,
    /// Sockets to which sshd has refused to forward: it is not asked again.
    refused: Mutex<BTreeSet<PathBuf>>,
}

impl Tunnel {
    /// Through this connection.
    pub(super) fn new(connection: Arc<Connection>) -> Tunnel {
        Tunnel {
            connection,
            refused: Mutex::default(),
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
        let refused = || self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let asked_before = refused().contains(path);
        if !asked_before {
            match self.connection.to_socket(path).await {
                Ok(channel) => return Ok(ChannelIo::new(channel, connection())),
                // sshd does not say whether it may not or cannot.
                Err(SshError::Channel { .. }) => {
                    refused().insert(path.to_path_buf());
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
