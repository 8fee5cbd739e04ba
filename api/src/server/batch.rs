//! `POST /batch`: many requests in one pass. Everything is checked before anything is written.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use model::{Action, ClusterStore, OnDifference, Outcome, Refusal, UnitRequest};
use unitfile::{Errors, UnitFile, UnitName, check_submission};

use super::answer::{ApiError, json};
use super::input::body;
use super::{Api, Journal, only_post};
use crate::types::{
    Batch, BatchAction, BatchAnswer, BatchDone, BatchOutcome, BatchRequest, BatchResult, Done,
};

/// Requests in one batch: as many as the largest cluster has units.
const REQUESTS_MAX: usize = 10_000;

/// The longest body, in bytes: that many requests with files of 6 KiB, or 1,000 with the largest.
const BATCH_BYTES_MAX: usize = 64 * 1024 * 1024;

/// `POST /batch`
pub(super) async fn batch<C: ClusterStore, J: Journal>(
    State(api): State<Api<C, J>>,
    method: Method,
    content: Body,
) -> Result<Response, ApiError> {
    only_post(&method)?;
    let requests = match checked(content).await? {
        Checked::Valid(requests) => requests,
        Checked::Invalid(answer) => return json(StatusCode::BAD_REQUEST, &answer),
    };
    let names: Vec<_> = requests
        .iter()
        .map(|request| request.name.clone())
        .collect();
    let results = api.store.apply(requests).await?;
    let outcomes = names
        .iter()
        .zip(results)
        .map(|(name, result)| outcome(name, result))
        .collect();
    json(
        StatusCode::OK,
        &BatchAnswer {
            error: None,
            outcomes,
        },
    )
}

/// Reads and checks the body of a batch.
pub(super) async fn checked(content: Body) -> Result<Checked, ApiError> {
    let content = body(content, BATCH_BYTES_MAX).await?;
    // Thousands of files are parsed here: not where others wait.
    tokio::task::spawn_blocking(move || check(&content))
        .await
        .map_err(|error| {
            let message = format!("the batch could not be checked: {error}");
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, message)
        })?
}

/// The requests of a batch, or what is wrong with them.
pub(super) enum Checked {
    Valid(Vec<UnitRequest>),
    Invalid(BatchAnswer),
}

fn check(content: &[u8]) -> Result<Checked, ApiError> {
    let batch: Batch = serde_json::from_slice(content)
        .map_err(|error| ApiError::bad_request(format!("unable to decode body: {error}")))?;
    if batch.requests.len() > REQUESTS_MAX {
        return Err(ApiError::bad_request(format!(
            "the batch has {} requests, and the limit is {REQUESTS_MAX}: send several",
            batch.requests.len()
        )));
    }
    // All instances of a template come with the same text.
    let mut parsed = BTreeMap::new();
    let mut requests = Vec::with_capacity(batch.requests.len());
    let mut outcomes = Vec::new();
    for asked in &batch.requests {
        match request(asked, &mut parsed) {
            Ok(request) => requests.push(request),
            Err(message) => outcomes.push(BatchOutcome {
                name: asked.name.clone(),
                result: BatchResult::Failed {
                    error: ApiError::bad_request(message).body(),
                },
            }),
        }
    }
    if outcomes.is_empty() {
        return Ok(Checked::Valid(requests));
    }
    let message = format!(
        "{} of {} requests are invalid: nothing was written",
        outcomes.len(),
        batch.requests.len()
    );
    let error = Some(ApiError::bad_request(message).body());
    Ok(Checked::Invalid(BatchAnswer { error, outcomes }))
}

/// Files by their text.
type Parsed<'a> = BTreeMap<&'a str, Result<UnitFile, Errors>>;

/// One request, checked; or everything that is wrong with it.
fn request<'a>(asked: &'a BatchRequest, parsed: &mut Parsed<'a>) -> Result<UnitRequest, String> {
    let name = UnitName::parse(&asked.name).map_err(|error| error.to_string())?;
    let file = file(&name, asked.content.as_deref(), parsed);
    let template = file_of_template(&name, asked.template.as_deref(), parsed);
    let (file, template) = match (file, template) {
        (Ok(file), Ok(template)) => (file, template),
        (Err(one), Err(other)) => return Err(format!("{one}\n{other}")),
        (Err(message), Ok(_)) | (Ok(_), Err(message)) => return Err(message),
    };
    let on_difference = if asked.replace {
        OnDifference::Replace
    } else {
        OnDifference::Keep
    };
    Ok(UnitRequest {
        name,
        action: action(asked.action),
        file,
        template,
        on_difference,
    })
}

fn file<'a>(
    name: &UnitName,
    text: Option<&'a str>,
    parsed: &mut Parsed<'a>,
) -> Result<Option<UnitFile>, String> {
    let Some(text) = text else { return Ok(None) };
    let file = parsed
        .entry(text)
        .or_insert_with(|| UnitFile::parse(text))
        .clone();
    let checked = file.and_then(|file| check_submission(name, &file).map(|_| file));
    checked.map(Some).map_err(|errors| errors.to_string())
}

fn file_of_template<'a>(
    name: &UnitName,
    text: Option<&'a str>,
    parsed: &mut Parsed<'a>,
) -> Result<Option<UnitFile>, String> {
    file(name, text, parsed).map_err(|message| match name.template() {
        Some(template) => format!("{template}: {message}"),
        None => message,
    })
}

fn action(action: BatchAction) -> Action {
    match action {
        BatchAction::Submit => Action::Submit,
        BatchAction::Load => Action::Load,
        BatchAction::Start => Action::Start,
        BatchAction::Stop => Action::Stop,
        BatchAction::Unload => Action::Unload,
        BatchAction::Restart => Action::Restart,
        BatchAction::Destroy => Action::Destroy,
    }
}

fn outcome(name: &UnitName, result: Result<Outcome, Refusal>) -> BatchOutcome {
    let result = match result {
        Ok(outcome) => BatchResult::Done(BatchDone {
            done: match outcome.done {
                model::Done::Created => Done::Created,
                model::Done::Replaced => Done::Replaced,
                model::Done::Updated => Done::Updated,
                model::Done::Unchanged => Done::Unchanged,
                model::Done::Destroyed => Done::Destroyed,
            },
            target_state: outcome.target,
            generation: outcome.generation,
            global: outcome.global,
            differs: outcome.differs,
            replace_refused_in: outcome.replace_refused_in,
        }),
        Err(refusal) => BatchResult::Failed {
            error: ApiError::from(refusal).body(),
        },
    };
    BatchOutcome {
        name: name.to_string(),
        result,
    }
}
