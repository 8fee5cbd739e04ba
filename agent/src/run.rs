//! Keeps this machine as its schedule wants it: takes in what is wanted and what is so, has steps carried out, and publishes.
//!
//! Events only wake; what to do is decided from what is known each time (`reconcile.rs`). Nothing is begun between a loss of touch
//! with the store and the next full reading of the schedule.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use model::mutation::{Mutation, is_made};
use model::{
    Assignment, Change, JobEnd, MachineId, Quarantined, RecordKey, ServiceChange, ServiceError,
    ServiceManager, ServiceUnit, UnitStatus,
};
use registry::{Follow, FollowEvent, Membership, Registry, RegistryError, Scope, View, WriteError};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use unitfile::{FileHash, UnitFile, UnitName};

use crate::copy::{Schedule, ScheduleCopy};
use crate::exclusive::extend;
use crate::keep::Kept;
use crate::publish::Window;
use crate::steps::StepEnd;
use crate::units::{Slots, Want};

/// How long a state that systemd is about to leave by itself is kept back: a quick start then costs one write, not two.
pub(crate) const TRANSITION_DELAY: Duration = Duration::from_millis(100);

/// The first pause before something that failed is tried again.
pub(crate) const RETRY_FIRST: Duration = Duration::from_secs(1);

/// The pause before the store is asked again after a failure.
pub(crate) const STORE_RETRY: Duration = Duration::from_millis(500);

/// A look at a unit that news have asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DueLook {
    /// When the news came: what was seen after that covers them.
    pub(crate) asked: Instant,
    pub(crate) due: Instant,
}

/// What a task brought back.
pub(crate) enum Ended {
    Step(Box<StepEnd>),
    Cut(UnitName, Result<JobEnd, ServiceError>),
    Look(UnitName, u64, Result<Option<ServiceUnit>, ServiceError>),
    List(Result<Vec<ServiceUnit>, ServiceError>),
    Settled(crate::keep::Settled),
    Files(
        Vec<FileHash>,
        Result<BTreeMap<FileHash, Arc<UnitFile>>, RegistryError>,
    ),
}

pub(crate) type Publishing<'a> = Pin<Box<dyn Future<Output = (Batch, Published)> + Send + 'a>>;
pub(crate) type Batch = Vec<(UnitName, Option<UnitStatus>)>;
/// The units of which nothing was published, as the schedule no longer has them here.
pub(crate) type Published = Result<BTreeSet<UnitName>, WriteError>;

/// One machine's agent at work.
pub(crate) struct Agent<'a, S> {
    pub(crate) registry: Registry,
    pub(crate) machine: MachineId,
    pub(crate) membership: &'a Membership,
    /// The whole cluster, to be looked at where a machine that was cut off needs it; none if it is not to be had.
    pub(crate) view: Option<View>,
    /// What runs on for now, though it is not scheduled here.
    pub(crate) kept: Kept,
    pub(crate) manager: Arc<S>,
    /// What the schedule has, for the copy of it; none before it was read.
    schedule: watch::Sender<Option<Schedule>>,
    pub(crate) slots: Slots,
    /// The schedule is known, as of now.
    pub(crate) synced: bool,
    /// What is there was looked at in full.
    pub(crate) listed: bool,
    pub(crate) tasks: JoinSet<Ended>,
    /// Files fetched for loads that are due.
    pub(crate) bodies: BTreeMap<FileHash, Arc<UnitFile>>,
    pub(crate) fetching: BTreeSet<FileHash>,
    /// Files that the store does not have.
    pub(crate) missing: BTreeSet<FileHash>,
    /// Units to decide about.
    pub(crate) awake: BTreeSet<UnitName>,
    /// What the store has.
    pub(crate) published: BTreeMap<UnitName, UnitStatus>,
    /// Units of which it is not known what the store has: the answer to a write was lost.
    pub(crate) doubtful: BTreeSet<UnitName>,
    /// Units whose status may have to be published, and from when on.
    pub(crate) unpublished: BTreeMap<UnitName, Instant>,
    /// Units whose status was written, and how often lately.
    pub(crate) windows: BTreeMap<UnitName, Window>,
    /// Looks that news have asked for.
    pub(crate) looks: BTreeMap<UnitName, DueLook>,
    /// When to try again.
    pub(crate) retries: BTreeMap<UnitName, Instant>,
    pub(crate) relist_at: Option<Instant>,
    pub(crate) publish_at: Option<Instant>,
    /// When the writes of late are paid for, at one a [`crate::publish::PACE`].
    pub(crate) paid_at: Instant,
    /// When the last publication began.
    pub(crate) wrote_at: Instant,
    pub(crate) refetch_at: Option<Instant>,
}

/// Makes this machine match its schedule until told to stop, or until the membership turns out to be lost: join again then.
/// Units are left as they are.
pub async fn run<S: ServiceManager>(
    registry: Registry,
    machine: MachineId,
    membership: &Membership,
    manager: Arc<S>,
    shutdown: CancellationToken,
) {
    let aids = Aids::default();
    run_with(registry, machine, membership, manager, aids, shutdown).await;
}

