//! A channel of an SSH connection as a stream of bytes. Unlike the library's own it tells a lost connection from a stream that
//! has ended, and what a program at the far end said as it failed.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::SshError;
use super::connection::Connection;

/// How much of what a program says on stderr is kept for the message, in bytes.
const TALK_BYTES_MAX: usize = 1024;

type Reading = Pin<Box<dyn Future<Output = (ChannelReadHalf, Option<ChannelMsg>)> + Send>>;

/// A channel as a stream.
pub(super) struct ChannelIo {
    reading: Reading,
    writer: Pin<Box<dyn AsyncWrite + Send>>,
    connection: Arc<Connection>,
    unread: Bytes,
    /// What runs at the far end, if it is a program; none for a forwarded socket or port.
    program: Option<Program>,
}

/// A program that leads further.
pub(super) struct Program {
    /// Where it leads to.
    pub(super) socket: PathBuf,
    talk: Vec<u8>,
    status: Option<u32>,
}

impl Program {
    /// `fleetctl fd-forward SOCKET`
    pub(super) fn forwarding(socket: PathBuf) -> Program {
        Program {
            socket,
            talk: Vec::new(),
            status: None,
        }
    }
}

impl ChannelIo {
    /// A forwarded socket or port.
    pub(super) fn new(channel: Channel<Msg>, connection: Arc<Connection>) -> ChannelIo {
        ChannelIo::of(channel, connection, None)
    }

    /// The standard streams of a program.
    pub(super) fn of_program(
        channel: Channel<Msg>,
        connection: Arc<Connection>,
        program: Program,
    ) -> ChannelIo {
        ChannelIo::of(channel, connection, Some(program))
    }

    fn of(
        channel: Channel<Msg>,
        connection: Arc<Connection>,
        program: Option<Program>,
    ) -> ChannelIo {
        let (reading, writing) = channel.split();
        ChannelIo {
            reading: next(reading),
            writer: Box::pin(writing.make_writer()),
            connection,
            unread: Bytes::new(),
            program,
        }
    }

    /// What the end of the stream means.
    fn end(&self) -> io::Result<()> {
        if let Some(lost) = self.connection.lost() {
            return Err(io::Error::other(lost));
        }
        let Some(program) = &self.program else {
            return Ok(());
        };
        let talk = String::from_utf8_lossy(&program.talk);
        let said = talk.lines().map(str::trim).rfind(|line| !line.is_empty());
        let reason = match (program.status, said) {
            (Some(0) | None, None) => return Ok(()),
            // The shell's own words differ with its language.
            (Some(127), _) => "sshd does not forward to it, and there is no fleetctl".to_owned(),
            (_, Some(said)) => said.to_owned(),
            (Some(status), None) => format!("fleetctl fd-forward ended with status {status}"),
        };
        Err(io::Error::other(SshError::FarSide {
            host: self.connection.shown().to_owned(),
            socket: program.socket.clone(),
            reason,
        }))
    }

    /// Takes a message in. True if it is the last.
    fn take(&mut self, message: Option<ChannelMsg>) -> bool {
        match message {
            None | Some(ChannelMsg::Close) => return true,
            // What a program ended with comes behind the end of what it wrote.
            Some(ChannelMsg::Eof) => return self.program.is_none(),
            Some(ChannelMsg::Data { data }) => self.unread = data,
            Some(ChannelMsg::ExtendedData { data, .. }) => {
                if let Some(program) = &mut self.program {
                    let room = TALK_BYTES_MAX.saturating_sub(program.talk.len());
                    program.talk.extend(data.iter().take(room));
                }
            }
            Some(ChannelMsg::ExitStatus { exit_status }) => {
                if let Some(program) = &mut self.program {
                    program.status = Some(exit_status);
                }
            }
            Some(_) => {}
        }
        false
    }
}

fn next(mut half: ChannelReadHalf) -> Reading {
    Box::pin(async move {
        let message = half.wait().await;
        (half, message)
    })
}

impl AsyncRead for ChannelIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            let (half, message) = ready!(self.reading.as_mut().poll(context));
            self.reading = next(half);
            if self.take(message) {
                return Poll::Ready(self.end());
            }
        }
        let length = self.unread.len().min(buffer.remaining());
        let part = self.unread.split_to(length);
        buffer.put_slice(&part);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ChannelIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(self.writer.as_mut().poll_write(context, bytes));
        Poll::Ready(written.map_err(|error| self.because(error)))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(self.writer.as_mut().poll_flush(context));
        Poll::Ready(flushed.map_err(|error| self.because(error)))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.as_mut().poll_shutdown(context)
    }
}

impl ChannelIo {
    fn because(&self, error: io::Error) -> io::Error {
        match self.connection.lost() {
            Some(lost) => io::Error::other(lost),
            None => error,
        }
    }
}
