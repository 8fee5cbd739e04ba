//! One machine's life in the cluster: it joins, works under its membership, joins again when its lease is lost, and at the end leaves in
//! order, or only pauses. fleetd lives it on real machines and the simulation in virtual time; what differs between them is [`Environment`].

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use model::{Machine, MachineId, OfflineStart, ServiceManager, StoreError};
use registry::{Lease, LeaseId, Membership, Registry, View};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::copy::ScheduleCopy;
use crate::drain::{Drained, drain, drain_alone};
use crate::exclusive::{ExclusiveUnits, end_exclusive};
use crate::joining::{JoinError, Joined, Joining};
use crate::offline::start_from_copy;
use crate::run::{Aids, run_with};

/// First and longest pause between attempts to reach a store that does not answer.
const RETRY_FIRST: Duration = Duration::from_millis(200);
/// A machine that was cut off has to be back, and its duplicates gone, within 5 s.
const RETRY_LONGEST: Duration = Duration::from_secs(1);

/// How long leaving may take beside stopping units: telling the store, closing it.
const FAREWELL_LIMIT: Duration = Duration::from_secs(5);

/// What a lifecycle asks of the process that it goes on in.
pub trait Environment: Send + Sync {
    /// The lease that an earlier process had here since the machine booted; none if there was none, or that cannot be told.
    fn lease(&self) -> Option<LeaseId>;

    /// Remembers the lease until the machine boots again.
    ///
    /// # Errors
    /// If it cannot be: the next process will look like a lost machine.
    fn remember(&self, lease: LeaseId) -> io::Result<()>;

    /// Forgets it.
    ///
    /// # Errors
    /// If it cannot be.
    fn forget_lease(&self) -> io::Result<()>;

    /// Is told how things stand.
    fn tell(&self, stage: Stage<'_>);

    /// What goes on beside the agent under one membership; it does not end, and is dropped with that.
    fn beside(&self, membership: &Membership) -> impl Future<Output = ()> + Send;

    /// Ends what else of this process works in the cluster: its engine, so that the next leader sees what leaving does.
    fn resign(&self) -> impl Future<Output = ()> + Send;

    /// Why the process was told to end.
    fn parting(&self) -> impl Future<Output = Parting> + Send;
}

/// Why a process ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parting {
    /// For good, or the machine shuts down: its units are to run elsewhere.
    Leave,
    /// Another takes over in a moment, or somebody meant only this process: units are left alone.
    Pause,
}

/// How things stand with this machine.
#[derive(Clone, Copy, Debug)]
pub enum Stage<'a> {
    /// It cannot join yet, for this reason. Told once for each.
    Waiting(&'a StoreError),
    /// It does without the store for now, and starts units by its own copy of its schedule.
    Offline,
    /// It is part of the cluster.
    Joined,
    /// Its lease is gone: it joins again.
    LeaseLost,
    /// It is leaving for good.
    Leaving,
    /// It has left as far as that could be done.
    Left,
    /// The process ends, and the units run on.
    Paused,
}

/// Another machine with this one's id is alive: this one may not be part of the cluster.
#[derive(Debug, thiserror::Error)]
#[error(
    "machine {machine} is in the cluster already, at address {}; this one is at {}. Two machines cannot have one \
     machine-id: give this one its own with 'rm /etc/machine-id; systemd-machine-id-setup', then reboot",
    shown(other),
    shown(own)
)]
pub struct Occupied {
    /// The id of both.
    pub machine: MachineId,
    /// The other one's address; empty if unknown.
    pub other: String,
    /// This one's; empty if unknown.
    pub own: String,
}

fn shown(address: &str) -> &str {
    if address.is_empty() {
        "unknown"
    } else {
        address
    }
}

/// One machine's part in the cluster.
#[derive(Debug)]
pub struct Lifecycle<S, E> {
    /// The store.
    pub registry: Registry,
    /// The whole cluster.
    pub view: View,
    /// The machine as it is now; changes are told to the cluster.
    pub machine: watch::Receiver<Machine>,
    /// Its systemd.
    pub manager: Arc<S>,
    /// Its own copy of its schedule.
    pub copy: ScheduleCopy,
    /// When it does without the store.
    pub offline_start: OfflineStart,
    /// How long it is taken to live without a sign of it.
    pub lease_ttl: Duration,
    /// What is around it.
    pub environment: E,
    /// Tells it to end.
    pub shutdown: CancellationToken,
}

/// Whether the store is there for a machine that is joining.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reach {
    /// It has answered.
    Answers,
    /// It has not, or not the last time.
    Away,
}

