//! What `fleetctl doctor` makes of a diagnosis: findings, each with what to do. PURE.

use std::collections::BTreeSet;
use std::fmt;

use crate::count::counted;

use api::types::{BehindUnit, Diagnosis, MachineReport, MemberReport, StoreReport};

/// etcd's default quota is 2 GiB; above half of it there is time to do something.
const DATABASE_BYTES_LARGE: u64 = 1024 * 1024 * 1024;

/// A member on a LAN answers in 1 or 2 ms; one that takes this long is swapping or its disk is too slow.
const LATENCY_MS_LARGE: u64 = 100;

/// Clocks of machines that run NTP differ by a few milliseconds. fleet decides nothing by them, but logs are hard to read.
const CLOCK_DIFFERENCE_MS_LARGE: u64 = 2_000;

/// How many of a kind are named; the rest are counted.
const NAMED_MAX: usize = 5;

/// How bad a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Severity {
    /// All is well.
    Ok,
    /// Nothing is broken; something will be, or is not as wanted.
    Warning,
    /// Something does not work.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Ok => "ok",
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

/// What one check found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    /// What was looked at, in one word.
    pub(crate) check: &'static str,
    pub(crate) found: String,
    /// What to do; empty if nothing is to be done.
    pub(crate) advice: String,
}

impl Finding {
    fn new(severity: Severity, check: &'static str, found: String, advice: &str) -> Finding {
        Finding {
            severity,
            check,
            found,
            advice: advice.to_owned(),
        }
    }
}

/// Judges two diagnoses, the later some time after the earlier: what is so in both is no moment's matter.
pub(crate) fn judge(earlier: &Diagnosis, later: &Diagnosis) -> Vec<Finding> {
    let mut findings = quorum(&later.store);
    findings.extend(latency(&later.store));
    findings.extend(space(&later.store));
    if let Some(reason) = &later.unreadable {
        let found = format!("the cluster's records cannot be read: {reason}");
        let advice = "Running units are not touched. Bring etcd back; nothing else is needed.";
        findings.push(Finding::new(Severity::Error, "records", found, advice));
        return findings;
    }
    findings.push(leader(later));
    findings.push(leases(&later.machines));
    findings.push(clocks(&later.machines));
    findings.push(versions(later));
    findings.push(behind(earlier, later));
    findings.push(quarantine(later));
    findings.push(placement(later));
    findings.push(failed(later));
    findings
}

fn quorum(store: &StoreReport) -> Vec<Finding> {
    let check = "store";
    let mut findings = Vec::new();
    let total = store.members.len();
    let well = store
        .members
        .iter()
        .filter(|member| member.error.is_none() && member.has_leader);
    let well = well.count();
    for member in &store.members {
        let advice = format!(
            "See the journal of etcd there, and whether this machine reaches it: etcdctl --endpoints={} endpoint status",
            member.endpoint
        );
        if let Some(error) = &member.error {
            let found = format!("{} does not answer: {error}", member.endpoint);
            let severity = if well * 2 > total {
                Severity::Warning
            } else {
                Severity::Error
            };
            findings.push(Finding::new(severity, check, found, &advice));
        } else if !member.has_leader {
            let found = format!("{} knows no leader: it has no quorum", member.endpoint);
            let advice = "More than half of the members must be up and reach each other. Running units are not touched meanwhile.";
            findings.push(Finding::new(Severity::Error, check, found, advice));
        }
    }
    if findings.is_empty() {
        let found = match total {
            1 => "its one member answers".to_owned(),
            _ => format!("all {total} members answer and have a leader"),
        };
        findings.push(Finding::new(Severity::Ok, check, found, ""));
    }
    findings
}

/// None if no member answers, which is found already.
fn latency(store: &StoreReport) -> Option<Finding> {
    let check = "latency";
    let slowest = answering(store).max_by_key(|member| member.latency_ms)?;
    let (endpoint, latency_ms) = (&slowest.endpoint, slowest.latency_ms);
    if latency_ms >= LATENCY_MS_LARGE {
        let found = format!("{endpoint} takes {latency_ms} ms to answer");
        let advice = "Give etcd a disk of its own, or a faster one: its log must reach the disk before anything is answered.";
        return Some(Finding::new(Severity::Warning, check, found, advice));
    }
    let found = format!("the slowest member answers in {latency_ms} ms");
    Some(Finding::new(Severity::Ok, check, found, ""))
}

fn answering(store: &StoreReport) -> impl Iterator<Item = &MemberReport> {
    store.members.iter().filter(|member| member.error.is_none())
}

