//! What `fleetctl doctor` makes of a diagnosis: findings, each with what to do. PURE.

mod store;

use std::collections::BTreeSet;
use std::fmt;

use crate::count::counted;

use api::types::{BehindUnit, Diagnosis, LeaseReport, MachineId, MachineReport};

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
    let mut findings = store::quorum(&later.store);
    findings.extend(store::latency(&later.store));
    findings.extend(store::space(&later.store));
    if let Some(reason) = &later.unreadable {
        let found = format!("the cluster's records cannot be read: {reason}");
        let advice = "Running units are not touched. Bring etcd back; nothing else is needed.";
        findings.push(Finding::new(Severity::Error, "records", found, advice));
        return findings;
    }
    findings.push(leader(later));
    findings.extend(brake(later));
    findings.push(leases(later));
    findings.push(clocks(&later.machines));
    findings.push(versions(later));
    findings.push(behind(earlier, later));
    findings.push(quarantine(later));
    findings.push(placement(later));
    findings.push(failed(later));
    findings
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

/// None if the brake is off.
fn brake(diagnosis: &Diagnosis) -> Option<Finding> {
    let brake = diagnosis.brake.as_ref()?;
    let short = |machine: &MachineId| machine.short().to_string();
    let lost: Vec<String> = brake.machines.iter().map(short).collect();
    let (severity, advice) = match brake.phase.as_str() {
        "watching" => (
            Severity::Warning,
            "It is waited for one agent_ttl to see whether more go. If not, their units are moved then.",
        ),
        "holding" => (
            Severity::Error,
            "It looks as if the network were cut. Bring it, or these machines, back: their units go on where they were. Until then those run nowhere else. \
             If nothing helps, the machines are given up one by one after brake_hold (5 minutes unless configured). See docs/placement.md.",
        ),
        _ => (
            Severity::Error,
            "They were waited for long enough: each brake_give_up_every (10 s unless configured) one of them is given up and its units move. One that comes \
             back keeps its units. See docs/placement.md.",
        ),
    };
    let found = format!(
        "{} of {} were lost together and keep their units in the schedule ({}): {}",
        lost.len(),
        counted(brake.cluster, "machine"),
        brake.phase,
        named(&lost)
    );
    Some(Finding::new(severity, "brake", found, advice))
}

fn leases(diagnosis: &Diagnosis) -> Finding {
    let check = "leases";
    let machines = &diagnosis.machines;
    if let Some(reason) = &diagnosis.store.leases_unknown {
        let found = format!("whether machines keep their leases is not known: {reason}");
        let advice = "Ask again once etcd answers: fleetctl doctor";
        return Finding::new(Severity::Warning, check, found, advice);
    }
    let known: Vec<(&MachineReport, &LeaseReport)> = (machines.iter())
        .filter_map(|machine| Some((machine, machine.lease.as_ref()?)))
        .collect();
    let forever: Vec<String> = (known.iter())
        .filter(|(_, lease)| lease.granted_s == 0 && !lease.ended)
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
    let late: Vec<String> = (known.iter())
        .filter(|(_, lease)| lease.ended || lease.left_s * 3 < lease.granted_s)
        .map(|(machine, lease)| {
            let (id, left_s, granted_s) = (machine.id.short(), lease.left_s, lease.granted_s);
            match lease.ended {
                true => format!("{id} (has just ended)"),
                false => format!("{id} ({left_s} of {granted_s} s left)"),
            }
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
    let all = counted(machines.len(), "machine");
    let found = match known.len() == machines.len() {
        true => format!("{all}, all in time"),
        false => format!("{} of {all} asked, all in time", known.len()),
    };
    Finding::new(Severity::Ok, check, found, "")
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
