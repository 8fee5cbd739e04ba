//! The API's port on the store: one copy of the cluster in memory, kept up to date by a watch while somebody uses it.
//!
//! A read is linearizable: the store's revision is read first, and the copy is looked at once it holds that much. The copy is
//! read from the store at the first use and dropped when nobody has used it for [`IDLE`].

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use model::{
    AskError, Change, ClockReading, ClusterStore, MachineId, MetadataEdit, Outcome, Question,
    RecordKey, Records, Refusal, Removal, Revision, StoreError, StoreHealth, UnitRequest, Update,
};
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_stream::wrappers::BroadcastStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use unitfile::UnitName;

use crate::asking;
use crate::batch;
use crate::clocks;
use crate::connection::Registry;
use crate::follow::{Batch, Follow, Scope};
use crate::history::History;
use crate::known::Reached;
use crate::listing::{Range, Standing, standing};
use crate::quarantine;

/// How long the copy is kept up to date after its last use. Reading 10,000 units again takes a fraction of a second.
const IDLE: Duration = Duration::from_secs(60);

/// Updates a subscriber may be behind; then it is told to read again. One `fleetctl start` of 500 units makes about 2,000.
const UPDATES_MAX: usize = 4096;

/// How long an event of ours may take from the store to the copy before it is worth asking the store whether there is one:
/// it takes 1 ms, and there is none if the store is shared and the last write was someone else's.
const EVENT_DELAY: Duration = Duration::from_millis(25);

/// The cluster as the API sees it. Clones share one copy.
#[derive(Clone, Debug)]
pub struct View {
    inner: Arc<Inner>,
    /// Ends the following with the last clone.
    _guard: Arc<DropGuard>,
}

pub(crate) struct Inner {
    pub(crate) registry: Registry,
    ended: CancellationToken,
    tasks: TaskTracker,
    memory: RwLock<Memory>,
    /// How far the copy has come, for those who wait for it; none while it cannot be relied on.
    reached: watch::Sender<Option<Reached>>,
    updates: broadcast::Sender<Update>,
}

/// The copy.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) records: Records,
    /// When each unit's record was last modified, damaged ones too; not there means that the unit has none.
    pub(crate) modified: BTreeMap<UnitName, Revision>,
    /// Everything up to this revision is in the copy.
    pub(crate) revision: Revision,
    /// How the copy came to be what it is.
    history: History,
    phase: Phase,
    /// Why the copy cannot be relied on, for people.
    trouble: Option<String>,
    last_used: Option<Instant>,
}

/// Whether there is a task that keeps the copy up to date.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Asleep,
    Following,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}

impl View {
    /// A view of the cluster in `registry`; nothing is read before the first use. Ends with `shutdown`.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a token is a handle, meant to be given away"
    )]
    pub fn new(registry: Registry, shutdown: CancellationToken) -> View {
        let ended = shutdown.child_token();
        let inner = Inner {
            registry,
            ended: ended.clone(),
            tasks: TaskTracker::new(),
            memory: RwLock::default(),
            reached: watch::Sender::new(None),
            updates: broadcast::Sender::new(UPDATES_MAX),
        };
        View {
            inner: Arc::new(inner),
            _guard: Arc::new(ended.drop_guard()),
        }
    }
}

impl ClusterStore for View {
    async fn read<T: Send>(
        &self,
        look: impl FnOnce(&Records) -> T + Send,
    ) -> Result<T, StoreError> {
        self.inner.catch_up().await?;
        let memory = self.inner.memory();
        Ok(look(&memory.records))
    }

    async fn reach(&self) -> Result<(), StoreError> {
        self.inner.registry.revision().await?;
        Ok(())
    }

    async fn health(&self) -> StoreHealth {
        self.inner.registry.health().await
    }

    async fn clocks(
        &self,
        machines: Vec<MachineId>,
    ) -> Result<BTreeMap<MachineId, ClockReading>, StoreError> {
        Ok(clocks::clocks(&self.inner.registry, machines).await?)
    }

    async fn changes_since(
        &self,
        revision: Revision,
    ) -> Result<Option<Vec<Arc<[Change]>>>, StoreError> {
        self.inner.catch_up().await?;
        let memory = self.inner.memory();
        // A revision that the store has not come to is another store's, or that of a lost future of this one.
        let known = revision <= memory.revision;
        Ok(known.then(|| memory.history.since(revision)).flatten())
    }

