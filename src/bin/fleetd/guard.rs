//! `fleetd guard`: the two processes of fleet-guard.service, which ends exclusive units when fleetd cannot.

use std::process::ExitCode;

use agent::guard::{self, GuardFiles};

use crate::notify;

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum GuardCommand {
    /// Waits for the deadline, then ends the units.
    Wait,
    /// Ends the units that are left when the first has gone, however it went.
    End,
}

/// Runs it. What it says goes to standard error, which is the journal.
pub(crate) fn run(command: GuardCommand, files: &GuardFiles) -> ExitCode {
    let say = |text: &str| eprintln!("fleet-guard: {text}");
    let outcome = match command {
        // While we live: once we are gone systemd stops what is bound to us, and what stops fast was then never seen running, and
        // would not be remembered as given up. However this ends, systemd runs the other process next.
        GuardCommand::Wait => {
            guard::wait(files, notify::ready).and_then(|_| guard::end(files, &say))
        }
        GuardCommand::End => guard::end(files, &say),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("{:#}", anyhow::Error::from(error)));
            ExitCode::FAILURE
        }
    }
}
