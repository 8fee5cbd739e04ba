//! `GET /metrics`: what Prometheus reads. The ancestor's series by their names, counted right, and the cluster's units.
//!
//! Any fleetd answers for the whole cluster. Where every machine is read, `?scope=machine` leaves out what the others say
//! themselves.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use model::{ClusterStore, MachineId, Records, TargetState};
use tokio::time::timeout;

use super::answer::ApiError;
use super::exposition::{Exposition, Kind};
use super::input::Parameters;
use super::{Api, Journal, only_get, process, rows};

/// How long the store may take, in which case the rest is told without it: Prometheus waits 10 s.
const STORE_LIMIT: Duration = Duration::from_secs(3);

/// How the engine of this process has done since it started.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EngineFigures {
    /// When it was elected, in seconds since 1970; none if it does not lead.
    pub leading_since_unix_s: Option<u64>,
    /// How often it was elected.
    pub elections: u64,
    /// Plans made.
    pub passes: u64,
    /// How long the last plan took to make.
    pub last_pass: Duration,
    /// Entries made or renewed in schedules.
    pub assigned: u64,
    /// Entries taken out of schedules.
    pub unassigned: u64,
    /// Entries that were to be made or renewed and could not be written.
    pub assign_failures: u64,
    /// Entries that were to be taken out and could not be written.
    pub unassign_failures: u64,
    /// Units found on machines that are gone.
    pub machines_gone: u64,
    /// Units found on machines that they no longer fit.
    pub unfit: u64,
    /// Units found that no machine can take.
    pub held: u64,
    /// Machines that were lost together and keep their units now.
    pub machines_braked: usize,
}

/// Asks the engine how it does. Must not wait.
#[derive(Clone)]
pub struct EngineProbe(Arc<dyn Fn() -> EngineFigures + Send + Sync>);

impl EngineProbe {
    /// A probe that asks `figures`.
    pub fn new(figures: impl Fn() -> EngineFigures + Send + Sync + 'static) -> EngineProbe {
        EngineProbe(Arc::new(figures))
    }
}

impl fmt::Debug for EngineProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EngineProbe")
    }
}

/// Whose units are told of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Scope {
    Cluster,
    Machine,
}

/// `GET /metrics`
pub(super) async fn metrics<C: ClusterStore, J: Journal>(
    State(api): State<Api<C, J>>,
    method: Method,
    parameters: Parameters,
) -> Result<Response, ApiError> {
    only_get(&method)?;
    let scope = match parameters.first("scope") {
        None | Some("cluster") => Scope::Cluster,
        Some("machine") => Scope::Machine,
        Some(other) => {
            let message = format!("scope={other:?}: expected cluster or machine");
            return Err(ApiError::bad_request(message));
        }
    };
    let here = &api.settings.machine;
    let look = |records: &Records| Census::of(records, scope, here);
    let census = match timeout(STORE_LIMIT, api.store.read(look)).await {
        Ok(Ok(census)) => Some(census),
        Ok(Err(error)) => {
            tracing::debug!(%error, "metrics without the store's part");
            None
        }
        Err(_elapsed) => None,
    };
    let mut page = Exposition::default();
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    page.family(
        "fleet_build_info",
        Kind::Gauge,
        "Always 1; the version of this fleetd.",
        [(version.to_vec(), 1.0)],
    );
    page.one(
        "fleet_store_up",
        Kind::Gauge,
        "1 if the cluster store answered; 0 if not, then all about units and machines is missing here.",
        f64::from(u8::from(census.is_some())),
    );
    if let Some(probe) = &api.settings.engine {
        write_engine(&mut page, &(probe.0)());
    }
    if let Some(census) = &census {
        census.write(&mut page);
    }
    process::write(&mut page);
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, kind)], page.into_text()).into_response())
}

