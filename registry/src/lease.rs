//! Being alive: a lease that keeps itself alive, says when it last knew that it was, and says when it is lost.

use std::time::Duration;

use etcd_client::{LeaseKeepAliveStream, LeaseKeeper};
use model::mutation::{Mutation, is_made};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use crate::backoff::Backoff;
use crate::connection::Registry;
use crate::error::{Effect, RegistryError, classify};

/// A keep-alive is sent this many times in each time to live, so that two may be lost.
const KEEP_ALIVES_PER_TTL: u32 = 3;

/// After a loss of the connection a retry comes at least this many times in a time to live.
const RETRIES_PER_TTL: u32 = 20;

/// Names a lease in the store; may be kept across a restart of the process, to resume it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LeaseId(pub i64);

/// Why a lease is no longer to be relied on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeaseLost {
    /// The store says that it is gone, and with it every record under it.
    Ended,
    /// The store could not be asked for as long as the lease lives: it may be gone.
    Unconfirmed,
}

/// A lease that a task of its own keeps alive until it is dropped. Dropping does not revoke it.
#[derive(Debug)]
pub struct Lease {
    id: LeaseId,
    ttl: Duration,
    origin: Origin,
    state: watch::Receiver<LeaseState>,
    registry: Registry,
    /// Ends with this.
    keeping: JoinSet<()>,
}

/// Where a lease comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// It was asked for anew: nothing stands under it yet.
    Granted,
    /// An earlier process of this machine had it, with records under it.
    Resumed,
}

/// What is known of a lease.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LeaseState {
    /// When the last keep-alive that was answered was sent.
    pub(crate) confirmed: Sent,
    lost: Option<LeaseLost>,
}

/// A moment, by the runtime's clock and by the machine's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    at: Instant,
    /// Goes on while the machine sleeps.
    pub(crate) boot_ms: u64,
}

impl Sent {
    fn now(registry: &Registry) -> Sent {
        // This one first: what comes between the two makes the lease seem older, never younger.
        let boot_ms = match is_made(Mutation::DeadlineByWallClock) {
            true => registry.unix_ms(),
            false => registry.boot_ms(),
        };
        Sent {
            at: Instant::now(),
            boot_ms,
        }
    }
}

