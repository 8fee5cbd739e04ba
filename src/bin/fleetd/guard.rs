//! `fleetd guard`: the two processes of fleet-guard.service, which ends exclusive units when fleetd cannot.

use std::process::ExitCode;

use agent::guard::{self, GuardFiles};

use crate::notify;

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum GuardCommand {
    /// Waits for the deadline.
    Wait,
    /// Ends the units.
    End,
}

/// Runs it. What it says goes to standard error, which is the journal.
pub(crate) fn run(command: GuardCommand, files: &GuardFiles) -> ExitCode {
    let say = |text: &str| eprintln!("fleet-guard: {text}");
    let outcome = match command {
        // That it returns at all means that the units have to end: systemd runs the other process next.
        GuardCommand::Wait => guard::wait(files, notify::ready).map(|_| ExitCode::FAILURE),
        GuardCommand::End => guard::end(files, &say).map(|()| ExitCode::SUCCESS),
    };
    outcome.unwrap_or_else(|error| {
        say(&format!("{:#}", anyhow::Error::from(error)));
        ExitCode::FAILURE
    })
}
