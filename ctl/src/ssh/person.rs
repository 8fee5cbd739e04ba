//! What the person at the terminal is asked: whether a host is the right one, and the passphrase of a key.

use std::fs::File;
use std::io::{self, Write};

use rustix::io as fd;
use rustix::process::{self, Signal};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};

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
    let line = hidden_line(&terminal, question);
    writeln!(terminal)?;
    match line? {
        Typed::Line(line) => Ok(Some(line)),
        Typed::Interrupt(signal) => {
            // Now that the terminal is as it was. Whoever handles the signal goes on without an answer.
            process::kill_process(process::getpid(), signal)?;
            Err(io::ErrorKind::Interrupted.into())
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

/// Asks, and reads a line that is not shown. The terminal is afterwards as it was, also if the person interrupts: meanwhile the keys for that
/// are no signals, which would end this process before it can show again what is typed, but ends of lines.
fn hidden_line(mut terminal: &File, question: &str) -> io::Result<Typed> {
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
    // Only now: what is typed as soon as the question is seen must not be thrown away, nor shown.
    let asked = write!(terminal, "{question}");
    let typed = asked.and_then(|()| read_line(terminal, interrupt, quit));
    tcsetattr(terminal, OptionalActions::Flush, &shown)?;
    typed
}

fn read_line(from: impl rustix::fd::AsFd, interrupt: u8, quit: u8) -> io::Result<Typed> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() < ANSWER_BYTES_MAX && fd::read(&from, &mut byte)? == 1 && byte[0] != b'\n' {
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
    use std::thread;

    use rustix::fs::OFlags;
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    use super::*;

    /// Types `keys` when nothing typed is shown any more; returns what was read and whether it is shown again.
    fn typed(keys: &[u8]) -> (Typed, bool) {
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
        let read = thread::scope(|scope| {
            let reading = scope.spawn(|| hidden_line(&terminal, "passphrase: ").unwrap());
            while echoes(&terminal) && !reading.is_finished() {
                thread::yield_now();
            }
            fd::write(&keyboard, keys).unwrap();
            reading.join().unwrap()
        });
        (read, echoes(&terminal))
    }

    #[test]
    fn the_terminal_is_as_it_was_also_after_an_interrupt() {
        let line = |text: &str| Typed::Line(text.to_owned());
        assert_eq!(typed(b"open sesame\n"), (line("open sesame"), true));
        assert_eq!(typed(b"opem\x7fn\n"), (line("open"), true));
        assert_eq!(typed(b"op\x03"), (Typed::Interrupt(Signal::INT), true));
        assert_eq!(typed(b"\x1c"), (Typed::Interrupt(Signal::QUIT), true));
    }
}
