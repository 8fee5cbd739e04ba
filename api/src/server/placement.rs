//! `GET /units/<name>/explanation`, `POST /plan` and `POST /rebalance`: what the engine says of a unit, what it would say of a
//! batch, and which units would be better off elsewhere. Only the last of them writes, and only what it was asked to.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use model::{Action, ClusterStore, OnDifference, Placement, Records, UnitRequest};
use tokio::sync::OwnedSemaphorePermit;

use super::answer::{ApiError, json};
use super::batch::{Checked, checked};
use super::input::body;
use super::units::{existing, missing};
use super::{Api, Journal, Named, Settings, explained, only_get, only_post};
use crate::types::RebalanceRequest;

/// Two fields.
const REBALANCE_BYTES_MAX: usize = 4096;

/// Rehearsals and explanations at once; others wait for them. Each has a copy of the whole cluster and keeps a processor busy.
pub(super) const REHEARSALS_MAX: usize = 2;

fn placement(settings: &Settings) -> Result<Arc<dyn Placement>, ApiError> {
    settings.placement.clone().ok_or_else(|| {
        let message = "this fleetd cannot explain placement: ask another";
        ApiError::new(StatusCode::NOT_IMPLEMENTED, message)
    })
}

/// `GET /units/<name>/explanation`
pub(super) async fn explain<C: ClusterStore, J: Journal>(
    State(api): State<Api<C, J>>,
    Named(name): Named,
    method: Method,
) -> Result<Response, ApiError> {
    only_get(&method)?;
    let name = existing(&name)?;
    let placement = placement(&api.settings)?;
    let permit = permit(&api).await?;
    let revision = api
        .store
        .read(|records| {
            match records.units.contains_key(&name) || records.quarantined_units.contains(&name) {
                true => Ok(records.revision),
                false => Err(missing(records, &name)),
            }
        })
        .await??;
    let (advice, unit) = (Arc::clone(&placement), name.clone());
    let kept = rehearse(&permit, move || advice.explain_again(revision, &unit)).await?;
    let explanation = match kept {
        Some(explanation) => explanation,
        None => {
            let records = api.store.read(Records::clone).await?;
            let asked = name.clone();
            match rehearse(&permit, move || placement.explain(records, &asked)).await? {
                Some(explanation) => explanation,
                // It was destroyed meanwhile.
                None => return Err(api.store.read(|records| missing(records, &name)).await?),
            }
        }
    };
    json(StatusCode::OK, &explained::explanation(&explanation))
}

/// `POST /plan`
pub(super) async fn plan<C: ClusterStore, J: Journal>(
    State(api): State<Api<C, J>>,
    method: Method,
    content: Body,
) -> Result<Response, ApiError> {
    only_post(&method)?;
    let placement = placement(&api.settings)?;
    let requests = match checked(content).await? {
        Checked::Valid(requests) => requests,
        Checked::Invalid(answer) => return json(StatusCode::BAD_REQUEST, &answer),
    };
    let permit = permit(&api).await?;
    let records = api.store.read(Records::clone).await?;
    let plan = rehearse(&permit, move || placement.trial(records, &requests)).await?;
    json(StatusCode::OK, &explained::plan(&plan))
}

/// `POST /rebalance`
pub(super) async fn rebalance<C: ClusterStore, J: Journal>(
    State(api): State<Api<C, J>>,
    method: Method,
    content: Body,
) -> Result<Response, ApiError> {
    only_post(&method)?;
    let placement = placement(&api.settings)?;
    let content = body(content, REBALANCE_BYTES_MAX).await?;
    let asked: RebalanceRequest = serde_json::from_slice(&content)
        .map_err(|error| ApiError::bad_request(format!("unable to decode body: {error}")))?;
    let moves_max = asked.max_moves.unwrap_or(usize::MAX);
    let permit = permit(&api).await?;
    let records = api.store.read(Records::clone).await?;
    let moves = rehearse(&permit, move || placement.rebalance(&records, moves_max)).await?;
    if asked.dry_run {
        return json(StatusCode::OK, &explained::rebalancing(&moves, Vec::new()));
    }
    // The others depend on these: who wants them asks again when these are done.
    let first = moves.iter().filter(|it| it.round == 1);
    let requests = first.map(|it| UnitRequest {
        name: it.unit.clone(),
        action: Action::Move(it.to.clone()),
        file: None,
        template: None,
        on_difference: OnDifference::Keep,
    });
    let answers = api.store.apply(requests.collect()).await?;
    json(StatusCode::OK, &explained::rebalancing(&moves, answers))
}

type Permit = Arc<OwnedSemaphorePermit>;

async fn permit<C: ClusterStore, J: Journal>(api: &Api<C, J>) -> Result<Permit, ApiError> {
    let permit = Arc::clone(&api.rehearsals).acquire_owned().await;
    permit.map(Arc::new).map_err(rehearsal_failed)
}

/// Does what keeps a processor busy. The permit is held until that has ended, also if nobody waits for it any more.
async fn rehearse<T: Send + 'static>(
    permit: &Permit,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    let permit = Arc::clone(permit);
    let rehearsal = tokio::task::spawn_blocking(move || {
        let done = work();
        drop(permit);
        done
    });
    rehearsal.await.map_err(rehearsal_failed)
}

fn rehearsal_failed(error: impl std::fmt::Display) -> ApiError {
    let message = format!("what would happen could not be found out: {error}");
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, message)
}
