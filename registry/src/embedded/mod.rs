//! An etcd of one node inside this process: the subset of etcd's v3 protocol that fleet and
//! `etcdctl` use, durable in one redb file or only in memory.
//!
//! It is one node and says so: whoever outgrows it points fleetd at an etcd cluster. Clients are
//! `etcd-client` or anything else that speaks etcd v3; a conformance suite (`tests/conformance.rs`)
//! runs against this and against a real etcd, and where they differ, this is wrong.
//!
//! A request goes `server` → `service`/`session` → `wire` (protobufs to our types) → `shared` →
//! `state` (what a command does), and, if there is a file, through `writer` and `disk` before it is
//! answered. `mvcc`, `txn`, `range` and `record` are pure.
//!
//! Nothing here reads a clock but tokio's, so under paused time a whole cluster can run on
//! [`Embedded::in_memory`], which uses no threads and no files.

mod admin;
mod disk;
mod error;
mod hub;
mod lease;
mod mvcc;
mod range;
mod record;
mod refusal;
mod server;
mod service;
mod session;
mod shared;
mod state;
mod txn;
mod wire;
mod writer;

use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::Stream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::server::{Connected, TcpIncoming};

pub use error::EmbeddedError;
pub use refusal::Refusal;

use disk::{Contents, Disk, Identity};
use lease::Leases;
use mvcc::Mvcc;
use service::Service;
use shared::Shared;
use state::{Command, State};

/// What an etcd in memory says that it is: always the same, so that a simulation repeats.
const MEMORY_IDENTITY: Identity = Identity {
    cluster_id: 0x000f_1ee7,
    member_id: 0x0f1e_e701,
    term: 1,
};

/// An etcd of one node. Clones are handles to the same one; it ends with [`Embedded::shutdown`], or
/// when the last handle, channel and listener is gone.
#[derive(Clone, Debug)]
pub struct Embedded {
    shared: Arc<Shared>,
    tasks: Arc<Tasks>,
}

/// The tasks behind the handles.
#[derive(Debug)]
struct Tasks {
    running: Mutex<JoinSet<()>>,
    /// Ends the tasks with the last handle.
    _guard: DropGuard,
}

impl Embedded {
    /// An etcd that forgets everything when it ends. Every write is carried out by its caller, on
    /// the spot; besides there is one task, which ends leases.
    ///
    /// Must be called within a tokio runtime.
    pub fn in_memory() -> Embedded {
        let state = State::new(Mvcc::new(), Leases::new(0));
        let shared = Arc::new(Shared::in_memory(MEMORY_IDENTITY, state));
        Embedded::start(shared, JoinSet::new())
    }

    /// Opens the etcd kept in the file `path`, or creates it. Leases run their full time from now.
    ///
    /// # Errors
    ///
    /// [`EmbeddedError::InUse`] if another handle or process has the file open,
    /// [`EmbeddedError::Open`] or [`EmbeddedError::Malformed`] if it cannot be read.
    pub async fn open(path: &Path) -> Result<Embedded, EmbeddedError> {
        let fresh = Identity {
            cluster_id: random(),
            member_id: random(),
            term: 0,
        };
        let file = path.to_path_buf();
        let opened = tokio::task::spawn_blocking(move || Disk::open(&file, fresh)).await;
        let (disk, contents) = opened.map_err(|source| EmbeddedError::Task { source })??;
        let Contents {
            identity,
            mvcc,
            leases,
        } = contents;
        let lease_seed = random();
        let state = State::new(mvcc, Leases::new(lease_seed));
        let (submit, queue) = mpsc::channel(writer::QUEUE_MAX);
        let shared = Arc::new(Shared::on_disk(identity, lease_seed, state, submit, path));
        {
            let mut state = shared.lock();
            state.leases = shared.rearm(leases, &state.mvcc);
        }
        let mut tasks = JoinSet::new();
        let ended = shared.ended().clone();
        tasks.spawn(writer::run(Arc::clone(&shared), queue, disk, ended));
        Ok(Embedded::start(shared, tasks))
    }

    fn start(shared: Arc<Shared>, mut tasks: JoinSet<()>) -> Embedded {
        let for_leases = Arc::clone(&shared);
        tasks.spawn(async move { for_leases.end_leases().await });
        let guard = shared.ended().clone().drop_guard();
        let tasks = Arc::new(Tasks {
            running: Mutex::new(tasks),
            _guard: guard,
        });
        Embedded { shared, tasks }
    }

