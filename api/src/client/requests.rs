//! The requests, one method each, and how their answers are read.

use bytes::Bytes;
use hyper::StatusCode;
use serde::de::DeserializeOwned;

use super::connection::{Ask, Repeatable};
use super::{Client, ClientError, Endpoint};
use crate::types::{
    Batch, BatchAnswer, BatchRequest, Diagnosis, Explanation, Failure, JournalForm, MachineId,
    Overview, Plan, Quarantine, RebalanceRequest, Rebalancing, Unit, UnitName, Version,
};

/// The longest list of names that is put into an address, in bytes: servers and proxies limit it.
const NAMES_BYTES_MAX: usize = 16 * 1024;

/// A part of an overview.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Section {
    /// [`Overview::units`].
    Units,
    /// [`Overview::states`].
    States,
    /// [`Overview::machines`].
    Machines,
}

impl Section {
    /// Its name in an address.
    pub fn as_str(self) -> &'static str {
        match self {
            Section::Units => "units",
            Section::States => "states",
            Section::Machines => "machines",
        }
    }
}

/// What to see of an overview. The default is all of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OverviewQuery {
    /// Units and states of these only; empty for all.
    pub units: Vec<UnitName>,
    /// These parts only; empty for all.
    pub sections: Vec<Section>,
}

impl Client {
    /// Carries out `requests` in one pass. Sent again only if it is certain that it has not been sent.
    ///
    /// If the answer's `error` is set, nothing was written.
    ///
    /// # Errors
    /// See [`ClientError`]. After `TimedOut` and `Broken` some of it may have been done.
    pub async fn batch(&self, requests: &[BatchRequest]) -> Result<BatchAnswer, ClientError> {
        let batch = Batch {
            requests: requests.to_vec(),
        };
        let body = serde_json::to_vec(&batch).map_err(|error| self.malformed(&error))?;
        let ask = Ask::post("/batch", body);
        let (status, body) = self.exchange(&ask).await?;
        if status == StatusCode::OK {
            return self.read(&body);
        }
        match serde_json::from_slice::<BatchAnswer>(&body) {
            Ok(answer) if answer.error.is_some() => Ok(answer),
            Ok(_) | Err(_) => Err(failure(status, &body)),
        }
    }

