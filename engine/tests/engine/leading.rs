//! Engines over the embedded store, on virtual time: who leads, what the leader writes, and what
//! becomes of it when the leader dies, resigns or is deposed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::picture::{file, id, machine, name, status};
use crate::ports::free_port;
use engine::{BrakeLimits, EngineReport, EngineSettings, Loss, Role, run};
use model::{
    Action, ClusterStore, Decision, MachineId, OnDifference, Records, UnitRequest, UnitStatus,
};
use registry::embedded::Embedded;
use registry::{
    Campaign, Config, FollowEvent, Join, Lease, Membership, Registry, Scope, TlsFiles, View,
    WriteError,
};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub const PREFIX: &str = "/fleet/";
pub const TTL: Duration = Duration::from_secs(10);

/// One engine, running.
pub struct Engine {
    pub report: watch::Receiver<EngineReport>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

pub fn settings(lease_ttl: Duration) -> EngineSettings {
    EngineSettings {
        lease_ttl,
        brake: BrakeLimits::of_lease(10_000),
        unsteady: None,
        loss: Loss::Believed,
    }
}

impl Engine {
    pub fn start(registry: &Registry, machine: &str) -> Engine {
        Engine::start_with(registry, machine, settings(TTL))
    }

    pub fn start_with(registry: &Registry, machine: &str, settings: EngineSettings) -> Engine {
        let (sender, report) = watch::channel(EngineReport::default());
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(run(
            registry.clone(),
            id(machine),
            settings,
            sender,
            shutdown.clone(),
        ));
        Engine {
            report,
            shutdown,
            task,
        }
    }

    pub async fn until_leading(&mut self) {
        self.report
            .wait_for(|report| report.role == Role::Leading)
            .await
            .unwrap();
    }

    pub async fn until_following(&mut self, leader: &str) {
        let role = Role::Following(id(leader));
        self.report
            .wait_for(|report| report.role == role)
            .await
            .unwrap();
    }

    /// As `kill -9`: nothing is tidied up.
    pub async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}

/// A machine that lives in the cluster without an agent.
pub struct Host {
    membership: Membership,
    lease: Lease,
}

impl Host {
    pub async fn join(registry: &Registry, host: &str) -> Host {
        let lease = registry.lease(TTL, None).await.unwrap();
        let record = machine(&id(host), BTreeMap::new());
        match registry.join(&record, &lease).await.unwrap() {
            Join::Joined(membership) => Host { membership, lease },
            Join::Occupied { other } => panic!("{host} is occupied by {other:?}"),
        }
    }

    /// Its lease ends now.
    pub async fn lose(self) {
        self.lease.revoke().await.unwrap();
    }

    pub async fn report(&self, unit: &str, status: Option<UnitStatus>) {
        self.membership
            .publish(vec![(name(unit), status)])
            .await
            .unwrap();
    }

