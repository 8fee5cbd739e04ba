//! `fleetctl completion`: the script that completes fleetctl's command line in a shell.

use clap::CommandFactory;

use crate::cli::Cli;
use crate::completion::{Shell, script};
use crate::error::CommandError;
use crate::output::Output;

/// Print the script that completes fleetctl's command line in a shell.
///
/// Names of units and machines are asked from the cluster while you type. For bash: source <(fleetctl completion bash). For
/// zsh: fleetctl completion zsh > "${fpath[1]}/_fleetctl". For fish: fleetctl completion fish > ~/.config/fish/completions/fleetctl.fish
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Prints the script.
pub(crate) fn run(args: &Args, output: &mut Output) -> Result<(), CommandError> {
    output.text(&script(args.shell, &Cli::command()))
}
