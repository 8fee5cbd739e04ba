//! Runs a tool of systemd on the machine that has a unit, where the API does not answer for it: here, if this is the machine, else
//! by SSH. What it says comes as it says it, so that several can be watched at once.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::path::Path;
use std::pin::Pin;
use std::process::Stdio;

use api::types::MachineId;
use futures_util::stream::{self, Stream};
use futures_util::{StreamExt, TryStreamExt};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::error::{CommandError, Kind};
use crate::ssh::{Execution, Piece, Remote, SshError};
use crate::tint::Colour;
use crate::tool::Tool;

/// Where systemd keeps this machine's id.
const MACHINE_ID: &str = "/etc/machine-id";

/// The exit status if a tool could not be run, in fleet 1.0.
const EXIT_NOT_RUN: u8 = 255;

/// The longest line that is waited for, in bytes; what is longer comes in parts.
const LINE_BYTES_MAX: usize = 1024 * 1024;

/// Something that a running tool says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// A line of stdout, with its line feed if it has one.
    Line(Vec<u8>),
    /// A line of stderr.
    Talk(Vec<u8>),
    /// That it has ended, with this status.
    End(u8),
}

/// What a tool says while it runs. It is ended when this is dropped.
pub(crate) type Running = Pin<Box<dyn Stream<Item = Result<Said, CommandError>>>>;

/// A machine to run something on.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Its id.
    pub(crate) machine: MachineId,
    /// Its address, if it is known.
    pub(crate) address: Option<String>,
    /// The port of its SSH server.
    pub(crate) ssh_port: u16,
}

/// Runs `tool` on the machine.
pub(crate) fn run_at(remote: &Remote, place: &Place, tool: &Tool, colour: Colour) -> Running {
    if is_here(&place.machine) {
        local(tool, colour)
    } else {
        by_ssh(remote.clone(), place, tool)
    }
}

fn is_here(machine: &MachineId) -> bool {
    match std::fs::read_to_string(Path::new(MACHINE_ID)) {
        Ok(text) => text.trim() == machine.as_str(),
        // A machine without an id is none of a cluster's.
        Err(_) => false,
    }
}

fn by_ssh(remote: Remote, place: &Place, tool: &Tool) -> Running {
    let Some(address) = place.address.clone() else {
        let text = "Could not determine address of machine.";
        return failed(CommandError::new(Kind::Exit(EXIT_NOT_RUN), text));
    };
    let (port, command) = (place.ssh_port, tool.shell_line());
    let said = stream::once(async move { remote.exec(&address, port, &command).await })
        .map_ok(|execution| stream::try_unfold(Far::of(execution), Far::next))
        .try_flatten();
    Box::pin(said.map_err(|error| {
        let context = "Unable to SSH to remote host";
        CommandError::ssh(context, error).of_kind(Kind::Exit(EXIT_NOT_RUN))
    }))
}

/// A tool on another machine, whose words come in pieces.
struct Far {
    /// None once it has ended.
    execution: Option<Execution>,
    /// The beginning of a line of stdout.
    line: Vec<u8>,
    /// The beginning of a line of stderr.
    talk: Vec<u8>,
    ready: VecDeque<Said>,
}

impl Far {
    fn of(execution: Execution) -> Far {
        Far {
            execution: Some(execution),
            line: Vec::new(),
            talk: Vec::new(),
            ready: VecDeque::new(),
        }
    }

    async fn next(mut self) -> Result<Option<(Said, Far)>, SshError> {
        loop {
            if let Some(said) = self.ready.pop_front() {
                return Ok(Some((said, self)));
            }
            let Some(execution) = &mut self.execution else {
                return Ok(None);
            };
            match execution.next().await? {
                Piece::Stdout(bytes) => {
                    let lines = complete_lines(&mut self.line, &bytes);
                    self.ready.extend(lines.into_iter().map(Said::Line));
                }
                Piece::Stderr(bytes) => {
                    let lines = complete_lines(&mut self.talk, &bytes);
                    self.ready.extend(lines.into_iter().map(Said::Talk));
                }
                Piece::Exit(status) => {
                    self.execution = None;
                    let (line, talk) = (mem::take(&mut self.line), mem::take(&mut self.talk));
                    let rest = [Said::Line(line), Said::Talk(talk)];
                    let empty = |said: &Said| matches!(said, Said::Line(text) | Said::Talk(text) if text.is_empty());
                    self.ready
                        .extend(rest.into_iter().filter(|said| !empty(said)));
                    self.ready.push_back(Said::End(status));
                }
            }
        }
    }
}

