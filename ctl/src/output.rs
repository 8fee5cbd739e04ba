//! The two outputs of fleetctl: stdout, which is data, and stderr, which is talk. Where a person sits at a terminal, talk is
//! also a line of progress, which is wiped away before anything else is said, and a question.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use rustix::fd::{AsFd, OwnedFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::error::CommandError;
use crate::settings::Environment;
use crate::tint::Colour;

/// Columns assumed if the terminal does not say how many it has.
const TERMINAL_COLUMNS_DEFAULT: u16 = 80;

/// The longest answer to a question that is read, in bytes. The answers that count are three letters long.
const ANSWER_BYTES_MAX: u64 = 256;

/// Back to the first column, and wipe the line.
const WIPE: &str = "\r\x1b[K";

/// Who reads stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// A program: text as fleet 1.0 wrote it.
    Program,
    /// A person at a terminal.
    Person {
        /// The width of the terminal.
        columns: u16,
        /// Whether it shows colours.
        colour: Colour,
    },
}

/// Who reads stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listener {
    /// A program or a file: lines only.
    Program,
    /// A person at a terminal of this many columns, who sees how far a long wait is.
    Person { columns: u16 },
}

/// What a person said to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Yes.
    Yes,
    /// Anything else, or the end of the input.
    No,
    /// There is no person to ask.
    NobodyThere,
}

/// Returns once whoever read stdout has gone, and never where that cannot be told, as of a file.
pub(crate) async fn reader_gone() {
    gone(io::stdout().as_fd().try_clone_to_owned()).await;
}

#[expect(
    deprecated,
    reason = "what comes after it is unsafe to call, and an OwnedFd is what it asks for"
)]
async fn gone(stdout: io::Result<OwnedFd>) {
    let watched = stdout.map(|fd| AsyncFd::with_interest(fd, Interest::ERROR));
    if let Ok(Ok(stdout)) = watched
        && stdout.ready(Interest::ERROR).await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}

/// The two outputs.
pub(crate) struct Output {
    stdout: Box<dyn Write>,
    stderr: Box<dyn Write>,
    reader: Reader,
    listener: Listener,
    /// What the line of progress says at the moment.
    progress: Option<String>,
}

impl Output {
    /// stdout and stderr of this process. `NO_COLOR` and `TERM=dumb` take colours away.
    pub(crate) fn of_process(environment: &Environment<'_>) -> Output {
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let is = |name: &str, value: &str| environment(name).is_some_and(|found| found == value);
        let dumb = is("TERM", "dumb");
        let refused = environment("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colour = if dumb || refused {
            Colour::Hidden
        } else {
            Colour::Shown
        };
        let reader = if stdout.is_terminal() {
            let columns = columns(&stdout);
            Reader::Person { columns, colour }
        } else {
            Reader::Program
        };
        let listener = if stderr.is_terminal() && !dumb {
            let columns = columns(&stderr);
            Listener::Person { columns }
        } else {
            Listener::Program
        };
        Output {
            stdout: Box::new(stdout),
            stderr: Box::new(stderr),
            reader,
            listener,
            progress: None,
        }
    }

    /// Who reads stdout.
    pub(crate) fn reader(&self) -> Reader {
        self.reader
    }

    /// The width of what stdout is read on; the widest there is if it is no terminal.
    pub(crate) fn columns(&self) -> usize {
        match self.reader {
            Reader::Program => usize::MAX,
            Reader::Person { columns, .. } => usize::from(columns),
        }
    }

    /// Whether a person reads stderr, and so sees the line of progress.
    pub(crate) fn shows_progress(&self) -> bool {
        match self.listener {
            Listener::Program => false,
            Listener::Person { .. } => true,
        }
    }

    /// Writes a line to stdout at once.
    pub(crate) fn line(&mut self, line: &str) -> Result<(), CommandError> {
        self.text(&format!("{line}\n"))
    }

    /// Writes text to stdout at once.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), CommandError> {
        self.bytes(text.as_bytes())
    }

    /// Writes bytes to stdout at once.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), CommandError> {
        self.wipe_progress();
        self.stdout
            .write_all(bytes)
            .and_then(|()| self.stdout.flush())
            .map_err(CommandError::stdout)
    }

    /// Writes lines to stderr.
    pub(crate) fn note(&mut self, text: &str) {
        self.wipe_progress();
        self.say(&format!("{}\n", text.trim_end_matches('\n')));
    }

    /// Shows `text` as the line of progress, as much of it as the terminal has room for. It stays until something else is
    /// written or [`wipe_progress`](Output::wipe_progress) is called. Without a person at stderr nothing is written.
    pub(crate) fn progress(&mut self, text: &str) {
        let Listener::Person { columns } = self.listener else {
            return;
        };
        // A line that fills the last column would be broken by some terminals.
        let room = usize::from(columns).saturating_sub(1);
        let text: String = text.chars().take(room).collect();
        if self.progress.as_ref() != Some(&text) {
            self.say(&format!("{WIPE}{text}"));
            self.progress = Some(text);
        }
    }

    /// Takes the line of progress away, if there is one.
    pub(crate) fn wipe_progress(&mut self) {
        if self.progress.take().is_some() {
            self.say(WIPE);
        }
    }

    /// Asks the person at the terminal.
    ///
    /// # Errors
    /// If stdin cannot be read.
    pub(crate) fn ask(&mut self, question: &str) -> io::Result<Answer> {
        let stdin = io::stdin();
        if !stdin.is_terminal() || !io::stderr().is_terminal() {
            return Ok(Answer::NobodyThere);
        }
        self.wipe_progress();
        self.say(&format!("{question} [y/N] "));
        let mut answer = String::new();
        stdin.lock().take(ANSWER_BYTES_MAX).read_line(&mut answer)?;
        match answer.trim().to_lowercase().as_str() {
            "y" | "yes" => Ok(Answer::Yes),
            _ => Ok(Answer::No),
        }
    }

    fn say(&mut self, text: &str) {
        let written = self
            .stderr
            .write_all(text.as_bytes())
            .and_then(|()| self.stderr.flush());
        // Where stderr is gone there is nowhere left to complain; the exit code still tells.
        drop(written);
    }
}

fn columns(terminal: impl AsFd) -> u16 {
    match rustix::termios::tcgetwinsize(terminal) {
        Ok(size) if size.ws_col > 0 => size.ws_col,
        Ok(_) | Err(_) => TERMINAL_COLUMNS_DEFAULT,
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;

    #[tokio::test]
    async fn a_reader_that_goes_away_is_noticed_though_nothing_is_written() {
        let (reader, writer) = io::pipe().unwrap();
        let mut watch = Box::pin(gone(Ok(writer.into())));
        let early = std::future::poll_fn(|context| Poll::Ready(watch.as_mut().poll(context))).await;
        assert!(early.is_pending());
        drop(reader);
        watch.await;
    }

    #[tokio::test]
    async fn a_file_has_no_reader_that_could_go() {
        let file = tempfile::tempfile().unwrap();
        let mut watch = Box::pin(gone(Ok(file.into())));
        let early = std::future::poll_fn(|context| Poll::Ready(watch.as_mut().poll(context))).await;
        assert!(early.is_pending());
    }
}
