//! A machine's place in the cluster: taken, refused, taken over, left.

use std::time::Duration;

use model::Machine;
use registry::embedded::Embedded;
use registry::{FollowEvent, Join, Lease, Membership, Registry, Scope, WriteError};

use crate::etcd::{Etcd, PREFIX, soon};
use crate::sample::{machine, name, status};

/// Longer than a busy machine stands still: a lease that ended here would be another test.
const TTL: Duration = Duration::from_secs(20);

/// Of one whose end is waited for.
const SHORT_TTL: Duration = Duration::from_secs(3);

async fn lease(registry: &Registry) -> Lease {
    registry.lease(TTL, None).await.unwrap()
}

async fn joined(registry: &Registry, machine: &Machine, lease: &Lease) -> Membership {
    match soon("joining", registry.join(machine, lease))
        .await
        .unwrap()
    {
        Join::Joined(membership) => membership,
        Join::Occupied { other } => panic!("occupied by {other:?}"),
    }
}

#[tokio::test]
async fn places_in_the_embedded_store() {
    let store = Embedded::in_memory();
    takes_and_gives(Registry::embedded(&store, PREFIX)).await;
}

#[tokio::test]
async fn places_in_etcd() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    takes_and_gives(etcd.registry().await).await;
}

#[tokio::test]
async fn what_stands_under_an_earlier_lease_is_published_again() {
    let registry = Registry::embedded(&Embedded::in_memory(), PREFIX);
    let ours = machine("m1", "10.0.0.1", "boot1");
    let first = lease(&registry).await;
    let membership = joined(&registry, &ours, &first).await;
    let running = vec![(name("a.service"), Some(status("running")))];
    membership.publish(running.clone()).await.unwrap();
    println!(
        "it leaves with a unit that could not be stopped, and is back before its lease has ended"
    );
    membership.leave_schedule().await.unwrap();
    let second = lease(&registry).await;
    let again = joined(&registry, &ours, &second).await;
    assert!(again.statuses().await.unwrap().is_empty());
    again.publish(running).await.unwrap();
    drop(membership);
    first.revoke().await.unwrap();
    assert_eq!(again.statuses().await.unwrap().len(), 1);
}

async fn takes_and_gives(registry: Registry) {
    let ours = machine("m1", "10.0.0.1", "boot1");
    let first = lease(&registry).await;
    let membership = joined(&registry, &ours, &first).await;
    let many: Vec<_> = (0..300)
        .map(|n| (name(&format!("u{n}.service")), Some(status("running"))))
        .collect();
    membership.publish(many).await.unwrap();
    assert_eq!(membership.statuses().await.unwrap().len(), 300);
    membership
        .publish(vec![
            (name("u0.service"), None),
            (name("u1.service"), Some(status("dead"))),
        ])
        .await
        .unwrap();
    let statuses = membership.statuses().await.unwrap();
    assert_eq!(
        (statuses.len(), statuses[&name("u1.service")].sub.as_str()),
        (299, "dead")
    );

    println!("a machine with the same id is refused while the first is alive");
    let clone = machine("m1", "10.0.0.2", "boot1");
    let other_lease = lease(&registry).await;
    match soon("the refusal", registry.join(&clone, &other_lease))
        .await
        .unwrap()
    {
        Join::Occupied { other } => assert_eq!(other, ours),
        Join::Joined(_) => panic!("two machines in one place"),
    }

    println!("the process starts again and resumes its lease");
    let id = first.id();
    drop((first, membership));
    let resumed = registry.lease(TTL, Some(id)).await.unwrap();
    let membership = joined(&registry, &ours, &resumed).await;
    assert_eq!(membership.statuses().await.unwrap().len(), 299);

    println!("the machine starts again and takes its place over, without being seen gone");
    let mut follow = registry.follow(Scope::Cluster);
    soon("the snapshot", follow.next()).await;
    let rebooted = machine("m1", "10.0.0.1", "boot2");
    let new_lease = lease(&registry).await;
    let renewed = joined(&registry, &rebooted, &new_lease).await;
    assert!(
        renewed.statuses().await.unwrap().is_empty(),
        "what the earlier boot said is gone"
    );
    let event = soon("the new record", follow.next()).await;
    let FollowEvent::Changes { changes, .. } = event else {
        panic!("{event:?}")
    };
    assert_eq!(
        changes,
        [model::Change::Machine(
            rebooted.id.clone(),
            Some(rebooted.clone())
        )]
    );
    let old = membership
        .publish(vec![(name("u1.service"), Some(status("running")))])
        .await;
    assert_eq!(
        old,
        Err(WriteError::Deposed),
        "the earlier one may not write any more"
    );

    println!("it leaves, and may still say what becomes of its units");
    renewed
        .publish(vec![(name("u1.service"), Some(status("running")))])
        .await
        .unwrap();
    renewed.leave_schedule().await.unwrap();
    renewed
        .publish(vec![(name("u1.service"), Some(status("dead")))])
        .await
        .unwrap();
    renewed.update(&rebooted).await.unwrap();
    let lease_of_next = lease(&registry).await;
    let next = joined(&registry, &clone, &lease_of_next).await;
    assert_eq!(
        renewed.publish(vec![(name("u1.service"), None)]).await,
        Err(WriteError::Deposed)
    );
    next.update(&machine("m1", "10.0.0.9", "boot1"))
        .await
        .unwrap();
    lease_of_next.revoke().await.unwrap();
    assert_eq!(
        next.publish(vec![(name("u1.service"), Some(status("x")))])
            .await,
        Err(WriteError::Deposed)
    );
}

#[tokio::test]
async fn a_place_whose_holder_is_gone_is_waited_for() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    let registry = etcd.registry().await;
    let first = registry.lease(SHORT_TTL, None).await.unwrap();
    joined(&registry, &machine("m1", "10.0.0.1", "boot1"), &first).await;
    drop(first);
    println!("the holder is gone, its lease still runs");
    let second = lease(&registry).await;
    joined(&registry, &machine("m1", "10.0.0.2", "boot1"), &second).await;
}
