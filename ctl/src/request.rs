//! One batch for all units of a command, and what its answer means to the user.

use api::client::{OverviewQuery, Section};
use api::types::{BatchAction, BatchDone, BatchRequest, BatchResult, ErrorBody, UnitName};

use crate::count::counted;
use crate::error::{CommandError, Kind};
use crate::session::Session;
use crate::sources::{self, Asked, Local};

/// Units in one request; fleetd takes no more.
const BATCH_UNITS_MAX: usize = 10_000;

/// Bytes of unit files in one request: fleetd takes 64 MiB of JSON, in which most bytes of a unit file are one byte.
const BATCH_BYTES_MAX: usize = 32 * 1024 * 1024;

/// HTTP's "not found".
const NOT_FOUND: u16 = 404;

/// What to do if the cluster has the unit with another file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnDifference {
    /// Warn and keep the cluster's.
    Warn,
    /// Take the local one.
    Replace,
}

impl OnDifference {
    /// What `--replace` says.
    pub(crate) fn of_flag(replace: bool) -> OnDifference {
        if replace {
            OnDifference::Replace
        } else {
            OnDifference::Warn
        }
    }
}

/// A unit for which the request was carried out.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// The unit.
    pub(crate) asked: Asked,
    /// What was done.
    pub(crate) done: BatchDone,
}

/// A unit for which it was not.
#[derive(Debug)]
pub(crate) struct Refused {
    /// The unit.
    pub(crate) asked: Asked,
    /// Why.
    pub(crate) error: ErrorBody,
}

impl Refused {
    /// Whether the cluster has no such unit and could not make it.
    pub(crate) fn is_not_found(&self) -> bool {
        self.error.code == NOT_FOUND
    }
}

/// What became of the units of a command.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// In the order of the arguments.
    pub(crate) accepted: Vec<Accepted>,
    /// In the order of the arguments.
    pub(crate) refused: Vec<Refused>,
}

/// Checks that the cluster can make every unit of which there is no local file, before anything is created.
///
/// A single unit is left to the batch itself, which then creates nothing either.
///
/// # Errors
/// All that can be found nowhere.
pub(crate) async fn check_sources(
    session: &mut Session<'_>,
    asked: &[Asked],
) -> Result<(), CommandError> {
    let bare: Vec<&Asked> = asked
        .iter()
        .filter(|unit| unit.local == Local::Nothing)
        .collect();
    if bare.is_empty() || asked.len() == 1 {
        return Ok(());
    }
    let templates = bare.iter().filter_map(|unit| unit.name.template());
    let mut units: Vec<UnitName> = bare
        .iter()
        .map(|unit| unit.name.clone())
        .chain(templates)
        .collect();
    units.sort();
    units.dedup();
    let query = OverviewQuery {
        units,
        sections: vec![Section::Units],
    };
    session.debug("which units are there");
    let overview = session.client.overview(query).await;
    let overview =
        overview.map_err(|error| CommandError::request("Error creating units", error))?;
    let known = |name: &UnitName| overview.units.iter().any(|row| row.name == *name);
    let missing: Vec<_> = bare
        .iter()
        .filter(|unit| {
            !known(&unit.name)
                && !unit
                    .name
                    .template()
                    .is_some_and(|template| known(&template))
        })
        .map(|unit| sources::not_found(unit))
        .collect();
    let Some((last, others)) = missing.split_last() else {
        return Ok(());
    };
    for text in others {
        session
            .output
            .note(&format!("Error creating units: {text}"));
    }
    Err(
        CommandError::new(Kind::Input, format!("Error creating units: {last}"))
            .with_hint("Nothing was created."),
    )
}

/// Asks for `action` on all of `asked`, and says what is to be said of their files.
///
/// # Errors
/// If the cluster cannot be asked, or finds a name or a file wrong; then nothing was done, but for what went before in another
/// request: a hint says how much. `context` begins the message.
pub(crate) async fn send(
    session: &mut Session<'_>,
    context: &str,
    action: BatchAction,
    asked: Vec<Asked>,
    on_difference: OnDifference,
) -> Result<Answer, CommandError> {
    let mut answer = Answer::default();
    let units = asked.len();
    let mut rest = asked;
    let mut sent = Ok(());
    while !rest.is_empty() && sent.is_ok() {
        let later = rest.split_off(chunk(&rest));
        sent = send_chunk(session, context, action, rest, on_difference, &mut answer).await;
        rest = later;
    }
    for accepted in &answer.accepted {
        say_of_file(session, accepted, on_difference)?;
    }
    let accepted = answer.accepted.len();
    match sent {
        Ok(()) => Ok(answer),
        Err(error) if accepted > 0 => Err(error.with_hint(&so_far(accepted, units))),
        Err(error) => Err(error),
    }
}

/// What became of a command of which some requests were carried out before one was not.
fn so_far(accepted: usize, units: usize) -> String {
    format!(
        "Before that, the request was accepted for {accepted} of {units} units. It is safe to repeat the command."
    )
}

