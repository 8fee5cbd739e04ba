//! Where the story is told: a step's text, the command a person would type, and what it really said.

use std::io::{IsTerminal, Write, stdout};
use std::time::Duration;

use anyhow::{Context, Result};
use testbed::{Machine, Output};

/// Prints to standard output; in colour only where a person looks at it.
#[derive(Debug)]
pub(crate) struct Stage {
    colour: Colour,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Colour {
    On,
    Off,
}

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";

impl Stage {
    /// Colour follows the terminal and the environment variable `NO_COLOR`.
    pub(crate) fn new() -> Self {
        let wanted = stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self {
            colour: if wanted { Colour::On } else { Colour::Off },
        }
    }

    /// Begins a part of the story.
    pub(crate) fn chapter(&self, title: &str) -> Result<()> {
        let line = format!("\n== {title}");
        self.print(BOLD, &line)
    }

    /// Tells what is done or was seen.
    pub(crate) fn say(&self, text: &str) -> Result<()> {
        self.print("", text)
    }

    /// Tells that something was as it should be.
    pub(crate) fn praise(&self, text: &str) -> Result<()> {
        self.print(GREEN, text)
    }

    /// Tells what was done to a machine from outside.
    pub(crate) fn harm(&self, text: &str) -> Result<()> {
        self.print(RED, text)
    }

    /// Types `line` on `machine` and shows what it says; an error if it does not end well.
    pub(crate) fn types(&self, machine: &Machine, line: &str) -> Result<Output> {
        self.print(BOLD, &format!("{}$ {line}", machine.name()))?;
        let output = machine.shell(line)?;
        self.print("", format!("{}{}", output.stdout, output.stderr).trim_end())?;
        let output = output
            .success()
            .with_context(|| format!("on {}", machine.name()))?;
        self.print(DIM, &format!("({})", seconds(output.elapsed)))?;
        Ok(output)
    }

    fn print(&self, style: &str, text: &str) -> Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let (on, off) = match self.colour {
            Colour::On if !style.is_empty() => (style, "\x1b[0m"),
            Colour::On | Colour::Off => ("", ""),
        };
        let mut out = stdout().lock();
        writeln!(out, "{on}{text}{off}")?;
        Ok(out.flush()?)
    }
}

/// Returns a duration as people say it.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}
