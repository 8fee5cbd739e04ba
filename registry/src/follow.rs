//! Everything that happens in a part of the cluster, in order and without gaps, across every loss of the connection.
//!
//! What to catch up with after a loss is settled by a linearizable read of where the range stands ([`Standing`]), not by asking
//! the watch for its progress: etcd 3.4.23 answers that before it has sent the events (etcd issue 15220), and some later
//! versions do not answer it for a watch that has had no event yet (etcd pull request 17557).

use std::collections::BTreeSet;
use std::time::Duration;

use etcd_client::KeyValue;
use model::mutation::{Mutation, is_made};
use model::{Change, MachineId, RecordKey, Revision};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::audit::Audit;
use crate::backoff::Backoff;
use crate::connection::{Registry, to_revision};
use crate::error::RegistryError;
use crate::known::{Known, Reached, Verdict};
use crate::listing::{Range, Standing, account, list, standing};
use crate::stream::{Heard, Watch};

/// Events that may wait for a slow reader; then etcd itself is held back.
const QUEUE_MAX: usize = 64;

/// How long catching up after a reconnect may take from one event to the next. A store that was restored from a backup may
/// never show what was seen before; then everything is read again.
const CATCH_UP_MAX: Duration = Duration::from_secs(10);

/// A connection that held this long was a good one: the next retry after it comes at once. One that breaks again and again
/// just after everything was read must not make a store in trouble send it all every few milliseconds.
const STABLE_AFTER: Duration = Duration::from_secs(5);

/// Which part of the cluster to follow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scope {
    /// All of it.
    Cluster,
    /// One machine's schedule.
    Schedule(MachineId),
    /// Who leads.
    Leader,
}

/// What a follower is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FollowEvent {
    /// All records of the scope as of `revision`, read linearizably. Forget everything known before.
    Snapshot {
        /// The revision.
        revision: Revision,
        /// One change per record, and one per damaged record.
        changes: Vec<Change>,
    },
    /// Changes since, in order; everything of one revision.
    Changes {
        /// The revision.
        revision: Revision,
        /// The changes.
        changes: Vec<Change>,
    },
    /// The store was lost: what is known may be out of date. Nothing may be decided until `Synced` or `Snapshot`.
    Disconnected {
        /// What happened.
        reason: String,
    },
    /// After a `Disconnected`: everything up to this revision, which was read linearizably after the reconnect, has been told.
    Synced {
        /// The revision.
        revision: Revision,
    },
}

/// Follows a part of the cluster until it is dropped.
#[derive(Debug)]
pub struct Follow {
    batches: mpsc::Receiver<Batch>,
    /// Ends with this.
    _following: JoinSet<()>,
}

/// A [`FollowEvent`] with what only this crate needs.
#[derive(Debug)]
pub(crate) enum Batch {
    Snapshot {
        revision: Revision,
        changes: Vec<Change>,
        /// When each of the changes' records was last modified.
        modified: Vec<Revision>,
        position: Reached,
    },
    Changes {
        revision: Revision,
        changes: Vec<Change>,
        position: Reached,
    },
    Disconnected {
        reason: String,
    },
    Synced {
        revision: Revision,
        position: Reached,
    },
    /// Nothing of ours happened up to this position.
    Progress {
        position: Reached,
    },
}

impl Registry {
    /// Follows a part of the cluster. Works while the store is down: it then says `Disconnected` once and keeps trying.
    ///
    /// `Scope::Schedule` and `Scope::Leader` are read anew after every loss; `Scope::Cluster` is resumed where it was, and read
    /// anew only if the store has compacted that or has gone back in time.
    pub fn follow(&self, scope: Scope) -> Follow {
        let (sender, batches) = mpsc::channel(QUEUE_MAX);
        let mut following = JoinSet::new();
        following.spawn(Follower::new(self.clone(), scope, sender).run());
        Follow {
            batches,
            _following: following,
        }
    }
}

impl Follow {
    /// The next event. Never ends; may be dropped and called again without loss.
    pub async fn next(&mut self) -> FollowEvent {
        loop {
            match self.next_batch().await {
                Batch::Snapshot {
                    revision, changes, ..
                } => return FollowEvent::Snapshot { revision, changes },
                Batch::Changes {
                    revision, changes, ..
                } => return FollowEvent::Changes { revision, changes },
                Batch::Disconnected { reason } => return FollowEvent::Disconnected { reason },
                Batch::Synced { revision, .. } => return FollowEvent::Synced { revision },
                Batch::Progress { .. } => {}
            }
        }
    }

