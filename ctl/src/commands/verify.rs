//! `fleetctl verify`: what is left of signed units.

use crate::error::CommandError;
use crate::output::Output;

/// DEPRECATED - No longer works: signed units are no more
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Nothing: fleet 1.0 took and ignored arguments here
    #[arg(hide = true)]
    ignored: Vec<String>,
}

/// Says that it is no more; in fleet 1.0's words.
pub(crate) fn run(output: &mut Output) -> Result<(), CommandError> {
    output.note("Command \"verify\" is deprecated, DEPRECATED - No longer works");
    Err(CommandError::signed_units())
}
