//! `/units`: fleet 1.0's way to see and change units, one at a time.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use model::{
    Action, ClusterStore, Done, OnDifference, Outcome, Records, Refusal, TargetState, UnitRequest,
};
use unitfile::{UnitFile, UnitHash, UnitName, check_submission};

use super::answer::{ApiError, json};
use super::input::{Parameters, Shape, body, lenient_json};
use super::paging::{Page, PageError};
use super::{Api, Journal, Named, Settings, only_get, rows};
use crate::types::{UnitPage, UnitPut};

/// The longest body of a PUT, in bytes: a file of 64 KiB in which every character is escaped, and then some.
const PUT_BYTES_MAX: usize = 1024 * 1024;

const ONLY_ITEM_METHODS: &str = "only GET, PUT and DELETE supported against this resource";

impl From<PageError> for ApiError {
    fn from(error: PageError) -> ApiError {
        ApiError::bad_request(error.to_string())
    }
}

/// The page of a list that a request asks for.
pub(super) fn page(parameters: &Parameters, settings: &Settings) -> Result<Page, ApiError> {
    Ok(Page::asked(
        parameters.all("nextPageToken"),
        settings.token_limit,
    )?)
}

/// `GET /units`
pub(super) async fn list<C: ClusterStore, J: Journal>(
    State(api): State<Api<C, J>>,
    State(settings): State<Arc<Settings>>,
    method: Method,
    parameters: Parameters,
) -> Result<Response, ApiError> {
    only_get(&method)?;
    let page = page(&parameters, &settings)?;
    let look = move |records: &Records| {
        let total = records.units.len();
        let range = page.range(total);
        let units = records.units.values().skip(range.start).take(range.len());
        UnitPage {
            units: units
                .map(|unit| rows::unit_in_list(records, unit))
                .collect(),
            next_page_token: page.next_token(total),
        }
    };
    json(StatusCode::OK, &api.store.read(look).await?)
}

/// `GET`, `PUT` and `DELETE /units/<name>`
pub(super) async fn one<C: ClusterStore, J: Journal>(
    State(api): State<Api<C, J>>,
    Named(name): Named,
    method: Method,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, ApiError> {
    match method {
        Method::GET => {
            let name = existing(&name)?;
            let look = |records: &Records| match records.units.get(&name) {
                Some(unit) => Ok(rows::unit_alone(records, unit)),
                None => Err(missing(records, &name)),
            };
            json(StatusCode::OK, &api.store.read(look).await??)
        }
        Method::PUT => put(&api.store, &name, &headers, content).await,
        Method::DELETE => {
            let request = UnitRequest {
                name: existing(&name)?,
                action: Action::Destroy,
                file: None,
                template: None,
                on_difference: OnDifference::Keep,
            };
            carry_out(&api.store, request).await?;
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        _ => Err(ApiError::method("GET, PUT, DELETE", ONLY_ITEM_METHODS)),
    }
}

/// `GET /units/<name>/file`: the bytes that were submitted.
pub(super) async fn file<C: ClusterStore, J: Journal>(
    State(api): State<Api<C, J>>,
    Named(name): Named,
    method: Method,
) -> Result<Response, ApiError> {
    only_get(&method)?;
    let name = existing(&name)?;
    let look = |records: &Records| {
        let unit = records
            .units
            .get(&name)
            .ok_or_else(|| missing(records, &name))?;
        let file = records.files.get(&unit.file).ok_or_else(|| {
            let message = format!(
                "the file {} of {name} is missing from the store: submit it again",
                unit.file
            );
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, message)
        })?;
        Ok::<_, ApiError>(Arc::clone(file))
    };
    let file = api.store.read(look).await??;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, kind)], file.raw().to_owned()).into_response())
}

/// A unit under an invalid name cannot exist.
pub(super) fn existing(name: &str) -> Result<UnitName, ApiError> {
    UnitName::parse(name).map_err(|_invalid| ApiError::no_such_unit())
}

pub(super) fn missing(records: &Records, name: &UnitName) -> ApiError {
    if records.quarantined_units.contains(name) {
        return Refusal::Damaged("it cannot be read".to_owned()).into();
    }
    ApiError::no_such_unit()
}

