//! One machine and its cluster: an embedded store, a leader's hand that writes the schedule, and a fake systemd.

use std::sync::Arc;
use std::time::Duration;

use agent::fake::FakeSystemd;
use agent::{Aids, JoinError, Joined, Joining, ScheduleCopy};
use model::{
    Action, AssignReason, Assignment, BootId, Capacity, Clock, ClusterStore, Decision, Generation,
    Machine, MachineId, Mark, OnDifference, Records, TargetState, UnassignReason, UnitRequest,
    UnitStatus,
};
use registry::embedded::Embedded;
use registry::{
    Campaign, Config, FollowEvent, Join, Leadership, Lease, LeaseId, Membership, Registry, Scope,
    TlsFiles, View,
};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use unitfile::{UnitFile, UnitName};

const PREFIX: &str = "/fleet/";
pub(crate) const TTL: Duration = Duration::from_secs(60);

/// How long nothing may happen before a test fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Bed {
    pub(crate) systemd: FakeSystemd,
    pub(crate) membership: Arc<Membership>,
    machine: MachineId,
    pub(crate) registry: Registry,
    raw: etcd_client::Client,
    leadership: Leadership,
    view: View,
    leases: [Lease; 2],
    store: Embedded,
}

/// An agent at work.
pub(crate) struct Running {
    task: JoinHandle<()>,
    shutdown: CancellationToken,
}

fn described(id: &MachineId) -> Machine {
    Machine {
        id: id.clone(),
        boot: BootId("boot".into()),
        address: "10.0.0.1".into(),
        metadata: Default::default(),
        version: "test".into(),
        capacity: Capacity::default(),
    }
}

/// The runtime's time, which tests can drive.
struct RuntimeClock(Instant);

impl Clock for RuntimeClock {
    fn unix_ms(&self) -> u64 {
        1
    }
    fn boot_ms(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap()
    }
}

impl Bed {
    pub(crate) async fn new() -> Bed {
        let store = Embedded::in_memory();
        let clock = Arc::new(RuntimeClock(Instant::now()));
        let registry = Registry::embedded(&store, PREFIX).with_clock(clock.clone());
        let id = MachineId::parse("m1").unwrap();
        let machine = described(&id);
        let lease = registry.lease(TTL, None).await.unwrap();
        let Join::Joined(membership) = registry.join(&machine, &lease).await.unwrap() else {
            panic!("the place is taken");
        };
        let leader_lease = registry.lease(TTL, None).await.unwrap();
        let Campaign::Won(leadership) = registry.campaign(&id, &leader_lease).await.unwrap() else {
            panic!("another leads");
        };
        Bed {
            systemd: FakeSystemd::new(clock),
            membership: Arc::new(membership),
            machine: id,
            raw: etcd_client::Client::from_channel(store.channel(), None)
                .await
                .unwrap(),
            leadership,
            view: View::new(registry.clone(), CancellationToken::new()),
            registry,
            leases: [lease, leader_lease],
            store,
        }
    }

    /// The store is gone, for ever.
    pub(crate) async fn lose_store(&self) {
        self.store.clone().shutdown().await;
    }

    /// The machine's lease.
    pub(crate) fn lease_id(&self) -> LeaseId {
        self.leases[0].id()
    }

    /// The store as over a network: answers take their time.
    pub(crate) async fn far(&self) -> Registry {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let store = self.store.clone();
        tokio::spawn(async move { store.serve(listener, CancellationToken::new()).await });
        let config = Config {
            endpoints: vec![format!("http://{address}")],
            key_prefix: PREFIX.to_owned(),
            tls: TlsFiles::default(),
            username: None,
            password: None,
            request_timeout: PATIENCE,
        };
        Registry::connect(&config).await.unwrap()
    }

    /// Whether this machine's record stands.
    pub(crate) async fn is_member(&self, machine: &str) -> bool {
        let key = format!("{PREFIX}machines/{machine}");
        let answer = self.raw.clone().get(key, None).await.unwrap();
        !answer.kvs().is_empty()
    }

    /// This machine.
    pub(crate) fn itself(&self) -> Machine {
        described(&self.machine)
    }

    /// Another machine.
    pub(crate) fn another(&self, id: &str) -> Machine {
        described(&MachineId::parse(id).unwrap())
    }

    /// Joins once more, as another process of the machine.
    pub(crate) async fn join(
        &self,
        joining: &mut Joining,
        resume: Option<LeaseId>,
    ) -> Result<(Lease, Membership), JoinError> {
        let (machine, lease) = (described(&self.machine), (TTL, resume));
        let attempt = joining.attempt(&self.registry, &machine, lease, &self.systemd, |_| {});
        match attempt.await? {
            Joined::Member(lease, membership) => Ok((lease, membership)),
            Joined::Occupied { other, .. } => panic!("occupied by {other:?}"),
        }
    }

