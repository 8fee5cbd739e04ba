//! What a process of the cluster does from its start to its end: an agent lives its machine's life, as in fleetd; or an engine.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent::fake::FakeSystemd;
use agent::{Environment, Lifecycle, MemoryDisk, Parting, ScheduleCopy, Stage};
use engine::{BrakeLimits, EngineReport, EngineSettings, Loss};
use futures_util::{Stream, stream};
use model::{BootId, Capacity, Journal, JournalError, Machine, MachineId, OfflineStart, Question};
use registry::{LeaseId, Membership, Registry, View};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::checker::Checker;
use crate::gate::Gate;
use crate::manager::{Hang, Manager};

/// Where the cluster is in the store.
pub(crate) const PREFIX: &str = "/fleet/";

/// A machine's lease, as by default; a leader's is half of it, as in fleetd.
pub(crate) const LEASE_TTL: Duration = Duration::from_secs(10);

/// How long a request may take.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// When a machine that has booted does without the store, as by default.
pub(crate) const OFFLINE_START_AFTER: Duration = Duration::from_secs(10);

/// Pause before systemd starts a fleetd again that ended because its place was taken.
const OCCUPIED_RETRY: Duration = Duration::from_secs(2);

/// What of a machine outlives its processes.
pub(crate) struct Host {
    pub(crate) id: MachineId,
    pub(crate) fake: FakeSystemd,
    pub(crate) hang: Hang,
    /// Has the machine's copy of its schedule.
    pub(crate) disk: MemoryDisk,
    pub(crate) memory: Mutex<Memory>,
    pub(crate) metadata: BTreeMap<String, String>,
}

/// What is kept under `/run` until the machine boots again.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) boot: u64,
    pub(crate) lease: Option<LeaseId>,
    /// What systemd says of why it ends the agent.
    pub(crate) parting: Option<Parting>,
}

impl Host {
    fn describe(&self) -> Machine {
        let memory = self.lock();
        Machine {
            id: self.id.clone(),
            boot: BootId(format!("boot-{}", memory.boot)),
            address: format!("10.0.0.{}", self.id),
            metadata: self.metadata.clone(),
            version: "sim".to_owned(),
            capacity: Capacity::default(),
        }
    }

    fn lease(&self) -> Option<LeaseId> {
        self.lock().lease
    }

    fn remember(&self, lease: Option<LeaseId>) {
        self.lock().lease = lease;
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A process that runs.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) gate: Gate,
    /// Told to end in order.
    pub(crate) leave: CancellationToken,
    /// Its work; ends with this.
    tasks: JoinSet<()>,
}

impl Running {
    /// Starts `work` as a process.
    pub(crate) fn start(
        gate: Gate,
        leave: CancellationToken,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Running {
        let mut tasks = JoinSet::new();
        let span = tracing::info_span!("process", who = gate.who());
        tasks.spawn(work.instrument(span));
        Running { gate, leave, tasks }
    }

    /// True if it has ended in order.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.tasks.try_join_next().is_some() || self.tasks.is_empty()
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.gate.kill();
        self.tasks.abort_all();
    }
}

/// An agent.
pub(crate) struct AgentProcess {
    pub(crate) host: Arc<Host>,
    pub(crate) registry: Registry,
    /// The whole cluster.
    pub(crate) view: View,
    pub(crate) manager: Arc<Manager>,
    pub(crate) checker: Checker,
    pub(crate) leave: CancellationToken,
}

impl AgentProcess {
    /// Lives its machine's life until told to end, and is started again by systemd when it may not.
    pub(crate) async fn run(self) {
        // Nothing of the description changes before the machine boots again.
        let (_described, machine) = watch::channel(self.host.describe());
        let life = Lifecycle {
            registry: self.registry.clone(),
            view: self.view,
            machine,
            copy: ScheduleCopy::in_memory(self.host.disk.clone()),
            offline_start: OfflineStart::After(OFFLINE_START_AFTER),
            lease_ttl: LEASE_TTL,
            environment: Around {
                host: self.host,
                registry: self.registry,
                who: self.manager.gate.who().to_owned(),
                checker: self.checker,
            },
            manager: self.manager,
            shutdown: self.leave,
        };
        while let Err(occupied) = life.run().await {
            life.environment.note(&occupied.to_string());
            sleep(OCCUPIED_RETRY).await;
        }
    }
}

/// What is around an agent.
struct Around {
    host: Arc<Host>,
    registry: Registry,
    who: String,
    checker: Checker,
}

impl Around {
    fn note(&self, what: &str) {
        self.checker.history.note(&self.who, what);
    }
}

impl Environment for Around {
    fn lease(&self) -> Option<LeaseId> {
        self.host.lease()
    }

    fn remember(&self, lease: LeaseId) -> io::Result<()> {
        self.host.remember(Some(lease));
        Ok(())
    }

    fn forget_lease(&self) -> io::Result<()> {
        self.host.remember(None);
        Ok(())
    }

    fn tell(&self, stage: Stage<'_>) {
        let machine = self.host.id.as_str();
        match stage {
            Stage::Waiting(problem) => self.note(&format!("cannot join: {problem}")),
            Stage::Offline => {
                self.checker.goes_by_copy(machine, true);
                self.note("goes by its own copy of its schedule");
            }
            Stage::Joined => {
                self.checker.goes_by_copy(machine, false);
                self.note("joined the cluster");
            }
            Stage::LeaseLost => self.note("its lease is gone: joining again"),
            Stage::Leaving => self.note("leaving in order"),
            Stage::Left => self.note("has left"),
            Stage::Paused => self.note("ends, and its units run on"),
        }
    }

    /// Answers whoever asks whether it is there.
    async fn beside(&self, _membership: &Membership) {
        let (registry, machine) = (self.registry.clone(), self.host.id.clone());
        // It ends by being dropped.
        let told_to_end = CancellationToken::new();
        agent::answer(registry, machine, Arc::new(Empty), told_to_end).await;
    }

    /// The engine is a process of its own here.
    async fn resign(&self) {}

    async fn parting(&self) -> Parting {
        // None is a plain signal.
        self.host.lock().parting.unwrap_or(Parting::Pause)
    }
}

/// What units have said, which nobody asks for here.
struct Empty;

impl Journal for Empty {
    fn tell(
        &self,
        _: &Question,
    ) -> impl Stream<Item = Result<String, JournalError>> + Send + Unpin + 'static {
        stream::empty()
    }
}

/// Runs an engine until told to end.
pub(crate) async fn engine_process(
    registry: Registry,
    machine: MachineId,
    leave: CancellationToken,
) {
    let settings = EngineSettings {
        lease_ttl: LEASE_TTL / 2,
        brake: BrakeLimits::of_lease(u64::try_from(LEASE_TTL.as_millis()).unwrap_or(u64::MAX)),
        unsteady: None,
        loss: Loss::Questioned,
    };
    let (report, _) = watch::channel(EngineReport::default());
    engine::run(registry, machine, settings, report, leave).await;
}