async fn put<C: ClusterStore>(
    store: &C,
    url_name: &str,
    headers: &HeaderMap,
    content: Body,
) -> Result<Response, ApiError> {
    check_content_type(headers)?;
    let asked: UnitPut = lenient_json(&body(content, PUT_BYTES_MAX).await?, Shape::Object)?;
    if !asked.name.is_empty() && asked.name != url_name {
        return Err(ApiError::bad_request(format!(
            "name in URL {url_name:?} differs from unit name in request body {:?}",
            asked.name
        )));
    }
    let name =
        UnitName::parse(url_name).map_err(|error| ApiError::bad_request(error.to_string()))?;
    let target = target(&asked.desired_state)?;
    let look = |records: &Records| {
        let known = records.units.get(&name).map(|unit| unit.hash);
        match known {
            None if records.quarantined_units.contains(&name) => Err(missing(records, &name)),
            known => Ok(known),
        }
    };
    let known = store.read(look).await??;
    let request = put_request(name, &asked, target, known)?;
    match carry_out(store, request).await {
        Ok(outcome) => Ok(match outcome.done {
            Done::Created | Done::Replaced => StatusCode::CREATED.into_response(),
            Done::Updated | Done::Unchanged | Done::Destroyed => {
                StatusCode::NO_CONTENT.into_response()
            }
        }),
        // It was destroyed since it was looked up.
        Err(Refused::Unit(Refusal::NotFound | Refusal::TemplateNotFound(_))) => Err(no_options()),
        Err(refused) => Err(refused.into()),
    }
}

/// The ancestor's decision what a PUT means: create, replace or only another state. PURE.
fn put_request(
    name: UnitName,
    asked: &UnitPut,
    target: Option<TargetState>,
    known: Option<UnitHash>,
) -> Result<UnitRequest, ApiError> {
    let file = file_of(&asked.options)?;
    let wanted = target.unwrap_or(TargetState::Inactive);
    if name.is_template() && wanted != TargetState::Inactive {
        return Err(ApiError::bad_request(format!(
            "cannot activate template {:?}",
            name.as_str()
        )));
    }
    let is_new = match (&file, known) {
        (None, None) => return Err(no_options()),
        (None, Some(_)) => false,
        (Some(_), None) => true,
        (Some(file), Some(known)) => file.hash() != known,
    };
    if is_new && let Some(file) = &file {
        check_submission(&name, file)
            .map_err(|errors| ApiError::bad_request(errors.to_string()))?;
    }
    if !is_new && target.is_none() {
        let message = "must provide DesiredState to update existing unit";
        return Err(ApiError::new(StatusCode::CONFLICT, message));
    }
    // The options of a known unit are only another spelling of its file, whose bytes are kept.
    let on_difference = if is_new {
        OnDifference::Replace
    } else {
        OnDifference::Keep
    };
    Ok(UnitRequest {
        name,
        action: Action::Set(wanted),
        file,
        template: None,
        on_difference,
    })
}

pub(super) fn file_of(options: &[crate::types::UnitOption]) -> Result<Option<UnitFile>, ApiError> {
    if options.is_empty() {
        return Ok(None);
    }
    let triples: Vec<_> = options
        .iter()
        .map(|option| {
            (
                option.section.as_str(),
                option.name.as_str(),
                option.value.as_str(),
            )
        })
        .collect();
    match UnitFile::from_options(&triples) {
        Ok(file) => Ok(Some(file)),
        Err(errors) => Err(ApiError::bad_request(errors.to_string())),
    }
}

fn target(word: &str) -> Result<Option<TargetState>, ApiError> {
    if word.is_empty() {
        return Ok(None);
    }
    match word.parse() {
        Ok(target) => Ok(Some(target)),
        Err(error) => Err(ApiError::bad_request(format!(
            "invalid desiredState: {error}"
        ))),
    }
}

fn no_options() -> ApiError {
    ApiError::new(
        StatusCode::CONFLICT,
        "unit does not exist and options field empty",
    )
}

fn check_content_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let unsupported = |message: String| ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message);
    let values: Vec<_> = headers.get_all(header::CONTENT_TYPE).iter().collect();
    let [value] = values[..] else {
        return Err(unsupported(format!(
            "expected 1 Content-Type, got {}",
            values.len()
        )));
    };
    let media = value
        .as_bytes()
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default();
    if !media.trim_ascii().eq_ignore_ascii_case(b"application/json") {
        return Err(unsupported(
            "only acceptable Content-Type is application/json".to_owned(),
        ));
    }
    Ok(())
}

/// Why a request about one unit was not carried out.
enum Refused {
    Unit(Refusal),
    Api(ApiError),
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> ApiError {
        match refused {
            Refused::Unit(refusal) => refusal.into(),
            Refused::Api(error) => error,
        }
    }
}

async fn carry_out<C: ClusterStore>(store: &C, request: UnitRequest) -> Result<Outcome, Refused> {
    let answers = store
        .apply(vec![request])
        .await
        .map_err(|error| Refused::Api(error.into()))?;
    match answers.into_iter().next() {
        Some(answer) => answer.map_err(Refused::Unit),
        None => Err(Refused::Api(ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the cluster store gave no answer to the request",
        ))),
    }
}
