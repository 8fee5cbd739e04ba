//! The shapes of `POST /batch`.

use serde::{Deserialize, Serialize};

use super::{ErrorBody, Generation, TargetState, number, text};

/// A verb of `POST /batch`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BatchAction {
    /// Make the unit known.
    Submit,
    /// Put it on a machine, not started; a running unit is stopped.
    Load,
    /// Start it, whatever state it is in.
    Start,
    /// Stop it where it is.
    Stop,
    /// Take it from its machine.
    Unload,
    /// Stop and start it where it is.
    Restart,
    /// Forget it.
    Destroy,
}

/// One request of a batch.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BatchRequest {
    /// The unit's name, in full. Checked by the server, so that all errors of a batch come at once.
    pub name: String,
    /// What to do.
    pub action: BatchAction,
    /// The file the user has under the unit's own name, byte for byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// The template the user has for it, byte for byte; the cluster's own template comes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Take the new file if the cluster has another.
    #[serde(default, skip_serializing_if = "is_false")]
    pub replace: bool,
}

/// The body of `POST /batch`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Batch {
    /// Carried out in this order.
    pub requests: Vec<BatchRequest>,
}

/// The answer to `POST /batch`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BatchAnswer {
    /// Set if some file or name is invalid. Then **nothing** was written, and the outcomes are those of the invalid
    /// requests only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorBody>,
    /// In the order of the requests.
    pub outcomes: Vec<BatchOutcome>,
}

/// What became of one request of a batch.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BatchOutcome {
    /// The unit, as the request named it.
    pub name: String,
    /// What became of it.
    #[serde(flatten)]
    pub result: BatchResult,
}

/// See [`BatchOutcome`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum BatchResult {
    /// It was carried out.
    Done(BatchDone),
    /// It was not.
    Failed {
        /// Why.
        error: ErrorBody,
    },
}

/// What was done for one request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchDone {
    /// What was done.
    pub done: Done,
    /// What is wanted of the unit now.
    #[serde(with = "text")]
    pub target_state: TargetState,
    /// Number of the request: a state with this generation or a later one answers it. The last one if unchanged.
    #[serde(with = "number")]
    pub generation: Generation,
    /// The unit runs on every machine that fits.
    pub global: bool,
    /// The user's file differs from the cluster's, which was kept.
    pub differs: bool,
    /// A replacement was asked for which this verb may not do in the state the unit is in: this state.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "text::option"
    )]
    pub replace_refused_in: Option<TargetState>,
}

/// See [`BatchDone`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Done {
    /// The unit is new.
    Created,
    /// Its file was replaced.
    Replaced,
    /// Something else is wanted of it now.
    Updated,
    /// All is as asked already.
    Unchanged,
    /// It is forgotten.
    Destroyed,
}

/// `true` for `skip_serializing_if`.
fn is_false(value: &bool) -> bool {
    !*value
}
