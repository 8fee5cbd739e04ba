//! Reads what systemd knows of a unit: its states, and why its last job failed.

use std::collections::HashMap;

use model::{ActiveState, InvocationId, JobResult, LoadState};
use unitfile::{UnitName, UnitType};
use zbus::Connection;
use zbus::wire::OwnedVariant;

use super::exit_status;
use super::proxies::{ManagerProxy, unit_object};

/// systemd's view of a unit.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) load: LoadState,
    pub(super) active: ActiveState,
    pub(super) sub: String,
    pub(super) invocation: Option<InvocationId>,
    pub(super) since_unix_ms: u64,
    pub(super) needs_reload: bool,
}

/// In place of systemd's substate for a unit at rest whose start is due and waits for another (`After=`): systemd starts it from
/// memory also if its file is gone by then, so it must be stopped like one that runs.
pub(super) const QUEUED: &str = "queued";

/// Properties of a unit by name.
pub(super) type Properties = HashMap<String, OwnedVariant>;

/// Asks for a unit's state. systemd answers also for names it does not know.
///
/// Not by `GetAll`: among the properties of a unit are `UnitFileState` and `UnitFilePreset`, for which systemd walks all
/// directories of its unit path. With them one answer was seen to take 10 ms of PID 1; without, far below 1 ms.
pub(super) async fn state(connection: &Connection, name: &UnitName) -> zbus::Result<State> {
    let manager = ManagerProxy::new(connection).await?;
    // The three states are of one moment. Whatever changes between the questions is told by a signal, and asked again. One
    // after the other: the bus allows a connection 128 answers that are due, which the calls of many units share.
    let listed = manager.list_units_by_names(&[name.as_str()]).await?;
    let invocation = property::<Vec<u8>>(connection, name, "InvocationID").await?;
    let since_us = property::<u64>(connection, name, "StateChangeTimestamp").await?;
    let needs_reload = property::<bool>(connection, name, "NeedDaemonReload").await?;
    let (load, active, sub, job) = match listed.into_iter().next() {
        Some((_, _, load, active, sub, _, _, _, job, _)) => (load, active, sub, job),
        None => Default::default(),
    };
    let active = ActiveState::from_word(&active);
    let is_queued = active.is_stopped() && matches!(job.as_str(), "start" | "restart");
    let (active, sub) = match is_queued {
        true => (ActiveState::Activating, QUEUED.to_owned()),
        false => (active, sub),
    };
    Ok(State {
        load: LoadState::from_word(&load),
        active,
        sub,
        invocation: invocation.and_then(|bytes: Vec<u8>| invocation_id(&bytes)),
        since_unix_ms: since_us.unwrap_or_default() / 1000,
        needs_reload: needs_reload.unwrap_or_default(),
    })
}

/// A property of a unit; none if this systemd has none of this name and type.
async fn property<T: TryFrom<OwnedVariant>>(
    connection: &Connection,
    name: &UnitName,
    property: &str,
) -> zbus::Result<Option<T>> {
    let reply = connection
        .call_method(
            Some("org.freedesktop.systemd1"),
            &unit_object(name.as_str()),
            Some("org.freedesktop.DBus.Properties"),
            "Get",
            &("org.freedesktop.systemd1.Unit", property),
        )
        .await?;
    let value: OwnedVariant = reply.body().deserialize()?;
    Ok(T::try_from(value).ok())
}

/// The id of a unit's activation; none if it was never activated.
pub(super) fn invocation(properties: &Properties) -> Option<InvocationId> {
    take(properties, "InvocationID").and_then(|bytes: Vec<u8>| invocation_id(&bytes))
}

fn invocation_id(bytes: &[u8]) -> Option<InvocationId> {
    let digits = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    (!bytes.is_empty()).then_some(InvocationId(digits))
}

/// Why the last job of a unit did not end well, such as `exit-code: status 203/EXEC`.
pub(super) async fn failure(
    connection: &Connection,
    name: &UnitName,
    result: &JobResult,
) -> zbus::Result<String> {
    if *result == JobResult::Dependency {
        return Ok("a unit that it requires could not be started".to_owned());
    }
    let Some(interface) = interface(name.unit_type()) else {
        return Ok(String::new());
    };
    let properties = properties(connection, name, interface).await?;
    let word = text(&properties, "Result");
    if word.is_empty() || word == "success" {
        return Ok(String::new());
    }
    let ended = (
        take::<i32>(&properties, "ExecMainCode").unwrap_or_default(),
        take::<i32>(&properties, "ExecMainStatus").unwrap_or_default(),
    );
    Ok(match exit_status::describe(ended.0, ended.1) {
        Some(ended) => format!("{word}: {ended}"),
        None => word,
    })
}

/// The interface that has `Result`.
fn interface(unit_type: UnitType) -> Option<&'static str> {
    match unit_type {
        UnitType::Service => Some("Service"),
        UnitType::Socket => Some("Socket"),
        UnitType::Timer => Some("Timer"),
        UnitType::Path => Some("Path"),
        UnitType::Mount => Some("Mount"),
        UnitType::Automount => Some("Automount"),
        UnitType::Swap => Some("Swap"),
        UnitType::Scope => Some("Scope"),
        UnitType::Busname
        | UnitType::Device
        | UnitType::Slice
        | UnitType::Snapshot
        | UnitType::Target => None,
    }
}

async fn properties(
    connection: &Connection,
    name: &UnitName,
    interface: &str,
) -> zbus::Result<Properties> {
    let reply = connection
        .call_method(
            Some("org.freedesktop.systemd1"),
            &unit_object(name.as_str()),
            Some("org.freedesktop.DBus.Properties"),
            "GetAll",
            &(format!("org.freedesktop.systemd1.{interface}"),),
        )
        .await?;
    reply.body().deserialize()
}

/// A property that this systemd has and that is of this type.
pub(super) fn take<T: TryFrom<OwnedVariant>>(properties: &Properties, name: &str) -> Option<T> {
    T::try_from(properties.get(name)?.try_clone().ok()?).ok()
}

fn text(properties: &Properties, name: &str) -> String {
    take(properties, name).unwrap_or_default()
}
