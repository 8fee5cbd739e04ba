//! A command that runs on another machine: what it says as it says it, and its status.

use std::sync::Arc;

use bytes::Bytes;
use russh::client::Msg;
use russh::{Channel, ChannelMsg};

use super::SshError;
use super::connection::Connection;

/// The status of a command that a signal ended, as OpenSSH has it.
const EXIT_SIGNALLED: u8 = 255;

/// Something that a running command says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Bytes of stdout.
    Stdout(Bytes),
    /// Bytes of stderr.
    Stderr(Bytes),
    /// It has ended with this status, and will say nothing more.
    Exit(u8),
}

/// A command that runs on another machine. Ended when dropped, as far as the machine ends what nobody listens to.
pub(crate) struct Execution {
    channel: Channel<Msg>,
    connection: Arc<Connection>,
    ending: Ending,
}

/// How far a command has come to its end.
#[derive(Debug, Default)]
pub(super) struct Ending {
    status: Option<u8>,
}

impl Ending {
    /// Takes a message of a session in. None if it is not there yet, and nothing is to be passed on.
    pub(super) fn take(
        &mut self,
        message: Option<ChannelMsg>,
        connection: &Connection,
    ) -> Option<Result<Piece, SshError>> {
        match message {
            Some(ChannelMsg::Data { data }) => Some(Ok(Piece::Stdout(data))),
            Some(ChannelMsg::ExtendedData { data, .. }) => Some(Ok(Piece::Stderr(data))),
            Some(ChannelMsg::ExitStatus { exit_status }) => {
                self.status = Some(u8::try_from(exit_status).unwrap_or(u8::MAX));
                None
            }
            Some(ChannelMsg::ExitSignal { .. }) => {
                self.status = Some(EXIT_SIGNALLED);
                None
            }
            Some(ChannelMsg::Failure) => Some(Err(SshError::Channel {
                host: connection.shown().to_owned(),
                target: "a command".to_owned(),
                reason: "sshd there does not allow it".to_owned(),
            })),
            None | Some(ChannelMsg::Close) => Some(match (self.status, connection.lost()) {
                (Some(status), _) => Ok(Piece::Exit(status)),
                (None, Some(lost)) => Err(lost),
                (None, None) => Ok(Piece::Exit(EXIT_SIGNALLED)),
            }),
            Some(_) => None,
        }
    }
}

impl Execution {
    /// Starts `command`, a line for the machine's shell.
    pub(super) async fn start(
        connection: Arc<Connection>,
        command: &str,
    ) -> Result<Execution, SshError> {
        let channel = connection.session().await?;
        let started = async {
            channel.exec(true, command).await?;
            // It reads nothing.
            channel.eof().await
        };
        started.await.map_err(|error| failed(&connection, &error))?;
        Ok(Execution {
            channel,
            connection,
            ending: Ending::default(),
        })
    }

    /// What it says next.
    ///
    /// # Errors
    /// If the connection is lost, or the machine does not run commands.
    pub(crate) async fn next(&mut self) -> Result<Piece, SshError> {
        loop {
            let message = self.channel.wait().await;
            if let Some(piece) = self.ending.take(message, &self.connection) {
                return piece;
            }
        }
    }
}

/// Why a message could not be sent.
pub(super) fn failed(connection: &Connection, error: &russh::Error) -> SshError {
    connection.lost().unwrap_or_else(|| SshError::Lost {
        host: connection.shown().to_owned(),
        reason: error.to_string(),
    })
}
