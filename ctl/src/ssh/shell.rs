//! A shell or a command on a machine at this terminal: with a terminal of its own there if there is one here, which follows when
//! the window here changes its size.

use std::io::{self, Write};
use std::sync::Arc;

use russh::client::Msg;
use russh::{Channel, ChannelReadHalf, ChannelWriteHalf, Pty};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::signals::Signals;

use super::SshError;
use super::connection::Connection;
use super::execution::{Ending, Piece, failed};

/// The kind of terminal if `TERM` does not say, as in fleet 1.0.
const TERMINAL_DEFAULT: &str = "xterm-256color";

/// How fast the terminal is, as OpenSSH and fleet 1.0 say.
const TERMINAL_SPEED: u32 = 14_400;

/// Bytes of stdin that are sent at once.
const CHUNK_BYTES: usize = 16 * 1024;

/// Chunks of stdin that wait to be sent: a machine that does not read stops us from reading.
const CHUNKS_WAITING_MAX: usize = 8;

/// Whether the machine may use our ssh-agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AgentForwarding {
    /// It may not.
    Off,
    /// It may, as long as this lasts.
    On,
}

/// Runs `command`, or a shell without one, until it ends. Returns its status.
pub(super) async fn run(
    connection: &Arc<Connection>,
    command: Option<&str>,
    forwarding: AgentForwarding,
    signals: &Signals,
) -> Result<u8, SshError> {
    let channel = connection.session().await?;
    let raw = start(connection, &channel, command, forwarding, signals)
        .await
        .map_err(|error| failed(connection, &error))?;
    let (reading, writing) = channel.split();
    // One ends when the machine says so, the other never: it only has less and less to do.
    let ended = tokio::select! {
        ended = show(reading, connection) => ended,
        error = feed(writing, &raw) => Err(failed(connection, &error)),
    };
    drop(raw);
    ended
}

async fn start(
    connection: &Connection,
    channel: &Channel<Msg>,
    command: Option<&str>,
    forwarding: AgentForwarding,
    signals: &Signals,
) -> Result<Terminal, russh::Error> {
    if forwarding == AgentForwarding::On {
        connection.forward_agent();
        channel.agent_forward(false).await?;
    }
    let terminal = Terminal::of_process();
    if let Terminal::Here { .. } = terminal {
        signals.mind()?;
        let kind = std::env::var("TERM").unwrap_or_else(|_| TERMINAL_DEFAULT.to_owned());
        let (columns, rows) = size();
        let modes = [
            (Pty::ECHO, 1),
            (Pty::TTY_OP_ISPEED, TERMINAL_SPEED),
            (Pty::TTY_OP_OSPEED, TERMINAL_SPEED),
        ];
        channel
            .request_pty(false, &kind, columns, rows, 0, 0, &modes)
            .await?;
    }
    match command {
        Some(command) => channel.exec(true, command).await?,
        None => channel.request_shell(true).await?,
    }
    Ok(terminal.raw())
}

/// Writes what the machine says until it has said all.
async fn show(mut reading: ChannelReadHalf, connection: &Connection) -> Result<u8, SshError> {
    let (mut stdout, mut stderr) = (io::stdout(), io::stderr());
    let mut ending = Ending::default();
    loop {
        let message = reading.wait().await;
        let written = match ending.take(message, connection).transpose()? {
            None => continue,
            Some(Piece::Exit(status)) => return Ok(status),
            Some(Piece::Stdout(data)) => stdout.write_all(&data).and_then(|()| stdout.flush()),
            Some(Piece::Stderr(data)) => stderr.write_all(&data),
        };
        if let Err(error) = written {
            // Nobody listens any more, as when `head` has seen enough.
            return match error.kind() {
                io::ErrorKind::BrokenPipe => Ok(0),
                _other => Err(SshError::Lost {
                    host: connection.shown().to_owned(),
                    reason: format!("its output cannot be written: {error}"),
                }),
            };
        }
    }
}

/// Sends stdin and the size of the window, until that fails.
async fn feed(writing: ChannelWriteHalf<Msg>, terminal: &Terminal) -> russh::Error {
    match feed_on(writing, terminal).await {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

async fn feed_on(
    writing: ChannelWriteHalf<Msg>,
    terminal: &Terminal,
) -> Result<std::convert::Infallible, russh::Error> {
    let (chunks, mut waiting) = mpsc::channel(CHUNKS_WAITING_MAX);
    let mut tasks = JoinSet::new();
    // A read that waits cannot be called off: it ends with the process.
    tasks.spawn_blocking(move || read_stdin(&chunks));
    let mut resized = signal(SignalKind::window_change())?;
    let mut open = true;
    loop {
        tokio::select! {
            chunk = waiting.recv(), if open => match chunk {
                Some(chunk) => writing.data_bytes(chunk).await?,
                None => {
                    open = false;
                    writing.eof().await?;
                }
            },
            Some(()) = resized.recv() => if let Terminal::Here { .. } = terminal {
                let (columns, rows) = size();
                writing.window_change(columns, rows, 0, 0).await?;
            },
        }
    }
}

fn read_stdin(chunks: &mpsc::Sender<Vec<u8>>) {
    loop {
        let mut chunk = vec![0; CHUNK_BYTES];
        match rustix::io::read(io::stdin(), &mut chunk) {
            Err(rustix::io::Errno::INTR) => {}
            // What cannot be read has ended.
            Ok(0) | Err(_) => return,
            Ok(length) => {
                chunk.truncate(length);
                if chunks.blocking_send(chunk).is_err() {
                    return;
                }
            }
        }
    }
}

/// Columns and rows of the window.
fn size() -> (u32, u32) {
    let of_stdout = tcgetwinsize(io::stdout()).ok();
    let found = of_stdout.or_else(|| tcgetwinsize(io::stdin()).ok());
    match found.filter(|size| size.ws_col > 0) {
        Some(size) => (u32::from(size.ws_col), u32::from(size.ws_row)),
        None => (80, 24),
    }
}

/// The terminal at stdin, if there is one. Dropping it makes it as it was.
enum Terminal {
    Here { before: Box<Termios> },
    None,
}

impl Terminal {
    fn of_process() -> Terminal {
        match tcgetattr(io::stdin()) {
            Ok(before) => Terminal::Here {
                before: Box::new(before),
            },
            Err(_) => Terminal::None,
        }
    }

    /// Passes every key on: the machine's terminal decides what it means.
    fn raw(self) -> Terminal {
        if let Terminal::Here { before } = &self {
            let mut raw = before.clone();
            raw.make_raw();
            set(&raw);
        }
        self
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Terminal::Here { before } = self {
            set(before);
        }
    }
}

/// A terminal that cannot be set is gone, and then it does not matter how it is.
fn set(modes: &Termios) {
    match tcsetattr(io::stdin(), OptionalActions::Now, modes) {
        Ok(()) | Err(_) => {}
    }
}
