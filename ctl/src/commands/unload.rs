//! `fleetctl unload`: take units from their machines.

use api::types::BatchAction;

use crate::cli::WaitArgs;
use crate::commands::lowering::lower;
use crate::commands::no_units_given;
use crate::commands::raising::Raise;
use crate::error::CommandError;
use crate::session::Session;
use crate::wait::Goal;

/// Unschedule one or more units in the cluster.
///
/// Returns when they are stopped and no machine has them any more. The cluster keeps their files.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Units; a quoted pattern such as 'web@*' stands for all in the cluster that it matches
    #[arg(value_name = "UNIT")]
    units: Vec<String>,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Unloads the units.
pub(crate) async fn run(args: &Args, session: &mut Session<'_>) -> Result<(), CommandError> {
    if args.units.is_empty() {
        return no_units_given(session);
    }
    let verb = Raise {
        action: BatchAction::Unload,
        verb: "unload",
        goal: Goal::Inactive,
        failed: "Error unloading units",
    };
    lower(session, &verb, "unloaded", &args.units, &args.wait).await
}