    pub(crate) async fn next_batch(&mut self) -> Batch {
        match self.batches.recv().await {
            Some(batch) => batch,
            // The task ends only with this: the runtime is going down.
            None => std::future::pending().await,
        }
    }
}

/// What is remembered of a loss.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Resume {
    /// Go on where it was.
    Watch,
    /// Read everything again.
    List,
}

struct Follower {
    registry: Registry,
    range: Range,
    resume: Resume,
    batches: mpsc::Sender<Batch>,
    known: Option<Known>,
    backoff: Backoff,
    /// Set from `Disconnected` to `Synced` or `Snapshot`.
    disconnected: bool,
    audit: Audit,
}

/// Why a session ended.
enum End {
    /// The store was lost.
    Lost(RegistryError),
    /// Everything has to be read again.
    Outdated,
    /// Nobody listens.
    Unheard,
}

impl From<RegistryError> for End {
    fn from(error: RegistryError) -> End {
        match error {
            RegistryError::Compacted => End::Outdated,
            error => End::Lost(error),
        }
    }
}

impl Follower {
    fn new(registry: Registry, scope: Scope, batches: mpsc::Sender<Batch>) -> Follower {
        let layout = registry.layout();
        let (range, resume) = match scope {
            Scope::Cluster => {
                let files = layout.files_prefix();
                (
                    Range::Cluster {
                        prefix: layout.prefix().to_owned(),
                        files,
                    },
                    Resume::Watch,
                )
            }
            Scope::Schedule(machine) => (
                Range::Prefix(layout.schedule_prefix(&machine)),
                Resume::List,
            ),
            Scope::Leader => (Range::Key(layout.key(&RecordKey::Leader)), Resume::List),
        };
        let backoff = Backoff::new(registry.salt());
        let audit = Audit::new(registry.salt());
        Follower {
            registry,
            range,
            resume,
            batches,
            known: None,
            backoff,
            disconnected: false,
            audit,
        }
    }

    async fn run(mut self) {
        loop {
            let started = Instant::now();
            let Err(end) = self.session().await;
            if started.elapsed() >= STABLE_AFTER {
                self.backoff.reset();
            }
            match end {
                End::Unheard => return,
                End::Outdated => self.known = None,
                End::Lost(error) => {
                    if self.resume == Resume::List && !is_made(Mutation::CompactionIgnored) {
                        self.known = None;
                    }
                    if !self.disconnected {
                        self.disconnected = true;
                        let reason = error.to_string();
                        tracing::debug!(range = ?self.range, reason, "lost the store");
                        if self
                            .batches
                            .send(Batch::Disconnected { reason })
                            .await
                            .is_err()
                        {
                            return;
                        }
                    }
                }
            }
            tokio::select! {
                biased;
                () = sleep(self.backoff.next_wait()) => {}
                () = self.batches.closed() => return,
            }
        }
    }

    /// From reading or resuming to the next loss.
    async fn session(&mut self) -> Result<std::convert::Infallible, End> {
        let mut catch_up = match self.known.take() {
            None => {
                self.read_all().await?;
                None
            }
            Some(known) => {
                // Also renews the authentication, which a watch does not.
                let now = standing(&self.registry, &self.range).await;
                let known = self.known.insert(known);
                let now = now?;
                if now.cluster != known.cluster || now.revision < known.reached.revision {
                    return Err(End::Outdated);
                }
                Some(now)
            }
        };
        let from = self
            .known
            .as_ref()
            .map_or(0, |known| known.reached.revision.0)
            + 1;
        let opened = Watch::open(&self.registry, &self.range, Revision(from)).await?;
        let mut watch = opened.ok_or(End::Outdated)?;
        self.audit.end();
        loop {
            if let Some(now) = catch_up
                && self.has_caught_up(&now).await?
            {
                catch_up = None;
            }
            self.settle(None)?;
            let heard = match catch_up {
                None => tokio::select! {
                    biased;
                    heard = watch.next() => heard,
                    () = self.batches.closed() => return Err(End::Unheard),
                    () = sleep_until(self.audit.due()) => {
                        self.audit().await?;
                        continue;
                    }
                },
                Some(_) => match watch.next_within(CATCH_UP_MAX).await {
                    Some(heard) => heard,
                    None => return Err(End::Outdated),
                },
            };
            match heard {
                Ok(heard) => self.hear(heard).await?,
                Err(error) => {
                    self.registry.failed(watch.turn);
                    return Err(error.into());
                }
            }
        }
    }

