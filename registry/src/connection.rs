//! One connection to the store: every request that is answered once goes through here, is bounded in time, tried again where
//! that is safe, and has its errors told apart.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use etcd_client::{
    Channel, Client, ConnectOptions, GetOptions, GetResponse, ResponseHeader, Txn, TxnOp,
    TxnOpResponse, TxnResponse,
};
use model::{Change, Clock, RecordKey, Revision};
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};
use tower::util::BoxCloneSyncService;
use unitfile::{FileHash, UnitFile};

use crate::backoff::Salt;
use crate::chunks::OPERATIONS_MAX;
use crate::clock::RuntimeClock;
use crate::config::{Config, ConfigError};
use crate::embedded::Embedded;
use crate::endpoints::{Endpoints, Turn};
use crate::error::{Effect, RegistryError, classify, timed_out};
use crate::layout::Layout;

/// The largest answer accepted: [`OPERATIONS_MAX`] unit files of 64 KiB in one transaction, and as much again for its frame.
pub(crate) const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Request timeout towards a store in this process: it answers in microseconds, but its disk may not.
const EMBEDDED_TIMEOUT: Duration = Duration::from_secs(5);

/// Unit files remembered by [`Registry::file`]: at 64 KiB each at most 16 MiB, and usually a hundredth of it.
const FILES_REMEMBERED_MAX: usize = 256;

/// The store. Cheap to clone; all clones share one connection.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
    clock: Arc<dyn Clock>,
}

struct Inner {
    channel: Channel,
    endpoints: Option<Endpoints>,
    user: Option<(String, String)>,
    /// Made by the first request that needs it: with a user it must authenticate, for which the store has to be up.
    client: OnceCell<Client>,
    layout: Layout,
    request_timeout: Duration,
    salt: Salt,
    files: Mutex<RememberedFiles>,
}

#[derive(Default)]
struct RememberedFiles {
    by_hash: BTreeMap<FileHash, Arc<UnitFile>>,
    oldest_first: VecDeque<FileHash>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry")
            .field("layout", &self.inner.layout)
            .finish_non_exhaustive()
    }
}

impl Registry {
    /// Prepares the connection; does not wait for the store to answer.
    ///
    /// # Errors
    /// If the configuration cannot be used.
    pub async fn connect(config: &Config) -> Result<Registry, ConfigError> {
        config.check()?;
        let endpoints = Endpoints::new(&config.urls()?, &config.tls).await?;
        let channel = Channel::Custom(BoxCloneSyncService::new(endpoints.clone()));
        Ok(Registry::new(Inner {
            channel,
            endpoints: Some(endpoints),
            user: config.user()?,
            client: OnceCell::new(),
            layout: Layout::new(&config.key_prefix),
            request_timeout: config.request_timeout,
            salt: Salt::random(),
            files: Mutex::default(),
        }))
    }

    /// The store in this process, without a socket.
    pub fn embedded(store: &Embedded, key_prefix: &str) -> Registry {
        Registry::over(store.channel(), key_prefix, EMBEDDED_TIMEOUT)
    }

    /// A store behind a channel of your own making, such as a simulated network.
    pub fn over(channel: Channel, key_prefix: &str, request_timeout: Duration) -> Registry {
        Registry::new(Inner {
            channel,
            endpoints: None,
            user: None,
            client: OnceCell::new(),
            layout: Layout::new(key_prefix),
            request_timeout,
            salt: Salt::fixed(),
            files: Mutex::default(),
        })
    }

    /// What another process would have: no file remembered, retries at times of its own. Shares only the connection.
    #[must_use]
    pub fn another(&self) -> Registry {
        Registry::new(Inner {
            channel: self.inner.channel.clone(),
            endpoints: self.inner.endpoints.clone(),
            user: self.inner.user.clone(),
            client: OnceCell::new(),
            layout: self.inner.layout.clone(),
            request_timeout: self.inner.request_timeout,
            salt: Salt::random(),
            files: Mutex::default(),
        })
    }

    fn new(inner: Inner) -> Registry {
        Registry {
            inner: Arc::new(inner),
            clock: Arc::new(RuntimeClock::new()),
        }
    }

