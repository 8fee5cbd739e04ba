//! Asking the fleetd of another machine, through the store: no port is opened and no key is handed out for it.
//!
//! The question stands at `questions/<machine>/<lease>` and each piece of the answer in its turn at `answers/<machine>/<lease>`, both under a
//! lease of the question's own, so that nothing outlives an asker that dies. The answering machine writes a piece only when the asker has
//! noted that it read the one before: of each question the store holds one piece at a time, however slow its reader is.

use std::convert::Infallible;
use std::time::Duration;

use etcd_client::{Compare, CompareOp, PutOptions, Txn, TxnOp};
use futures_util::Stream;
use model::{
    ANSWER_BYTES_MAX, AskError, MachineId, Question, RecordKey, Revision, StoreError, Topic,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection::{Registry, revision_of};
use crate::error::{Effect, RegistryError};
use crate::layout::{self, Asked, End, Piece};
use crate::lease::LeaseId;
use crate::listing::Range;
use crate::stream::{Heard, Watch};

/// How long a question outlives an asker that dies.
const QUESTION_TTL: Duration = Duration::from_secs(10);

/// How long the machine may take to begin, and to go on where the answer has an end: journalctl on a cold disk takes seconds.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);

/// Bytes that are carried for one question that has no end. With etcd's usual quota of 2 GiB and no compaction of its own, that
/// much history is what a person's looking at a log may cost.
pub(crate) const FOLLOWING_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Begins to ask; the work is done by a task that ends when the stream is dropped.
pub(crate) fn ask(
    registry: Registry,
    machine: MachineId,
    question: Question,
    tasks: &TaskTracker,
    ended: CancellationToken,
) -> impl Stream<Item = Result<String, AskError>> + Send + Unpin + 'static {
    let (sender, pieces) = mpsc::channel(1);
    let asking = Asking {
        registry,
        machine,
        question,
        pieces: sender,
    };
    tasks.spawn(async move {
        tokio::select! {
            () = asking.run() => {}
            () = ended.cancelled() => {}
        }
    });
    ReceiverStream::new(pieces)
}

struct Asking {
    registry: Registry,
    machine: MachineId,
    question: Question,
    pieces: mpsc::Sender<Result<String, AskError>>,
}

/// Why a conversation ended.
enum Stop {
    /// All was told.
    Done,
    Failed(AskError),
}

impl From<AskError> for Stop {
    fn from(error: AskError) -> Stop {
        Stop::Failed(error)
    }
}

impl From<RegistryError> for Stop {
    fn from(error: RegistryError) -> Stop {
        Stop::Failed(StoreError::from(error).into())
    }
}

impl Asking {
    async fn run(self) {
        let lease = match self.registry.lease(QUESTION_TTL, None).await {
            Ok(lease) => lease,
            Err(error) => return self.tell(Err(StoreError::from(error).into())).await,
        };
        let outcome = tokio::select! {
            Err(stop) = self.converse(lease.id()) => stop,
            () = self.pieces.closed() => Stop::Done,
        };
        if let Stop::Failed(error) = outcome {
            self.tell(Err(error)).await;
        }
        if let Err(error) = lease.revoke().await {
            tracing::debug!(%error, "a question was not taken back; it ends by itself");
        }
    }

    /// A reader that is gone needs nothing more.
    async fn tell(&self, piece: Result<String, AskError>) {
        if self.pieces.send(piece).await.is_err() {
            tracing::trace!("nobody reads the answer any more");
        }
    }