    /// A channel to it without a socket, for `etcd_client::Client::from_channel`.
    pub fn channel(&self) -> etcd_client::Channel {
        server::channel(&self.service(self.shared.ended().clone()))
    }

    /// No lease ends from now on, as in an etcd without a quorum. For simulations, which let no request through meanwhile.
    pub fn hold_leases(&self) {
        self.shared.lock().leases.hold();
        self.shared.leases_changed();
    }

    /// All leases run their full time again from now, as in an etcd that has a quorum again.
    pub fn release_leases(&self) {
        self.shared.lock().leases.release(Instant::now());
        self.shared.leases_changed();
    }

    /// Whoever watches now, and has been served so far, is never told of the next write, as etcd has been seen to do. For tests.
    pub fn lose_next_event(&self) {
        self.shared.lock().hub.lose_next();
    }

    /// Nothing is added from now on, as in an etcd whose alarm `NOSPACE` is raised: only reads and deletions are done. For tests.
    pub fn run_out_of_space(&self) {
        self.shared.lock().full = true;
    }

    /// There is space again.
    pub fn make_room(&self) {
        self.shared.lock().full = false;
    }

    /// As [`Embedded::channel`], to a member that has nothing newer than `revision`: only who asks for serializable reads notices. For
    /// simulations.
    pub fn channel_behind(&self, revision: i64) -> etcd_client::Channel {
        let service = self.service(self.shared.ended().clone());
        server::channel(&Service {
            behind: Some(revision),
            ..service
        })
    }

    /// Serves it on `listener` until `shutdown`, or until the store itself is shut down. Streams of
    /// clients are then ended with `Unavailable`.
    ///
    /// # Errors
    ///
    /// [`EmbeddedError::Serve`] if the listener fails.
    pub async fn serve(
        &self,
        listener: TcpListener,
        shutdown: CancellationToken,
    ) -> Result<(), EmbeddedError> {
        let _announced = match listener.local_addr() {
            Ok(address) if !address.ip().is_unspecified() => {
                Some(self.shared.announce(format!("http://{address}")))
            }
            // Listening everywhere says nothing about where to find it.
            Ok(_) => None,
            Err(error) => {
                tracing::warn!(%error, "the listener does not know its address");
                None
            }
        };
        // Answers are small and awaited: they must not wait for more to send.
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        self.serve_incoming(incoming, shutdown).await
    }

    /// The same on a unix socket.
    ///
    /// # Errors
    ///
    /// [`EmbeddedError::Serve`] if the listener fails.
    pub async fn serve_unix(
        &self,
        listener: UnixListener,
        shutdown: CancellationToken,
    ) -> Result<(), EmbeddedError> {
        self.serve_incoming(UnixListenerStream::new(listener), shutdown)
            .await
    }

    /// Forgets history before `revision`, except what is still current.
    ///
    /// It also happens by itself, so that neither memory nor file grows for ever.
    ///
    /// # Errors
    ///
    /// [`Refusal::Compacted`] or [`Refusal::FutureRevision`].
    pub async fn compact_now(&self, revision: i64) -> Result<(), EmbeddedError> {
        self.shared.submit(Command::Compact { revision }).await?;
        Ok(())
    }

    /// The newest durable revision.
    pub fn revision(&self) -> i64 {
        self.shared.lock().visible()
    }

    /// Ends it: streams are cut, waiting writes are refused, the write under way is finished and
    /// the file is closed when this returns. For all handles.
    pub async fn shutdown(&self) {
        self.shared.ended().cancel();
        let tasks = {
            let mut running = self
                .tasks
                .running
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *running)
        };
        tasks.join_all().await;
    }

    async fn serve_incoming<I, C, E>(
        &self,
        incoming: I,
        shutdown: CancellationToken,
    ) -> Result<(), EmbeddedError>
    where
        I: Stream<Item = Result<C, E>>,
        C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
        E: Into<tower::BoxError>,
    {
        // Ends with the store as well as with `shutdown`.
        let ended = self.shared.ended().child_token();
        let serving = server::serve(self.service(ended.clone()), incoming, &ended);
        let mut serving = std::pin::pin!(serving);
        tokio::select! {
            served = &mut serving => return served,
            () = shutdown.cancelled() => ended.cancel(),
        }
        serving.await
    }

    fn service(&self, ended: CancellationToken) -> Service {
        Service {
            store: self.clone(),
            ended,
            behind: None,
        }
    }
}

/// A number that nobody else has: the standard library seeds its hasher from the system.
fn random() -> u64 {
    RandomState::new().hash_one(0_u8)
}