/// What became of one membership.
enum SessionEnd {
    /// The lease is gone: join again.
    LeaseLost,
    /// The process is to stop.
    Shutdown,
}

impl<S: ServiceManager, E: Environment> Lifecycle<S, E> {
    /// Joins and works, again and again, until told to end.
    ///
    /// # Errors
    /// If this machine may not be part of the cluster. Nothing is ended in order then.
    pub async fn run(&self) -> Result<(), Occupied> {
        let mut machine = self.machine.clone();
        loop {
            let (reach, reached) = watch::channel(Reach::Away);
            let joined = tokio::select! {
                biased;
                joined = self.join(&mut machine, &reach) => joined?,
                () = self.do_without(reached) => None,
            };
            let Some((lease, membership)) = joined else {
                within_limit("resigning", self.environment.resign()).await;
                self.part_alone().await;
                return Ok(());
            };
            match self.session(&mut machine, &lease, &membership).await {
                SessionEnd::LeaseLost => {
                    tracing::error!(
                        "Server monitor triggered: Monitor timed out before successful heartbeat: the machine's lease is gone; \
                         units run on, joining again"
                    );
                    self.environment.tell(Stage::LeaseLost);
                }
                SessionEnd::Shutdown => {
                    within_limit("resigning", self.environment.resign()).await;
                    self.part(lease, &membership).await;
                    return Ok(());
                }
            }
        }
    }

    /// Starts units by this machine's own copy of its schedule, when it has booted and the store stays away; never ends.
    async fn do_without(&self, mut reached: watch::Receiver<Reach>) {
        // A process that was restarted finds its units running, or stopped by someone who meant it.
        let is_fresh = self.environment.lease().is_none();
        if let OfflineStart::After(patience) = self.offline_start
            && is_fresh
        {
            // A store that answers, though this machine has to wait for its place, may have moved its units.
            let mut until = async |wanted| {
                let seen = reached.wait_for(|reach| *reach == wanted).await;
                seen.is_ok()
            };
            while let Ok(true) = timeout(patience, until(Reach::Answers)).await {
                until(Reach::Away).await;
            }
            tracing::warn!(
                "the cluster's store was not reached for {} s after the boot: starting units by this machine's own copy of its schedule \
                 (offline_start_after)",
                patience.as_secs()
            );
            self.environment.tell(Stage::Offline);
            start_from_copy(&self.copy, Arc::clone(&self.manager)).await;
        }
        std::future::pending::<()>().await;
    }

    /// Takes this machine's place in the cluster, waiting for the store if need be. None if told to end meanwhile.
    async fn join(
        &self,
        machine: &mut watch::Receiver<Machine>,
        reach: &watch::Sender<Reach>,
    ) -> Result<Option<(Lease, Membership)>, Occupied> {
        tracing::info!("Establishing etcd connectivity");
        let mut pause = RETRY_FIRST;
        let mut told = String::new();
        let mut joining = Joining::default();
        loop {
            let machine = machine.borrow_and_update().clone();
            let lease = (self.lease_ttl, self.environment.lease());
            let remember = |lease| {
                reach.send_replace(Reach::Answers);
                self.remember(lease);
            };
            let attempt = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return Ok(None),
                attempt = joining.attempt(&self.registry, &machine, lease, &*self.manager, remember) => attempt,
            };
            match attempt {
                Ok(Joined::Member(lease, membership)) => {
                    tracing::info!(machine = %machine.id, address = %machine.address, "joined the cluster");
                    self.environment.tell(Stage::Joined);
                    return Ok(Some((lease, membership)));
                }
                Ok(Joined::Occupied { lease, other }) => {
                    revoke(lease).await;
                    return Err(Occupied {
                        machine: machine.id,
                        other: other.address,
                        own: machine.address,
                    });
                }
                Err(JoinError::Store(error)) => {
                    reach.send_replace(Reach::Away);
                    self.tell_once(&StoreError::from(error), &mut told);
                }
                Err(error @ JoinError::ExclusiveMayRun) => tracing::error!("{error}"),
            }
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return Ok(None),
                () = sleep(pause) => {}
            }
            pause = (pause * 2).min(RETRY_LONGEST);
        }
    }

    fn tell_once(&self, error: &StoreError, told: &mut String) {
        let message = error.to_string();
        if message != *told {
            self.environment.tell(Stage::Waiting(error));
            *told = message;
        }
    }

    /// Works under one membership.
    async fn session(
        &self,
        machine: &mut watch::Receiver<Machine>,
        lease: &Lease,
        membership: &Membership,
    ) -> SessionEnd {
        let ended = CancellationToken::new();
        let aids = Aids {
            copy: Some(self.copy.clone()),
            view: Some(self.view.clone()),
        };
        let agent = run_with(
            self.registry.clone(),
            machine.borrow().id.clone(),
            membership,
            Arc::clone(&self.manager),
            aids,
            ended.clone(),
        );
        let beside = self.environment.beside(membership);
        let describing = describe(machine, membership);
        tokio::pin!(agent, beside, describing);
        // In a fixed order, so that a simulation repeats.
        let end = tokio::select! {
            biased;
            () = self.shutdown.cancelled() => SessionEnd::Shutdown,
            _ = lease.lost() => SessionEnd::LeaseLost,
            // They end only when told to; joining again is right if one ever does otherwise.
            () = &mut agent => return SessionEnd::LeaseLost,
            () = &mut beside => return SessionEnd::LeaseLost,
            () = &mut describing => return SessionEnd::LeaseLost,
        };
        ended.cancel();
        agent.await;
        end
    }
}

