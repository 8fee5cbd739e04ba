//! `fleetctl start`: run units.

use api::types::BatchAction;
use clap::ArgAction;

use crate::cli::{ReplaceArgs, WaitArgs, boolean};
use crate::commands::no_units_given;
use crate::commands::plan::rehearse;
use crate::commands::raising::{Raise, raise};
use crate::error::CommandError;
use crate::session::Session;
use crate::wait::Goal;

/// Instruct systemd to start one or more units in the cluster, first submitting and loading if necessary.
///
/// Returns when systemd says that the units are started. Fails as soon as one fails, and says where and why; also if no
/// machine can run one, and says of each machine why not. A unit that has failed before is started again.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Units, or paths of unit files; a quoted pattern such as 'web@*' stands for units in the cluster
    #[arg(value_name = "UNIT", value_hint = clap::ValueHint::AnyPath)]
    units: Vec<String>,
    #[command(flatten)]
    replace: ReplaceArgs,
    #[command(flatten)]
    wait: WaitArgs,
    /// Only say where the units would go and what would move, as "fleetctl plan" does
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false",
          default_missing_value = "true", hide_default_value = true, action = ArgAction::Set, value_parser = boolean)]
    dry_run: bool,
}

/// Starts the units.
pub(crate) async fn run(args: &Args, session: &mut Session<'_>) -> Result<(), CommandError> {
    args.replace.refuse_sign()?;
    if args.units.is_empty() {
        return no_units_given(session);
    }
    if args.dry_run {
        return rehearse(session, &args.units, &args.replace, None).await;
    }
    let verb = Raise {
        action: BatchAction::Start,
        verb: "start",
        goal: Goal::Launched,
        failed: "Error starting units",
    };
    raise(session, &verb, &args.units, &args.replace, &args.wait).await
}