    async fn converse(&self, lease: LeaseId) -> Result<Infallible, Stop> {
        let layout = self.registry.layout();
        let (_, answer_key) = layout.question_keys(&self.machine, lease);
        let machine_key = layout.key(&RecordKey::Machine(self.machine.clone()));
        let asked_at = self.put(lease, 0).await?;
        let next = Revision(asked_at.0 + 1);
        let mut answers = self.watch(answer_key, next).await?;
        let mut machine = self.watch(machine_key, next).await?;
        let (mut heard, mut bytes) = (0, 0);
        loop {
            let endless = matches!(self.question.topic, Topic::Following(_));
            let piece = tokio::select! {
                piece = next_piece(&mut answers) => piece?,
                gone = until_gone(&mut machine) => return Err(gone.map_or_else(Stop::from, |()| self.gone("it was lost"))),
                () = tokio::time::sleep(ANSWER_LIMIT), if heard == 0 || !endless => return Err(self.silent().into()),
            };
            // After a restart its count begins anew.
            if piece.number <= heard && piece.end != Some(End::Restarted) {
                continue;
            }
            heard = piece.number;
            bytes += piece.text.len();
            let limit = if endless {
                FOLLOWING_BYTES_MAX
            } else {
                ANSWER_BYTES_MAX
            };
            if bytes > limit {
                return Err(self.too_much(limit).into());
            }
            if !piece.text.is_empty() || (endless && heard == 1) {
                self.tell(Ok(piece.text)).await;
            }
            if let Some(end) = piece.end {
                return Err(self.stop(end, piece.reason));
            }
            self.put(lease, heard).await?;
        }
    }

    /// Writes down the question, if the machine is there. Writing the same again does no harm.
    async fn put(&self, lease: LeaseId, heard: u64) -> Result<Revision, Stop> {
        let layout = self.registry.layout();
        let (key, _) = layout.question_keys(&self.machine, lease);
        let machine = layout.key(&RecordKey::Machine(self.machine.clone()));
        let there = Compare::create_revision(machine, CompareOp::Greater, 0);
        let value = layout::asked(&Asked::new(&self.question, heard));
        let put = TxnOp::put(key, value, Some(PutOptions::new().with_lease(lease.0)));
        let txn = Txn::new().when([there]).and_then([put]);
        let answer = self.registry.txn(txn, Effect::None).await?;
        if !answer.succeeded() {
            return Err(self.gone("it is not in the cluster"));
        }
        Ok(revision_of(answer.header())?)
    }

    async fn watch(&self, key: String, from: Revision) -> Result<Watch, Stop> {
        match Watch::open(&self.registry, &Range::Key(key), from).await? {
            Some(watch) => Ok(watch),
            None => Err(RegistryError::Compacted.into()),
        }
    }

    fn stop(&self, end: End, reason: String) -> Stop {
        let machine = self.machine.clone();
        match end {
            End::Done => Stop::Done,
            End::Untold => AskError::Untold { machine, reason }.into(),
            End::Busy => AskError::Busy { machine }.into(),
            End::Restarted => self.gone("its fleetd was started again: ask again"),
            End::TooMuch => self.too_much(FOLLOWING_BYTES_MAX).into(),
            End::Unknown => AskError::Untold {
                machine,
                reason: format!("it ended in a way this version does not know: {reason}"),
            }
            .into(),
        }
    }

    fn gone(&self, reason: &str) -> Stop {
        let (machine, reason) = (self.machine.clone(), reason.to_owned());
        AskError::Gone { machine, reason }.into()
    }

    fn silent(&self) -> AskError {
        AskError::Silent {
            machine: self.machine.clone(),
            limit_s: ANSWER_LIMIT.as_secs(),
        }
    }

    fn too_much(&self, limit_bytes: usize) -> AskError {
        let machine = self.machine.clone();
        AskError::TooMuch {
            machine,
            limit_bytes,
        }
    }
}

async fn next_piece(answers: &mut Watch) -> Result<Piece, Stop> {
    loop {
        // Only the last value stands; one that has gone went with our lease.
        if let Some(event) = events(answers).await?.into_iter().next_back() {
            let value = event.ok_or(RegistryError::LeaseEnded)?;
            return layout::read_piece(&value).map_err(|reason| {
                RegistryError::Protocol {
                    reason: format!("an answer that cannot be read: {reason}"),
                }
                .into()
            });
        }
    }
}

async fn until_gone(machine: &mut Watch) -> Result<(), RegistryError> {
    while events(machine).await?.iter().all(Option::is_some) {}
    Ok(())
}

/// The next values of a key; none where it went.
async fn events(watch: &mut Watch) -> Result<Vec<Option<Vec<u8>>>, RegistryError> {
    match watch.next().await? {
        Heard::Events(revisions) => Ok(revisions
            .into_iter()
            .flat_map(|(_, events)| events)
            .map(|event| event.value)
            .collect()),
        Heard::UpTo(_) => Ok(Vec::new()),
        Heard::Compacted => Err(RegistryError::Compacted),
    }
}
