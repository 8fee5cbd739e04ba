//! Writes to disk, one batch at a time: while one commit is under way the next commands wait, and
//! are then carried out in order, each with its own revision, and committed together.
//!
//! Nothing is answered or shown to readers before it is durable. After a failed commit the batch is
//! refused, and before the next one the file is opened again and memory is rebuilt from it: only
//! the file knows what it holds.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::disk::{self, Contents, Disk};
use super::error::EmbeddedError;
use super::refusal::Refusal;
use super::shared::Shared;
use super::state::{Answer, Command, Record};

/// Commands waiting for the disk. Each belongs to a client that waits for its answer, so this
/// bounds memory (1,024 of at most 2 MiB, in practice of a few hundred bytes) and says "too many
/// requests" before waiting gets longer than any client's timeout.
pub(crate) const QUEUE_MAX: usize = 1_024;

/// Commands in one commit, so that the first of them does not wait for a long time.
const BATCH_MAX: usize = 256;

/// A command with the place where its answer is awaited.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) command: Command,
    pub(crate) reply: oneshot::Sender<Result<Answer, Refusal>>,
}

impl Submission {
    /// Compaction forgets what readers of the visible revision may still need while a batch is on
    /// its way, so it is a batch of its own.
    fn is_alone(&self) -> bool {
        matches!(self.command, Command::Compact { .. })
    }

    fn answer(self, answer: Result<Answer, Refusal>) {
        if self.reply.send(answer).is_err() {
            tracing::debug!("the client did not wait for its answer");
        }
    }
}

/// Writes batches until `ended`, or until nobody can submit any more; then closes the file.
pub(crate) async fn run(
    shared: Arc<Shared>,
    mut queue: mpsc::Receiver<Submission>,
    disk: Disk,
    ended: CancellationToken,
) {
    let mut writer = Writer {
        shared,
        path: disk.path().to_path_buf(),
        disk: Some(disk),
    };
    let mut carried = None;
    loop {
        let first = match carried.take() {
            Some(submission) => submission,
            None => tokio::select! {
                biased;
                () = ended.cancelled() => break,
                received = queue.recv() => match received {
                    Some(submission) => submission,
                    None => break,
                },
            },
        };
        let mut batch = vec![first];
        while batch.len() < BATCH_MAX && !batch.iter().any(Submission::is_alone) {
            match queue.try_recv() {
                Ok(next) if next.is_alone() => {
                    carried = Some(next);
                    break;
                }
                Ok(next) => batch.push(next),
                Err(mpsc::error::TryRecvError::Empty | mpsc::error::TryRecvError::Disconnected) => {
                    break;
                }
            }
        }
        writer.write(batch).await;
        writer.compact_if_due().await;
    }
    queue.close();
    if let Some(submission) = carried {
        submission.answer(Err(Refusal::Stopped));
    }
    while let Ok(submission) = queue.try_recv() {
        submission.answer(Err(Refusal::Stopped));
    }
}

struct Writer {
    shared: Arc<Shared>,
    path: PathBuf,
    /// Nothing after a failed commit, until the file has been opened again.
    disk: Option<Disk>,
}

impl Writer {
    async fn write(&mut self, batch: Vec<Submission>) {
        if let Err(refusal) = self.reopen_if_broken().await {
            for submission in batch {
                submission.answer(Err(refusal.clone()));
            }
            return;
        }
        let (answers, records) = self.apply(&batch);
        let committed = self.commit(records).await;
        if committed.is_ok() {
            self.shared.lock().publish();
        }
        for (submission, answer) in batch.into_iter().zip(answers) {
            submission.answer(match &committed {
                Ok(()) => answer,
                Err(refusal) => answer.and(Err(refusal.clone())),
            });
        }
    }

    fn apply(&self, batch: &[Submission]) -> (Vec<Result<Answer, Refusal>>, Vec<Record>) {
        let mut state = self.shared.lock();
        let now = Instant::now();
        let mut records = Vec::new();
        let answers = batch
            .iter()
            .map(|submission| state.apply(&submission.command, now, &mut records))
            .collect();
        drop(state);
        if batch
            .iter()
            .any(|submission| matches!(submission.command, Command::Grant { .. }))
        {
            self.shared.leases_changed();
        }
        (answers, records)
    }

    async fn compact_if_due(&mut self) {
        let due = self.shared.lock().mvcc.compaction_due();
        if let Some(revision) = due {
            let (reply, answer) = oneshot::channel();
            let command = Command::Compact { revision };
            self.write(vec![Submission { command, reply }]).await;
            if let Ok(Err(refusal)) = answer.await {
                tracing::warn!(revision, %refusal, "cannot compact the embedded store");
            }
        }
    }

    async fn commit(&mut self, records: Vec<Record>) -> Result<(), Refusal> {
        if records.is_empty() {
            return Ok(());
        }
        let Some(disk) = self.disk.take() else {
            return Err(Refusal::Storage("the file is closed".to_owned()));
        };
        let task = tokio::task::spawn_blocking(move || {
            let committed = disk.commit(&records);
            // After an error the file is closed here, where it may block.
            committed.map(|()| disk)
        });
        match task.await {
            Ok(Ok(disk)) => {
                self.disk = Some(disk);
                Ok(())
            }
            Ok(Err(refusal)) => {
                tracing::error!(path = %self.path.display(), %refusal, "write failed");
                Err(refusal)
            }
            Err(error) => Err(Refusal::Storage(error.to_string())),
        }
    }

    async fn reopen_if_broken(&mut self) -> Result<(), Refusal> {
        if self.disk.is_some() {
            return Ok(());
        }
        let path = self.path.clone();
        let identity = self.shared.identity();
        let opened = tokio::task::spawn_blocking(move || Disk::open(&path, identity)).await;
        let (disk, contents) = match opened {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => return Err(refusal(&error)),
            Err(error) => return Err(Refusal::Storage(error.to_string())),
        };
        self.disk = Some(disk);
        let Contents {
            identity: _,
            mvcc,
            leases,
        } = contents;
        let leases = self.shared.rearm(leases, &mvcc);
        self.shared.lock().replace(mvcc, leases);
        self.shared.leases_changed();
        tracing::info!(path = %self.path.display(), "the embedded store can be written again");
        Ok(())
    }
}

/// The chain of causes as one text: it goes to clients.
fn refusal(error: &EmbeddedError) -> Refusal {
    if let EmbeddedError::Open { source, .. } = error
        && disk::is_full(source)
    {
        return Refusal::NoSpace;
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    Refusal::Storage(text)
}
