//! `GET /units/<name>/journal` and `/status`: the last lines a unit wrote, and what systemd says of it, if it is on this
//! machine. Of other machines nothing can be told yet; docs/api.md says why.

use std::future::Future;
use std::process::Stdio;

use axum::extract::State;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use model::{ClusterStore, MachineId, PerMachine, Records};
use tokio::process::Command;
use unitfile::UnitName;

use super::answer::ApiError;
use super::input::Parameters;
use super::units::existing;
use super::{Api, Named, only_get, rows};

/// Lines that are given if the request does not say how many.
const LINES_DEFAULT: usize = 10;

/// Lines that are given at most: this is for a look at why a unit failed, not for fetching logs.
const LINES_MAX: usize = 1000;

/// The longest answer, in bytes; of more only the end is given.
const JOURNAL_BYTES_MAX: usize = 1024 * 1024;

/// What this machine's systemd and its journal say of units.
pub trait Journal: Send + Sync + 'static {
    /// The last `lines` lines of `unit`, ending in a line feed unless there are none.
    fn lines(
        &self,
        unit: &UnitName,
        lines: usize,
    ) -> impl Future<Output = Result<String, JournalError>> + Send;

    /// What `systemctl status` says of `unit`, with the last `lines` lines of its journal.
    fn status(
        &self,
        unit: &UnitName,
        lines: usize,
    ) -> impl Future<Output = Result<String, JournalError>> + Send;
}

/// Why the journal or a status could not be read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// systemd's tool could not be run.
    #[error("{tool} cannot be run")]
    Run {
        /// `journalctl` or `systemctl`.
        tool: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The tool ended with an error.
    #[error("{tool}: {message}")]
    Failed {
        /// `journalctl` or `systemctl`.
        tool: &'static str,
        /// What it said.
        message: String,
    },
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
        let words = [
            format!("{option}={unit}"),
            format!("--lines={lines}"),
            "--output=short".to_owned(),
        ];
        run("journalctl", &words, &[0]).await
    }

    async fn status(&self, unit: &UnitName, lines: usize) -> Result<String, JournalError> {
        let words = [
            match self.scope {
                JournalScope::System => "--system",
                JournalScope::User => "--user",
            }
            .to_owned(),
            "status".to_owned(),
            "--full".to_owned(),
            format!("--lines={lines}"),
            "--".to_owned(),
            unit.to_string(),
        ];
        run("systemctl", &words, &STATUS_TOLD).await
    }
}

/// What `systemctl status` exits with when it could tell: 0 of a unit that is active, 3 of one that is not. It has 4 for a unit
/// that it does not know, and 1 if it could not ask.
const STATUS_TOLD: [i32; 2] = [0, 3];

/// Runs a tool of systemd and returns the end of what it says. It has said what was asked if it exits with one of `told`.
async fn run(tool: &'static str, words: &[String], told: &[i32]) -> Result<String, JournalError> {
    let output = Command::new(tool)
        .args(["--no-pager", "--quiet"])
        .args(words)
        .env("LC_ALL", "C.UTF-8")
        .env_remove("SYSTEMD_COLORS")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|source| JournalError::Run { tool, source })?;
    if !output
        .status
        .code()
        .is_some_and(|code| told.contains(&code))
    {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let message = if said.is_empty() {
            output.status.to_string()
        } else {
            said
        };
        return Err(JournalError::Failed { tool, message });
    }
    let from = output.stdout.len().saturating_sub(JOURNAL_BYTES_MAX);
    Ok(String::from_utf8_lossy(&output.stdout[from..]).into_owned())
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
    Named(name): Named,
    method: Method,
    parameters: Parameters,
) -> Result<Response, ApiError> {
    only_get(&method)?;
    let name = existing(&name)?;
    let lines = line_count(&parameters)?;
    must_be_here(&api, &name, &parameters).await?;
    text(api.journal.lines(&name, lines).await)
}

/// `GET /units/<name>/status`
pub(super) async fn status<C: ClusterStore, J: Journal>(
    State(api): State<Api<C, J>>,
    Named(name): Named,
    method: Method,
    parameters: Parameters,
) -> Result<Response, ApiError> {
    only_get(&method)?;
    let name = existing(&name)?;
    let lines = line_count(&parameters)?;
    must_be_here(&api, &name, &parameters).await?;
    text(api.journal.status(&name, lines).await)
}

fn line_count(parameters: &Parameters) -> Result<usize, ApiError> {
    match parameters.first("lines") {
        None => Ok(LINES_DEFAULT),
        Some(text) => match text.parse() {
            Ok(lines) if (1..=LINES_MAX).contains(&lines) => Ok(lines),
            Ok(_) | Err(_) => {
                let message = format!("lines={text:?}: expected a number from 1 to {LINES_MAX}");
                Err(ApiError::bad_request(message))
            }
        },
    }
}

/// Refuses unless the unit is on this machine, and on the one that is asked for if one is.
async fn must_be_here<C: ClusterStore, J>(
    api: &Api<C, J>,
    name: &UnitName,
    parameters: &Parameters,
) -> Result<(), ApiError> {
    let wanted = parameters.first("machineID").filter(|id| !id.is_empty());
    let here = &api.settings.machine;
    let place = api
        .store
        .read(|records: &Records| place(records, name, wanted, here))
        .await?;
    let elsewhere = |message: String| Err(ApiError::new(StatusCode::NOT_FOUND, message));
    match place {
        Place::Here => Ok(()),
        Place::NoUnit => Err(ApiError::no_such_unit()),
        Place::NoMachine => elsewhere(format!("{name} is on no machine")),
        Place::Elsewhere(machine, address) => elsewhere(format!(
            "{name} is not on this machine ({}) but on {machine} ({address}): ask there",
            here.short()
        )),
    }
}

fn text(said: Result<String, JournalError>) -> Result<Response, ApiError> {
    match said {
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
        .flat_map(PerMachine::keys);
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
                Err(JournalError::Failed { message, .. }) => {
                    println!("{scope:?}: {message}");
                    assert!(
                        message.to_lowercase().contains("no journal files"),
                        "{message}"
                    );
                }
                Err(JournalError::Run { source, .. }) => panic!("is systemd installed? {source}"),
            }
        }
    }

    #[tokio::test]
    async fn systemctl_takes_our_options_and_says_what_it_cannot_tell() {
        let unit = UnitName::parse("-fleet-test-no-such-unit.service").unwrap();
        for scope in [JournalScope::System, JournalScope::User] {
            match (Journalctl { scope }).status(&unit, 3).await {
                Err(JournalError::Failed { message, .. }) => {
                    println!("{scope:?}: {message}");
                    // Or there is no systemd here to be asked.
                    let unknown = message.contains("could not be found");
                    assert!(
                        unknown || message.contains("connect") || message.contains("booted"),
                        "{message}"
                    );
                }
                other => panic!("{scope:?}: {other:?}"),
            }
        }
    }
}
