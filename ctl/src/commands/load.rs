//! `fleetctl load`: put units on machines without starting them.

use api::types::BatchAction;

use crate::cli::{ReplaceArgs, WaitArgs};
use crate::commands::no_units_given;
use crate::commands::raising::{Raise, raise};
use crate::error::CommandError;
use crate::session::Session;
use crate::wait::Goal;

/// Schedule one or more units in the cluster, first submitting them if necessary.
///
/// Returns when the machines have the units loaded. A running unit is stopped.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Units, or paths of unit files; a quoted pattern such as 'web@*' stands for units in the cluster
    #[arg(value_name = "UNIT", value_hint = clap::ValueHint::AnyPath)]
    units: Vec<String>,
    #[command(flatten)]
    replace: ReplaceArgs,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Loads the units.
pub(crate) async fn run(args: &Args, session: &mut Session<'_>) -> Result<(), CommandError> {
    args.replace.refuse_sign()?;
    if args.units.is_empty() {
        return no_units_given(session);
    }
    let verb = Raise {
        action: BatchAction::Load,
        verb: "load",
        goal: Goal::Loaded,
        failed: "Error loading units",
    };
    raise(session, &verb, &args.units, &args.replace, &args.wait).await
}