    async fn apply(
        &self,
        requests: Vec<UnitRequest>,
    ) -> Result<Vec<Result<Outcome, Refusal>>, StoreError> {
        batch::apply(&self.inner, &requests).await
    }

    async fn edit_machines(&self, edits: Vec<MetadataEdit>) -> Result<(), StoreError> {
        batch::edit_machines(&self.inner.registry, &edits).await
    }

    fn ask(
        &self,
        machine: MachineId,
        question: Question,
    ) -> impl Stream<Item = Result<String, AskError>> + Send + Unpin + 'static {
        let inner = &self.inner;
        let ended = inner.ended.clone();
        asking::ask(
            inner.registry.clone(),
            machine,
            question,
            &inner.tasks,
            ended,
        )
    }

    async fn remove_quarantined(&self, key: String) -> Result<Removal, StoreError> {
        Ok(quarantine::remove(&self.inner.registry, &key).await?)
    }

    fn subscribe(
        &self,
    ) -> impl Future<
        Output = Result<impl Stream<Item = Update> + Send + Unpin + 'static, StoreError>,
    > + Send {
        // From the moment of the call, not of the first poll.
        let receiver = self.inner.updates.subscribe();
        let inner = Arc::clone(&self.inner);
        async move {
            inner.catch_up().await?;
            let ended = inner.ended.clone();
            let updates = BroadcastStream::new(receiver).map(move |update| match update {
                Ok(update) => update,
                Err(_missed) => Update::Resync(inner.memory().revision),
            });
            Ok(Box::pin(updates.take_until(ended.cancelled_owned())))
        }
    }
}

impl Inner {
    /// The copy, to look at.
    pub(crate) fn memory(&self) -> RwLockReadGuard<'_, Memory> {
        self.memory.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn memory_mut(&self) -> RwLockWriteGuard<'_, Memory> {
        self.memory.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns once the copy holds every write that was acknowledged before the call.
    pub(crate) async fn catch_up(self: &Arc<Self>) -> Result<(), StoreError> {
        self.wake();
        let deadline = Instant::now() + self.registry.request_timeout();
        let revision = self.registry.revision().await?;
        let soon = (Instant::now() + EVENT_DELAY).min(deadline);
        let is_there =
            |reached: &Option<Reached>| reached.is_some_and(|reached| reached.revision >= revision);
        let mut reached = self.reached.subscribe();
        // What `wait_for` returns is a lock on the channel: it must be gone before anything is sent.
        if matches!(
            timeout_at(soon, reached.wait_for(is_there)).await,
            Ok(Ok(_))
        ) {
            return Ok(());
        }
        // Either the event is late, or the revision is another's and there is no event: ask where our keys stand.
        let now = standing(&self.registry, &self.range()).await?;
        let covers =
            |reached: &Option<Reached>| reached.is_some_and(|reached| reached.covers(&now));
        let covered = matches!(
            timeout_at(deadline, reached.wait_for(covers)).await,
            Ok(Ok(_))
        );
        if covered {
            self.holds(&now);
            return Ok(());
        }
        let trouble = self.memory().trouble.clone();
        let reason = trouble.unwrap_or_else(|| "the cluster is still being read".to_owned());
        Err(StoreError::Unreachable(reason))
    }

    /// The copy was seen to hold everything of this standing.
    fn holds(&self, now: &Standing) {
        let mut memory = self.memory_mut();
        memory.revision = memory.revision.max(now.revision);
        memory.records.revision = memory.revision;
        drop(memory);
        // What is known to hold at an earlier revision must not be said of a later one with other keys.
        self.reached.send_if_modified(|reached| match reached {
            Some(reached) if reached.covers(now) && reached.revision < now.revision => {
                reached.revision = now.revision;
                true
            }
            Some(_) | None => false,
        });
    }

    fn range(&self) -> Range {
        let layout = self.registry.layout();
        Range::Cluster {
            prefix: layout.prefix().to_owned(),
            files: layout.files_prefix(),
        }
    }

    /// Notes that the copy is used, and has it kept up to date if it is not.
    fn wake(self: &Arc<Self>) {
        let mut memory = self.memory_mut();
        memory.last_used = Some(Instant::now());
        if memory.phase == Phase::Asleep && !self.ended.is_cancelled() {
            memory.phase = Phase::Following;
            let follow = self.registry.follow(Scope::Cluster);
            self.tasks.spawn(Arc::clone(self).keep_up(follow));
        }
    }

