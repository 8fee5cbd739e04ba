//! fleetctl: the command line of fleet. Everything a user sees of it is decided in this crate.
//!
//! From the outside in: [`main`] reads arguments (`cli`, `argv`, `settings`) and runs one verb (`commands`).
//! A verb resolves what it was given (`selection`, `sources`), asks the cluster for all of it at once (`request`), waits for
//! what the machines say (`wait`) and says what happened (`output`, `listing`, `format`, `error`).
//!
//! Where the cluster is not reached from here, and to its machines, SSH leads (`ssh`).
//!
//! stdout is data, stderr is talk. A reader that goes away (`fleetctl list-units | head -1`) is no error.

mod cli;
mod commands;
mod completion;

mod account;
mod argv;
mod help;
mod prefixes;
mod session;
mod settings;
mod signals;
mod ssh;
mod ssh_target;
mod usage;

mod request;
mod selection;
mod sources;
mod wait;

mod doctor;
mod machine_choice;
mod running;
mod targets;
mod tool;
mod why;

mod count;
mod error;
mod instant;
mod machine_label;
mod output;
mod tint;
mod tls;

mod format;
mod listing;
mod table;
mod yaml;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use crate::cli::Cli;
use crate::error::CommandError;
use crate::output::Output;
use crate::session::Session;
use crate::settings::{Environment, Settings};
use crate::ssh::Asking;

/// The version of fleetctl, as `fleetctl version` prints it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Runs fleetctl with the arguments and the environment of this process.
pub fn main() -> ExitCode {
    let environment = |name: &str| std::env::var_os(name);
    let mut output = Output::of_process(&environment);
    match run(std::env::args_os().collect(), &environment, &mut output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(&mut output),
    }
}

fn run(
    arguments: Vec<OsString>,
    environment: &Environment<'_>,
    output: &mut Output,
) -> Result<(), CommandError> {
    if argv::asks_for_version(&arguments) {
        return output.line(&commands::version_line());
    }
    let arguments = argv::normalize(arguments, &cli::flags());
    let definition = prefixes::kept(help::laid_out(Cli::command(), output.columns()));
    let read = definition
        .try_get_matches_from(&arguments)
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match read {
        Ok(cli) => cli,
        Err(error) => return usage::answer(error, output),
    };
    let Some(command) = cli.command else {
        return output.text(&help::root(&Cli::command(), output.columns()));
    };
    if let Some(result) = command.run_alone(output) {
        return result;
    }
    let mut settings = Settings::resolve(&cli.global, environment)?;
    if command.is_for_completion() {
        settings.ssh.asking = Asking::Nobody;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CommandError::runtime)?;
    let signals = settings.ssh.signals.clone();
    let result = runtime.block_on(async {
        let work = async {
            let mut session = Session::open(settings, output).await?;
            command.run(&mut session).await
        };
        tokio::select! {
            // A verb that has words of its own for an interrupt comes first.
            biased;
            result = work => result,
            status = signals.come() => Err(CommandError::ended_with(status)),
        }
    });
    // A name lookup that never ends must not keep the process.
    runtime.shutdown_background();
    result
}
