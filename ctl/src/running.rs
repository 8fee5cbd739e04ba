//! Runs a tool of systemd on the machine that has a unit, where the API does not answer for it: here, if this is the machine, else
//! by SSH. What it says comes as it says it, so that several can be watched at once.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::process::Stdio;

use api::types::MachineId;
use futures_util::stream::{self, Stream};
use futures_util::{StreamExt, TryStreamExt};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};

use crate::error::{CommandError, Kind};
use crate::tint::Colour;
use crate::tool::Tool;

/// Where systemd keeps this machine's id.
const MACHINE_ID: &str = "/etc/machine-id";

/// The exit status if a tool could not be run, in fleet 1.0.
const EXIT_NOT_RUN: u8 = 255;

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
pub(crate) fn run_at(place: &Place, tool: &Tool, colour: Colour) -> Running {
    if is_here(&place.machine) {
        local(tool, colour)
    } else {
        by_ssh(place, tool)
    }
}

fn is_here(machine: &MachineId) -> bool {
    match std::fs::read_to_string(Path::new(MACHINE_ID)) {
        Ok(text) => text.trim() == machine.as_str(),
        // A machine without an id is none of a cluster's.
        Err(_) => false,
    }
}

fn by_ssh(place: &Place, tool: &Tool) -> Running {
    let text = match &place.address {
        None => "Could not determine address of machine.".to_owned(),
        Some(address) => format!(
            "Unable to SSH to remote host: this version cannot; log in to {address}, port {}, and run: {}",
            place.ssh_port,
            tool.shell_line()
        ),
    };
    failed(CommandError::new(Kind::Exit(EXIT_NOT_RUN), text))
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
        let bytes = reader.read_until(b'\n', &mut line).await?;
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
        let said = all(&["/no/such/tool"]).await;
        assert_eq!(
            said,
            [Err(
                "Error running local command: No such file or directory (os error 2)".to_owned()
            )]
        );
    }
}
