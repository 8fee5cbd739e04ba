//! `fleetctl version`: which fleetctl this is.

use crate::VERSION;

/// Print the version of fleetctl. It needs no cluster.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Nothing: fleet 1.0 took and ignored arguments here
    #[arg(hide = true)]
    ignored: Vec<String>,
}

/// What is printed.
pub(crate) fn line() -> String {
    format!("fleetctl version {VERSION}")
}
