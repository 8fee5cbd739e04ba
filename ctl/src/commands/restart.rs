//! `fleetctl restart`: stop and start units where they are.

use api::types::BatchAction;

use crate::cli::WaitArgs;
use crate::commands::lowering::{Unknown, request};
use crate::commands::no_units_given;
use crate::commands::raising::{Raise, follow_up};
use crate::error::CommandError;
use crate::session::Session;
use crate::wait::Goal;

/// Instruct systemd to restart one or more units in the cluster.
///
/// Returns when systemd says that the units are started again. They stay on their machines. A unit that is loaded but does
/// not run is started.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Units; a quoted pattern such as 'web@*' stands for all in the cluster that it matches
    #[arg(value_name = "UNIT")]
    units: Vec<String>,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Restarts the units.
pub(crate) async fn run(args: &Args, session: &mut Session<'_>) -> Result<(), CommandError> {
    if args.units.is_empty() {
        return no_units_given(session);
    }
    let context = "Error restarting units";
    let lowered = request(
        session,
        BatchAction::Restart,
        "restart",
        context,
        &args.units,
        Unknown::Told,
    )
    .await?;
    let verb = Raise {
        action: BatchAction::Restart,
        verb: "restart",
        goal: Goal::Launched,
        failed: context,
    };
    let waited = follow_up(session, &verb, &lowered.accepted, &args.wait).await;
    waited.and(lowered.refused)
}