impl<S: ServiceManager, E: Environment> Lifecycle<S, E> {
    /// Ends this machine's part in the cluster, or only pauses it.
    async fn part(&self, lease: Lease, membership: &Membership) {
        match self.environment.parting().await {
            Parting::Leave => {}
            Parting::Pause => {
                tracing::info!("leaving the units running, and the lease to the next fleetd");
                return self.environment.tell(Stage::Paused);
            }
        }
        tracing::info!(
            "leaving the cluster: stopping this machine's units, which start elsewhere as they stop"
        );
        self.environment.tell(Stage::Leaving);
        within_limit("telling the cluster", async {
            match membership.leave_schedule().await {
                Ok(()) => self.forget_schedule(),
                Err(error) => {
                    tracing::warn!(%error, "the cluster could not be told; it will notice when the lease ends");
                }
            }
        })
        .await;
        let drained = drain(membership, Arc::clone(&self.manager)).await;
        let exclusive = end_exclusive(&*self.manager).await;
        match (drained, exclusive) {
            (Drained::Everything, ExclusiveUnits::Ended) => {
                within_limit("ending the lease", revoke(lease)).await;
            }
            (Drained::SomeMayRun, _) | (_, ExclusiveUnits::Unkillable | ExclusiveUnits::MayRun) => {
                tracing::error!(
                    "so the lease is not ended now, and they start nowhere else before it ends by itself"
                );
            }
        }
        self.forget_lease();
        self.environment.tell(Stage::Left);
    }

    /// As [`Lifecycle::part`], while this machine is not part of the cluster: its units may run elsewhere, and nobody would be left
    /// to stop them here.
    async fn part_alone(&self) {
        match self.environment.parting().await {
            Parting::Leave => {}
            Parting::Pause => {
                tracing::info!("leaving the units running");
                return self.environment.tell(Stage::Paused);
            }
        }
        tracing::info!("leaving: stopping this machine's units; the cluster cannot be told");
        self.environment.tell(Stage::Leaving);
        self.forget_schedule();
        drain_alone(Arc::clone(&self.manager)).await;
        if end_exclusive(&*self.manager).await == ExclusiveUnits::Ended {
            self.forget_lease();
        }
        self.environment.tell(Stage::Left);
    }

    fn remember(&self, lease: LeaseId) {
        if let Err(error) = self.environment.remember(lease) {
            tracing::warn!(%error, "the lease cannot be remembered: a restart of fleetd will look like a lost machine");
        }
    }

    fn forget_lease(&self) {
        if let Err(error) = self.environment.forget_lease() {
            tracing::warn!(%error, "the lease file could not be removed");
        }
    }

    /// What was scheduled here is placed elsewhere: it must not come back with this machine.
    fn forget_schedule(&self) {
        if let Err(error) = self.copy.clear() {
            tracing::warn!(%error, "the machine's copy of its schedule could not be removed");
        }
    }
}

/// Tells the cluster whatever changes of the machine; never ends.
async fn describe(machine: &mut watch::Receiver<Machine>, membership: &Membership) {
    while machine.changed().await.is_ok() {
        let machine = machine.borrow_and_update().clone();
        if let Err(error) = membership.update(&machine).await {
            tracing::warn!(%error, "the machine's description could not be renewed");
        }
    }
    std::future::pending::<()>().await;
}

async fn revoke(lease: Lease) {
    if let Err(error) = lease.revoke().await {
        tracing::warn!(%error, "the lease could not be ended; it ends by itself");
    }
}

async fn within_limit(what: &str, work: impl Future<Output = ()>) {
    if timeout(FAREWELL_LIMIT, work).await.is_err() {
        tracing::warn!(
            "{what} took longer than {} s; going on without",
            FAREWELL_LIMIT.as_secs()
        );
    }
}
