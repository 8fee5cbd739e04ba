//! What `stop`, `unload`, `destroy` and `restart` have in common: they are about units that the cluster has. Unknown ones are
//! no error (scripts tidy up with them), local files play no part.

use api::types::BatchAction;

use crate::cli::WaitArgs;
use crate::commands::raising::{Raise, follow_up};
use crate::error::{CommandError, Kind};
use crate::request::{Accepted, Answer, OnDifference, Refused, send};
use crate::selection::{Scope, Selection, expand, nothing_matches};
use crate::session::Session;
use crate::sources;

/// HTTP's "conflict": the verb needs a unit that is further up.
const CONFLICT: u16 = 409;

/// Whether a unit the cluster does not have is worth a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// Say so on stderr.
    Told,
    /// It is as wanted already.
    Fine,
}

/// Carries out a verb of 1.0 that ends with a sentence about all units, as `stop` and `unload` do.
///
/// # Errors
/// If a name is none, the cluster cannot be asked, or a unit does not get there.
pub(crate) async fn lower(
    session: &mut Session<'_>,
    verb: &Raise<'_>,
    done: &str,
    units: &[String],
    wait_args: &WaitArgs,
) -> Result<(), CommandError> {
    let Raise { action, failed, .. } = *verb;
    let lowered = request(session, action, verb.verb, failed, units, Unknown::Told).await?;
    if lowered.accepted.is_empty() {
        return lowered.refused;
    }
    let names = name_list(&lowered.accepted);
    let failed = format!("Failed to {} units {names}. err", verb.verb);
    let waiting = Raise {
        failed: &failed,
        ..*verb
    };
    follow_up(session, &waiting, &lowered.accepted, wait_args).await?;
    let said = format!("Successfully {done} units {names}.");
    session.output.note(&said);
    lowered.refused
}

/// What became of it.
pub(crate) struct Lowered {
    /// The units of which it was accepted.
    pub(crate) accepted: Vec<Accepted>,
    /// Told on stderr already; decides how the command ends.
    pub(crate) refused: Result<(), CommandError>,
}

/// Asks for `action` on all `units`.
///
/// # Errors
/// If a name is none or the cluster cannot be asked; then nothing was done.
pub(crate) async fn request(
    session: &mut Session<'_>,
    action: BatchAction,
    verb: &str,
    context: &str,
    units: &[String],
    unknown: Unknown,
) -> Result<Lowered, CommandError> {
    let selection = expand(session, context, units, Scope::Wanted).await?;
    say_unmatched(session, &selection);
    request_of_names(
        session,
        action,
        verb,
        context,
        &selection.arguments,
        unknown,
    )
    .await
}

/// Says which patterns match nothing: no error, as unknown names are none.
pub(crate) fn say_unmatched(session: &mut Session<'_>, selection: &Selection) {
    for pattern in &selection.unmatched {
        session.output.note(&nothing_matches(pattern));
    }
}

/// Asks for `action` on all units of these names.
///
/// # Errors
/// If a name is none or the cluster cannot be asked; then nothing was done.
pub(crate) async fn request_of_names(
    session: &mut Session<'_>,
    action: BatchAction,
    verb: &str,
    context: &str,
    units: &[String],
    unknown: Unknown,
) -> Result<Lowered, CommandError> {
    let asked = sources::names(units, session.output)?;
    let Answer { accepted, refused } =
        send(session, context, action, asked, OnDifference::Warn).await?;
    let (missing, refused): (Vec<_>, Vec<_>) = refused.into_iter().partition(Refused::is_not_found);
    if accepted.is_empty() && refused.is_empty() {
        // Of patterns that match nothing it has been said already.
        if !missing.is_empty() {
            session.output.note("Units not found in registry");
        }
    } else if unknown == Unknown::Told {
        for unit in &missing {
            session
                .output
                .note(&format!("Unit {} not found in registry", unit.asked.name));
        }
    }
    let refused = refusal(session, verb, context, &refused);
    Ok(Lowered { accepted, refused })
}

fn refusal(
    session: &mut Session<'_>,
    verb: &str,
    context: &str,
    refused: &[Refused],
) -> Result<(), CommandError> {
    let text = |refused: &Refused| {
        let name = &refused.asked.name;
        if refused.error.code == CONFLICT {
            format!("Unable to {verb} unit {name} in state inactive")
        } else {
            format!("{context}: unit {name}: {}", refused.error.message)
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

/// The names as fleet 1.0 listed them: `[a.service b.service]`.
fn name_list(accepted: &[Accepted]) -> String {
    let names: Vec<_> = accepted
        .iter()
        .map(|unit| unit.asked.name.as_str())
        .collect();
    format!("[{}]", names.join(" "))
}
