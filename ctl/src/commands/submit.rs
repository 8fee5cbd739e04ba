//! `fleetctl submit`: make units known to the cluster.

use api::types::BatchAction;

use crate::cli::ReplaceArgs;
use crate::commands::no_units_given;
use crate::commands::raising::refusal;
use crate::error::CommandError;
use crate::request::{OnDifference, check_sources, send};
use crate::selection::{Scope, expand_strictly};
use crate::session::Session;
use crate::sources;

/// Upload one or more units to the cluster without starting them.
///
/// Each UNIT is a file or the name of one: "hello" is ./hello.service. A template (hello@.service) is submitted like any
/// other unit, and "hello@1" is made from it, or from ./hello@.service.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Units, or paths of unit files; a quoted pattern such as 'web@*' stands for units in the cluster
    #[arg(value_name = "UNIT", value_hint = clap::ValueHint::AnyPath)]
    units: Vec<String>,
    #[command(flatten)]
    replace: ReplaceArgs,
}

/// Submits the units; a new unit is `inactive` as soon as fleetd has accepted it, so there is nothing to wait for.
pub(crate) async fn run(args: &Args, session: &mut Session<'_>) -> Result<(), CommandError> {
    args.replace.refuse_sign()?;
    if args.units.is_empty() {
        return no_units_given(session);
    }
    let context = "Error creating units";
    let units = expand_strictly(session, context, &args.units, Scope::All).await?;
    let asked = sources::read(&units, session.output)?;
    check_sources(session, &asked).await?;
    let on_difference = OnDifference::of_flag(args.replace.replace);
    let answer = send(session, context, BatchAction::Submit, asked, on_difference).await?;
    refusal(session, context, &answer.refused)
}
