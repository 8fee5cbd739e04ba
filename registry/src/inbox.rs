//! The questions that others ask this machine through the store, and the way their answers take (`asking.rs` says how).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use etcd_client::{Compare, CompareOp, PutOptions, Txn, TxnOp};
use model::{MachineId, Question, Revision};
use tokio::sync::watch;

use crate::asking::FOLLOWING_BYTES_MAX;
use crate::backoff::Backoff;
use crate::connection::Registry;
use crate::error::{Effect, RegistryError};
use crate::layout::{self, Asked as Record, End, Layout, Piece};
use crate::lease::LeaseId;
use crate::listing::{Range, list};
use crate::stream::{Heard, Watch};

/// The longest piece, in bytes. Written as JSON it may be six times as long, which still is below what etcd takes at once, 1.5 MiB.
pub const PIECE_BYTES_MAX: usize = 64 * 1024;

/// What others ask this machine. Costs the store one watch, and nothing while nobody asks.
pub struct Inbox {
    registry: Registry,
    machine: MachineId,
    watch: Option<Watch>,
    backoff: Backoff,
    /// The questions that stand, and what became known of their askers' reading. When one is taken back, its reply learns of it.
    standing: BTreeMap<LeaseId, watch::Sender<u64>>,
    ready: VecDeque<Asked>,
}

/// A question, and where to answer it.
#[derive(Debug)]
pub struct Asked {
    /// What is asked; or why it cannot be answered.
    pub matter: Result<Matter, Unanswerable>,
    /// The way of the answer.
    pub reply: Reply,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Matter {
    /// Something of a unit.
    Unit(Question),
    /// What this machine's clock says.
    Clock,
}

/// Why a question cannot be answered here and now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unanswerable {
    /// An earlier process of ours has begun to answer; what it has told is not known.
    Restarted,
    /// This version does not understand it.
    Unknown(String),
    /// Too many are asking.
    Busy,
    /// systemd's tools could not tell.
    Untold(String),
}

/// The way of one answer.
#[derive(Debug)]
pub struct Reply {
    registry: Registry,
    question_key: String,
    answer_key: String,
    lease: LeaseId,
    /// Pieces that were sent.
    sent: u64,
    sent_bytes: usize,
    heard: watch::Receiver<u64>,
}

/// Why a piece was not sent, or is not known to be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// The asker has gone or has enough.
    #[error("the question was taken back")]
    Withdrawn,
    /// So much was sent already that the answer was ended.
    #[error("the answer is too long")]
    TooMuch,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] RegistryError),
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox")
            .field("machine", &self.machine)
            .finish_non_exhaustive()
    }
}

impl Registry {
    /// What others ask `machine`, which must be this one. Works while the store is down: it keeps trying.
    pub fn inbox(&self, machine: MachineId) -> Inbox {
        Inbox {
            registry: self.clone(),
            machine,
            watch: None,
            backoff: Backoff::new(self.salt()),
            standing: BTreeMap::new(),
            ready: VecDeque::new(),
        }
    }
}

impl Inbox {
    /// The next question. Never ends; may be dropped and called again without loss.
    pub async fn next(&mut self) -> Asked {
        loop {
            if let Some(asked) = self.ready.pop_front() {
                return asked;
            }
            if let Err(error) = self.hear().await {
                tracing::debug!(%error, "lost the store: questions wait");
                self.watch = None;
                tokio::time::sleep(self.backoff.next_wait()).await;
            }
        }
    }

    async fn hear(&mut self) -> Result<(), RegistryError> {
        let Some(watch) = &mut self.watch else {
            let from = self.read_all().await?;
            let range = Range::Prefix(self.questions());
            self.watch = Watch::open(&self.registry, &range, from).await?;
            return match self.watch {
                Some(_) => {
                    self.backoff.reset();
                    Ok(())
                }
                None => Err(RegistryError::Compacted),
            };
        };
        match watch.next().await {
            Ok(Heard::Events(revisions)) => {
                for event in revisions.into_iter().flat_map(|(_, events)| events) {
                    self.note(&event.key, event.value.as_deref(), &BTreeSet::new());
                }
                Ok(())
            }
            Ok(Heard::UpTo(_)) => Ok(()),
            Ok(Heard::Compacted) => Err(RegistryError::Compacted),
            Err(error) => {
                self.registry.failed(watch.turn);
                Err(error)
            }
        }
    }

    /// Reads what stands; returns from where on to watch.
    async fn read_all(&mut self) -> Result<Revision, RegistryError> {
        let mut begun = BTreeSet::new();
        let answers = self.registry.layout().answers_prefix(&self.machine);
        list(&self.registry, &Range::Prefix(answers.clone()), |record| {
            begun.extend(Layout::question_lease(&answers, record.key()));
        })
        .await?;
        let mut found = Vec::new();
        let range = Range::Prefix(self.questions());
        let listed = list(&self.registry, &range, |record| {
            found.push((record.key().to_vec(), record.value().to_vec()));
        })
        .await?;
        let questions = self.questions();
        let there: BTreeSet<LeaseId> = found
            .iter()
            .filter_map(|(key, _)| Layout::question_lease(&questions, key))
            .collect();
        self.standing.retain(|lease, _| there.contains(lease));
        for (key, value) in found {
            self.note(&key, Some(&value), &begun);
        }
        Ok(Revision(listed.revision.0 + 1))
    }

