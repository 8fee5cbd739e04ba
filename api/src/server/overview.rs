//! `GET /overview`: everything a list needs, from one moment.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use model::{ClusterStore, Records};
use unitfile::UnitName;

use super::answer::{ApiError, json};
use super::input::Parameters;
use super::{Api, Journal, only_get, rows};
use crate::types::Overview;

/// Which parts are asked for.
#[derive(Clone, Copy, Debug)]
struct Sections {
    units: bool,
    states: bool,
    machines: bool,
}

/// The units that the values of `unitName` name; none for all. A name that cannot be one matches nothing.
pub(super) fn only(parameters: &Parameters) -> Option<BTreeSet<UnitName>> {
    let mut values = parameters
        .all("unitName")
        .filter(|value| !value.is_empty())
        .peekable();
    values.peek()?;
    Some(
        values
            .filter_map(|value| UnitName::parse(value).ok())
            .collect(),
    )
}

/// `GET /overview`
pub(super) async fn overview<C: ClusterStore, J: Journal>(
    State(api): State<Api<C, J>>,
    method: Method,
    parameters: Parameters,
) -> Result<Response, ApiError> {
    only_get(&method)?;
    let only = only(&parameters);
    let sections = sections(parameters.first("what"))?;
    let look = |records: &Records| see(records, only.as_ref(), sections);
    json(StatusCode::OK, &api.store.read(look).await?)
}

fn sections(what: Option<&str>) -> Result<Sections, ApiError> {
    let Some(what) = what else {
        return Ok(Sections {
            units: true,
            states: true,
            machines: true,
        });
    };
    let mut sections = Sections {
        units: false,
        states: false,
        machines: false,
    };
    for word in what.split(',') {
        match word {
            "units" => sections.units = true,
            "states" => sections.states = true,
            "machines" => sections.machines = true,
            other => {
                let message = format!("what={other:?}: expected units, states or machines");
                return Err(ApiError::bad_request(message));
            }
        }
    }
    Ok(sections)
}

fn see(records: &Records, only: Option<&BTreeSet<UnitName>>, sections: Sections) -> Overview {
    let wanted = |name: &UnitName| only.is_none_or(|only| only.contains(name));
    let mut overview = Overview {
        revision: records.revision.0,
        ..Overview::default()
    };
    if sections.machines {
        let machines = records.machines.values();
        overview.machines = machines
            .map(|machine| rows::machine_row(records, machine))
            .collect();
        overview.brake = records.brake.as_ref().map(rows::brake);
    }
    if sections.units {
        let units = records.units.values().filter(|unit| wanted(&unit.name));
        overview.units = units.map(|unit| rows::unit_row(records, unit)).collect();
    }
    if sections.states {
        for name in records.statuses.keys().filter(|name| wanted(name)) {
            overview.states.extend(
                rows::statuses(records, name)
                    .map(|(machine, status)| rows::state_row(name, machine, status)),
            );
        }
    }
    overview
}