/// What an agent can do without.
#[derive(Debug, Default)]
pub struct Aids {
    /// Keeps a copy of the schedule on this machine's own disk.
    pub copy: Option<ScheduleCopy>,
    /// The whole cluster. With it, a machine that comes back stops what was moved only when it is up elsewhere.
    pub view: Option<View>,
}

/// As [`run`], with more.
pub async fn run_with<S: ServiceManager>(
    registry: Registry,
    machine: MachineId,
    membership: &Membership,
    manager: Arc<S>,
    aids: Aids,
    shutdown: CancellationToken,
) {
    let (schedule, copied) = watch::channel(None);
    let (guarded, store) = (Arc::clone(&manager), registry.clone());
    let work = async {
        let follow = registry.follow(Scope::Schedule(machine.clone()));
        let changes = manager.changes();
        let mut agent = Agent::new(registry, machine, membership, manager, schedule);
        agent.view = aids.view;
        agent.published = agent.published().await;
        agent.work(follow, changes).await;
    };
    let copying = async {
        match aids.copy {
            Some(copy) => copy.follow(&store, copied).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = shutdown.cancelled() => {}
        () = work => {}
        () = extend(membership, &*guarded) => {}
        () = copying => {}
    }
}

async fn pending(publishing: &mut Option<Publishing<'_>>) -> (Batch, Published) {
    match publishing {
        Some(publishing) => publishing.as_mut().await,
        None => std::future::pending().await,
    }
}

impl<'a, S: ServiceManager> Agent<'a, S> {
    /// Works until the membership turns out to be lost.
    async fn work(
        mut self,
        mut follow: Follow,
        mut changes: impl Stream<Item = ServiceChange> + Unpin,
    ) {
        self.list();
        let mut confirmations = self.membership.confirmations();
        let mut publishing: Option<Publishing<'_>> = None;
        loop {
            // Asked once: a confirmation between two answers would wake nobody.
            let may_have_ended = self.membership.may_have_ended();
            self.decide(may_have_ended);
            if publishing.is_none() {
                publishing = self.publish();
            }
            let wake = self.next_wake(publishing.is_some());
            // In a fixed order, so that a simulation repeats; what is never ready for long comes first.
            tokio::select! {
                biased;
                (batch, result) = pending(&mut publishing) => {
                    publishing = None;
                    if result == Err(WriteError::Deposed) {
                        tracing::warn!("this machine's place in the cluster is lost: its units run on");
                        return;
                    }
                    self.take_published(batch, result);
                }
                Some(ended) = self.tasks.join_next() => match ended {
                    Ok(ended) => self.take_end(ended),
                    Err(error) => tracing::error!(%error, "a task of the agent failed"),
                },
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => self.wake(),
                // What was held back is decided on.
                _ = confirmations.next(), if may_have_ended => {}
                event = follow.next() => self.take_schedule(event),
                Some(change) = changes.next() => self.take_change(change),
            }
            // Whatever else has happened meanwhile is decided on together.
            self.take_ready();
        }
    }

    fn new(
        registry: Registry,
        machine: MachineId,
        membership: &'a Membership,
        manager: Arc<S>,
        schedule: watch::Sender<Option<Schedule>>,
    ) -> Agent<'a, S> {
        Agent {
            registry,
            machine,
            membership,
            view: None,
            kept: Kept::default(),
            manager,
            schedule,
            slots: Slots::new(),
            synced: false,
            listed: false,
            tasks: JoinSet::new(),
            bodies: BTreeMap::new(),
            fetching: BTreeSet::new(),
            missing: BTreeSet::new(),
            awake: BTreeSet::new(),
            published: BTreeMap::new(),
            doubtful: BTreeSet::new(),
            unpublished: BTreeMap::new(),
            windows: BTreeMap::new(),
            looks: BTreeMap::new(),
            retries: BTreeMap::new(),
            relist_at: None,
            publish_at: None,
            paid_at: Instant::now(),
            wrote_at: Instant::now(),
            refetch_at: None,
        }
    }

    /// Takes in ends of tasks that are there already, so that one publication carries them all.
    fn take_ready(&mut self) {
        while let Some(ended) = self.tasks.try_join_next() {
            match ended {
                Ok(ended) => self.take_end(ended),
                Err(error) => tracing::error!(%error, "a task of the agent failed"),
            }
        }
    }

    /// What this machine has published before, under a lease that was resumed.
    async fn published(&self) -> BTreeMap<UnitName, UnitStatus> {
        loop {
            match self.membership.statuses().await {
                Ok(statuses) => return statuses,
                Err(error) => {
                    tracing::warn!(%error, "what was published before cannot be read yet");
                    tokio::time::sleep(STORE_RETRY).await;
                }
            }
        }
    }

    fn take_schedule(&mut self, event: FollowEvent) {
        match event {
            FollowEvent::Snapshot { changes, .. } => {
                let mut wanted: BTreeMap<UnitName, Assignment> = BTreeMap::new();
                let mut damaged = BTreeSet::new();
                for change in changes {
                    match change {
                        Change::Assignment(_, name, Some(assignment)) => {
                            wanted.insert(name, assignment);
                        }
                        Change::Quarantined { record, problem } => {
                            damaged.extend(self.take_damage(record, &problem));
                        }
                        _ => {}
                    }
                }
                self.synced = true;
                // Also an empty schedule is one.
                self.schedule.send_modify(|schedule| {
                    schedule.get_or_insert_default();
                });
                let known: BTreeSet<UnitName> =
                    self.slots.keys().chain(wanted.keys()).cloned().collect();
                // A unit whose entry cannot be read is left as it is.
                for name in known.difference(&damaged) {
                    if is_made(Mutation::StaleScheduleKept) && !wanted.contains_key(name) {
                        continue;
                    }
                    self.want(name, wanted.remove(name));
                }
            }
            FollowEvent::Changes { changes, .. } => {
                for change in changes {
                    match change {
                        Change::Assignment(_, name, assignment) => self.want(&name, assignment),
                        Change::Quarantined { record, problem } => {
                            self.take_damage(record, &problem);
                        }
                        _ => {}
                    }
                }
            }
            FollowEvent::Disconnected { reason } => {
                if is_made(Mutation::LossTakenForEmpty) {
                    let known: Vec<UnitName> = self.slots.keys().cloned().collect();
                    known.iter().for_each(|name| self.want(name, None));
                    return;
                }
                tracing::warn!(
                    reason,
                    "lost touch with the store: nothing is changed until it is back"
                );
                self.synced = false;
            }
            FollowEvent::Synced { .. } => {
                self.synced = true;
                self.awake.extend(self.slots.keys().cloned());
            }
        }
    }

    /// Notes that an entry cannot be read; whose it is, if even that can be told.
    fn take_damage(
        &mut self,
        record: Option<RecordKey>,
        problem: &Quarantined,
    ) -> Option<UnitName> {
        tracing::error!(
            key = problem.key,
            reason = problem.reason,
            "an entry of the schedule is damaged: the unit is left as it is"
        );
        let Some(RecordKey::Assignment(_, name)) = record else {
            return None;
        };
        if is_made(Mutation::DamagedEntryTakenForNone) {
            self.want(&name, None);
            return Some(name);
        }
        self.slots.entry(name.clone()).or_default().unreadable = true;
        Some(name)
    }

    fn want(&mut self, name: &UnitName, assignment: Option<Assignment>) {
        self.schedule.send_if_modified(|schedule| {
            let schedule = schedule.get_or_insert_default();
            let before = schedule.get(name);
            if before == assignment.as_ref() {
                return false;
            }
            match &assignment {
                Some(assignment) => schedule.insert(name.clone(), assignment.clone()),
                None => schedule.remove(name),
            };
            true
        });
        if assignment.is_some() {
            self.is_back(name);
        }
        let slot = self.slots.entry(name.clone()).or_default();
        if slot.want(assignment) == Want::Changed || is_made(Mutation::RetryForgotten) {
            self.retries.remove(name);
        }
        self.touch(name);
    }

    /// The unit is to be decided about, and its status may have changed.
    pub(crate) fn touch(&mut self, name: &UnitName) {
        self.awake.insert(name.clone());
        let passing = self.slots.get(name).is_some_and(|slot| {
            let passing = slot
                .observed
                .as_ref()
                .is_some_and(|unit| unit.active.is_transitional());
            passing || slot.working.is_some()
        });
        let now = Instant::now();
        // The first status is not kept back: nothing is started before the cluster knows that it may run here.
        if passing && self.published.contains_key(name) {
            self.unpublished
                .entry(name.clone())
                .or_insert(now + TRANSITION_DELAY);
        } else {
            self.unpublished.insert(name.clone(), now);
        }
    }

    fn take_change(&mut self, change: ServiceChange) {
        match change {
            ServiceChange::All if is_made(Mutation::RelistSkipped) => {}
            ServiceChange::All => self.list(),
            ServiceChange::Unit(name) => self.look_soon(name),
        }
    }

    fn take_end(&mut self, ended: Ended) {
        match ended {
            Ended::Step(end) => self.take_step_end(*end),
            Ended::Cut(name, result) => self.take_cut(&name, &result),
            Ended::Look(name, epoch, seen) => self.take_look(&name, epoch, seen),
            Ended::Settled(settled) => self.let_go(settled),
            Ended::List(Ok(units)) => self.take_list(units),
            Ended::List(Err(error)) => {
                tracing::warn!(%error, "units cannot be listed; trying again");
                self.relist_at = Some(Instant::now() + RETRY_FIRST);
            }
            Ended::Files(asked, found) => self.take_files(&asked, found),
        }
    }
}