    /// Reads everything and tells it.
    async fn read_all(&mut self) -> Result<(), End> {
        let mut changes = Vec::new();
        let mut modified = Vec::new();
        let mut damaged = BTreeSet::new();
        let mut keys = 0;
        let layout = self.registry.layout().clone();
        let started = Instant::now();
        let listed = list(&self.registry, &self.range, |record: &KeyValue| {
            keys += 1;
            let change = layout.decode_leased(record.key(), Some(record.value()), record.lease());
            if let Some(change) = change {
                if matches!(change, Change::Quarantined { .. }) {
                    damaged.insert(record.key().to_vec());
                }
                changes.push(change);
                modified.push(to_revision(record.mod_revision()));
            }
        })
        .await?;
        tracing::debug!(range = ?self.range, records = changes.len(), elapsed = ?started.elapsed(), "read");
        let revision = listed.revision;
        let position = Reached { revision, keys };
        self.known = Some(Known::of(position, listed.cluster, damaged));
        self.audit.put_off(self.known.as_ref());
        self.disconnected = false;
        self.tell(Batch::Snapshot {
            revision,
            changes,
            modified,
            position,
        })
        .await
    }

    /// If everything up to `now` has been told, says so.
    async fn has_caught_up(&mut self, now: &Standing) -> Result<bool, End> {
        let Some(known) = &mut self.known else {
            return Err(End::Outdated);
        };
        if !known.reached.covers(now) {
            return Ok(false);
        }
        known.reached.revision = known.reached.revision.max(now.revision);
        let position = known.reached;
        self.disconnected = false;
        self.tell(Batch::Synced {
            revision: position.revision,
            position,
        })
        .await?;
        Ok(true)
    }

    async fn hear(&mut self, heard: Heard) -> Result<(), End> {
        match heard {
            Heard::Compacted if is_made(Mutation::CompactionIgnored) => self.skip().await,
            Heard::Compacted => Err(End::Outdated),
            Heard::UpTo(revision) => {
                let Some(known) = &mut self.known else {
                    return Err(End::Outdated);
                };
                if revision <= known.reached.revision {
                    return Ok(());
                }
                known.reached.revision = revision;
                let position = known.reached;
                self.tell(Batch::Progress { position }).await
            }
            Heard::Events(revisions) => {
                for (revision, events) in revisions {
                    let Some(known) = &self.known else {
                        return Err(End::Outdated);
                    };
                    // etcd has been seen to repeat events after a reconnect.
                    if revision <= known.reached.revision {
                        continue;
                    }
                    self.settle(Some(revision))?;
                    let Some(known) = &mut self.known else {
                        return Err(End::Outdated);
                    };
                    let changes = known.take_in(&self.registry, revision, events);
                    let position = known.reached;
                    let batch = if changes.is_empty() {
                        Batch::Progress { position }
                    } else {
                        Batch::Changes {
                            revision,
                            changes,
                            position,
                        }
                    };
                    self.tell(batch).await?;
                }
                Ok(())
            }
        }
    }

    /// Asks what the store has; if that was asked before, the rest of it has not come in time.
    async fn audit(&mut self) -> Result<(), End> {
        if self.audit.end() {
            return Err(self.missed());
        }
        self.audit.put_off(self.known.as_ref());
        let Some(known) = &self.known else {
            return Err(End::Outdated);
        };
        match account(&self.registry, &self.range, known.audited()).await {
            Ok(now) if now.cluster != known.cluster || now.revision < known.reached.revision => {
                return Err(End::Outdated);
            }
            Ok(now) => self.audit.begin(now),
            // If the store is lost, the watch will say so.
            Err(error) => {
                tracing::debug!(range = ?self.range, %error, "cannot see whether an event was lost");
            }
        }
        Ok(())
    }

    /// Compares what is known with what the store had, before anything of `next` is taken in.
    fn settle(&mut self, next: Option<Revision>) -> Result<(), End> {
        let known = self.known.as_mut().ok_or(End::Outdated)?;
        match self.audit.go_on(known, next) {
            Verdict::Whole | Verdict::Pending => Ok(()),
            Verdict::Missed => Err(self.missed()),
        }
    }

    fn missed(&self) -> End {
        tracing::warn!(range = ?self.range, "etcd has lost an event of a watch: reading everything again");
        End::Outdated
    }

    /// A mistake: goes on with what is to come, as if nothing had been missed.
    async fn skip(&mut self) -> Result<(), End> {
        let now = standing(&self.registry, &self.range).await?;
        if let Some(known) = &mut self.known {
            known.skip_to(&now);
        }
        Err(End::Lost(RegistryError::Unreachable {
            reason: "the watch has fallen behind".to_owned(),
        }))
    }

    async fn tell(&mut self, batch: Batch) -> Result<(), End> {
        self.batches.send(batch).await.map_err(|_| End::Unheard)
    }
}