    /// The same registry with the machine's clock, by which leases are counted while the machine sleeps too.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Registry {
        Registry { clock, ..self }
    }

    /// Milliseconds since 1970 by the clock that people set: to be told, never to decide anything by.
    pub(crate) fn unix_ms(&self) -> u64 {
        self.clock.unix_ms()
    }

    /// Milliseconds since the machine booted.
    pub(crate) fn boot_ms(&self) -> u64 {
        self.clock.boot_ms()
    }

    /// Asks the store for an answer that needs its quorum.
    ///
    /// # Errors
    /// If there is none within the request timeout.
    pub async fn ping(&self) -> Result<(), RegistryError> {
        self.revision().await.map(|_| ())
    }

    /// The file of this content address; none if the store has no such file.
    ///
    /// # Errors
    /// If the store failed, or what it has is not the file of that address.
    pub async fn file(&self, hash: &FileHash) -> Result<Option<Arc<UnitFile>>, RegistryError> {
        Ok(self.files(std::slice::from_ref(hash)).await?.remove(hash))
    }

    /// The files of these content addresses, those that the store has. One request for each 128 that are not remembered.
    ///
    /// # Errors
    /// If the store failed, or what it has is not the file of its address.
    pub async fn files(
        &self,
        hashes: &[FileHash],
    ) -> Result<BTreeMap<FileHash, Arc<UnitFile>>, RegistryError> {
        let mut found = BTreeMap::new();
        let mut missing = Vec::new();
        {
            let remembered = self
                .inner
                .files
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            for hash in hashes {
                match remembered.by_hash.get(hash) {
                    Some(file) => drop(found.insert(*hash, Arc::clone(file))),
                    None => missing.push(*hash),
                }
            }
        }
        missing.sort_unstable();
        missing.dedup();
        for chunk in missing.chunks(OPERATIONS_MAX) {
            for (hash, file) in self.fetch_files(chunk).await? {
                self.inner
                    .files
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .remember(hash, &file);
                found.insert(hash, file);
            }
        }
        Ok(found)
    }

    async fn fetch_files(
        &self,
        hashes: &[FileHash],
    ) -> Result<Vec<(FileHash, Arc<UnitFile>)>, RegistryError> {
        let keys = hashes
            .iter()
            .map(|hash| self.layout().key(&RecordKey::File(*hash)));
        let gets: Vec<TxnOp> = keys.map(|key| TxnOp::get(key, None)).collect();
        let answer = self.txn(Txn::new().and_then(gets), Effect::None).await?;
        let mut files = Vec::new();
        for response in answer.op_responses() {
            let TxnOpResponse::Get(response) = response else {
                return Err(RegistryError::Protocol {
                    reason: "a read was answered with something else".to_owned(),
                });
            };
            for record in response.kvs() {
                match self.layout().decode(record.key(), Some(record.value())) {
                    Some(Change::File(hash, Some(file))) => files.push((hash, file)),
                    Some(Change::Quarantined { problem, .. }) => {
                        return Err(RegistryError::Damaged {
                            key: problem.key,
                            reason: problem.reason,
                        });
                    }
                    Some(_) | None => {
                        return Err(RegistryError::Protocol {
                            reason: "not the file that was asked for".to_owned(),
                        });
                    }
                }
            }
        }
        Ok(files)
    }

    /// Each endpoint by itself, by its URL; a store in this process or behind a channel of its own is one.
    pub(crate) fn members(&self) -> Vec<(String, Channel)> {
        match &self.inner.endpoints {
            Some(endpoints) => endpoints.each(),
            None => vec![("embedded".to_owned(), self.inner.channel.clone())],
        }
    }

    /// Who we are to the store, if it asks.
    pub(crate) fn user(&self) -> Option<&(String, String)> {
        self.inner.user.as_ref()
    }

    /// Where records are.
    pub(crate) fn layout(&self) -> &Layout {
        &self.inner.layout
    }

    /// How long one request may take.
    pub(crate) fn request_timeout(&self) -> Duration {
        self.inner.request_timeout
    }

    /// What spreads this process's retries.
    pub(crate) fn salt(&self) -> Salt {
        self.inner.salt
    }

    /// The store's revision now, read linearizably: every write acknowledged before has this one or an earlier one.
    pub(crate) async fn revision(&self) -> Result<Revision, RegistryError> {
        let key = self.layout().key(&RecordKey::Leader);
        let answer = self.get(key, GetOptions::new().with_count_only()).await?;
        revision_of(answer.header())
    }

    /// One read.
    pub(crate) async fn get(
        &self,
        key: String,
        options: GetOptions,
    ) -> Result<GetResponse, RegistryError> {
        self.get_raw(key.into_bytes(), options).await
    }

    /// One read of a key that need not be text.
    pub(crate) async fn get_raw(
        &self,
        key: Vec<u8>,
        options: GetOptions,
    ) -> Result<GetResponse, RegistryError> {
        self.request(Effect::None, |client| {
            let mut kv = client
                .kv_client()
                .max_decoding_message_size(ANSWER_BYTES_MAX);
            let (key, options) = (key.clone(), options.clone());
            async move { kv.get(key, Some(options)).await }
        })
        .await
    }

    /// One transaction.
    pub(crate) async fn txn(&self, txn: Txn, effect: Effect) -> Result<TxnResponse, RegistryError> {
        self.request(effect, |client| {
            let mut kv = client
                .kv_client()
                .max_decoding_message_size(ANSWER_BYTES_MAX);
            let txn = txn.clone();
            async move { kv.txn(txn).await }
        })
        .await
    }

    /// The client, authenticated if there is a user.
    pub(crate) async fn client(&self) -> Result<&Client, RegistryError> {
        let make = || async {
            let mut options = ConnectOptions::new().with_require_leader(true);
            if let Some((name, password)) = &self.inner.user {
                options = options
                    .with_user(name, password)
                    .with_auto_token_refresh(true);
            }
            Client::from_channel(self.inner.channel.clone(), Some(options)).await
        };
        self.inner
            .client
            .get_or_try_init(make)
            .await
            .map_err(|error| classify(&error, Effect::None))
    }

    /// The endpoint in use, to report a failure of a stream that was opened now.
    pub(crate) fn turn(&self) -> Option<Turn> {
        self.inner.endpoints.as_ref().map(Endpoints::turn)
    }

    /// A stream or request failed, or was not answered, on the endpoint in use at `turn`.
    pub(crate) fn failed(&self, turn: Option<Turn>) {
        if let (Some(endpoints), Some(turn)) = (&self.inner.endpoints, turn) {
            endpoints.failed(turn);
        }
    }

    /// Makes a request within the request timeout. If nothing can have been done it is tried once on each endpoint, and
    /// once more in case the connection was an old one that had died unnoticed.
    pub(crate) async fn request<T, F, Fut>(
        &self,
        effect: Effect,
        call: F,
    ) -> Result<T, RegistryError>
    where
        F: Fn(Client) -> Fut,
        Fut: Future<Output = Result<T, etcd_client::Error>>,
    {
        let deadline = Instant::now() + self.inner.request_timeout;
        let mut attempts_left = self.inner.endpoints.as_ref().map_or(1, Endpoints::count) + 1;
        loop {
            attempts_left -= 1;
            let turn = self.turn();
            let error = match self.attempt(effect, &call, deadline, attempts_left).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if matches!(
                error,
                RegistryError::Unreachable { .. } | RegistryError::Unknown { .. }
            ) {
                self.failed(turn);
            }
            let harmless = matches!(error, RegistryError::Unreachable { .. });
            if !harmless || attempts_left == 0 || Instant::now() >= deadline {
                return Err(error);
            }
        }
    }

    async fn attempt<T, F, Fut>(
        &self,
        effect: Effect,
        call: &F,
        deadline: Instant,
        attempts_left: usize,
    ) -> Result<T, RegistryError>
    where
        F: Fn(Client) -> Fut,
        Fut: Future<Output = Result<T, etcd_client::Error>>,
    {
        let what = format!("{} ms", self.inner.request_timeout.as_millis());
        let several = self
            .inner
            .endpoints
            .as_ref()
            .is_some_and(|endpoints| endpoints.count() > 1);
        let left = deadline.saturating_duration_since(Instant::now());
        // An endpoint that accepts and says nothing must leave time for another one.
        let connecting = if several && attempts_left > 0 {
            deadline - left / 2
        } else {
            deadline
        };
        let client = match timeout_at(connecting, self.client()).await {
            Ok(client) => client?.clone(),
            Err(_) => return Err(timed_out(Effect::None, &what)),
        };
        let until = match effect {
            Effect::None => connecting,
            Effect::Write => deadline,
        };
        match timeout_at(until, call(client)).await {
            Ok(answer) => answer.map_err(|error| classify(&error, effect)),
            Err(_) => Err(timed_out(effect, &what)),
        }
    }
}

impl RememberedFiles {
    fn remember(&mut self, hash: FileHash, file: &Arc<UnitFile>) {
        if self.by_hash.insert(hash, Arc::clone(file)).is_none() {
            self.oldest_first.push_back(hash);
        }
        while self.oldest_first.len() > FILES_REMEMBERED_MAX {
            if let Some(oldest) = self.oldest_first.pop_front() {
                self.by_hash.remove(&oldest);
            }
        }
    }
}

/// The revision in the header of an answer.
pub(crate) fn revision_of(header: Option<&ResponseHeader>) -> Result<Revision, RegistryError> {
    let header = header.ok_or_else(|| RegistryError::Protocol {
        reason: "an answer without a header".to_owned(),
    })?;
    Ok(to_revision(header.revision()))
}

/// etcd's revisions are never negative.
pub(crate) fn to_revision(revision: i64) -> Revision {
    Revision(u64::try_from(revision).unwrap_or(0))
}

/// The same for requests; no store gets that far.
pub(crate) fn from_revision(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}
