//! What is found about etcd: its members, how fast they answer, its space and its alarms. PURE.

use api::types::{MemberReport, StoreReport};

use super::{Finding, Severity, named};

/// etcd's default quota is 2 GiB; above half of it there is time to do something.
const DATABASE_BYTES_LARGE: u64 = 1024 * 1024 * 1024;

/// A member on a LAN answers in 1 or 2 ms; one that takes this long is swapping or its disk is too slow.
const LATENCY_MS_LARGE: u64 = 100;

/// The alarm that fleetd itself raises when members hold different data.
const DIVERGED: &str = "DIVERGED";

pub(super) fn quorum(store: &StoreReport) -> Vec<Finding> {
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
    if !store.unasked.is_empty() {
        let all = total + store.unasked.len();
        let found = format!(
            "only {total} of {all} members are known here; not asked: {}",
            named(&store.unasked)
        );
        let advice = "Name all members in etcd_servers (fleet.conf): if those that are named there are gone, this machine has no store though the others are well. \
                      If what is named is a gateway to all of them, nothing is to be done.";
        findings.push(Finding::new(Severity::Warning, check, found, advice));
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
pub(super) fn latency(store: &StoreReport) -> Option<Finding> {
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

/// Empty if no member answers.
pub(super) fn space(store: &StoreReport) -> Vec<Finding> {
    let check = "space";
    let Some(largest) = answering(store).map(|member| member.database_bytes).max() else {
        return Vec::new();
    };
    let size = format!("the database has {} MiB", largest / 1024 / 1024);
    let mut alarms: Vec<&str> = store.alarms.iter().map(String::as_str).collect();
    // What makes all else doubtful first.
    alarms.sort_by_key(|alarm| *alarm != DIVERGED);
    let mut findings: Vec<Finding> = (alarms.into_iter())
        .map(|alarm| {
            let found = format!("alarm {alarm} is raised; {size}");
            Finding::new(Severity::Error, check, found, disarming(alarm))
        })
        .collect();
    if let Some(reason) = &store.alarms_unknown {
        let found = format!("whether an alarm is raised is not known: {reason}; {size}");
        let advice = "Ask again once etcd answers: fleetctl doctor";
        findings.push(Finding::new(Severity::Warning, check, found, advice));
    }
    if !findings.is_empty() {
        return findings;
    }
    if largest >= DATABASE_BYTES_LARGE {
        let advice = "Compact and defragment etcd before it reaches its quota (2 GiB unless --quota-backend-bytes says otherwise).";
        return vec![Finding::new(Severity::Warning, check, size, advice)];
    }
    let found = format!("{size}, no alarm");
    vec![Finding::new(Severity::Ok, check, found, "")]
}

/// What to do about an alarm.
fn disarming(alarm: &str) -> &'static str {
    match alarm {
        "NOSPACE" => {
            "etcd takes no writes until there is space: etcdctl compact REVISION; etcdctl defrag; etcdctl alarm disarm; and at once, before any member is \
             restarted, write a key: etcdctl put disarmed yes. Without that a member of etcd 3.4 may come to hold other data than the rest. Running units are not touched."
        }
        DIVERGED => {
            "Members of etcd hold different data, so what machines do depends on whom they ask. See who differs: etcdctl endpoint hashkv --cluster; \
             remove that member, empty its data directory, and add it anew (etcdctl member remove, member add). See docs/guarantees.md."
        }
        _ => {
            "A member's data are damaged: see etcd's documentation on alarms, and replace that member."
        }
    }
}
