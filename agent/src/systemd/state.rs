//! Reads what systemd knows of a unit: its states, and why its last job failed.

use std::collections::HashMap;

use model::{ActiveState, InvocationId, JobResult, LoadState};
use unitfile::{UnitName, UnitType};
use zbus::Connection;
use zbus::wire::OwnedVariant;

use super::exit_status;
use super::proxies::unit_object;

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

/// Properties of a unit by name.
pub(super) type Properties = HashMap<String, OwnedVariant>;

/// Asks for a unit's state. systemd answers also for names it does not know.
pub(super) async fn state(connection: &Connection, name: &UnitName) -> zbus::Result<State> {
    let properties = properties(connection, name, "Unit").await?;
    let since_us: u64 = take(&properties, "StateChangeTimestamp").unwrap_or_default();
    Ok(State {
        load: LoadState::from_word(&text(&properties, "LoadState")),
        active: ActiveState::from_word(&text(&properties, "ActiveState")),
        sub: text(&properties, "SubState"),
        invocation: invocation(&properties),
        since_unix_ms: since_us / 1000,
        needs_reload: take(&properties, "NeedDaemonReload").unwrap_or_default(),
    })
}

/// The id of a unit's activation; none if it was never activated.
pub(super) fn invocation(properties: &Properties) -> Option<InvocationId> {
    let id: Vec<u8> = take(properties, "InvocationID")?;
    let hexadecimal = id.iter().map(|byte| format!("{byte:02x}")).collect();
    (!id.is_empty()).then_some(InvocationId(hexadecimal))
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
