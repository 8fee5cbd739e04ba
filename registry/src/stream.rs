//! One watch stream: from its opening to its end, whole revisions only.

use std::time::Duration;

use etcd_client::proto::PbEvent;
use etcd_client::{WatchOptions, WatchRequestSender, WatchResponse, WatchResponseStream};
use model::Revision;
use tokio::time::timeout;

use crate::connection::{Registry, from_revision, to_revision};
use crate::endpoints::Turn;
use crate::error::{Effect, RegistryError, classify};
use crate::listing::Range;

/// The largest message of a watch that is accepted. etcd cuts larger ones into pieces of at most 2 MiB because we ask it to;
/// the embedded store may send the writes of many revisions at once.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// etcd's code for a deletion; everything else is a value.
const DELETED: i32 = 1;

/// An open watch.
pub(crate) struct Watch {
    stream: WatchResponseStream,
    /// The stream ends when this is dropped.
    _requests: WatchRequestSender,
    /// Pieces of a message whose last piece has not come yet.
    pieces: Vec<PbEvent>,
    /// The endpoint it was opened on.
    pub(crate) turn: Option<Turn>,
}

/// What happened to one key.
pub(crate) struct KeyEvent {
    /// The key.
    pub(crate) key: Vec<u8>,
    /// Its value; none if it was deleted.
    pub(crate) value: Option<Vec<u8>>,
    /// True if the key was not there before.
    pub(crate) created: bool,
    /// The lease it is under, as etcd counts them; 0 for none.
    pub(crate) lease: i64,
}

/// What a watch says.
pub(crate) enum Heard {
    /// What happened at these revisions, in order, everything of each.
    Events(Vec<(Revision, Vec<KeyEvent>)>),
    /// Everything up to this revision has been heard.
    UpTo(Revision),
    /// What was to come next has been compacted: read everything again.
    Compacted,
}

impl Watch {
    /// Opens a watch on what happens from `from` on. None if that has been compacted.
    pub(crate) async fn open(
        registry: &Registry,
        range: &Range,
        from: Revision,
    ) -> Result<Option<Watch>, RegistryError> {
        let (start, end) = range.bounds();
        let mut options = WatchOptions::new()
            .with_start_revision(from_revision(from))
            .with_progress_notify()
            .with_fragment();
        if let Some(end) = end {
            options = options.with_range(end);
        }
        let turn = registry.turn();
        let opened = registry
            .request(Effect::None, |client| {
                let mut watches = client
                    .watch_client()
                    .max_decoding_message_size(MESSAGE_BYTES_MAX);
                let (start, options) = (start.clone(), options.clone());
                async move {
                    let mut stream = watches.watch(start, Some(options)).await?;
                    let first = stream.message().await?;
                    Ok((stream, first))
                }
            })
            .await;
        let (stream, first) = opened?;
        let (requests, stream) = stream.split();
        let Some(first) = first else {
            return Err(RegistryError::Unreachable {
                reason: "the watch ended at once".to_owned(),
            });
        };
        if first.canceled() {
            return cancelled(&first).map(|()| None);
        }
        if !first.created() {
            return Err(RegistryError::Protocol {
                reason: "a watch that was not created".to_owned(),
            });
        }
        Ok(Some(Watch {
            stream,
            _requests: requests,
            pieces: Vec::new(),
            turn,
        }))
    }

    /// Waits for what comes next. An error ends the watch.
    pub(crate) async fn next(&mut self) -> Result<Heard, RegistryError> {
        loop {
            let message = self
                .stream
                .message()
                .await
                .map_err(|error| classify(&error, Effect::None))?;
            let Some(message) = message else {
                return Err(RegistryError::Unreachable {
                    reason: "the watch ended".to_owned(),
                });
            };
            if message.canceled() {
                return cancelled(&message).map(|()| Heard::Compacted);
            }
            let up_to = message
                .header()
                .map(|header| to_revision(header.revision()));
            let created = message.created();
            let WatchResponse(message) = message;
            if message.fragment {
                self.pieces.extend(message.events);
                continue;
            }
            let mut events = std::mem::take(&mut self.pieces);
            events.extend(message.events);
            if !events.is_empty() {
                return Ok(Heard::Events(by_revision(events)?));
            }
            // A message without events that etcd sends of itself says that there are none up to its revision.
            if let (false, Some(up_to)) = (created, up_to) {
                return Ok(Heard::UpTo(up_to));
            }
        }
    }

    /// As [`Watch::next`]; none if nothing comes within this limit.
    pub(crate) async fn next_within(
        &mut self,
        limit: Duration,
    ) -> Option<Result<Heard, RegistryError>> {
        timeout(limit, self.next()).await.ok()
    }
}

/// Ok if the watch was cancelled because of a compaction.
fn cancelled(message: &WatchResponse) -> Result<(), RegistryError> {
    if message.compact_revision() > 0 {
        return Ok(());
    }
    let reason = format!("etcd cancelled the watch: {}", message.cancel_reason());
    Err(RegistryError::Unreachable { reason })
}

fn by_revision(events: Vec<PbEvent>) -> Result<Vec<(Revision, Vec<KeyEvent>)>, RegistryError> {
    let mut revisions: Vec<(Revision, Vec<KeyEvent>)> = Vec::new();
    for event in events {
        let Some(record) = event.kv else {
            return Err(RegistryError::Protocol {
                reason: "an event without a key".to_owned(),
            });
        };
        let revision = to_revision(record.mod_revision);
        let deleted = event.r#type == DELETED;
        let event = KeyEvent {
            key: record.key,
            value: (!deleted).then_some(record.value),
            created: !deleted && record.version == 1,
            lease: record.lease,
        };
        match revisions.last_mut() {
            Some((last, events)) if *last == revision => events.push(event),
            Some(_) | None => revisions.push((revision, vec![event])),
        }
    }
    Ok(revisions)
}