    /// Keeps the copy up to date until nobody uses it.
    async fn keep_up(self: Arc<Self>, mut follow: Follow) {
        let mut look_again = Instant::now() + IDLE;
        loop {
            tokio::select! {
                biased;
                batch = follow.next_batch() => self.take_in(batch),
                () = sleep_until(look_again) => match self.sleep_if_idle() {
                    Some(later) => look_again = later,
                    None => return,
                },
                () = self.ended.cancelled() => return,
            }
        }
    }

    /// Drops the copy if nobody has used it for long enough; else says when to look again.
    fn sleep_if_idle(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut memory = self.memory_mut();
        let idle_at = memory.last_used.unwrap_or(now) + IDLE;
        if self.updates.receiver_count() > 0 {
            return Some(now + IDLE);
        }
        if now < idle_at {
            return Some(idle_at);
        }
        *memory = Memory::default();
        self.reached.send_replace(None);
        None
    }

    fn take_in(&self, batch: Batch) {
        match batch {
            Batch::Snapshot {
                revision,
                changes,
                modified,
                position,
            } => {
                let mut memory = self.memory_mut();
                memory.records = Records::default();
                memory.modified.clear();
                memory.history = History::from(revision);
                for (change, modified) in changes.into_iter().zip(modified) {
                    memory.note(&change, modified);
                    memory.records.apply(change);
                }
                memory.arrive(position);
                drop(memory);
                self.announce(Update::Resync(revision), position);
            }
            Batch::Changes {
                revision,
                changes,
                position,
            } => {
                let changes: Arc<[Change]> = changes.into();
                let mut memory = self.memory_mut();
                for change in changes.iter() {
                    memory.note(change, revision);
                    memory.records.apply(change.clone());
                }
                memory.history.push(revision, Arc::clone(&changes));
                memory.revision = memory.revision.max(position.revision);
                memory.records.revision = memory.revision;
                drop(memory);
                self.announce_if_live(Update::Changes(revision, changes), position);
            }
            Batch::Disconnected { reason } => {
                self.memory_mut().trouble = Some(reason);
                self.reached.send_replace(None);
            }
            Batch::Synced { position, .. } => {
                self.memory_mut().arrive(position);
                self.reached.send_replace(Some(position));
            }
            Batch::Progress { position } => {
                let mut memory = self.memory_mut();
                memory.revision = memory.revision.max(position.revision);
                memory.records.revision = memory.revision;
                drop(memory);
                self.move_on(position);
            }
        }
    }

    fn announce(&self, update: Update, position: Reached) {
        self.tell(update);
        self.reached.send_replace(Some(position));
    }

    fn announce_if_live(&self, update: Update, position: Reached) {
        self.tell(update);
        self.move_on(position);
    }

    /// Moves on, unless the store is lost: then only `Synced` or `Snapshot` says that the copy is good again.
    fn move_on(&self, position: Reached) {
        self.reached.send_if_modified(|reached| match reached {
            Some(reached) => {
                let revision = reached.revision.max(position.revision);
                *reached = Reached {
                    revision,
                    keys: position.keys,
                };
                true
            }
            None => false,
        });
    }

    fn tell(&self, update: Update) {
        // It fails if nobody is subscribed.
        if self.updates.receiver_count() > 0 && self.updates.send(update).is_err() {
            tracing::trace!("the last subscriber has just gone");
        }
    }
}

impl Memory {
    /// Notes when a unit's record was modified.
    fn note(&mut self, change: &Change, revision: Revision) {
        match change {
            Change::Unit(name, Some(_)) => drop(self.modified.insert(name.clone(), revision)),
            Change::Unit(name, None) => drop(self.modified.remove(name)),
            Change::Quarantined {
                record: Some(RecordKey::Unit(name)),
                ..
            } => {
                self.modified.insert(name.clone(), revision);
            }
            Change::Quarantined { .. }
            | Change::File(..)
            | Change::Machine(..)
            | Change::MachineSpec(..)
            | Change::Assignment(..)
            | Change::Status(..)
            | Change::Hold(..)
            | Change::Leader(_)
            | Change::Brake(_)
            | Change::Healed { .. } => {}
        }
    }

    /// The copy is good, and as of this position.
    fn arrive(&mut self, position: Reached) {
        self.revision = position.revision;
        self.records.revision = position.revision;
        self.trouble = None;
    }
}
