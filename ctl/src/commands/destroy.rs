//! `fleetctl destroy`: forget units.

use api::types::BatchAction;

use crate::cli::WaitArgs;
use crate::commands::lowering::{Unknown, request_of_names, say_unmatched};
use crate::commands::no_units_given;
use crate::count::counted;
use crate::error::{CommandError, Kind};
use crate::output::Answer;
use crate::selection::{Scope, expand};
use crate::session::Session;
use crate::wait::{Goal, Patience, Wish, wait};

/// Destroy one or more units in the cluster.
///
/// Returns when they are stopped, no machine has them any more, and the cluster has forgotten their files. Units that a
/// pattern matches are listed, and destroyed only after a yes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Units; a quoted pattern such as 'web@*' stands for all in the cluster that it matches
    #[arg(value_name = "UNIT")]
    units: Vec<String>,
    /// Destroy what a pattern matches without asking
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Destroys the units.
pub(crate) async fn run(args: &Args, session: &mut Session<'_>) -> Result<(), CommandError> {
    if args.units.is_empty() {
        return no_units_given(session);
    }
    let context = "Error destroying units";
    let selection = expand(session, context, &args.units, Scope::All).await?;
    say_unmatched(session, &selection);
    if !args.yes && !selection.matched.is_empty() {
        confirm(session, context, &selection.matched)?;
    }
    let lowered = request_of_names(
        session,
        BatchAction::Destroy,
        "destroy",
        context,
        &selection.arguments,
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

/// Lists what patterns match and asks whether it may go.
fn confirm(
    session: &mut Session<'_>,
    context: &str,
    matched: &[String],
) -> Result<(), CommandError> {
    let these = match matched.len() {
        1 => "it",
        _ => "them",
    };
    session.output.note(&format!(
        "This destroys {}:\n  {}",
        counted(matched.len(), "unit"),
        matched.join("\n  ")
    ));
    let answer = session.output.ask(&format!("Destroy {these}?"));
    let answer = answer.map_err(|source| CommandError::stdin(context, source))?;
    let text = match answer {
        Answer::Yes => return Ok(()),
        Answer::No => "not confirmed",
        Answer::NobodyThere => "there is no terminal to ask at",
    };
    let error = CommandError::new(
        Kind::Input,
        format!("{context}: {text}; nothing was destroyed"),
    );
    Err(match answer {
        Answer::NobodyThere => {
            error.with_hint("Give -y to destroy what patterns match without asking.")
        }
        Answer::Yes | Answer::No => error,
    })
}