    fn questions(&self) -> String {
        self.registry.layout().questions_prefix(&self.machine)
    }

    /// Takes in a question, how far its answer was read, or that it was taken back. Those in `begun` have an answer already.
    fn note(&mut self, key: &[u8], value: Option<&[u8]>, begun: &BTreeSet<LeaseId>) {
        let Some(lease) = Layout::question_lease(&self.questions(), key) else {
            return;
        };
        let Some(value) = value else {
            self.standing.remove(&lease);
            return;
        };
        let record = layout::read_asked(value);
        let heard = record.as_ref().map_or(0, |record| record.heard);
        if let Some(standing) = self.standing.get(&lease) {
            standing.send_replace(heard);
            return;
        }
        let (question_key, answer_key) = self.registry.layout().question_keys(&self.machine, lease);
        let (sender, receiver) = watch::channel(heard);
        self.standing.insert(lease, sender);
        let restarted = heard > 0 || begun.contains(&lease);
        let reply = Reply {
            registry: self.registry.clone(),
            question_key,
            answer_key,
            lease,
            sent: heard,
            sent_bytes: 0,
            heard: receiver,
        };
        let matter = if restarted {
            Err(Unanswerable::Restarted)
        } else {
            let matter = |record: Record| match record.is_of_clock() {
                true => Ok(Matter::Clock),
                false => record.question().map(Matter::Unit),
            };
            record.and_then(matter).map_err(Unanswerable::Unknown)
        };
        self.ready.push_back(Asked { matter, reply });
    }
}

impl Reply {
    /// Sends a piece of at most [`PIECE_BYTES_MAX`] bytes and returns once the asker has read it.
    ///
    /// # Errors
    /// See [`ReplyError`]; then nothing more can be sent.
    pub async fn send(&mut self, text: String) -> Result<(), ReplyError> {
        self.sent_bytes += text.len();
        if self.sent_bytes > FOLLOWING_BYTES_MAX {
            self.put(String::new(), Some(End::TooMuch), "").await?;
            return Err(ReplyError::TooMuch);
        }
        self.put(text, None, "").await?;
        let sent = self.sent;
        match self.heard.wait_for(|heard| *heard >= sent).await {
            Ok(_) => Ok(()),
            Err(_taken_back) => Err(ReplyError::Withdrawn),
        }
    }

    /// Says that this was all.
    ///
    /// # Errors
    /// See [`ReplyError`].
    pub async fn done(mut self) -> Result<(), ReplyError> {
        self.put(String::new(), Some(End::Done), "").await
    }

    /// Says what this machine's clock says.
    ///
    /// # Errors
    /// See [`ReplyError`].
    pub async fn tell_clock(mut self) -> Result<(), ReplyError> {
        let now = self.registry.unix_ms().to_string();
        self.put(now, Some(End::Done), "").await
    }

    /// Says why there is no answer, or no more of it.
    ///
    /// # Errors
    /// See [`ReplyError`].
    pub async fn refuse(mut self, why: Unanswerable) -> Result<(), ReplyError> {
        let (end, reason) = match why {
            Unanswerable::Restarted => (End::Restarted, String::new()),
            Unanswerable::Busy => (End::Busy, String::new()),
            Unanswerable::Unknown(reason) | Unanswerable::Untold(reason) => (End::Untold, reason),
        };
        self.put(String::new(), Some(end), &reason).await
    }

    /// Returns once the question has been taken back.
    pub fn withdrawn(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut heard = self.heard.clone();
        async move { while heard.changed().await.is_ok() {} }
    }

    /// The same piece twice does no harm: it has a number.
    async fn put(
        &mut self,
        text: String,
        end: Option<End>,
        reason: &str,
    ) -> Result<(), ReplyError> {
        self.sent += 1;
        let piece = Piece {
            number: self.sent,
            text,
            end,
            reason: reason.to_owned(),
        };
        let stands = Compare::create_revision(self.question_key.clone(), CompareOp::Greater, 0);
        let options = PutOptions::new().with_lease(self.lease.0);
        let put = TxnOp::put(
            self.answer_key.clone(),
            layout::piece(&piece),
            Some(options),
        );
        let txn = Txn::new().when([stands]).and_then([put]);
        match self.registry.txn(txn, Effect::None).await {
            Ok(answer) if answer.succeeded() => Ok(()),
            Ok(_) | Err(RegistryError::LeaseEnded) => Err(ReplyError::Withdrawn),
            Err(error) => Err(error.into()),
        }
    }
}
