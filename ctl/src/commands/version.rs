//! `fleetctl version`: which fleetctl this is.

use serde_json::json;

use crate::VERSION;
use crate::error::CommandError;
use crate::format::{self, FormatArgs};
use crate::output::Output;

/// Print the version of fleetctl. It needs no cluster.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    format: FormatArgs,
    /// Nothing: fleet 1.0 took and ignored arguments here
    #[arg(hide = true)]
    ignored: Vec<String>,
}

/// What is printed for people.
pub(crate) fn line() -> String {
    format!("fleetctl version {VERSION}")
}

/// Prints the version.
pub(crate) fn run(args: &Args, output: &mut Output) -> Result<(), CommandError> {
    match args.format.format.language() {
        None => output.line(&line()),
        Some(language) => format::write(&json!({"version": VERSION}), language, output),
    }
}