    /// Starts an agent.
    pub(crate) fn agent(&self) -> Running {
        self.agent_with(Aids::default())
    }

    /// Starts one that keeps a copy of its schedule.
    pub(crate) fn agent_with_copy(&self, copy: ScheduleCopy) -> Running {
        let copy = Some(copy);
        self.agent_with(Aids {
            copy,
            ..Aids::default()
        })
    }

    /// Starts one that can look at the whole cluster.
    pub(crate) fn agent_with_view(&self) -> Running {
        let view = Some(self.view.clone());
        self.agent_with(Aids {
            view,
            ..Aids::default()
        })
    }

    fn agent_with(&self, aids: Aids) -> Running {
        let (registry, machine) = (self.registry.clone(), self.machine.clone());
        let (membership, systemd) = (Arc::clone(&self.membership), Arc::new(self.systemd.clone()));
        let shutdown = CancellationToken::new();
        let ends = shutdown.clone();
        let task = tokio::spawn(async move {
            agent::run_with(registry, machine, &membership, systemd, aids, ends).await;
        });
        Running { task, shutdown }
    }

    /// Stores the file, and puts the unit into the machine's schedule as this request wants it.
    pub(crate) async fn assign(
        &self,
        unit: &UnitName,
        file: &UnitFile,
        target: TargetState,
        request: u64,
    ) {
        self.request(unit, file, Action::Submit).await;
        self.schedule(unit, file, target, request).await;
    }

    /// A user asks this of the unit.
    pub(crate) async fn request(&self, unit: &UnitName, file: &UnitFile, action: Action) {
        let request = UnitRequest {
            name: unit.clone(),
            action,
            file: Some(file.clone()),
            template: None,
            on_difference: OnDifference::Replace,
        };
        self.view.apply(vec![request]).await.unwrap();
    }

    /// Puts the unit into the machine's schedule; its file is stored already.
    pub(crate) async fn schedule(
        &self,
        unit: &UnitName,
        file: &UnitFile,
        target: TargetState,
        request: u64,
    ) {
        let machine = self.machine.clone();
        self.schedule_on(machine, unit, file, target, request).await;
    }

    /// Puts the unit into any machine's schedule.
    pub(crate) async fn schedule_on(
        &self,
        machine: MachineId,
        unit: &UnitName,
        file: &UnitFile,
        target: TargetState,
        request: u64,
    ) {
        let assignment = Assignment {
            file: file.file_hash(),
            target,
            generation: Generation(request),
            start: Generation(request),
            restart: Generation(0),
        };
        self.enter(machine, unit, assignment).await;
    }

    /// As `fleetctl restart` has it: the unit is to be restarted if it runs.
    pub(crate) async fn restart(&self, unit: &UnitName, file: &UnitFile, request: u64) {
        let assignment = Assignment {
            file: file.file_hash(),
            target: TargetState::Launched,
            generation: Generation(request),
            start: Generation(request),
            restart: Generation(request),
        };
        self.enter(self.machine.clone(), unit, assignment).await;
    }

    async fn enter(&self, machine: MachineId, unit: &UnitName, assignment: Assignment) {
        let reason = AssignReason::Requested;
        self.decide(Decision::Assign {
            unit: unit.clone(),
            machine,
            assignment,
            reason,
        })
        .await;
    }

    pub(crate) async fn unassign(&self, unit: &UnitName) {
        let reason = UnassignReason::Inactive;
        self.decide(Decision::Unassign {
            unit: unit.clone(),
            machine: self.machine.clone(),
            reason,
        })
        .await;
    }

    async fn decide(&self, decision: Decision) {
        self.leadership.write(&[decision]).await.unwrap();
    }

    /// Writes entries for these units and takes them away again at once: no agent can keep up.
    pub(crate) async fn assign_and_take_back(&self, units: &[UnitName], file: &UnitFile) {
        let assignment = Assignment {
            file: file.file_hash(),
            target: TargetState::Launched,
            generation: Generation(5),
            start: Generation(5),
            restart: Generation(0),
        };
        let (given, taken): (Vec<Decision>, Vec<Decision>) = units
            .iter()
            .map(|unit| {
                let given = Decision::Assign {
                    unit: unit.clone(),
                    machine: self.machine.clone(),
                    assignment: assignment.clone(),
                    reason: AssignReason::Requested,
                };
                let taken = Decision::Unassign {
                    unit: unit.clone(),
                    machine: self.machine.clone(),
                    reason: UnassignReason::Inactive,
                };
                (given, taken)
            })
            .unzip();
        let (given, taken) = (self.leadership.write(&given), self.leadership.write(&taken));
        let (given, taken) = tokio::join!(biased; given, taken);
        given.unwrap();
        taken.unwrap();
    }