/// None if no member answers.
fn space(store: &StoreReport) -> Option<Finding> {
    let check = "space";
    let largest = answering(store).map(|member| member.database_bytes).max()?;
    let size = format!("the database has {} MiB", largest / 1024 / 1024);
    if let Some(alarm) = store.alarms.first() {
        let advice = match alarm.as_str() {
            "NOSPACE" => {
                "etcd takes no writes until there is space: etcdctl compact REVISION; etcdctl defrag; etcdctl alarm disarm. Running units are not touched."
            }
            "DIVERGED" => {
                "Members of etcd hold different data, so what machines do depends on whom they ask. See who differs: etcdctl endpoint hashkv --cluster; \
                 remove that member, empty its data directory, and add it anew (etcdctl member remove, member add). See docs/guarantees.md."
            }
            _ => {
                "A member's data are damaged: see etcd's documentation on alarms, and replace that member."
            }
        };
        let found = format!("alarm {alarm} is raised; {size}");
        return Some(Finding::new(Severity::Error, check, found, advice));
    }
    if largest >= DATABASE_BYTES_LARGE {
        let advice = "Compact and defragment etcd before it reaches its quota (2 GiB unless --quota-backend-bytes says otherwise).";
        return Some(Finding::new(Severity::Warning, check, size, advice));
    }
    let found = format!("{size}, no alarm");
    Some(Finding::new(Severity::Ok, check, found, ""))
}

fn leader(diagnosis: &Diagnosis) -> Finding {
    let check = "engine";
    match &diagnosis.leader {
        Some(leader) => Finding::new(
            Severity::Ok,
            check,
            format!("the engine of {} leads", leader.short()),
            "",
        ),
        None => Finding::new(
            Severity::Error,
            check,
            "no engine leads: nothing is placed or moved".to_owned(),
            "At least one fleetd must run its engine (disable_engine=false). See: journalctl -u fleet",
        ),
    }
}

fn leases(machines: &[MachineReport]) -> Finding {
    let check = "leases";
    let known = || {
        machines
            .iter()
            .filter_map(|machine| Some((machine, machine.lease.as_ref()?)))
    };
    let forever: Vec<String> = known()
        .filter(|(_, lease)| lease.granted_s == 0)
        .map(|(machine, _)| machine.id.short().to_string())
        .collect();
    if !forever.is_empty() {
        let found = format!(
            "the record of {} is under no lease: the machine is never taken for lost",
            named(&forever)
        );
        return Finding::new(
            Severity::Error,
            check,
            found,
            "Somebody wrote that record by hand. Restart fleet on that machine, or delete the record if the machine is gone.",
        );
    }
    // A keep-alive is due each third of the lease.
    let late: Vec<String> = known()
        .filter(|(_, lease)| lease.left_s * 3 < lease.granted_s)
        .map(|(machine, lease)| {
            format!(
                "{} ({} of {} s left)",
                machine.id.short(),
                lease.left_s,
                lease.granted_s
            )
        })
        .collect();
    if !late.is_empty() {
        let found = format!("late: {}", named(&late));
        return Finding::new(
            Severity::Warning,
            check,
            found,
            "The machine is overloaded, cut off, or gone; if it does not come back its units are moved when the lease ends.",
        );
    }
    Finding::new(
        Severity::Ok,
        check,
        format!("{}, all in time", counted(machines.len(), "machine")),
        "",
    )
}

/// Against the clock of the machine that was asked, in both directions.
fn clocks(machines: &[MachineReport]) -> Finding {
    let check = "clocks";
    let told: Vec<(&MachineReport, i64)> = machines
        .iter()
        .filter_map(|machine| Some((machine, machine.ahead_ms?)))
        .collect();
    let wrong: Vec<String> = told
        .iter()
        .filter(|(_, ahead_ms)| ahead_ms.unsigned_abs() >= CLOCK_DIFFERENCE_MS_LARGE)
        .map(|(machine, ahead_ms)| {
            let way = if *ahead_ms > 0 { "ahead" } else { "behind" };
            let id = machine.id.short();
            format!("{id} {} s {way}", ahead_ms.unsigned_abs() / 1_000)
        })
        .collect();
    let of = format!("{} of {}", told.len(), counted(machines.len(), "machine"));
    if wrong.is_empty() {
        let limit_s = CLOCK_DIFFERENCE_MS_LARGE / 1_000;
        let found = match told.len() {
            0 => "no machine says what time it is".to_owned(),
            _ => format!("{of} asked, none differs by {limit_s} s"),
        };
        return Finding::new(Severity::Ok, check, found, "");
    }
    let found = format!(
        "{of} asked; from the machine that asked them differ: {}",
        named(&wrong)
    );
    Finding::new(
        Severity::Warning,
        check,
        found,
        "Run NTP on all machines; if nearly all differ by the same, it is the one you asked. fleet decides nothing by clocks, but logs and TLS certificates need them.",
    )
}

