//! Runs programs to their end, with a limit, and keeps what they said.

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::Error;

/// How long a program may run that was not given another limit, in seconds. No command of a test takes
/// a tenth of it on an idle machine; without a limit one that hangs would hang the whole run.
pub(crate) const COMMAND_LIMIT_S: u64 = 120;

/// How a program ended and what it said.
#[derive(Clone, Debug)]
pub struct Output {
    /// The command as a person would type it.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
    /// From start to end.
    pub elapsed: Duration,
}

impl Output {
    /// Returns the output if the program ended well, and otherwise an error that holds all it said.
    pub fn success(self) -> Result<Self, Error> {
        if self.status.success() {
            return Ok(self);
        }
        Err(Error::Failed {
            command: self.command,
            status: self.status.to_string(),
            output: format!("{}{}", self.stdout, self.stderr)
                .trim_end()
                .to_owned(),
        })
    }
}

/// Runs `command` to its end, whatever that is, with `input` on its standard input.
///
/// `shown` is what errors and [`Output`] call it.
pub(crate) fn capture(command: &mut Command, shown: &str, input: &[u8]) -> Result<Output, Error> {
    let failed = |source| Error::Run {
        command: shown.to_owned(),
        source,
    };
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    // Written by a thread of its own: a program that answers before it has read all would block us both.
    let stdin = child.stdin.take();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || match stdin {
        Some(mut pipe) => pipe.write_all(&input),
        None => Ok(()),
    });
    let output = child.wait_with_output().map_err(failed)?;
    // A program that ends without reading its input closes the pipe; its exit status tells the rest.
    if let Ok(Err(error)) = writer.join()
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        return Err(failed(error));
    }
    Ok(Output {
        command: shown.to_owned(),
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        elapsed: started.elapsed(),
    })
}

/// Runs a program of the host that must end well.
pub(crate) fn host(words: &[&str]) -> Result<Output, Error> {
    let shown = words.join(" ");
    let mut command = limited();
    command.args(words);
    capture(&mut command, &shown, b"")?.success()
}

/// Returns a command that runs the program given as its next arguments, and kills it after [`COMMAND_LIMIT_S`].
pub(crate) fn limited() -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", &COMMAND_LIMIT_S.to_string()]);
    command
}

/// Returns words as a person would type them, quoted where a shell needs it.
pub(crate) fn shown<S: AsRef<OsStr>>(words: &[S]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    let quoted = words.iter().map(|word| {
        let word = word.as_ref().to_string_lossy().into_owned();
        if !word.is_empty() && word.chars().all(plain) {
            return word;
        }
        format!("'{}'", word.replace('\'', r"'\''"))
    });
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_it_would_be_typed() {
        assert_eq!(
            shown(&["fleetctl", "start", "web@1.service"]),
            "fleetctl start web@1.service"
        );
        assert_eq!(shown(&["sh", "-c", "echo it's"]), r"sh -c 'echo it'\''s'");
        assert_eq!(shown(&["a", ""]), "a ''");
    }

    #[test]
    fn all_a_program_said_is_in_the_error() {
        let error = host(&["sh", "-c", "echo out; echo err >&2; exit 3"])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("exit status: 3") && error.contains("out\nerr"),
            "{error}"
        );
    }

    #[test]
    fn input_reaches_the_program_and_may_be_left_unread() {
        let long = vec![b'x'; 1 << 20];
        let read = capture(Command::new("wc").arg("-c"), "wc", &long).unwrap();
        assert_eq!(read.stdout.trim(), "1048576");
        let unread = capture(&mut Command::new("true"), "true", &long).unwrap();
        assert!(unread.status.success());
    }
}
