//! `/state` and `/machines`: fleet 1.0's other two lists, and its way to change machines' metadata.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use model::{ClusterStore, MachineId, MetadataEdit, Records};
use unitfile::UnitName;

use super::answer::{ApiError, json};
use super::input::{Parameters, Shape, body, lenient_json};
use super::units::page;
use super::{Api, Journal, Named, Settings, only_get, rows};
use crate::types::{MachinePage, MachinePatch, StatePage};

/// The longest body of a PATCH, in bytes.
const PATCH_BYTES_MAX: usize = 1024 * 1024;

/// `GET /state`
pub(super) async fn states<C: ClusterStore, J: Journal>(
    State(api): State<Api<C, J>>,
    State(settings): State<Arc<Settings>>,
    method: Method,
    parameters: Parameters,
) -> Result<Response, ApiError> {
    only_get(&method)?;
    let page = page(&parameters, &settings)?;
    // An empty filter is none, as in the ancestor.
    let filter = |key: &str| parameters.first(key).filter(|value| !value.is_empty());
    let (machine_id, unit_name) = (filter("machineID"), filter("unitName"));
    let look = |records: &Records| {
        let names = records.statuses.keys();
        let matching: Vec<_> = names
            .filter(|name| unit_name.is_none_or(|wanted| wanted == name.as_str()))
            .flat_map(|name| {
                rows::statuses(records, name).map(move |(machine, status)| (name, machine, status))
            })
            .filter(|(_, machine, _)| machine_id.is_none_or(|wanted| wanted == machine.as_str()))
            .collect();
        let range = page.range(matching.len());
        let on_page = matching[range].iter();
        StatePage {
            states: on_page
                .map(|(name, on, status)| rows::state(name, on, status))
                .collect(),
            next_page_token: page.next_token(matching.len()),
        }
    };
    json(StatusCode::OK, &api.store.read(look).await?)
}

/// `GET /state/<name>`: the state on one machine, the first by id.
pub(super) async fn state<C: ClusterStore, J: Journal>(
    State(api): State<Api<C, J>>,
    Named(name): Named,
    method: Method,
) -> Result<Response, ApiError> {
    only_get(&method)?;
    let missing = || ApiError::new(StatusCode::NOT_FOUND, "unit state does not exist");
    let name = UnitName::parse(&name).map_err(|_invalid| missing())?;
    let look = |records: &Records| {
        let (machine, status) = rows::statuses(records, &name).next()?;
        Some(rows::state(&name, machine, status))
    };
    json(
        StatusCode::OK,
        &api.store.read(look).await?.ok_or_else(missing)?,
    )
}

/// `GET` and `PATCH /machines`
pub(super) async fn machines<C: ClusterStore, J: Journal>(
    State(api): State<Api<C, J>>,
    State(settings): State<Arc<Settings>>,
    method: Method,
    parameters: Parameters,
    content: Body,
) -> Result<Response, ApiError> {
    match method {
        Method::GET => {
            let page = page(&parameters, &settings)?;
            let look = move |records: &Records| {
                let total = records.machines.len();
                let range = page.range(total);
                let machines = records
                    .machines
                    .values()
                    .skip(range.start)
                    .take(range.len());
                MachinePage {
                    machines: machines
                        .map(|machine| rows::machine(records, machine))
                        .collect(),
                    next_page_token: page.next_token(total),
                }
            };
            json(StatusCode::OK, &api.store.read(look).await?)
        }
        Method::PATCH => {
            let patches: Vec<MachinePatch> =
                lenient_json(&body(content, PATCH_BYTES_MAX).await?, Shape::Array)?;
            let edits = patches.iter().map(edit).collect::<Result<Vec<_>, _>>()?;
            if !edits.is_empty() {
                api.store.edit_machines(edits).await?;
            }
            let kind = (
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/json"),
            );
            Ok((StatusCode::NO_CONTENT, [kind]).into_response())
        }
        _ => Err(ApiError::method(
            "GET, PATCH",
            "only GET and PATCH supported against this resource",
        )),
    }
}

pub(super) fn edit(patch: &MachinePatch) -> Result<MetadataEdit, ApiError> {
    let removes = match patch.op.as_str() {
        "add" | "replace" => false,
        "remove" => true,
        _ => {
            return Err(ApiError::bad_request(
                "invalid op: expect add, remove, or replace",
            ));
        }
    };
    let Some((machine, key)) = machine_and_key(&patch.path) else {
        return Err(ApiError::bad_request("machine metadata path invalid"));
    };
    let value = patch
        .value
        .as_ref()
        .map(|value| value.value.clone())
        .unwrap_or_default();
    if !removes && value.is_empty() {
        return Err(ApiError::bad_request(
            "invalid value: add and replace require a value",
        ));
    }
    Ok(MetadataEdit {
        machine,
        key,
        value: (!removes).then_some(value),
    })
}

/// The parts of `/<machine id>/metadata/<key>`.
fn machine_and_key(path: &str) -> Option<(MachineId, String)> {
    let (machine, key) = path.strip_prefix('/')?.split_once("/metadata/")?;
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if key.is_empty() || !key.chars().all(legal) {
        return None;
    }
    Some((MachineId::parse(machine).ok()?, key.to_owned()))
}