impl Registry {
    /// Returns the lease `resume` if it still lives, else a new one that lives for `ttl` (whole seconds, rounded up;
    /// the store may grant more). A resumed lease keeps the time to live that it was granted.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn lease(
        &self,
        ttl: Duration,
        resume: Option<LeaseId>,
    ) -> Result<Lease, RegistryError> {
        if let Some(id) = resume
            && let Some(lease) = self.resume_lease(id).await?
        {
            return Ok(lease);
        }
        let seconds =
            i64::try_from(ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0)).unwrap_or(i64::MAX);
        let sent = Sent::now(self);
        // A grant may be repeated: a lease that nobody knows of just ends.
        let granted = self
            .request(Effect::None, |client| {
                let mut leases = client.lease_client();
                async move { leases.grant(seconds.max(1), None).await }
            })
            .await?;
        Ok(Lease::start(
            self.clone(),
            LeaseId(granted.id()),
            whole_seconds(granted.ttl()),
            sent,
            None,
        ))
    }

    async fn resume_lease(&self, id: LeaseId) -> Result<Option<Lease>, RegistryError> {
        let sent = Sent::now(self);
        let stream = match open(self, id).await {
            Ok(stream) => stream,
            Err(RegistryError::LeaseEnded) => return Ok(None),
            Err(error) => return Err(error),
        };
        let remaining = self.lease_remaining(id).await?;
        Ok(remaining
            .map(|(_, granted)| Lease::start(self.clone(), id, granted, sent, Some(stream))))
    }

    /// How long a lease still lives if it is not kept alive, and how long it lives when it is; none if it is gone.
    pub(crate) async fn lease_remaining(
        &self,
        id: LeaseId,
    ) -> Result<Option<(Duration, Duration)>, RegistryError> {
        let answer = self
            .request(Effect::None, |client| {
                let mut leases = client.lease_client();
                async move { leases.time_to_live(id.0, None).await }
            })
            .await;
        match answer {
            Ok(answer) if answer.ttl() < 0 || answer.granted_ttl() <= 0 => Ok(None),
            Ok(answer) => Ok(Some((
                whole_seconds(answer.ttl()),
                whole_seconds(answer.granted_ttl()),
            ))),
            Err(RegistryError::LeaseEnded) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Ends a lease and deletes every record under it; a lease that is gone already is fine.
    pub(crate) async fn revoke_lease(&self, id: LeaseId) -> Result<(), RegistryError> {
        let answer = self
            .request(Effect::None, |client| {
                let mut leases = client.lease_client();
                async move { leases.revoke(id.0).await }
            })
            .await;
        match answer {
            Ok(_) | Err(RegistryError::LeaseEnded) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Lease {
    fn start(
        registry: Registry,
        id: LeaseId,
        ttl: Duration,
        sent: Sent,
        stream: Option<KeepAlive>,
    ) -> Lease {
        let origin = match &stream {
            Some(_) => Origin::Resumed,
            None if is_made(Mutation::NewLeaseTakenForOld) => Origin::Resumed,
            None => Origin::Granted,
        };
        let (sender, state) = watch::channel(LeaseState {
            confirmed: sent,
            lost: None,
        });
        let mut keeping = JoinSet::new();
        let keeper = Keeper {
            registry: registry.clone(),
            id,
            ttl,
            state: sender,
        };
        keeping.spawn(keeper.run(stream));
        Lease {
            id,
            ttl,
            origin,
            state,
            registry,
            keeping,
        }
    }

    /// Its name in the store.
    pub fn id(&self) -> LeaseId {
        self.id
    }

    /// Where it comes from.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// What is known of it, as it changes.
    pub(crate) fn state(&self) -> watch::Receiver<LeaseState> {
        self.state.clone()
    }

    /// How long it lives after a keep-alive.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// When the last keep-alive that was answered was sent. The lease lives at least until this plus [`Lease::ttl`].
    pub fn confirmed_at(&self) -> Instant {
        self.state.borrow().confirmed.at
    }

    /// Waits until the lease is lost. From then on it is not kept alive any more.
    pub async fn lost(&self) -> LeaseLost {
        let mut state = self.state.clone();
        let lost = match state.wait_for(|state| state.lost.is_some()).await {
            Ok(state) => state.lost,
            Err(_) => None,
        };
        // The task ends only after it has said why.
        lost.unwrap_or(LeaseLost::Unconfirmed)
    }

    /// Ends the lease now, and with it every record under it.
    ///
    /// # Errors
    /// If the store failed; the lease then ends by itself.
    pub async fn revoke(mut self) -> Result<(), RegistryError> {
        self.keeping.shutdown().await;
        self.registry.revoke_lease(self.id).await
    }
}

type KeepAlive = (LeaseKeeper, LeaseKeepAliveStream);

/// Opens a keep-alive stream, on which one keep-alive has then been answered.
async fn open(registry: &Registry, id: LeaseId) -> Result<KeepAlive, RegistryError> {
    registry
        .request(Effect::None, |client| {
            let mut leases = client.lease_client();
            async move { leases.keep_alive(id.0).await }
        })
        .await
}

struct Keeper {
    registry: Registry,
    id: LeaseId,
    ttl: Duration,
    state: watch::Sender<LeaseState>,
}

impl Keeper {
    async fn run(self, mut stream: Option<KeepAlive>) {
        let mut backoff = Backoff::new(self.registry.salt());
        loop {
            let turn = self.registry.turn();
            let opened = match stream.take() {
                Some(opened) => Ok(opened),
                None => self.open_in_time().await,
            };
            let error = match opened {
                Ok(opened) => {
                    backoff.reset();
                    self.hold(opened).await
                }
                Err(error) => error,
            };
            if error == RegistryError::LeaseEnded {
                return self.lose(LeaseLost::Ended);
            }
            self.registry.failed(turn);
            let until = self.expires_at();
            if Instant::now() >= until {
                return self.lose(LeaseLost::Unconfirmed);
            }
            tracing::debug!(lease = self.id.0, %error, "lease not confirmed, trying again");
            let wait = backoff.next_wait().min(self.ttl / RETRIES_PER_TTL);
            sleep(wait.min(until.saturating_duration_since(Instant::now()))).await;
        }
    }

    async fn open_in_time(&self) -> Result<KeepAlive, RegistryError> {
        let sent = Sent::now(&self.registry);
        match timeout_at(self.expires_at(), open(&self.registry, self.id)).await {
            Ok(Ok(stream)) => {
                self.confirm(sent);
                Ok(stream)
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(RegistryError::Unreachable {
                reason: "no answer while the lease lived".to_owned(),
            }),
        }
    }

    /// Keeps the lease alive on this stream until that fails; says why it did.
    async fn hold(&self, (mut keeper, mut stream): KeepAlive) -> RegistryError {
        loop {
            sleep_until(self.confirmed_at() + self.ttl / KEEP_ALIVES_PER_TTL).await;
            let sent = Sent::now(&self.registry);
            let answered = async {
                keeper.keep_alive().await?;
                stream.message().await
            };
            let answered = timeout(self.registry.request_timeout(), answered).await;
            match answered {
                Ok(Ok(Some(answer))) if answer.ttl() > 0 => self.confirm(sent),
                Ok(Ok(Some(_))) => return RegistryError::LeaseEnded,
                Ok(Ok(None)) => {
                    return RegistryError::Unreachable {
                        reason: "the stream ended".to_owned(),
                    };
                }
                Ok(Err(error)) => return classify(&error, Effect::None),
                Err(_) => {
                    return RegistryError::Unreachable {
                        reason: "no answer to a keep-alive".to_owned(),
                    };
                }
            }
        }
    }

    fn confirmed_at(&self) -> Instant {
        self.state.borrow().confirmed.at
    }

    fn expires_at(&self) -> Instant {
        self.confirmed_at() + self.ttl
    }

    fn confirm(&self, sent: Sent) {
        self.state.send_modify(|state| state.confirmed = sent);
    }

    fn lose(&self, why: LeaseLost) {
        self.state.send_modify(|state| state.lost = Some(why));
    }
}

fn whole_seconds(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