    /// The first report of a unit; false if it is scheduled here no longer.
    pub async fn begin(&self, unit: &str, status: UnitStatus) -> bool {
        let (unit, status) = (name(unit), Some(status));
        let first = [unit.clone()].into();
        let published = self
            .membership
            .publish_where_scheduled(vec![(unit, status)], &first);
        published.await.unwrap().is_empty()
    }
}

pub async fn ask(registry: &Registry, unit: &str, action: Action, options: &[&str]) {
    let view = View::new(registry.clone(), CancellationToken::new());
    let request = UnitRequest {
        name: name(unit),
        file: (action != Action::Destroy && action != Action::Unload).then(|| file(options)),
        action,
        template: None,
        on_difference: OnDifference::Replace,
    };
    view.apply(vec![request]).await.unwrap().remove(0).unwrap();
}

/// Waits until the records are as wanted.
pub async fn until(registry: &Registry, what: &str, holds: impl Fn(&Records) -> bool) -> Records {
    let mut follow = registry.follow(Scope::Cluster);
    let mut records = Records::default();
    let wait = async {
        loop {
            match follow.next().await {
                FollowEvent::Snapshot { changes, .. } => {
                    records = Records::default();
                    changes.into_iter().for_each(|change| records.apply(change));
                }
                FollowEvent::Changes { changes, .. } => {
                    changes.into_iter().for_each(|change| records.apply(change));
                }
                FollowEvent::Disconnected { .. } | FollowEvent::Synced { .. } => {}
            }
            if holds(&records) {
                return;
            }
        }
    };
    let started = Instant::now();
    if tokio::time::timeout(Duration::from_secs(600), wait)
        .await
        .is_err()
    {
        panic!("never came: {what}: {records:#?}");
    }
    println!("{what}: after {:?} of virtual time", started.elapsed());
    records
}

pub fn is_on(records: &Records, unit: &str, machines: &[&str]) -> bool {
    let entries = records.schedule.get(&name(unit)).into_iter().flatten();
    let machines: Vec<MachineId> = machines.iter().map(|machine| id(machine)).collect();
    entries.map(|(machine, _)| machine).eq(&machines)
}

#[tokio::test(start_paused = true)]
async fn a_unit_is_placed_moved_and_explained() {
    let registry = Registry::embedded(&Embedded::in_memory(), PREFIX);
    let mut engine = Engine::start(&registry, "a");
    engine.until_leading().await;
    ask(&registry, "web.service", Action::Start, &[]).await;
    until(&registry, "no machine, and it says so", |records| {
        records.holds.contains_key(&name("web.service"))
    })
    .await;

    let first = Host::join(&registry, "m1").await;
    until(&registry, "the first machine takes it", |records| {
        is_on(records, "web.service", &["m1"]) && records.holds.is_empty()
    })
    .await;
    let second = Host::join(&registry, "m2").await;
    let records = until(&registry, "the second is there", |records| {
        records.machines.len() == 2
    })
    .await;
    first
        .report(
            "web.service",
            Some(status(&records.units[&name("web.service")])),
        )
        .await;

    println!("m1 leaves, and still stops what it runs");
    first.membership.leave_schedule().await.unwrap();
    let records = until(&registry, "it waits for the stop", |records| {
        is_on(records, "web.service", &[]) && !records.holds.is_empty()
    })
    .await;
    println!("{:?}", records.holds);
    first.report("web.service", None).await;
    until(&registry, "the second takes it", |records| {
        is_on(records, "web.service", &["m2"]) && records.holds.is_empty()
    })
    .await;

    println!("m2 dies: its lease ends with all it reported");
    let third = Host::join(&registry, "m3").await;
    drop(second);
    until(&registry, "the third takes it", |records| {
        is_on(records, "web.service", &["m3"])
    })
    .await;
    assert!(third.lease.id().0 != 0);

    ask(&registry, "web.service", Action::Destroy, &[]).await;
    let records = until(&registry, "its file is collected", |records| {
        records.files.is_empty()
    })
    .await;
    assert!(records.schedule.is_empty() && records.holds.is_empty() && records.units.is_empty());
    engine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn another_leads_once_the_lease_of_a_killed_leader_ends() {
    let registry = Registry::embedded(&Embedded::in_memory(), PREFIX);
    let _host = Host::join(&registry, "m1").await;
    let mut first = Engine::start(&registry, "a");
    first.until_leading().await;
    let mut second = Engine::start(&registry, "b");
    second.until_following("a").await;
    ask(&registry, "one.service", Action::Start, &[]).await;
    let before = until(&registry, "placed by a", |records| {
        is_on(records, "one.service", &["m1"])
    })
    .await;

    let killed = Instant::now();
    first.kill().await;
    ask(&registry, "two.service", Action::Start, &[]).await;
    second.until_leading().await;
    println!("b leads {:?} of virtual time later", killed.elapsed());
    let after = until(&registry, "placed by b", |records| {
        is_on(records, "two.service", &["m1"])
    })
    .await;
    assert_eq!(
        after.schedule[&name("one.service")],
        before.schedule[&name("one.service")]
    );
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_stops_hands_over_before_its_lease_ends() {
    let registry = Registry::embedded(&Embedded::in_memory(), PREFIX);
    let mut first = Engine::start(&registry, "a");
    first.until_leading().await;
    let mut second = Engine::start(&registry, "b");
    second.until_following("a").await;
    let stopped = Instant::now();
    first.stop().await;
    second.until_leading().await;
    assert!(
        stopped.elapsed() < Duration::from_secs(1),
        "virtual: {:?}",
        stopped.elapsed()
    );
    second.stop().await;
    let records = until(&registry, "nobody leads", |records| {
        records.leader.is_none()
    })
    .await;
    assert_eq!(records.leader, None);
}

#[tokio::test(start_paused = true)]
async fn the_plan_of_a_deposed_leader_is_refused() {
    let registry = Registry::embedded(&Embedded::in_memory(), PREFIX);
    let lease = registry.lease(TTL, None).await.unwrap();
    let Campaign::Won(deposed) = registry.campaign(&id("old"), &lease).await.unwrap() else {
        panic!("nobody else is there")
    };
    let mut engine = Engine::start(&registry, "new");
    engine.until_following("old").await;
    println!("the old leader freezes until its lease has ended");
    drop(lease);
    engine.until_leading().await;
    let plan = [Decision::Release {
        unit: name("web.service"),
    }];
    let refused = deposed.write(&plan).await;
    assert!(matches!(refused, Err(WriteError::Deposed)), "{refused:?}");
    engine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn ten_engines_elect_one() {
    let registry = Registry::embedded(&Embedded::in_memory(), PREFIX);
    let mut engines: Vec<Engine> = (0..10)
        .map(|number| Engine::start(&registry, &format!("engine{number}")))
        .collect();
    let records = until(&registry, "elected", |records| records.leader.is_some()).await;
    let leader = records.leader.unwrap().machine;
    for engine in &mut engines {
        let settled = |report: &EngineReport| match &report.role {
            Role::Unknown => false,
            Role::Following(other) => *other == leader,
            Role::Leading => true,
        };
        engine.report.wait_for(settled).await.unwrap();
    }
    let leading = engines
        .iter()
        .filter(|engine| engine.report.borrow().role == Role::Leading);
    assert_eq!(leading.count(), 1);
    for engine in engines {
        engine.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_nobody_understands_disturbs_nothing() {
    let store = Embedded::in_memory();
    let registry = Registry::embedded(&store, PREFIX);
    let _host = Host::join(&registry, "m1").await;
    // A cluster whose keys lie inside ours: its leader's record stands where a unit's would, and is
    // none.
    let inside = Registry::embedded(&store, "/fleet/units/");
    let lease = inside.lease(TTL, None).await.unwrap();
    assert!(matches!(
        inside.campaign(&id("x"), &lease).await.unwrap(),
        Campaign::Won(_)
    ));
    let mut engine = Engine::start(&registry, "a");
    engine.until_leading().await;
    ask(&registry, "web.service", Action::Start, &[]).await;
    let records = until(&registry, "placed", |records| {
        is_on(records, "web.service", &["m1"])
    })
    .await;
    assert_eq!(records.quarantine.len(), 1);
    engine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_changes_nothing_about_places_makes_no_plan() {
    let registry = Registry::embedded(&Embedded::in_memory(), PREFIX);
    let host = Host::join(&registry, "m1").await;
    let mut engine = Engine::start(&registry, "a");
    engine.until_leading().await;
    ask(&registry, "web.service", Action::Start, &[]).await;
    let records = until(&registry, "placed", |records| {
        is_on(records, "web.service", &["m1"])
    })
    .await;
    let mut running = status(&records.units[&name("web.service")]);
    host.report("web.service", Some(running.clone())).await;
    ask(&registry, "next.service", Action::Start, &[]).await;
    until(&registry, "the status was seen", |records| {
        is_on(records, "next.service", &["m1"])
    })
    .await;
    let passes = engine.report.borrow().passes;
    for sub in ["reload", "running", "exited"] {
        running.sub = sub.into();
        host.report("web.service", Some(running.clone())).await;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(engine.report.borrow().passes, passes);
    println!("{passes} plans, none for three changes of state");
    engine.stop().await;
}

/// Serves a store over TCP until told not to.
struct Wire {
    address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Wire {
    async fn lay(store: &Embedded, address: SocketAddr) -> Wire {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let (store, until) = (store.clone(), shutdown.clone());
        let task = tokio::spawn(async move { store.serve(listener, until).await.unwrap() });
        Wire {
            address,
            shutdown,
            task,
        }
    }

    async fn cut(self) -> SocketAddr {
        self.shutdown.cancel();
        self.task.await.unwrap();
        self.address
    }
}

#[tokio::test]
async fn a_leader_that_loses_the_store_goes_on_in_time_or_follows() {
    let store = Embedded::in_memory();
    let near = Registry::embedded(&store, PREFIX);
    let _host = Host::join(&near, "m1").await;
    // Nobody else is given it while the wire is cut.
    let port = free_port().unwrap();
    let wire = Wire::lay(&store, SocketAddr::from(([127, 0, 0, 1], port))).await;
    let config = Config {
        endpoints: vec![format!("http://{}", wire.address)],
        key_prefix: PREFIX.to_owned(),
        tls: TlsFiles::default(),
        username: None,
        password: None,
        request_timeout: Duration::from_secs(1),
    };
    let far = Registry::connect(&config).await.unwrap();
    let mut first = Engine::start_with(&far, "a", settings(Duration::from_secs(10)));
    first.until_leading().await;

    println!("the store is away for a moment; a unit is started meanwhile");
    let address = wire.cut().await;
    first
        .report
        .wait_for(|report| report.store_problem.is_some())
        .await
        .unwrap();
    ask(&near, "one.service", Action::Start, &[]).await;
    let wire = Wire::lay(&store, address).await;
    until(&near, "placed once it is back", |records| {
        is_on(records, "one.service", &["m1"])
    })
    .await;
    assert_eq!(
        first.report.borrow().elections,
        1,
        "still the same leadership"
    );

    println!("the store is away until the lease has ended; another engine reaches it");
    let address = wire.cut().await;
    let mut second = Engine::start(&near, "b");
    second.until_leading().await;
    ask(&near, "two.service", Action::Start, &[]).await;
    until(&near, "placed by b", |records| {
        is_on(records, "two.service", &["m1"])
    })
    .await;
    let wire = Wire::lay(&store, address).await;
    first.until_following("b").await;
    first.stop().await;
    second.stop().await;
    wire.cut().await;
}
