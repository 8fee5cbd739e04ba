//! The two outputs of fleetctl: stdout, which is data, and stderr, which is talk.

use std::io::{self, IsTerminal, Write};

use crate::error::CommandError;

/// Columns assumed if the terminal does not say how many it has.
const TERMINAL_COLUMNS_DEFAULT: u16 = 80;

/// Who reads stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// A program: text as fleet 1.0 wrote it.
    Program,
    /// A person, at a terminal of this many columns.
    Person {
        /// The width.
        columns: u16,
    },
}

/// The two outputs.
pub(crate) struct Output {
    stdout: Box<dyn Write>,
    stderr: Box<dyn Write>,
    reader: Reader,
}

impl Output {
    /// stdout and stderr of this process.
    pub(crate) fn of_process() -> Output {
        let stdout = io::stdout();
        let reader = if stdout.is_terminal() {
            let size = rustix::termios::tcgetwinsize(&stdout).map(|size| size.ws_col);
            let columns = size
                .ok()
                .filter(|columns| *columns > 0)
                .unwrap_or(TERMINAL_COLUMNS_DEFAULT);
            Reader::Person { columns }
        } else {
            Reader::Program
        };
        Output {
            stdout: Box::new(stdout),
            stderr: Box::new(io::stderr()),
            reader,
        }
    }

    /// Who reads stdout.
    pub(crate) fn reader(&self) -> Reader {
        self.reader
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
        self.stdout
            .write_all(bytes)
            .and_then(|()| self.stdout.flush())
            .map_err(CommandError::stdout)
    }

    /// Writes lines to stderr.
    pub(crate) fn note(&mut self, text: &str) {
        let written = writeln!(self.stderr, "{}", text.trim_end_matches('\n'));
        // Where stderr is gone there is nowhere left to complain; the exit code still tells.
        drop(written);
    }
}
