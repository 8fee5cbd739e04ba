//! `fleetctl unload`: take units from their machines.

use api::types::BatchAction;

use crate::cli::WaitArgs;
use crate::commands::lowering::{Unknown, name_list, request};
use crate::commands::no_units_given;
use crate::commands::raising::{Raise, follow_up};
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
    let context = "Error unloading units";
    let lowered = request(
        session,
        BatchAction::Unload,
        "unload",
        context,
        &args.units,
        Unknown::Told,
    )
    .await?;
    if lowered.accepted.is_empty() {
        return lowered.refused;
    }
    let names = name_list(&lowered.accepted);
    let failed = format!("Failed to unload units {names}. err");
    let verb = Raise {
        action: BatchAction::Unload,
        verb: "unload",
        goal: Goal::Inactive,
        failed: &failed,
    };
    follow_up(session, &verb, &lowered.accepted, &args.wait).await?;
    session
        .output
        .note(&format!("Successfully unloaded units {names}."));
    lowered.refused
}