    /// Someone writes nonsense over the unit's entry in the schedule.
    pub(crate) async fn damage(&self, unit: &UnitName) {
        let key = format!("{PREFIX}schedule/{}/{unit}", self.machine);
        self.raw.clone().put(key, "nonsense", None).await.unwrap();
    }

    /// Someone writes another file over this one.
    pub(crate) async fn damage_file(&self, file: &UnitFile) {
        let key = format!("{PREFIX}files/{}", file.file_hash());
        self.raw.clone().put(key, "nonsense", None).await.unwrap();
    }

    /// Nobody leads any more.
    pub(crate) async fn depose(&self) {
        let key = format!("{PREFIX}leader");
        self.raw.clone().delete(key, None).await.unwrap();
    }

    /// Another machine joins.
    pub(crate) async fn join_another(&self, id: &str) -> (Lease, Membership) {
        let lease = self.registry.lease(TTL, None).await.unwrap();
        let joined = self.registry.join(&self.another(id), &lease).await.unwrap();
        let Join::Joined(membership) = joined else {
            panic!("the place is taken");
        };
        (lease, membership)
    }

    /// Someone takes the machine's record away.
    pub(crate) async fn remove_machine(&self) {
        let key = format!("{PREFIX}machines/{}", self.machine);
        self.raw.clone().delete(key, None).await.unwrap();
    }

    /// Someone takes the unit's status away.
    pub(crate) async fn take_status(&self, unit: &UnitName) {
        let key = format!("{PREFIX}states/{}/{unit}", self.machine);
        self.raw.clone().delete(key, None).await.unwrap();
    }

    /// How often the unit's status has been written.
    pub(crate) async fn writes(&self, unit: &UnitName) -> i64 {
        let key = format!("{PREFIX}states/{}/{unit}", self.machine);
        let answer = self.raw.clone().get(key, None).await.unwrap();
        answer
            .kvs()
            .first()
            .map_or(0, etcd_client::KeyValue::version)
    }

    /// Waits until the unit's status is as wanted; it may be none.
    pub(crate) async fn until(
        &self,
        unit: &UnitName,
        wanted: impl Fn(Option<&UnitStatus>) -> bool,
    ) -> Option<UnitStatus> {
        let mut records = Records::default();
        let mut follow = self.registry.follow(Scope::Cluster);
        let status = |records: &Records| records.statuses.get(unit)?.get(&self.machine).cloned();
        let wait = async {
            loop {
                match follow.next().await {
                    FollowEvent::Snapshot { changes, .. }
                    | FollowEvent::Changes { changes, .. } => {
                        changes.into_iter().for_each(|change| records.apply(change));
                    }
                    FollowEvent::Disconnected { .. } | FollowEvent::Synced { .. } => {}
                }
                if wanted(status(&records).as_ref()) {
                    return;
                }
            }
        };
        let in_time = timeout(PATIENCE, wait).await.is_ok();
        assert!(in_time, "{unit}: {:?}", status(&records));
        status(&records)
    }

    /// Waits until the unit's status answers this request.
    pub(crate) async fn answered(&self, unit: &UnitName, request: u64) -> UnitStatus {
        let answered = |status: Option<&UnitStatus>| {
            status.is_some_and(|status| status.generation.0 >= request)
        };
        self.until(unit, answered).await.unwrap()
    }
}

impl Running {
    /// Waits until it ends by itself.
    pub(crate) async fn ends(self) {
        timeout(PATIENCE, self.task).await.unwrap().unwrap();
    }

    /// The process is told to end, as for a restart.
    pub(crate) async fn end(self) {
        self.shutdown.cancel();
        timeout(PATIENCE, self.task).await.unwrap().unwrap();
    }
}

pub(crate) fn name(text: &str) -> UnitName {
    UnitName::parse(text).unwrap()
}

pub(crate) fn file(text: &str) -> UnitFile {
    UnitFile::parse(text).unwrap()
}

/// What is remembered of a unit that was not restarted.
pub(crate) fn mark(file: &UnitFile, start: u64) -> Mark {
    Mark {
        file: file.file_hash(),
        start: Generation(start),
        restart: Generation(0),
    }
}

/// A service that runs on.
pub(crate) fn server() -> UnitFile {
    file("[Service]\nExecStart=/bin/sleep infinity\n")
}