fn versions(diagnosis: &Diagnosis) -> Finding {
    let check = "versions";
    let all: BTreeSet<&str> = diagnosis
        .machines
        .iter()
        .map(|machine| machine.version.as_str())
        .collect();
    let list: Vec<&str> = all.into_iter().collect();
    if list.len() <= 1 {
        return Finding::new(
            Severity::Ok,
            check,
            format!("fleetd {} everywhere", list.first().unwrap_or(&"-")),
            "",
        );
    }
    let found = format!("several in use: {}", list.join(", "));
    Finding::new(
        Severity::Warning,
        check,
        found,
        "Fine during an upgrade; finish it: fleetctl list-machines --fields=machine,ip,version",
    )
}

/// Only what was behind before and still is: every request is for a moment.
fn behind(earlier: &Diagnosis, later: &Diagnosis) -> Finding {
    let check = "agents";
    let before: BTreeSet<&BehindUnit> = earlier.behind.iter().collect();
    let still: Vec<String> = later
        .behind
        .iter()
        .filter(|unit| before.contains(unit))
        .map(|unit| format!("{} on {}", unit.name, unit.machine_id.short()))
        .collect();
    if still.is_empty() {
        return Finding::new(
            Severity::Ok,
            check,
            "all requests are dealt with, or new".to_owned(),
            "",
        );
    }
    let found = format!("{} not dealt with: {}", still.len(), named(&still));
    Finding::new(
        Severity::Warning,
        check,
        found,
        "A unit may take long to start or stop (see: fleetctl status UNIT); if not, see the journal of fleet on that machine.",
    )
}

fn quarantine(diagnosis: &Diagnosis) -> Finding {
    let check = "records";
    if diagnosis.quarantined_count == 0 {
        return Finding::new(
            Severity::Ok,
            check,
            format!(
                "{}, every record can be read",
                counted(diagnosis.units, "unit")
            ),
            "",
        );
    }
    let named_records: Vec<String> = diagnosis
        .quarantined
        .iter()
        .map(|record| format!("{} ({})", record.key, record.reason))
        .collect();
    let found = format!(
        "{} cannot be understood and are left alone: {}",
        diagnosis.quarantined_count,
        named(&named_records)
    );
    let kinds: BTreeSet<&str> = diagnosis
        .quarantined
        .iter()
        .map(|record| mending(&record.key))
        .collect();
    let mut advice = "What was known of them stays in force.".to_owned();
    for kind in kinds {
        advice.push(' ');
        advice.push_str(kind);
    }
    Finding::new(Severity::Error, check, found, &advice)
}

/// What to do about a damaged record, by its key: whoever writes such records writes them anew.
fn mending(key: &str) -> &'static str {
    // The prefix of the keys is configured and may hold one of these words itself, so the last one counts.
    let folder = |name: &'static str| Some((key.rfind(&format!("/{name}/"))?, name));
    let folders = ["units", "machines", "states", "schedule"];
    match folders.into_iter().filter_map(folder).max() {
        Some((_, "units")) => "A unit: destroy it and submit it again.",
        Some((_, "machines" | "states")) => {
            "What a machine says: run systemctl restart fleet there, which touches no unit. If that machine is gone for good: fleetctl quarantine remove KEY."
        }
        Some((_, "schedule")) => {
            "An entry of a schedule: do not remove it, its unit would be stopped. The leader writes it anew; if it does not, restart fleet on the machine that leads."
        }
        Some(_) | None => "Any other: fleetctl quarantine remove KEY.",
    }
}

fn placement(diagnosis: &Diagnosis) -> Finding {
    let check = "placement";
    if diagnosis.held_count == 0 {
        return Finding::new(
            Severity::Ok,
            check,
            "no unit waits for a machine".to_owned(),
            "",
        );
    }
    let held: Vec<String> = diagnosis
        .held
        .iter()
        .map(|unit| format!("{} ({})", unit.name, unit.reason))
        .collect();
    let found = format!("{} waiting: {}", diagnosis.held_count, named(&held));
    Finding::new(
        Severity::Warning,
        check,
        found,
        "See why, machine by machine: fleetctl explain UNIT",
    )
}

fn failed(diagnosis: &Diagnosis) -> Finding {
    let check = "units";
    if diagnosis.failed_count == 0 {
        return Finding::new(Severity::Ok, check, "none has failed".to_owned(), "");
    }
    let failed: Vec<String> = diagnosis
        .failed
        .iter()
        .map(|unit| format!("{} on {}", unit.name, unit.machine_id.short()))
        .collect();
    let found = format!("{} failed: {}", diagnosis.failed_count, named(&failed));
    Finding::new(
        Severity::Warning,
        check,
        found,
        "See why: fleetctl status UNIT; start it again: fleetctl start UNIT",
    )
}

/// The first few, and how many more.
fn named(all: &[String]) -> String {
    let mut text = all
        .iter()
        .take(NAMED_MAX)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    if all.len() > NAMED_MAX {
        text.push_str(&format!(" and {} more", all.len() - NAMED_MAX));
    }
    text
}

#[cfg(test)]
mod tests;
