//! What a process of the cluster does from its start to its end: an agent as fleetd runs it (join, work, join again when
//! the lease is lost, leave in order), and an engine.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agent::fake::FakeSystemd;
use agent::{Aids, Drained, ExclusiveUnits, Joined, Joining};
use engine::{BrakeLimits, EngineReport, EngineSettings};
use model::{BootId, Capacity, Machine, MachineId};
use registry::{Lease, LeaseId, Membership, Registry, View};
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

/// Pause before joining is tried again, as in fleetd.
const RETRY: Duration = Duration::from_millis(500);

/// Pause before systemd starts a fleetd again that ended because its place was taken.
const OCCUPIED_RETRY: Duration = Duration::from_secs(2);

/// What of a machine outlives its processes.
pub(crate) struct Host {
    pub(crate) id: MachineId,
    pub(crate) fake: FakeSystemd,
    pub(crate) hang: Hang,
    pub(crate) memory: Mutex<Memory>,
    pub(crate) metadata: BTreeMap<String, String>,
}

/// What is kept under `/run` until the machine boots again.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) boot: u64,
    pub(crate) lease: Option<LeaseId>,
}

impl Host {
    fn describe(&self) -> Machine {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
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
        self.memory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .lease
    }

    fn remember(&self, lease: Option<LeaseId>) {
        self.memory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .lease = lease;
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

enum SessionEnd {
    LeaseLost,
    Leaving,
}

impl AgentProcess {
    /// Joins and works, again and again, until told to leave.
    pub(crate) async fn run(self) {
        let mut joining = Joining::default();
        loop {
            let joined = tokio::select! {
                biased;
                () = self.leave.cancelled() => return,
                joined = self.join(&mut joining) => joined,
            };
            let (lease, membership) = match joined {
                Ok(joined) => joined,
                Err(pause) => {
                    sleep(pause).await;
                    continue;
                }
            };
            self.note("joined the cluster");
            match self.session(&lease, &membership).await {
                SessionEnd::LeaseLost => self.note("its lease is gone: joining again"),
                SessionEnd::Leaving => {
                    self.part(lease, &membership).await;
                    return;
                }
            }
        }
    }

    async fn join(&self, joining: &mut Joining) -> Result<(Lease, Membership), Duration> {
        let machine = self.host.describe();
        let lease = (LEASE_TTL, self.host.lease());
        let remember = |lease| self.host.remember(Some(lease));
        let attempt = joining.attempt(&self.registry, &machine, lease, &*self.manager, remember);
        match attempt.await {
            Ok(Joined::Member(lease, membership)) => Ok((lease, membership)),
            Ok(Joined::Occupied { lease, .. }) => {
                self.note("its place is taken");
                if let Err(error) = lease.revoke().await {
                    self.note(&format!("the lease could not be ended: {error}"));
                }
                Err(OCCUPIED_RETRY)
            }
            Err(error) => {
                self.note(&format!("cannot join: {error}"));
                Err(RETRY)
            }
        }
    }

    async fn session(&self, lease: &Lease, membership: &Membership) -> SessionEnd {
        let ended = CancellationToken::new();
        let aids = Aids {
            copy: None,
            view: Some(self.view.clone()),
        };
        let agent = agent::run_with(
            self.registry.clone(),
            self.host.id.clone(),
            membership,
            Arc::clone(&self.manager),
            aids,
            ended.clone(),
        );
        tokio::pin!(agent);
        let end = tokio::select! {
            biased;
            () = &mut agent => return SessionEnd::LeaseLost,
            () = self.leave.cancelled() => SessionEnd::Leaving,
            _ = lease.lost() => SessionEnd::LeaseLost,
        };
        ended.cancel();
        agent.await;
        end
    }

    /// `systemctl stop fleet`.
    async fn part(&self, lease: Lease, membership: &Membership) {
        self.note("leaving in order");
        if let Err(error) = membership.leave_schedule().await {
            self.note(&format!("the cluster could not be told: {error}"));
        }
        let drained = agent::drain(membership, Arc::clone(&self.manager)).await;
        let exclusive = agent::end_exclusive(&*self.manager).await;
        match (drained, exclusive) {
            (Drained::Everything, ExclusiveUnits::Ended) => {
                if let Err(error) = lease.revoke().await {
                    self.note(&format!("the lease could not be ended: {error}"));
                }
            }
            (Drained::SomeMayRun, _) | (_, ExclusiveUnits::Unkillable | ExclusiveUnits::MayRun) => {
                self.note("something may run on: the lease ends by itself");
            }
        }
        self.host.remember(None);
        self.note("has left");
    }

    fn note(&self, what: &str) {
        self.checker.history.note(self.manager.gate.who(), what);
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
    };
    let (report, _) = watch::channel(EngineReport::default());
    engine::run(registry, machine, settings, report, leave).await;
}
