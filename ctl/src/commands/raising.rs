//! What `load` and `start` have in common: create what is missing, ask for all units at once, wait for the machines.

use api::types::BatchAction;

use crate::cli::{ReplaceArgs, WaitArgs};
use crate::error::CommandError;
use crate::request::{Accepted, OnDifference, Refused, check_sources, send};
use crate::selection::{Scope, expand_strictly};
use crate::session::Session;
use crate::sources::{self, not_found};
use crate::wait::{Goal, Patience, Wish, wait};

/// A verb that takes units further up.
pub(crate) struct Raise<'a> {
    /// What fleetd is asked for.
    pub(crate) action: BatchAction,
    /// The verb, in messages.
    pub(crate) verb: &'a str,
    /// What is waited for.
    pub(crate) goal: Goal,
    /// How its errors begin.
    pub(crate) failed: &'a str,
}

/// Carries the verb out on all `units`.
pub(crate) async fn raise(
    session: &mut Session<'_>,
    verb: &Raise<'_>,
    units: &[String],
    replace: &ReplaceArgs,
    wait_args: &WaitArgs,
) -> Result<(), CommandError> {
    let units = expand_strictly(session, verb.failed, units, Scope::Runnable).await?;
    let asked = sources::read(&units, session.output)?;
    check_sources(session, &asked).await?;
    let on_difference = OnDifference::of_flag(replace.replace);
    let answer = send(session, verb.failed, verb.action, asked, on_difference).await?;
    let refused = refusal(session, verb.failed, &answer.refused);
    let waited = follow_up(session, verb, &answer.accepted, wait_args).await;
    waited.and(refused)
}

/// Says what was triggered, and waits for the units that run on one machine each.
///
/// A global unit may never run anywhere, or on machines that are yet to come: there is nothing to wait for.
pub(crate) async fn follow_up(
    session: &mut Session<'_>,
    verb: &Raise<'_>,
    accepted: &[Accepted],
    wait_args: &WaitArgs,
) -> Result<(), CommandError> {
    let mut wishes = Vec::new();
    for Accepted { asked, done } in accepted {
        if done.global {
            session.output.line(&format!(
                "Triggered global unit {} {}",
                asked.name, verb.verb
            ))?;
        } else if wait_args.no_block {
            session
                .output
                .line(&format!("Triggered unit {} {}", asked.name, verb.verb))?;
        } else {
            wishes.push(Wish {
                name: asked.name.clone(),
                goal: verb.goal,
                generation: done.generation,
            });
        }
    }
    wait(
        session,
        verb.failed,
        wishes,
        Patience::of_attempts(wait_args.block_attempts),
    )
    .await
}

/// Tells all refusals; the last one is the error.
pub(crate) fn refusal(
    session: &mut Session<'_>,
    context: &str,
    refused: &[Refused],
) -> Result<(), CommandError> {
    use crate::error::Kind;

    let text = |refused: &Refused| {
        if refused.is_not_found() {
            format!("Error creating units: {}", not_found(&refused.asked))
        } else {
            format!(
                "{context}: unit {}: {}",
                refused.asked.name, refused.error.message
            )
        }
    };
    let Some((last, others)) = refused.split_last() else {
        return Ok(());
    };
    for other in others {
        session.output.note(&text(other));
    }
    Err(CommandError::new(Kind::Outcome, text(last)))
}
