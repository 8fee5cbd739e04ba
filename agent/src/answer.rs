//! Answers what other machines ask of this one's units, through the store: so many at once, so much of each, no faster than the store
//! should have to carry it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use model::{Journal, MachineId, Question, Topic};
use registry::{Asked, Matter, PIECE_BYTES_MAX, Registry, Reply, ReplyError, Unanswerable};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::causes::with_causes;

/// Questions that are answered at once. Each may run a tool and keeps a piece of 64 KiB in the store.
const ANSWERS_MAX: usize = 16;

/// Pieces of a journal that is followed come no closer than this: what is written meanwhile goes into one.
const FOLLOWING_PAUSE: Duration = Duration::from_millis(200);

/// Answers until told to stop. Questions that are not answered by then end with their askers' patience.
pub async fn answer<J: Journal>(
    registry: Registry,
    machine: MachineId,
    journal: Arc<J>,
    shutdown: CancellationToken,
) {
    let mut inbox = registry.inbox(machine);
    let mut answering = JoinSet::new();
    loop {
        // In a fixed order, so that a simulation repeats.
        let asked = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            Some(ended) = answering.join_next(), if !answering.is_empty() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "an answer failed");
                }
                continue;
            }
            asked = inbox.next() => asked,
        };
        if answering.len() >= ANSWERS_MAX {
            log(asked.reply.refuse(Unanswerable::Busy).await);
        } else {
            answering.spawn(answer_one(asked, Arc::clone(&journal)));
        }
    }
}

async fn answer_one<J: Journal>(asked: Asked, journal: Arc<J>) {
    let Asked { matter, reply } = asked;
    let withdrawn = reply.withdrawn();
    let told = async {
        match matter {
            Ok(Matter::Unit(question)) => tell(&question, reply, journal.as_ref()).await,
            Ok(Matter::Clock) => reply.tell_clock().await,
            Err(why) => reply.refuse(why).await,
        }
    };
    tokio::select! {
        biased;
        told = told => log(told),
        () = withdrawn => {}
    }
}

async fn tell(
    question: &Question,
    mut reply: Reply,
    journal: &impl Journal,
) -> Result<(), ReplyError> {
    tracing::debug!(unit = %question.unit, topic = ?question.topic, "another machine asks");
    let mut pieces = journal.tell(question);
    while let Some(piece) = pieces.next().await {
        let text = match piece {
            Ok(text) => text,
            Err(error) => {
                return reply
                    .refuse(Unanswerable::Untold(with_causes(&error)))
                    .await;
            }
        };
        let pause_ends = Instant::now() + FOLLOWING_PAUSE;
        for part in parts(&text) {
            reply.send(part.to_owned()).await?;
        }
        if matches!(question.topic, Topic::Following(_)) {
            sleep_until(pause_ends).await;
        }
    }
    reply.done().await
}

/// The text in parts of at most [`PIECE_BYTES_MAX`]; an empty one is one part.
fn parts(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while rest.len() > PIECE_BYTES_MAX {
        let (part, later) = rest.split_at(rest.floor_char_boundary(PIECE_BYTES_MAX));
        parts.push(part);
        rest = later;
    }
    parts.push(rest);
    parts
}

fn log(told: Result<(), ReplyError>) {
    match told {
        Ok(()) => {}
        Err(error @ (ReplyError::Withdrawn | ReplyError::TooMuch)) => {
            tracing::debug!(%error, "an answer ended early");
        }
        Err(error @ ReplyError::Store(_)) => {
            tracing::warn!(%error, "an answer to another machine could not be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_fit_and_are_the_whole() {
        for text in [String::new(), "x".to_owned(), "aé".repeat(70_000)] {
            let parts = parts(&text);
            assert!(parts.iter().all(|part| part.len() <= PIECE_BYTES_MAX));
            assert_eq!(parts.concat(), text);
        }
    }
}
