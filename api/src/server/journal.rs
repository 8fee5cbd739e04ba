//! `GET /units/<name>/journal`: the last lines a unit wrote, if it runs on this machine.

use std::future::Future;
use std::process::Stdio;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use model::{ClusterStore, MachineId, Records};
use tokio::process::Command;
use unitfile::UnitName;

use super::answer::ApiError;
use super::input::Parameters;
use super::units::existing;
use super::{Api, Named, Settings, only_get, rows};

/// Lines that are given if the request does not say how many.
const LINES_DEFAULT: usize = 10;

/// Lines that are given at most: this is for a look at why a unit failed, not for fetching logs.
const LINES_MAX: usize = 1000;

/// The longest answer, in bytes; of more only the end is given.
const JOURNAL_BYTES_MAX: usize = 1024 * 1024;

/// The journal of this machine.
pub trait Journal: Send + Sync + 'static {
    /// The last `lines` lines of `unit`, ending in a line feed unless there are none.
    fn lines(
        &self,
        unit: &UnitName,
        lines: usize,
    ) -> impl Future<Output = Result<String, JournalError>> + Send;
}

/// Why the journal could not be read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// `journalctl` could not be run.
    #[error("journalctl cannot be run")]
    Run(#[source] std::io::Error),
    /// `journalctl` ended with an error.
    #[error("journalctl: {0}")]
    Failed(String),
}

/// Whose units are meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JournalScope {
    /// The machine's.
    System,
    /// The user's own, that fleetd runs as.
    User,
}

/// The journal through systemd's own tool, which alone knows every way a journal may be stored.
#[derive(Clone, Copy, Debug)]
pub struct Journalctl {
    /// Whose units are meant.
    pub scope: JournalScope,
}

impl Journal for Journalctl {
    async fn lines(&self, unit: &UnitName, lines: usize) -> Result<String, JournalError> {
        let option = match self.scope {
            JournalScope::System => "--unit",
            JournalScope::User => "--user-unit",
        };
        let output = Command::new("journalctl")
            .arg(format!("{option}={unit}"))
            .arg(format!("--lines={lines}"))
            .args(["--output=short", "--no-pager", "--quiet"])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(JournalError::Run)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(JournalError::Failed(if said.is_empty() {
                output.status.to_string()
            } else {
                said
            }));
        }
        let from = output.stdout.len().saturating_sub(JOURNAL_BYTES_MAX);
        Ok(String::from_utf8_lossy(&output.stdout[from..]).into_owned())
    }
}

/// Where a unit's journal is.
enum Place {
    Here,
    /// There, and the address of that machine.
    Elsewhere(MachineId, String),
    NoMachine,
    NoUnit,
}

/// `GET /units/<name>/journal`
pub(super) async fn lines<C: ClusterStore, J: Journal>(
    State(api): State<Api<C, J>>,
    State(settings): State<Arc<Settings>>,
    Named(name): Named,
    method: Method,
    parameters: Parameters,
) -> Result<Response, ApiError> {
    only_get(&method)?;
    let name = existing(&name)?;
    let lines = match parameters.first("lines") {
        None => LINES_DEFAULT,
        Some(text) => match text.parse() {
            Ok(lines) if (1..=LINES_MAX).contains(&lines) => lines,
            Ok(_) | Err(_) => {
                let message = format!("lines={text:?}: expected a number from 1 to {LINES_MAX}");
                return Err(ApiError::bad_request(message));
            }
        },
    };
    let wanted = parameters.first("machineID").filter(|id| !id.is_empty());
    let here = &settings.machine;
    let place = api
        .store
        .read(|records: &Records| place(records, &name, wanted, here))
        .await?;
    let elsewhere = |message: String| Err(ApiError::new(StatusCode::NOT_FOUND, message));
    match place {
        Place::Here => {}
        Place::NoUnit => return Err(ApiError::no_such_unit()),
        Place::NoMachine => return elsewhere(format!("{name} is on no machine")),
        Place::Elsewhere(machine, address) => {
            return elsewhere(format!(
                "{name} is not on this machine ({}) but on {machine} ({address}): ask there",
                here.short()
            ));
        }
    }
    match api.journal.lines(&name, lines).await {
        Ok(text) => {
            let kind = HeaderValue::from_static("text/plain; charset=utf-8");
            Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
        }
        Err(error) => {
            let message = match std::error::Error::source(&error) {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            };
            Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, message))
        }
    }
}

fn place(records: &Records, name: &UnitName, wanted: Option<&str>, here: &MachineId) -> Place {
    let scheduled = records
        .schedule
        .get(name)
        .into_iter()
        .flat_map(|on| on.keys());
    let reporting = rows::statuses(records, name).map(|(machine, _)| machine);
    let mut machines: Vec<_> = reporting
        .chain(scheduled)
        .filter(|machine| wanted.is_none_or(|wanted| machine.is_named(wanted)))
        .collect();
    machines.sort();
    if machines.contains(&here) {
        return Place::Here;
    }
    match machines.first() {
        Some(machine) => {
            let address = records
                .machines
                .get(machine)
                .map(|machine| machine.address.clone());
            Place::Elsewhere(
                (*machine).clone(),
                address.unwrap_or_else(|| "gone".to_owned()),
            )
        }
        None if records.units.contains_key(name) => Place::NoMachine,
        None => Place::NoUnit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn journalctl_takes_our_options_and_has_nothing_of_an_unknown_unit() {
        let unit = UnitName::parse("-fleet-test-no-such-unit.service").unwrap();
        for scope in [JournalScope::System, JournalScope::User] {
            match (Journalctl { scope }).lines(&unit, 3).await {
                Ok(text) => assert_eq!(text, "", "{scope:?}"),
                // A machine without a journal: the tool got as far as looking for it.
                Err(JournalError::Failed(said)) => {
                    println!("{scope:?}: {said}");
                    assert!(said.to_lowercase().contains("no journal files"), "{said}");
                }
                Err(JournalError::Run(error)) => panic!("is systemd installed? {error}"),
            }
        }
    }
}
