//! `GET /diagnosis`: how the cluster and its store are, for `fleetctl doctor`. Answers also when the store does not.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use model::{
    ActiveState, ClusterStore, Generation, MachineId, MachineLease, PerMachine, Records,
    StoreHealth, StoreMember,
};

use super::answer::{ApiError, json};
use super::{Api, Journal, only_get, rows};
use crate::types::{
    BehindUnit, DIAGNOSIS_ENTRIES_MAX, Diagnosis, HeldUnit, LeaseReport, MachineReport,
    MemberReport, PlacedUnit, QuarantinedRecord, StoreReport,
};

/// Machines whose clocks are asked for. Each costs the store two writes, and a person asks often when something is wrong.
const CLOCKS_MAX: usize = 200;

/// `GET /diagnosis`
pub(super) async fn diagnosis<C: ClusterStore, J: Journal>(
    State(api): State<Api<C, J>>,
    method: Method,
) -> Result<Response, ApiError> {
    only_get(&method)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_unix_ms = now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
    let records = async {
        let seen = api.store.read(see).await;
        let machines = seen.as_ref().map_or_else(|_| Vec::new(), asked_for_clocks);
        (seen, api.store.clocks(machines).await)
    };
    let (health, (seen, clocks)) = tokio::join!(api.store.health(), records);
    let mut diagnosis = seen.unwrap_or_else(|error| Diagnosis {
        unreadable: Some(error.to_string()),
        ..Diagnosis::default()
    });
    for machine in &mut diagnosis.machines {
        let lease = health
            .leases
            .iter()
            .find(|lease| lease.machine == machine.id);
        machine.lease = lease.map(lease_report);
        // A store that fails is found otherwise.
        let reading = clocks.as_ref().ok().and_then(|all| all.get(&machine.id));
        machine.ahead_ms = reading.map(|reading| reading.certain_ms());
    }
    diagnosis.now_unix_ms = now_unix_ms;
    env!("CARGO_PKG_VERSION").clone_into(&mut diagnosis.version);
    diagnosis.store = store_report(health);
    json(StatusCode::OK, &diagnosis)
}

/// What the records say; the store itself and the leases are added later.
fn see(records: &Records) -> Diagnosis {
    let held = records.holds.iter().map(|(name, hold)| HeldUnit {
        name: name.clone(),
        reason: hold.reason.to_string(),
    });
    let failed = statuses(records)
        .filter(|(_, _, status)| status.active == ActiveState::Failed)
        .map(|(name, machine, _)| PlacedUnit {
            name: name.clone(),
            machine_id: machine.clone(),
        });
    let quarantined = records
        .quarantine
        .values()
        .map(|problem| QuarantinedRecord {
            key: problem.key.clone(),
            reason: problem.reason.clone(),
        });
    let (held_count, held) = cut(held);
    let (failed_count, failed) = cut(failed);
    let (behind_count, behind) = cut(behind(records));
    let (quarantined_count, quarantined) = cut(quarantined);
    Diagnosis {
        leader: records.leader.as_ref().map(|leader| leader.machine.clone()),
        units: records.units.len(),
        machines: machines(records),
        brake: records.brake.as_ref().map(rows::brake),
        held_count,
        held,
        behind_count,
        behind,
        failed_count,
        failed,
        quarantined_count,
        quarantined,
        ..Diagnosis::default()
    }
}

fn statuses(
    records: &Records,
) -> impl Iterator<Item = (&unitfile::UnitName, &MachineId, &model::UnitStatus)> {
    let of = |(name, statuses)| {
        let statuses: &PerMachine<_> = statuses;
        statuses
            .iter()
            .map(move |(machine, status)| (name, machine, status))
    };
    records.statuses.iter().flat_map(of)
}

/// Assignments whose machine has not answered the last request. Machines that were lost together are told of by the brake.
fn behind(records: &Records) -> impl Iterator<Item = BehindUnit> {
    let is_lost = |machine: &MachineId| {
        let brake = records.brake.as_ref();
        brake.is_some_and(|brake| brake.machines.contains(machine))
    };
    records
        .schedule
        .iter()
        .flat_map(move |(name, assignments)| {
            assignments.iter().filter_map(move |(machine, assignment)| {
                let status = records.statuses.get(name).and_then(|all| all.get(machine));
                let dealt = status.map_or(Generation::default(), |status| status.generation);
                (dealt < assignment.generation && !is_lost(machine)).then(|| BehindUnit {
                    name: name.clone(),
                    machine_id: machine.clone(),
                    requested: assignment.generation,
                    dealt,
                })
            })
        })
}

fn machines(records: &Records) -> Vec<MachineReport> {
    let machines = records.machines.values();
    machines
        .map(|machine| MachineReport {
            id: machine.id.clone(),
            primary_ip: machine.address.clone(),
            version: machine.version.clone(),
            lease: None,
            ahead_ms: None,
        })
        .collect()
}

/// Which machines are asked what their clocks say.
fn asked_for_clocks(diagnosis: &Diagnosis) -> Vec<MachineId> {
    let machines = diagnosis.machines.iter().take(CLOCKS_MAX);
    machines.map(|machine| machine.id.clone()).collect()
}

/// How many there are, and the first of them.
fn cut<T>(all: impl Iterator<Item = T>) -> (usize, Vec<T>) {
    let mut count = 0;
    let mut first = Vec::new();
    for one in all {
        count += 1;
        if first.len() < DIAGNOSIS_ENTRIES_MAX {
            first.push(one);
        }
    }
    (count, first)
}

fn lease_report(lease: &MachineLease) -> LeaseReport {
    lease
        .time
        .map_or_else(LeaseReport::default, |time| LeaseReport {
            granted_s: time.granted.as_secs(),
            left_s: time.left.as_secs(),
            ended: time.granted.is_zero(),
        })
}

fn store_report(health: StoreHealth) -> StoreReport {
    StoreReport {
        members: health.members.into_iter().map(member_report).collect(),
        alarms: health.alarms,
        alarms_unknown: health.alarms_unknown,
        leases_unknown: health.leases_unknown,
        unasked: health.unasked,
    }
}

fn member_report(member: StoreMember) -> MemberReport {
    let endpoint = member.endpoint;
    match member.answer {
        Err(error) => MemberReport {
            endpoint,
            error: Some(error),
            ..MemberReport::default()
        },
        Ok(status) => MemberReport {
            endpoint,
            error: None,
            version: status.version,
            database_bytes: status.database_bytes,
            has_leader: status.leader != 0,
            leads: status.leader != 0 && status.leader == status.id,
            latency_ms: u64::try_from(status.latency.as_millis()).unwrap_or(u64::MAX),
        },
    }
}
