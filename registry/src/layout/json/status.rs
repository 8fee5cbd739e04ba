//! The JSON of a unit's status.

use model::{
    ActiveState, Generation, InvocationId, JobKind, JobReport, JobResult, LoadState, UnitStatus,
};
use serde::{Deserialize, Serialize};

use super::{Model, parse};

#[derive(Serialize, Deserialize)]
pub(in crate::layout) struct Status {
    load: String,
    active: String,
    sub: String,
    hash: String,
    state: String,
    #[serde(default)]
    generation: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    job: Option<Job>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    invocation: Option<String>,
    #[serde(default)]
    since_unix_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct Job {
    kind: String,
    #[serde(default)]
    generation: u64,
    result: String,
    #[serde(default)]
    message: String,
}

impl From<&UnitStatus> for Status {
    fn from(status: &UnitStatus) -> Status {
        Status {
            load: status.load.to_string(),
            active: status.active.to_string(),
            sub: status.sub.clone(),
            hash: status.hash.to_string(),
            state: status.state.to_string(),
            generation: status.generation.0,
            job: status.job.as_ref().map(|job| Job {
                kind: job.kind.as_str().to_owned(),
                generation: job.generation.0,
                result: job.result.to_string(),
                message: job.message.clone(),
            }),
            invocation: status.invocation.as_ref().map(|id| id.0.clone()),
            since_unix_ms: status.since_unix_ms,
        }
    }
}

impl Status {
    pub(in crate::layout) fn into_model(self) -> Model<UnitStatus> {
        Ok(UnitStatus {
            load: LoadState::from_word(&self.load),
            active: ActiveState::from_word(&self.active),
            sub: self.sub,
            hash: parse("hash", &self.hash)?,
            state: parse("state", &self.state)?,
            generation: Generation(self.generation),
            // A kind of job that only a later version knows must not hide the rest of the status.
            job: self.job.and_then(Job::into_model),
            invocation: self.invocation.map(InvocationId),
            since_unix_ms: self.since_unix_ms,
        })
    }
}

impl Job {
    fn into_model(self) -> Option<JobReport> {
        Some(JobReport {
            kind: job_kind(&self.kind)?,
            generation: Generation(self.generation),
            result: JobResult::from_word(&self.result),
            message: self.message,
        })
    }
}

fn job_kind(word: &str) -> Option<JobKind> {
    [
        JobKind::Load,
        JobKind::Start,
        JobKind::Stop,
        JobKind::Restart,
    ]
    .into_iter()
    .find(|kind| kind.as_str() == word)
}