    /// One consistent view of the cluster.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn overview(&self, query: OverviewQuery) -> Result<Overview, ClientError> {
        let narrowed = names_query(&query.units);
        let mut path = format!("/overview?{}", narrowed.as_deref().unwrap_or(""));
        if !query.sections.is_empty() {
            let sections: Vec<_> = query
                .sections
                .iter()
                .map(|section| section.as_str())
                .collect();
            path.push_str(&format!("&what={}", sections.join(",")));
        }
        let mut overview: Overview = self.get(path).await?;
        if narrowed.is_none() {
            overview
                .units
                .retain(|unit| query.units.contains(&unit.name));
            overview
                .states
                .retain(|state| query.units.contains(&state.name));
        }
        Ok(overview)
    }

    /// How the cluster and its store are.
    ///
    /// # Errors
    /// See [`ClientError`]. That the store does not answer is none.
    pub async fn diagnosis(&self) -> Result<Diagnosis, ClientError> {
        self.get("/diagnosis".to_owned()).await
    }

    /// The records that cannot be understood.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn quarantine(&self) -> Result<Quarantine, ClientError> {
        self.get("/quarantine".to_owned()).await
    }

    /// Removes a record that cannot be understood.
    ///
    /// # Errors
    /// See [`ClientError`]; also if no such record has this key.
    pub async fn remove_quarantined(&self, key: &str) -> Result<(), ClientError> {
        let ask = Ask::delete(format!("/quarantine?key={}", escaped(key)));
        match self.exchange(&ask).await? {
            (StatusCode::NO_CONTENT, _) => Ok(()),
            (status, body) => Err(failure(status, &body)),
        }
    }

    /// A unit; none if there is no such unit.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn unit(&self, name: &UnitName) -> Result<Option<Unit>, ClientError> {
        match self.exchange(&Ask::get(unit_path(name))).await? {
            (StatusCode::OK, body) => self.read(&body).map(Some),
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (status, body) => Err(failure(status, &body)),
        }
    }

    /// A unit's file, byte for byte as it was submitted; none if there is no such unit.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn unit_file(&self, name: &UnitName) -> Result<Option<Vec<u8>>, ClientError> {
        match self
            .exchange(&Ask::get(format!("{}/file", unit_path(name))))
            .await?
        {
            (StatusCode::OK, body) => Ok(Some(body.to_vec())),
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (status, body) => Err(failure(status, &body)),
        }
    }

    /// The last `lines` lines of a unit's journal on `machine`, or wherever it runs.
    ///
    /// # Errors
    /// See [`ClientError`]; `Api` with code 404 if it is not there, 502 or 504 if the machine that has it cannot be asked this way.
    pub async fn journal(
        &self,
        name: &UnitName,
        machine: Option<&MachineId>,
        lines: usize,
        form: JournalForm,
    ) -> Result<String, ClientError> {
        self.told(journal_path(name, machine, lines, form)).await
    }

    /// What `systemctl status` says of a unit on `machine`, or wherever it runs, with the last `lines` lines of its journal.
    ///
    /// # Errors
    /// As of [`journal`](Client::journal).
    pub async fn status(
        &self,
        name: &UnitName,
        machine: Option<&MachineId>,
        lines: usize,
    ) -> Result<String, ClientError> {
        self.told(on_machine(name, "status", machine, lines)).await
    }

    /// What systemd's tools say of a unit.
    async fn told(&self, path: String) -> Result<String, ClientError> {
        match self.exchange(&Ask::get(path)).await? {
            (StatusCode::OK, body) => Ok(String::from_utf8_lossy(&body).into_owned()),
            (status, body) => Err(failure(status, &body)),
        }
    }

    /// Why a unit is where it is, or why it waits; none if there is no such unit.
    ///
    /// # Errors
    /// See [`ClientError`]; `Api` with code 501 if this fleetd cannot tell.
    pub async fn explanation(&self, name: &UnitName) -> Result<Option<Explanation>, ClientError> {
        let path = format!("{}/explanation", unit_path(name));
        match self.exchange(&Ask::get(path)).await? {
            (StatusCode::OK, body) => self.read(&body).map(Some),
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (status, body) => Err(failure(status, &body)),
        }
    }

    /// What would become of the cluster if `requests` were carried out. Nothing is written. An error is the answer if some
    /// of them are invalid.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn plan(
        &self,
        requests: &[BatchRequest],
    ) -> Result<Result<Plan, BatchAnswer>, ClientError> {
        let batch = Batch {
            requests: requests.to_vec(),
        };
        let body = serde_json::to_vec(&batch).map_err(|error| self.malformed(&error))?;
        let mut ask = Ask::post("/plan", body);
        // It only reads.
        ask.repeatable = Repeatable::Yes;
        let (status, body) = self.exchange(&ask).await?;
        if status == StatusCode::OK {
            return self.read(&body).map(Ok);
        }
        match serde_json::from_slice::<BatchAnswer>(&body) {
            Ok(answer) if answer.error.is_some() => Ok(Err(answer)),
            Ok(_) | Err(_) => Err(failure(status, &body)),
        }
    }

    /// Which units would be better off on other machines; unless it is a dry run, those of the first round are asked to move.
    ///
    /// # Errors
    /// See [`ClientError`]; `Api` with code 501 if this fleetd cannot tell.
    pub async fn rebalance(&self, request: RebalanceRequest) -> Result<Rebalancing, ClientError> {
        let body = serde_json::to_vec(&request).map_err(|error| self.malformed(&error))?;
        let ask = Ask::post("/rebalance", body);
        match self.exchange(&ask).await? {
            (StatusCode::OK, body) => self.read(&body),
            (status, body) => Err(failure(status, &body)),
        }
    }

    /// The version of the fleetd that answers.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn version(&self) -> Result<Version, ClientError> {
        self.get("/version".to_owned()).await
    }

    async fn get<T: DeserializeOwned>(&self, path: String) -> Result<T, ClientError> {
        match self.exchange(&Ask::get(path)).await? {
            (StatusCode::OK, body) => self.read(&body),
            (status, body) => Err(failure(status, &body)),
        }
    }

    fn read<T: DeserializeOwned>(&self, body: &Bytes) -> Result<T, ClientError> {
        serde_json::from_slice(body).map_err(|error| self.malformed(&error))
    }

    fn malformed(&self, error: &impl ToString) -> ClientError {
        ClientError::Malformed {
            endpoint: self
                .endpoint()
                .cloned()
                .unwrap_or(Endpoint::Unix("".into())),
            reason: error.to_string(),
        }
    }
}

/// The error that an answer stands for. What is not in fleet's own form comes from something in between.
/// Whether this is an error in fleetd's form.
pub(super) fn is_failure(body: &Bytes) -> bool {
    serde_json::from_slice::<Failure>(body).is_ok()
}

pub(super) fn failure(status: StatusCode, body: &Bytes) -> ClientError {
    let code = status.as_u16();
    match serde_json::from_slice::<Failure>(body) {
        Ok(failure) => ClientError::Api {
            code,
            message: failure.error.message,
        },
        Err(_) => ClientError::Api {
            code,
            message: String::new(),
        },
    }
}

/// `unitName=a&unitName=b`; none if that is too long, then all is asked for and narrowed here.
pub(super) fn names_query(names: &[UnitName]) -> Option<String> {
    let terms: Vec<_> = names
        .iter()
        .map(|name| format!("unitName={}", encoded(name)))
        .collect();
    let query = terms.join("&");
    (query.len() <= NAMES_BYTES_MAX).then_some(query)
}

/// Where a unit's journal is read.
pub(super) fn journal_path(
    name: &UnitName,
    machine: Option<&MachineId>,
    lines: usize,
    form: JournalForm,
) -> String {
    let path = on_machine(name, "journal", machine, lines);
    format!("{path}&output={form}")
}

fn on_machine(name: &UnitName, what: &str, machine: Option<&MachineId>, lines: usize) -> String {
    let path = format!("{}/{what}?lines={lines}", unit_path(name));
    match machine {
        Some(machine) => format!("{path}&machineID={machine}"),
        None => path,
    }
}

fn unit_path(name: &UnitName) -> String {
    format!("/units/{}", encoded(name))
}

/// A key as part of a query: it may be any text.
fn escaped(key: &str) -> String {
    let mut text = String::with_capacity(key.len());
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.' | b'~') {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// The name as part of an address. Of the characters that a name may have, only `\` must be written otherwise.
fn encoded(name: &UnitName) -> String {
    name.as_str().replace('\\', "%5C")
}