/// Names and types of tasks are the ancestor's.
fn write_engine(page: &mut Exposition, engine: &EngineFigures) {
    let by_type = |values: &[(&'static str, u64)]| {
        let sample = |(name, value): &(&'static str, u64)| (vec![("type", *name)], float(*value));
        values.iter().map(sample).collect::<Vec<_>>()
    };
    page.one(
        "fleet_engine_leader_start_time",
        Kind::Gauge,
        "When this engine was elected, in seconds since 1970; 0 if it does not lead.",
        float(engine.leading_since_unix_s.unwrap_or(0)),
    );
    page.one(
        "fleet_engine_elections_total",
        Kind::Counter,
        "How often this engine was elected.",
        float(engine.elections),
    );
    page.family(
        "fleet_engine_task_count_total",
        Kind::Counter,
        "Schedule entries written by this engine.",
        by_type(&[
            ("attemptscheduleunit", engine.assigned),
            ("unscheduleunit", engine.unassigned),
        ]),
    );
    page.family(
        "fleet_engine_task_failure_count_total",
        Kind::Counter,
        "Schedule entries that this engine could not write; they are tried again.",
        by_type(&[
            ("attemptscheduleunit", engine.assign_failures),
            ("unscheduleunit", engine.unassign_failures),
        ]),
    );
    page.one(
        "fleet_engine_reconcile_count_total",
        Kind::Counter,
        "Plans made by this engine.",
        float(engine.passes),
    );
    page.one(
        "fleet_engine_reconcile_last_duration_seconds",
        Kind::Gauge,
        "How long the last plan took to make.",
        engine.last_pass.as_secs_f64(),
    );
    page.one(
        "fleet_engine_machines_braked",
        Kind::Gauge,
        "Machines that were lost together and whose units this leader keeps where they are.",
        engine.machines_braked as f64,
    );
    page.family(
        "fleet_engine_reconcile_failure_count_total",
        Kind::Counter,
        "Units whose machine was gone (machine_away), could no longer run them (run), or that no machine can take (schedule).",
        by_type(&[
            ("machine_away", engine.machines_gone),
            ("run", engine.unfit),
            ("schedule", engine.held),
        ]),
    );
}

/// What the records say, counted.
struct Census {
    machines: usize,
    /// By desired state.
    units: BTreeMap<&'static str, usize>,
    holds: Vec<String>,
    quarantined: usize,
    /// Unit, machine, active state.
    states: Vec<(String, String, String)>,
}

impl Census {
    fn of(records: &Records, scope: Scope, here: &MachineId) -> Census {
        let states_of = [
            TargetState::Inactive,
            TargetState::Loaded,
            TargetState::Launched,
        ];
        let mut units: BTreeMap<_, _> = states_of.map(|state| (state.as_str(), 0)).into();
        for unit in records.units.values() {
            *units.entry(unit.target.as_str()).or_default() += 1;
        }
        let mut states = Vec::new();
        for name in records.statuses.keys() {
            for (machine, status) in rows::statuses(records, name) {
                if scope == Scope::Cluster || machine == here {
                    let active = status.active.as_str().to_owned();
                    states.push((name.to_string(), machine.to_string(), active));
                }
            }
        }
        Census {
            machines: records.machines.len(),
            units,
            holds: records.holds.keys().map(ToString::to_string).collect(),
            quarantined: records.quarantine.len(),
            states,
        }
    }

    fn write(&self, page: &mut Exposition) {
        page.one(
            "fleet_machines",
            Kind::Gauge,
            "Machines in the cluster.",
            self.machines as f64,
        );
        let units = self.units.iter();
        page.family(
            "fleet_units",
            Kind::Gauge,
            "Units in the cluster, by what is wanted of them.",
            units.map(|(state, count)| (vec![("desired", *state)], *count as f64)),
        );
        let holds = self.holds.iter();
        page.family(
            "fleet_unit_held",
            Kind::Gauge,
            "1 for each unit that is to run and that no machine can take.",
            holds.map(|unit| (vec![("unit", unit.as_str())], 1.0)),
        );
        page.one(
            "fleet_quarantined_records",
            Kind::Gauge,
            "Records in the store that cannot be understood and are skipped; see fleetctl quarantine.",
            self.quarantined as f64,
        );
        let states = self.states.iter();
        page.family(
            "fleet_unit_state",
            Kind::Gauge,
            "1 for each unit and machine that has it, with systemd's active state.",
            states.map(|(unit, machine, active)| {
                let labels = [("unit", unit), ("machine", machine), ("active", active)];
                (
                    labels.map(|(key, value)| (key, value.as_str())).to_vec(),
                    1.0,
                )
            }),
        );
    }
}

/// Exact up to 2^53, as every number in Prometheus.
fn float(value: u64) -> f64 {
    value as f64
}
