//! `GET /units/<name>/journal` and `/status`: the last lines a unit wrote, and what systemd says of it, from the machine that has it:
//! this one, or another through the store. With `follow=true` the journal goes on, as Server-Sent Events.

use std::convert::Infallible;
use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use futures_util::{Stream, StreamExt};
use model::{
    AskError, ClusterStore, Journal, JournalError, JournalForm, MachineId, PerMachine,
    QUESTION_LINES_MAX, Question, Records, Topic,
};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use unitfile::UnitName;

use super::answer::ApiError;
use super::input::Parameters;
use super::units::existing;
use super::{Api, Named, only_get, rows};
use crate::types::{ErrorBody, JournalLines};

/// Questions under way at once. Each runs a tool here, or keeps a lease and two watches for an answer from elsewhere.
pub(super) const QUESTIONS_MAX: usize = 64;

/// Lines that are given if the request does not say how many.
const LINES_DEFAULT: u16 = 10;

/// How long a stream may be silent until a comment is sent, as of events.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Where a unit's journal is.
enum Place {
    Here,
    There(MachineId),
    NoMachine,
    /// On machines, but not on the one that was asked for.
    NotThere,
    NoUnit,
}

/// Why there is no answer, or no more of it.
enum Untold {
    Here(JournalError),
    There(AskError),
}

type Pieces = Pin<Box<dyn Stream<Item = Result<String, Untold>> + Send>>;

/// `GET /units/<name>/journal`
pub(super) async fn lines<C: ClusterStore, J: Journal>(
    State(api): State<Api<C, J>>,
    Named(name): Named,
    method: Method,
    parameters: Parameters,
) -> Result<Response, ApiError> {
    only_get(&method)?;
    let unit = existing(&name)?;
    let form = form(&parameters)?;
    let topic = match parameters.first("follow") {
        None | Some("" | "0" | "false") => Topic::Journal(form),
        Some("1" | "true") => Topic::Following(form),
        Some(other) => {
            let message = format!("follow={other:?}: expected true or false");
            return Err(ApiError::bad_request(message));
        }
    };
    let lines = line_count(&parameters, topic)?;
    let question = Question { unit, topic, lines };
    tell(&api, question, &parameters).await
}

/// `GET /units/<name>/status`
pub(super) async fn status<C: ClusterStore, J: Journal>(
    State(api): State<Api<C, J>>,
    Named(name): Named,
    method: Method,
    parameters: Parameters,
) -> Result<Response, ApiError> {
    only_get(&method)?;
    let unit = existing(&name)?;
    let topic = Topic::Status;
    let lines = line_count(&parameters, topic)?;
    let question = Question { unit, topic, lines };
    tell(&api, question, &parameters).await
}

fn line_count(parameters: &Parameters, topic: Topic) -> Result<u16, ApiError> {
    let fewest = match topic {
        Topic::Following(_) => 0,
        Topic::Status | Topic::Journal(_) => 1,
    };
    match parameters.first("lines") {
        None => Ok(LINES_DEFAULT),
        Some(text) => match text.parse() {
            Ok(lines) if (fewest..=QUESTION_LINES_MAX).contains(&lines) => Ok(lines),
            Ok(_) | Err(_) => {
                let message = format!(
                    "lines={text:?}: expected a number from {fewest} to {QUESTION_LINES_MAX}"
                );
                Err(ApiError::bad_request(message))
            }
        },
    }
}

fn form(parameters: &Parameters) -> Result<JournalForm, ApiError> {
    match parameters.first("output") {
        None | Some("") => Ok(JournalForm::default()),
        Some(word) => JournalForm::from_word(word).ok_or_else(|| {
            let message = format!("output={word:?}: expected short, cat, json or another of journalctl's forms of text");
            ApiError::bad_request(message)
        }),
    }
}

async fn tell<C: ClusterStore, J: Journal>(
    api: &Api<C, J>,
    question: Question,
    parameters: &Parameters,
) -> Result<Response, ApiError> {
    let Ok(permit) = api.questions.clone().try_acquire_owned() else {
        let message = format!(
            "{QUESTIONS_MAX} statuses and journals are being read already: try again in a moment"
        );
        return Err(ApiError::busy(message));
    };
    let wanted = parameters.first("machineID").filter(|id| !id.is_empty());
    let here = &api.settings.machine;
    let name = &question.unit;
    let look = |records: &Records| place(records, name, wanted, here);
    let missing = |message: String| Err(ApiError::new(StatusCode::NOT_FOUND, message));
    let topic = question.topic;
    let mut pieces: Pieces = match api.store.read(look).await? {
        Place::Here => Box::pin(
            api.journal
                .tell(&question)
                .map(|piece| piece.map_err(Untold::Here)),
        ),
        Place::There(machine) => {
            let pieces = api.store.ask(machine, question);
            Box::pin(pieces.map(|piece| piece.map_err(Untold::There)))
        }
        Place::NoUnit => return Err(ApiError::no_such_unit()),
        Place::NoMachine => return missing(format!("{name} is on no machine")),
        Place::NotThere => return missing(format!("{name} is not on that machine")),
    };
    match topic {
        Topic::Status | Topic::Journal(_) => whole(&mut pieces).await,
        Topic::Following(_) => following(pieces, permit, api.shutdown.clone()).await,
    }
}

