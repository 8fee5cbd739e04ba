//! `fleetctl destroy`: forget units.

use api::types::BatchAction;

use crate::cli::WaitArgs;
use crate::commands::lowering::{Unknown, request};
use crate::commands::no_units_given;
use crate::error::CommandError;
use crate::session::Session;
use crate::wait::{Goal, Patience, Wish, wait};

/// Destroy one or more units in the cluster.
///
/// Returns when they are stopped, no machine has them any more, and the cluster has forgotten their files.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Units
    #[arg(value_name = "UNIT")]
    units: Vec<String>,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Destroys the units.
pub(crate) async fn run(args: &Args, session: &mut Session<'_>) -> Result<(), CommandError> {
    if args.units.is_empty() {
        return no_units_given(session);
    }
    let context = "Error destroying units";
    let lowered = request(
        session,
        BatchAction::Destroy,
        "destroy",
        context,
        &args.units,
        Unknown::Fine,
    )
    .await?;
    let mut wishes = Vec::new();
    for unit in &lowered.accepted {
        let name = unit.asked.name.clone();
        if args.wait.no_block {
            session.output.line(&format!("Destroyed {name}"))?;
        } else {
            wishes.push(Wish {
                name,
                goal: Goal::Gone,
                generation: unit.done.generation,
            });
        }
    }
    let waited = wait(
        session,
        context,
        wishes,
        Patience::of_attempts(args.wait.block_attempts),
    )
    .await;
    waited.and(lowered.refused)
}
