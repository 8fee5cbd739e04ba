//! What the person at the terminal is asked: whether a host is the right one, and the passphrase of a key.

use std::fs::File;
use std::io::{self, Write};

use rustix::io as fd;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

/// The longest answer that is read, in bytes: a passphrase is shorter.
const ANSWER_BYTES_MAX: usize = 1024;

/// Says something on stderr.
pub(super) fn tell(text: &str) {
    let written = writeln!(io::stderr(), "{text}");
    // Where stderr is gone there is nowhere left to complain.
    drop(written);
}

/// Asks whether the host is the right one. One word is read from stdin and no more: what follows may be meant for the host.
pub(super) fn confirms(question: &str) -> io::Result<bool> {
    let mut stderr = io::stderr();
    write!(stderr, "{question}")?;
    stderr.flush()?;
    let answer = read_until_blank(io::stdin())?;
    Ok(matches!(answer.to_lowercase().as_str(), "yes" | "y"))
}

fn read_until_blank(from: impl rustix::fd::AsFd) -> io::Result<String> {
    let mut word = Vec::new();
    let mut byte = [0];
    while word.len() < ANSWER_BYTES_MAX && fd::read(&from, &mut byte)? == 1 {
        match (byte[0].is_ascii_whitespace(), word.is_empty()) {
            (true, true) => {}
            (true, false) => break,
            (false, _) => word.push(byte[0]),
        }
    }
    Ok(String::from_utf8_lossy(&word).into_owned())
}

/// Asks for a passphrase, which is not shown. None if there is no terminal.
pub(super) fn passphrase(question: &str) -> io::Result<Option<String>> {
    let opened = File::options().read(true).write(true).open("/dev/tty");
    let mut terminal = match opened {
        Ok(terminal) => terminal,
        // A process without a terminal is told "no such device".
        Err(_) => return Ok(None),
    };
    write!(terminal, "{question}")?;
    let shown = tcgetattr(&terminal)?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&terminal, OptionalActions::Flush, &hidden)?;
    let line = read_line(&terminal);
    tcsetattr(&terminal, OptionalActions::Flush, &shown)?;
    writeln!(terminal)?;
    line.map(Some)
}

fn read_line(from: impl rustix::fd::AsFd) -> io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() < ANSWER_BYTES_MAX && fd::read(&from, &mut byte)? == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    String::from_utf8(line)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}
