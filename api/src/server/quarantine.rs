//! `/quarantine`: the records that cannot be understood, and the removal of one.

use axum::extract::State;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use model::{ClusterStore, Records, Removal};

use super::answer::{ApiError, json};
use super::input::Parameters;
use super::{Api, Journal, rows};
use crate::types::Quarantine;

/// `GET /quarantine` lists them, `DELETE /quarantine?key=KEY` removes one.
pub(super) async fn quarantine<C: ClusterStore, J: Journal>(
    State(api): State<Api<C, J>>,
    method: Method,
    parameters: Parameters,
) -> Result<Response, ApiError> {
    match method {
        Method::GET => {
            let look = |records: &Records| Quarantine {
                records: records.quarantine.values().map(rows::quarantined).collect(),
            };
            json(StatusCode::OK, &api.store.read(look).await?)
        }
        Method::DELETE => {
            let Some(key) = parameters.first("key") else {
                let message = "key= is missing: the key in the store of the record to remove";
                return Err(ApiError::bad_request(message));
            };
            match api.store.remove_quarantined(key.to_owned()).await? {
                Removal::Removed => {
                    tracing::warn!(key, "a damaged record was removed");
                    let kind = [(header::CONTENT_TYPE, "application/json")];
                    Ok((StatusCode::NO_CONTENT, kind).into_response())
                }
                Removal::Alive => {
                    let message = format!(
                        "{key} is written by a machine that is alive: restart fleet there, and it is written anew \
                         (systemctl restart fleet; units run on)"
                    );
                    Err(ApiError::new(StatusCode::CONFLICT, message))
                }
                Removal::NotQuarantined => {
                    let message = format!("no damaged record has the key {key}");
                    Err(ApiError::new(StatusCode::NOT_FOUND, message))
                }
            }
        }
        _ => Err(ApiError::method(
            "GET, DELETE",
            "only GET and DELETE supported against this resource",
        )),
    }
}
