//! `fleetctl stop`: stop units where they are.

use api::types::BatchAction;

use crate::cli::WaitArgs;
use crate::commands::lowering::lower;
use crate::commands::no_units_given;
use crate::commands::raising::Raise;
use crate::error::CommandError;
use crate::session::Session;
use crate::wait::Goal;

/// Instruct systemd to stop one or more units in the cluster.
///
/// Returns when systemd says that they are stopped. They stay on their machines; "fleetctl start" starts them there again.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Units; a quoted pattern such as 'web@*' stands for all in the cluster that it matches
    #[arg(value_name = "UNIT")]
    units: Vec<String>,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Stops the units.
pub(crate) async fn run(args: &Args, session: &mut Session<'_>) -> Result<(), CommandError> {
    if args.units.is_empty() {
        return no_units_given(session);
    }
    let verb = Raise {
        action: BatchAction::Stop,
        verb: "stop",
        goal: Goal::Stopped,
        failed: "Error stopping units",
    };
    lower(session, &verb, "stopped", &args.units, &args.wait).await
}
