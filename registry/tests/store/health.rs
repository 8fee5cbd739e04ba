//! How the store is: what is said of members that answer, hang or are gone, of alarms, and of machines' leases.

use std::time::Duration;

use etcd_client::{AlarmAction, AlarmType};
use registry::embedded::Embedded;
use registry::{Join, Registry};
use tokio::net::TcpListener;

use crate::etcd::{DEAD, Etcd, PREFIX, config, soon};
use crate::sample::{id, machine};

const TTL: Duration = Duration::from_secs(30);

#[tokio::test]
async fn the_embedded_store_tells_of_itself() {
    let store = Embedded::in_memory();
    tells_of_itself(Registry::embedded(&store, PREFIX)).await;
}

#[tokio::test]
async fn etcd_tells_of_itself() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    tells_of_itself(etcd.registry().await).await;
}

async fn tells_of_itself(registry: Registry) {
    let lease = registry.lease(TTL, None).await.unwrap();
    let ours = machine("m1", "10.0.0.1", "boot1");
    let Join::Joined(_membership) = registry.join(&ours, &lease).await.unwrap() else {
        panic!("the place is taken");
    };
    let health = registry.health().await;
    println!("{health:?}");
    let [member] = &health.members[..] else {
        panic!("one member");
    };
    let status = member.answer.as_ref().unwrap();
    assert!(status.leader != 0 && status.leader == status.id);
    assert!(!status.version.is_empty());
    assert_eq!(health.alarms, Vec::<String>::new());
    let [of] = &health.leases[..] else {
        panic!("one machine");
    };
    assert_eq!(of.machine, id("m1"));
    let time = of.time.unwrap();
    assert_eq!(time.granted, TTL);
    assert!(time.left <= TTL && time.left > TTL / 2, "{time:?}");
    assert_eq!(
        (&health.alarms_unknown, &health.leases_unknown),
        (&None, &None)
    );
    assert_eq!(health.unasked, Vec::<String>::new());
}

#[tokio::test]
async fn what_cannot_be_asked_is_told() {
    let Some(mut etcd) = Etcd::start().await else {
        return;
    };
    let registry = etcd.registry().await;
    etcd.kill();
    let health = soon("the answer", registry.health()).await;
    println!("{health:?}");
    assert!(health.alarms.is_empty() && health.leases.is_empty());
    assert!(health.alarms_unknown.is_some() && health.leases_unknown.is_some());
}

#[tokio::test]
async fn a_member_that_is_behind_no_endpoint_is_told_of() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    let mut raw = etcd.raw().await;
    // It never comes up, and with one of two the store has no quorum any more.
    raw.member_add([DEAD], None).await.unwrap();
    let registry = etcd.registry().await;
    let health = soon("the answer", registry.health()).await;
    println!("{health:?}");
    assert_eq!((health.members.len(), health.unasked.len()), (1, 1));

    println!("once there is no leader either");
    let health = soon("the store to be without a leader", async {
        loop {
            let health = registry.health().await;
            let [member] = &health.members[..] else {
                panic!("{health:?}")
            };
            if member
                .answer
                .as_ref()
                .is_ok_and(|status| status.leader == 0)
            {
                return health;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    println!("{health:?}");
    assert_eq!((health.members.len(), health.unasked.len()), (1, 1));
}

#[tokio::test]
async fn members_are_asked_one_by_one_and_the_dead_are_named() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}", listener.local_addr().unwrap());
    let endpoints = [DEAD.to_owned(), silent, etcd.endpoint()];
    let mut config = config(&endpoints);
    // As long as is waited for the silent one, and the live one may take.
    config.request_timeout = Duration::from_secs(6);
    let registry = Registry::connect(&config).await.unwrap();
    let health = soon("the answer", registry.health()).await;
    let said: Vec<_> = health
        .members
        .iter()
        .map(|member| (member.endpoint.clone(), member.answer.is_ok()))
        .collect();
    let [dead, silent, live] = endpoints;
    println!("{health:?}");
    assert_eq!(said, [(dead, false), (silent, false), (live, true)]);
}

#[tokio::test]
async fn members_with_different_data_are_told_of() {
    let (Some(one), Some(other)) = (Etcd::start().await, Etcd::start().await) else {
        return;
    };
    let endpoints = [one.endpoint(), other.endpoint()];
    let registry = Registry::connect(&config(&endpoints)).await.unwrap();
    let put = async |etcd: &Etcd, key: &str| {
        etcd.raw().await.put(key, "x", None).await.unwrap();
    };
    put(&one, "/same").await;
    put(&other, "/same").await;
    let health = soon("the answer", registry.health()).await;
    assert_eq!(health.alarms, Vec::<String>::new());
    put(&one, "/here").await;
    put(&other, "/there").await;
    let health = soon("the answer", registry.health()).await;
    println!("{health:?}");
    assert_eq!(health.alarms, ["DIVERGED"]);
}

#[tokio::test]
async fn an_alarm_is_told_of() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    let registry = etcd.registry().await;
    let mut raw = etcd.raw().await;
    let member = raw.member_list().await.unwrap().members()[0].id();
    let mut options = etcd_client::AlarmOptions::new();
    options.with_member(member);
    raw.alarm(
        AlarmAction::Activate,
        AlarmType::Nospace,
        Some(options.clone()),
    )
    .await
    .unwrap();
    assert_eq!(registry.health().await.alarms, ["NOSPACE"]);
    raw.alarm(AlarmAction::Deactivate, AlarmType::Nospace, Some(options))
        .await
        .unwrap();
    assert_eq!(registry.health().await.alarms, Vec::<String>::new());
}
