//! One unit, two machines, at the same moment: a machine begins with a unit while the leader gives it to another. One of the two
//! is refused.

use std::collections::BTreeSet;
use std::time::Duration;

use model::{Decision, Machine, MachineId, UnassignReason};
use registry::embedded::Embedded;
use registry::{Campaign, Join, Leadership, Lease, Membership, Registry, WriteError};
use unitfile::UnitName;

use crate::etcd::{Etcd, PREFIX, soon};
use crate::leading::records;
use crate::sample::{assign, id, machine, name, status};

#[tokio::test]
async fn a_unit_is_taken_by_one_in_the_embedded_store() {
    let store = Embedded::in_memory();
    one_takes_it(Registry::embedded(&store, PREFIX)).await;
}

#[tokio::test]
async fn a_unit_is_taken_by_one_in_etcd() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    one_takes_it(etcd.registry().await).await;
}

async fn joined(registry: &Registry, machine: &Machine, lease: &Lease) -> Membership {
    match soon("joining", registry.join(machine, lease)).await {
        Ok(Join::Joined(membership)) => membership,
        other => panic!("{other:?}"),
    }
}

fn unassign(unit: &str, from: &str) -> Decision {
    Decision::Unassign {
        unit: name(unit),
        machine: id(from),
        reason: UnassignReason::Moved { to: id("m2") },
    }
}

fn moved(unit: &str) -> [Decision; 2] {
    [unassign(unit, "m1"), assign(unit, "m2")]
}

fn on_m1(unit: &str) -> BTreeSet<(UnitName, MachineId)> {
    [(name(unit), id("m1"))].into()
}

/// Publishes first statuses; returns for which the schedule had no entry.
async fn begin(membership: &Membership, units: &[UnitName]) -> BTreeSet<UnitName> {
    let statuses = units
        .iter()
        .map(|unit| (unit.clone(), Some(status("dead"))))
        .collect();
    let first = units.iter().cloned().collect();
    let published = membership.publish_where_scheduled(statuses, &first).await;
    published.unwrap()
}

async fn is_on(registry: &Registry, unit: &str) -> Vec<MachineId> {
    let known = records(registry).await;
    let entries = known.schedule.get(&name(unit)).into_iter().flatten();
    entries.map(|(machine, _)| machine.clone()).collect()
}

async fn one_takes_it(registry: Registry) {
    let ttl = Duration::from_secs(60);
    let lease = registry.lease(ttl, None).await.unwrap();
    let leads: Leadership = match registry.campaign(&id("m9"), &lease).await.unwrap() {
        Campaign::Won(leadership) => leadership,
        Campaign::Lost(other) => panic!("lost to {other:?}"),
    };
    let m1 = joined(&registry, &machine("m1", "10.0.0.1", "boot"), &lease).await;

    println!("the machine begins first: the leader, which had not heard of it, is refused");
    leads.write(&[assign("a.service", "m1")]).await.unwrap();
    let seen = records(&registry).await.revision;
    assert!(begin(&m1, &[name("a.service")]).await.is_empty());
    let give = |unit: &'static str, seen| {
        let leads = &leads;
        async move {
            let (plan, unreported) = (moved(unit), on_m1(unit));
            leads.write_if_unreported(&plan, &unreported, seen).await
        }
    };
    assert_eq!(give("a.service", seen).await, Err(WriteError::Contested));
    assert_eq!(is_on(&registry, "a.service").await, [id("m1")]);
    println!("what it had heard of is no surprise");
    let seen = records(&registry).await.revision;
    give("a.service", seen).await.unwrap();

    println!("the leader gives it away first: the machine, which had not heard of it, is refused");
    leads.write(&[assign("b.service", "m1")]).await.unwrap();
    let seen = records(&registry).await.revision;
    give("b.service", seen).await.unwrap();
    let refused = begin(&m1, &[name("b.service")]).await;
    assert_eq!(refused, [name("b.service")].into());
    assert!(
        !m1.statuses()
            .await
            .unwrap()
            .contains_key(&name("b.service"))
    );
    println!("and what runs is told whatever the schedule says");
    m1.publish(vec![(name("b.service"), Some(status("running")))])
        .await
        .unwrap();

    println!("300 at once, of which three were given away");
    let units: Vec<UnitName> = (0..300).map(|n| name(&format!("u{n}.service"))).collect();
    let all: Vec<Decision> = units.iter().map(|u| assign(u.as_str(), "m1")).collect();
    leads.write(&all).await.unwrap();
    let gone = ["u7.service", "u150.service", "u299.service"];
    leads
        .write(&gone.map(|unit| unassign(unit, "m1")))
        .await
        .unwrap();
    let refused = begin(&m1, &units).await;
    assert_eq!(refused, gone.map(name).into());
    let known = m1.statuses().await.unwrap();
    assert_eq!(units.iter().filter(|u| known.contains_key(u)).count(), 297);

    println!("two that change places: neither does if one of them has begun");
    let both = [("d.service", "m1", "m2"), ("e.service", "m2", "m1")];
    for (unit, from, _) in both {
        leads.write(&[assign(unit, from)]).await.unwrap();
    }
    let seen = records(&registry).await.revision;
    assert!(begin(&m1, &[name("d.service")]).await.is_empty());
    // With so many others between them that they are written in transactions of their own.
    let others: Vec<String> = (0..200).map(|n| format!("d{n}.service")).collect();
    let plan: Vec<Decision> = (both.iter())
        .flat_map(|(unit, from, to)| [unassign(unit, from), assign(unit, to)])
        .chain(
            others
                .iter()
                .flat_map(|unit| [unassign(unit, "m3"), assign(unit, "m4")]),
        )
        .collect();
    let from_others = others.iter().map(|unit| (name(unit), id("m3")));
    let unreported = (both.iter().map(|(unit, from, _)| (name(unit), id(from))))
        .chain(from_others)
        .collect();
    let written = leads.write_if_unreported(&plan, &unreported, seen).await;
    assert_eq!(written, Err(WriteError::Contested));
    assert_eq!(is_on(&registry, "d.service").await, [id("m1")]);
    assert_eq!(is_on(&registry, "e.service").await, [id("m2")]);

    println!("a leader that was deposed hears that, not of the machine");
    leads.write(&[assign("c.service", "m1")]).await.unwrap();
    let seen = records(&registry).await.revision;
    lease.revoke().await.unwrap();
    assert_eq!(give("c.service", seen).await, Err(WriteError::Deposed));
}