/// All of an answer that ends.
async fn whole(pieces: &mut Pieces) -> Result<Response, ApiError> {
    let mut text = String::new();
    while let Some(piece) = pieces.next().await {
        text.push_str(&piece?);
    }
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

/// An answer that goes on: `lines` for each piece, `error` if it cannot go on any more.
async fn following(
    mut pieces: Pieces,
    permit: OwnedSemaphorePermit,
    shutdown: CancellationToken,
) -> Result<Response, ApiError> {
    // It comes at once, or tells why nothing will.
    let first = pieces.next().await.transpose()?.unwrap_or_default();
    let first = event(&Ok(first));
    let stream = unfold(Some((pieces, permit)), move |going| {
        let shutdown = shutdown.clone();
        async move {
            let (mut pieces, permit) = going?;
            let next = tokio::select! {
                () = shutdown.cancelled() => return None,
                next = timeout(KEEP_ALIVE, pieces.next()) => next,
            };
            match next {
                Err(_silence) => {
                    let comment = Bytes::from_static(b": keep-alive\n\n");
                    Some((comment, Some((pieces, permit))))
                }
                Ok(None) => None,
                Ok(Some(Ok(text))) => Some((event(&Ok(text)), Some((pieces, permit)))),
                Ok(Some(Err(error))) => Some((event(&Err(ApiError::from(error).body())), None)),
            }
        }
    });
    let whole = futures_util::stream::once(async move { first })
        .chain(stream)
        .map(Ok::<_, Infallible>);
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream"),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, Body::from_stream(whole)).into_response())
}

/// A piece as it is sent. JSON, so that whatever a unit writes cannot be taken for an event.
fn event(piece: &Result<String, ErrorBody>) -> Bytes {
    let written = match piece {
        Ok(text) => {
            serde_json::to_string(&JournalLines { text: text.clone() }).map(|data| ("lines", data))
        }
        Err(error) => serde_json::to_string(error).map(|data| ("error", data)),
    };
    match written {
        Ok((name, data)) => Bytes::from(format!("event: {name}\ndata: {data}\n\n")),
        Err(error) => {
            tracing::error!(%error, "an event cannot be written as JSON");
            Bytes::from_static(b": not written\n\n")
        }
    }
}

impl From<Untold> for ApiError {
    fn from(untold: Untold) -> ApiError {
        match untold {
            Untold::Here(error) => {
                let message = match std::error::Error::source(&error) {
                    Some(source) => format!("{error}: {source}"),
                    None => error.to_string(),
                };
                ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, message)
            }
            Untold::There(AskError::Store(error)) => error.into(),
            Untold::There(error) => {
                let status = match &error {
                    AskError::Untold { .. } | AskError::Store(_) => {
                        StatusCode::INTERNAL_SERVER_ERROR
                    }
                    AskError::Busy { .. } | AskError::Gone { .. } | AskError::TooMuch { .. } => {
                        StatusCode::BAD_GATEWAY
                    }
                    AskError::Silent { .. } => StatusCode::GATEWAY_TIMEOUT,
                };
                ApiError::new(status, error.to_string())
            }
        }
    }
}

/// Where the unit is: on this machine if it is, else on the first that has it by id.
fn place(records: &Records, name: &UnitName, wanted: Option<&str>, here: &MachineId) -> Place {
    let scheduled = records
        .schedule
        .get(name)
        .into_iter()
        .flat_map(PerMachine::keys);
    let reporting = rows::statuses(records, name).map(|(machine, _)| machine);
    let mut machines: Vec<_> = reporting
        .chain(scheduled)
        .filter(|machine| records.machines.contains_key(machine) || *machine == here)
        .collect();
    let anywhere = !machines.is_empty();
    machines.retain(|machine| wanted.is_none_or(|wanted| machine.is_named(wanted)));
    machines.sort();
    match machines.first() {
        Some(_) if machines.contains(&here) => Place::Here,
        Some(machine) => Place::There((*machine).clone()),
        None if anywhere => Place::NotThere,
        None if records.units.contains_key(name) => Place::NoMachine,
        None => Place::NoUnit,
    }
}
