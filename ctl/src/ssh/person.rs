//! What the person at the terminal is asked: whether a host is the right one, and the passphrase of a key.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use rustix::io as fd;
use rustix::process::{self, Signal};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};
use tokio::task::spawn_blocking;

use crate::signals::Signals;

/// The longest answer that is read, in bytes: a passphrase is shorter.
const ANSWER_BYTES_MAX: usize = 1024;

/// Says something on stderr.
pub(super) fn tell(text: &str) {
    let written = writeln!(io::stderr(), "{text}");
    // Where stderr is gone there is nowhere left to complain.
    drop(written);
}

/// Asks whether the host is the right one. One word is read from stdin and no more: what follows may be meant for the host.
pub(super) async fn confirms(question: &str) -> io::Result<bool> {
    let mut stderr = io::stderr();
    write!(stderr, "{question}")?;
    stderr.flush()?;
    let answer = aside(|| read_until_blank(io::stdin())).await?;
    Ok(matches!(answer.to_lowercase().as_str(), "yes" | "y"))
}

/// Waits for a person beside everything else, so that signals are heard meanwhile. What is not answered ends with the process.
async fn aside<T: Send + 'static>(
    ask: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(ask).await.map_err(io::Error::other)?
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
pub(super) async fn passphrase(question: &str, signals: &Signals) -> io::Result<Option<String>> {
    let opened = File::options().read(true).write(true).open("/dev/tty");
    let terminal = match opened {
        Ok(terminal) => Arc::new(terminal),
        // A process without a terminal is told "no such device".
        Err(_) => return Ok(None),
    };
    signals.mind()?;
    match hidden_line(&terminal, question).await? {
        Typed::Line(line) => Ok(Some(line)),
        Typed::Interrupt(signal) => {
            // Now that the terminal is as it was. It is minded, so that it ends this wait.
            process::kill_process(process::getpid(), signal)?;
            std::future::pending().await
        }
    }
}

/// What a person typed.
#[derive(Debug, PartialEq, Eq)]
enum Typed {
    Line(String),
    /// The keys that end a program.
    Interrupt(Signal),
}

/// A terminal that shows nothing of what is typed. Dropping this makes it as it was.
struct Hidden {
    terminal: Arc<File>,
    shown: Termios,
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let restored = tcsetattr(&self.terminal, OptionalActions::Flush, &self.shown);
        // The line break that was typed was not shown either. A terminal that is gone needs nothing of this.
        let ended = writeln!(&*self.terminal);
        drop((restored, ended));
    }
}

/// Asks, and reads a line that is not shown. The terminal is afterwards as it was, also if the person interrupts: meanwhile the keys for that
/// are no signals but ends of lines.
async fn hidden_line(terminal: &Arc<File>, question: &str) -> io::Result<Typed> {
    let shown = tcgetattr(terminal)?;
    let code = |index| shown.special_codes[index];
    let (interrupt, quit) = (code(SpecialCodeIndex::VINTR), code(SpecialCodeIndex::VQUIT));
    let mut hidden = shown.clone();
    hidden
        .local_modes
        .remove(LocalModes::ECHO | LocalModes::ISIG);
    hidden.special_codes[SpecialCodeIndex::VEOL] = interrupt;
    hidden.special_codes[SpecialCodeIndex::VEOL2] = quit;
    tcsetattr(terminal, OptionalActions::Flush, &hidden)?;
    let terminal = Arc::clone(terminal);
    let hidden = Hidden { terminal, shown };
    // Only now: what is typed as soon as the question is seen must not be thrown away, nor shown.
    write!(&*hidden.terminal, "{question}")?;
    let from = Arc::clone(&hidden.terminal);
    aside(move || read_line(&from, interrupt, quit)).await
}

fn read_line(from: &File, interrupt: u8, quit: u8) -> io::Result<Typed> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() < ANSWER_BYTES_MAX && fd::read(from, &mut byte)? == 1 && byte[0] != b'\n' {
        // Zero is a key that is switched off.
        match byte[0] {
            key if key == interrupt && key != 0 => return Ok(Typed::Interrupt(Signal::INT)),
            key if key == quit && key != 0 => return Ok(Typed::Interrupt(Signal::QUIT)),
            other => line.push(other),
        }
    }
    let line = String::from_utf8(line);
    line.map(Typed::Line)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    use rustix::fs::OFlags;
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    use super::*;

    /// Types `keys` when nothing typed is shown any more; returns what was read and whether it is shown again.
    async fn typed(keys: &[u8]) -> (Typed, bool) {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let name = ptsname(&keyboard, Vec::new()).unwrap();
        let name = Path::new(std::ffi::OsStr::from_bytes(name.to_bytes()));
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        let terminal =
            File::from(rustix::fs::open(name, flags, rustix::fs::Mode::empty()).unwrap());
        let echoes = |terminal: &File| {
            let modes = tcgetattr(terminal).unwrap().local_modes;
            modes.contains(LocalModes::ECHO) && modes.contains(LocalModes::ISIG)
        };
        assert!(echoes(&terminal));
        let terminal = Arc::new(terminal);
        let typing = async {
            while echoes(&terminal) {
                tokio::task::yield_now().await;
            }
            fd::write(&keyboard, keys).unwrap();
        };
        let (read, ()) = tokio::join!(hidden_line(&terminal, "passphrase: "), typing);
        let read = read.unwrap();
        (read, echoes(&terminal))
    }

    #[tokio::test]
    async fn the_terminal_is_as_it_was_also_after_an_interrupt() {
        let line = |text: &str| Typed::Line(text.to_owned());
        assert_eq!(typed(b"open sesame\n").await, (line("open sesame"), true));
        assert_eq!(typed(b"opem\x7fn\n").await, (line("open"), true));
        assert_eq!(
            typed(b"op\x03").await,
            (Typed::Interrupt(Signal::INT), true)
        );
        assert_eq!(typed(b"\x1c").await, (Typed::Interrupt(Signal::QUIT), true));
    }
}