/// How many of `asked` go into one request. Always at least one.
fn chunk(asked: &[Asked]) -> usize {
    let mut bytes = 0;
    let fits = asked.iter().take_while(|unit| {
        bytes += match &unit.local {
            Local::Own(content) | Local::Template(content) => content.len(),
            Local::Nothing => 0,
        };
        bytes <= BATCH_BYTES_MAX
    });
    fits.take(BATCH_UNITS_MAX).count().max(1)
}

async fn send_chunk(
    session: &mut Session<'_>,
    context: &str,
    action: BatchAction,
    asked: Vec<Asked>,
    on_difference: OnDifference,
    answer: &mut Answer,
) -> Result<(), CommandError> {
    let requests = as_requests(&asked, action, on_difference);
    session.debug(&format!(
        "{action:?} of {}",
        counted(requests.len(), "unit")
    ));
    let outcomes = session.client_for(requests.len()).batch(&requests).await;
    let outcomes = outcomes.map_err(|error| CommandError::request(context, error))?;
    if let Some(error) = outcomes.error {
        for outcome in &outcomes.outcomes {
            if let BatchResult::Failed { error } = &outcome.result {
                session
                    .output
                    .note(&format!("{}: {}", outcome.name, error.message));
            }
        }
        let text = format!("{context}: {}", error.message);
        let error = CommandError::new(Kind::Input, text);
        return Err(match answer.accepted.len() + answer.refused.len() {
            0 => error.with_hint("Nothing was done."),
            _ => error.with_hint("Nothing was done of this part."),
        });
    }
    if outcomes.outcomes.len() != asked.len() {
        let text = format!(
            "{context}: fleetd answered for {} of {}",
            outcomes.outcomes.len(),
            counted(asked.len(), "unit")
        );
        return Err(CommandError::new(Kind::Cluster, text));
    }
    for (asked, outcome) in asked.into_iter().zip(outcomes.outcomes) {
        match outcome.result {
            BatchResult::Done(done) => answer.accepted.push(Accepted { asked, done }),
            BatchResult::Failed { error } => answer.refused.push(Refused { asked, error }),
        }
    }
    Ok(())
}

/// What is asked of fleetd for all of `asked`.
pub(crate) fn as_requests(
    asked: &[Asked],
    action: BatchAction,
    on_difference: OnDifference,
) -> Vec<BatchRequest> {
    let requests = asked.iter();
    requests
        .map(|unit| request(unit, action, on_difference))
        .collect()
}

fn request(asked: &Asked, action: BatchAction, on_difference: OnDifference) -> BatchRequest {
    let (content, template) = match &asked.local {
        Local::Nothing => (None, None),
        Local::Own(content) => (Some(content.clone()), None),
        Local::Template(content) => (None, Some(content.clone())),
    };
    let replace = on_difference == OnDifference::Replace;
    BatchRequest {
        name: asked.name.to_string(),
        action,
        content,
        template,
        replace,
    }
}

/// Says what became of a unit's file, in fleet 1.0's words.
fn say_of_file(
    session: &mut Session<'_>,
    accepted: &Accepted,
    on_difference: OnDifference,
) -> Result<(), CommandError> {
    use api::types::Done;

    let Accepted { asked, done } = accepted;
    let name = &asked.name;
    if done.differs {
        let kind = match asked.local {
            Local::Template(_) => "local template unit file",
            Local::Own(_) | Local::Nothing => "local unit file",
        };
        // A new unit has been made from the cluster's template: that is what differs.
        let compared = match done.done {
            Done::Created => name.template().unwrap_or_else(|| name.clone()),
            Done::Replaced | Done::Updated | Done::Unchanged | Done::Destroyed => name.clone(),
        };
        session.output.note(&format!(
            "WARNING: Unit {compared} in registry differs from {kind} {}. Add --replace to override.",
            asked.path
        ));
    }
    if let Some(state) = done.replace_refused_in {
        session.output.note(&format!(
            "Warning: can not replace Unit({name}) in state '{state}', use the appropriate command"
        ));
    }
    match done.done {
        Done::Created | Done::Replaced => session.output.line(&format!("Unit {name} inactive")),
        Done::Updated | Done::Unchanged
            if on_difference == OnDifference::Replace
                && done.replace_refused_in.is_none()
                && asked.local != Local::Nothing =>
        {
            session.output.line(&format!(
                "Found same Unit({name}) in Registry, nothing to do"
            ))
        }
        Done::Updated | Done::Unchanged | Done::Destroyed => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(bytes: usize) -> Asked {
        let local = Local::Own("x".repeat(bytes));
        Asked {
            name: UnitName::parse("a.service").unwrap(),
            argument: "a".to_owned(),
            path: "a.service".to_owned(),
            local,
        }
    }

    #[test]
    fn a_request_holds_as_much_as_fleetd_takes_and_at_least_one() {
        assert_eq!(chunk(&vec![asked(1); BATCH_UNITS_MAX + 1]), BATCH_UNITS_MAX);
        assert_eq!(chunk(&vec![asked(BATCH_BYTES_MAX / 2); 3]), 2);
        assert_eq!(chunk(&[asked(BATCH_BYTES_MAX + 1)]), 1);
    }
}
