//! What all handles, services and tasks of one embedded etcd share, and the way a command takes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

use super::disk::Identity;
use super::lease::Leases;
use super::mvcc::Mvcc;
use super::range::{Blob, KeyRange};
use super::refusal::Refusal;
use super::state::{Answer, Command, State};
use super::writer::Submission;

/// How long after a lease could not be ended, because the disk refused, it is tried again.
const EXPIRY_RETRY: Duration = Duration::from_secs(1);

/// Where commands go.
#[derive(Debug)]
enum Route {
    /// Carried out at once, by whoever asks.
    Memory,
    /// Carried out by the writer, with the disk.
    Disk(mpsc::Sender<Submission>),
}

/// The state, and what wakes those who wait for it.
#[derive(Debug)]
pub(crate) struct Shared {
    identity: Identity,
    lease_seed: u64,
    state: Mutex<State>,
    route: Route,
    file: Option<PathBuf>,
    /// Where clients on other machines reach it.
    addresses: Arc<Mutex<BTreeSet<String>>>,
    leases_changed: Notify,
    /// The whole store is shutting down.
    ended: CancellationToken,
}

impl Shared {
    pub(crate) fn in_memory(identity: Identity, state: State) -> Shared {
        Shared::new(identity, 0, state, Route::Memory)
    }

    pub(crate) fn on_disk(
        identity: Identity,
        lease_seed: u64,
        state: State,
        queue: mpsc::Sender<Submission>,
        file: &Path,
    ) -> Shared {
        let file = Some(file.to_path_buf());
        Shared {
            file,
            ..Shared::new(identity, lease_seed, state, Route::Disk(queue))
        }
    }

    fn new(identity: Identity, lease_seed: u64, state: State, route: Route) -> Shared {
        Shared {
            identity,
            lease_seed,
            state: Mutex::new(state),
            route,
            file: None,
            addresses: Arc::default(),
            leases_changed: Notify::new(),
            ended: CancellationToken::new(),
        }
    }

    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    pub(crate) fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    /// How large the file is; 0 without one.
    pub(crate) async fn file_bytes(&self) -> i64 {
        let Some(file) = &self.file else { return 0 };
        match tokio::fs::metadata(file).await {
            Ok(metadata) => i64::try_from(metadata.len()).unwrap_or(i64::MAX),
            Err(error) => {
                tracing::warn!(file = %file.display(), %error, "cannot size the embedded store");
                0
            }
        }
    }

    /// Says in `member list` that clients reach it at `url`, until the result is dropped.
    pub(crate) fn announce(&self, url: String) -> Announcement {
        let addresses = Arc::clone(&self.addresses);
        addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(url.clone());
        Announcement { addresses, url }
    }

    /// Where clients reach it.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let addresses = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        addresses.iter().cloned().collect()
    }

    /// The state. Held only for work in memory. A panic while it was held cannot have left it half
    /// changed in a way that matters more than going on: history is checked on disk.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the task that ends leases.
    pub(crate) fn leases_changed(&self) {
        self.leases_changed.notify_one();
    }

    /// Leases as found on disk, running their full time from now.
    pub(crate) fn rearm(&self, found: Vec<(i64, i64)>, mvcc: &Mvcc) -> Leases {
        rearm(self.lease_seed, found, mvcc)
    }

    /// Carries out a command, durably if there is a disk.
    pub(crate) async fn submit(&self, command: Command) -> Result<Answer, Refusal> {
        if self.ended.is_cancelled() {
            return Err(Refusal::Stopped);
        }
        match &self.route {
            Route::Memory => self.apply_in_memory(&command),
            Route::Disk(queue) => {
                let (reply, answer) = oneshot::channel();
                match queue.try_send(Submission { command, reply }) {
                    Ok(()) => answer.await.unwrap_or(Err(Refusal::Stopped)),
                    Err(mpsc::error::TrySendError::Full(_)) => Err(Refusal::TooManyRequests),
                    Err(mpsc::error::TrySendError::Closed(_)) => Err(Refusal::Stopped),
                }
            }
        }
    }

    fn apply_in_memory(&self, command: &Command) -> Result<Answer, Refusal> {
        let mut state = self.lock();
        let mut unwanted = Vec::new();
        let now = Instant::now();
        let answer = state.apply(command, now, &mut unwanted);
        state.publish();
        if let Some(revision) = state.mvcc.compaction_due()
            && let Err(refusal) = state.apply(&Command::Compact { revision }, now, &mut unwanted)
        {
            tracing::warn!(revision, %refusal, "cannot compact the embedded store");
        }
        drop(state);
        if matches!(command, Command::Grant { .. }) {
            self.leases_changed();
        }
        answer
    }

    /// Ends leases when their time has passed, until the store shuts down.
    pub(crate) async fn end_leases(&self) {
        loop {
            let deadline = self.lock().leases.next_deadline();
            let passed = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.ended.cancelled() => return,
                () = self.leases_changed.notified() => {}
                () = passed => self.end_passed_leases().await,
            }
        }
    }

    async fn end_passed_leases(&self) {
        let passed = self.lock().leases.take_ended(Instant::now());
        for id in passed {
            loop {
                match self.submit(Command::Revoke { id }).await {
                    // Not found: its owner revoked it in the meantime.
                    Ok(_) | Err(Refusal::LeaseNotFound | Refusal::Stopped) => break,
                    Err(refusal) => {
                        tracing::warn!(lease = id, %refusal, "cannot end a lease, trying again");
                    }
                }
                tokio::select! {
                    () = self.ended.cancelled() => return,
                    () = tokio::time::sleep(EXPIRY_RETRY) => {}
                }
            }
        }
    }
}

/// An address that is being served.
#[derive(Debug)]
pub(crate) struct Announcement {
    addresses: Arc<Mutex<BTreeSet<String>>>,
    url: String,
}

impl Drop for Announcement {
    fn drop(&mut self) {
        self.addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.url);
    }
}

/// Leases as found on disk, running their full time from now, with the keys that hang on them.
pub(crate) fn rearm(seed: u64, found: Vec<(i64, i64)>, mvcc: &Mvcc) -> Leases {
    let now = Instant::now();
    let mut leases = Leases::new(seed);
    for (id, ttl_s) in found {
        leases.insert(id, ttl_s, now);
    }
    for (key, version) in mvcc.range(&KeyRange::From(Blob::default()), mvcc.head()) {
        leases.attach(key, 0, version.lease);
    }
    leases
}