/// Adds `bytes` to what is there of a line, and takes out what has become complete.
fn complete_lines(begun: &mut Vec<u8>, bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    for part in bytes.split_inclusive(|byte| *byte == b'\n') {
        begun.extend_from_slice(part);
        if part.ends_with(b"\n") || begun.len() >= LINE_BYTES_MAX {
            lines.push(mem::take(begun));
        }
    }
    lines
}

fn local(tool: &Tool, colour: Colour) -> Running {
    let Some((program, arguments)) = tool.words.split_first() else {
        return Box::pin(stream::empty());
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if colour == Colour::Shown {
        command.env("SYSTEMD_COLORS", "1");
    }
    match command.spawn() {
        Ok(child) => said_by(child),
        Err(error) => failed(not_run(&error)),
    }
}

fn said_by(mut child: Child) -> Running {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let outputs = [
        stdout.map(|stdout| lines(stdout).map_ok(Said::Line).boxed_local()),
        stderr.map(|stderr| lines(stderr).map_ok(Said::Talk).boxed_local()),
    ];
    let end = stream::once(async move {
        let status = child.wait().await?;
        // A tool that a signal ended has no code.
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        Ok(Said::End(code.unwrap_or(EXIT_NOT_RUN)))
    });
    let all = stream::select_all(outputs.into_iter().flatten()).chain(end);
    Box::pin(all.map_err(|error: io::Error| not_run(&error)))
}

fn lines(from: impl AsyncRead + Unpin) -> impl Stream<Item = io::Result<Vec<u8>>> {
    stream::try_unfold(BufReader::new(from), async |mut reader| {
        let mut line = Vec::new();
        let mut bounded = (&mut reader).take(LINE_BYTES_MAX as u64);
        let bytes = bounded.read_until(b'\n', &mut line).await?;
        Ok((bytes > 0).then_some((line, reader)))
    })
}

fn failed(error: CommandError) -> Running {
    Box::pin(stream::once(async move { Err(error) }))
}

fn not_run(error: &io::Error) -> CommandError {
    CommandError::new(
        Kind::Exit(EXIT_NOT_RUN),
        format!("Error running local command: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(words: &[&str]) -> Vec<Result<Said, String>> {
        let tool = Tool {
            words: words.iter().map(|word| (*word).to_owned()).collect(),
        };
        let said = local(&tool, Colour::Hidden).map_err(|error| error.to_string());
        said.collect().await
    }

    #[test]
    fn pieces_become_lines() {
        let mut begun = Vec::new();
        assert_eq!(complete_lines(&mut begun, b"a"), [b""; 0]);
        assert_eq!(
            complete_lines(&mut begun, b"b\nc\nd"),
            [b"ab\n".to_vec(), b"c\n".to_vec()]
        );
        assert_eq!(begun, b"d");
    }

    #[tokio::test]
    async fn what_a_tool_says_comes_line_by_line_and_its_status_last() {
        let said = all(&["sh", "-c", "printf 'a\\nb'; exit 7"]).await;
        let line = |text: &str| Ok(Said::Line(text.into()));
        assert_eq!(said, [line("a\n"), line("b"), Ok(Said::End(7))]);
        let said = all(&["sh", "-c", "echo wrong >&2; kill -9 $$"]).await;
        assert_eq!(
            said,
            [Ok(Said::Talk(b"wrong\n".to_vec())), Ok(Said::End(255))]
        );
        let endless = format!("head -c {} /dev/zero", LINE_BYTES_MAX + 1);
        let said = all(&["sh", "-c", &endless]).await;
        let lengths = said.iter().map(|said| match said {
            Ok(Said::Line(line)) => line.len(),
            other => panic!("{other:?}"),
        });
        assert_eq!(lengths.take(2).collect::<Vec<_>>(), [LINE_BYTES_MAX, 1]);
        let said = all(&["/no/such/tool"]).await;
        assert_eq!(
            said,
            [Err(
                "Error running local command: No such file or directory (os error 2)".to_owned()
            )]
        );
    }
}
