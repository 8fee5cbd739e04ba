//! `GET /events`: the present state, then changes, as Server-Sent Events. A client that was here a moment ago and says so
//! with `Last-Event-ID` is told only what it missed, if that is still known.
//!
//! There is no queue of our own: the next change is taken from the store only when the client has taken the last one.
//! A client that is too slow for the store's bounded queue is told what is so now, and then goes on.

use std::convert::Infallible;
use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use futures_util::{Stream, StreamExt};
use model::{ClusterStore, Records, Revision, StoreError, Update};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::answer::ApiError;
use super::feed::{Feed, narrowed};
use super::input::Parameters;
use super::overview::only;
use super::{Api, Journal, only_get};
use crate::types::{Event, EventKind};

/// Streams at the same time. Each keeps its own copy of what it watches, so this bounds memory.
pub(super) const STREAMS_MAX: usize = 256;

/// How long a stream may be silent until a comment is sent, so that both ends and everything between them know that
/// the connection lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

type Updates = Pin<Box<dyn Stream<Item = Update> + Send>>;

struct Subscription<C> {
    store: C,
    updates: Updates,
    feed: Feed,
    shutdown: CancellationToken,
    /// What is to be sent first.
    first: Option<Bytes>,
    last_sent: Instant,
    phase: Phase,
    _place: OwnedSemaphorePermit,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// The last thing has been said.
    Ended,
}

/// `GET /events`
pub(super) async fn events<C: ClusterStore, J: Journal>(
    State(api): State<Api<C, J>>,
    method: Method,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Response, ApiError> {
    only_get(&method)?;
    let Ok(place) = api.event_streams.clone().try_acquire_owned() else {
        let message = format!("{STREAMS_MAX} streams of events are open already: end some");
        return Err(ApiError::busy(message));
    };
    let mut feed = Feed::new(only(&parameters));
    // First subscribe, then read: so nothing is missed between the two.
    let updates: Updates = Box::pin(api.store.subscribe().await?);
    let records = look(&api.store, &feed).await?;
    let revision = records.revision.0;
    // Asked after the look, so that what was missed holds all that the records have.
    let missed = match last_event(&headers) {
        Some(last) => api.store.changes_since(last).await?,
        None => None,
    };
    let at_once = |kind| Event { revision, kind };
    let mut first = Vec::new();
    match missed {
        Some(missed) => {
            first.push(at_once(EventKind::Resumed));
            first.extend(feed.resume(records, &missed));
        }
        None => first.extend(feed.reset(records)),
    }
    first.push(at_once(EventKind::Synced));
    let subscription = Subscription {
        store: api.store.clone(),
        updates,
        feed,
        shutdown: api.shutdown.clone(),
        first: Some(Bytes::from(written(&first))),
        last_sent: Instant::now(),
        phase: Phase::Open,
        _place: place,
    };
    let stream = unfold(subscription, async |mut subscription| {
        let bytes = subscription.next().await?;
        Some((Ok::<_, Infallible>(bytes), subscription))
    });
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream"),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, Body::from_stream(stream)).into_response())
}

/// The revision of the last event that the client has seen; none if it has seen none, or what it says is none of ours.
fn last_event(headers: &HeaderMap) -> Option<Revision> {
    let id = headers.get("last-event-id")?.to_str().ok()?;
    id.trim().parse().map(Revision).ok()
}

async fn look<C: ClusterStore>(store: &C, feed: &Feed) -> Result<Records, StoreError> {
    let only = feed.only().cloned();
    store
        .read(move |records: &Records| narrowed(records, only.as_ref()))
        .await
}

impl<C: ClusterStore> Subscription<C> {
    /// What is to be sent next; none at the end.
    async fn next(&mut self) -> Option<Bytes> {
        if self.phase == Phase::Ended {
            return None;
        }
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            let keep_alive = self.last_sent + KEEP_ALIVE;
            let update = tokio::select! {
                () = self.shutdown.cancelled() => return None,
                update = timeout_at(keep_alive, self.updates.next()) => update,
            };
            let news = match update {
                Err(_elapsed) => {
                    self.last_sent = Instant::now();
                    return Some(Bytes::from_static(b": keep-alive\n\n"));
                }
                Ok(None) => return None,
                Ok(Some(Update::Changes(revision, changes))) => {
                    self.feed.change(revision, &changes)
                }
                Ok(Some(Update::Resync(_))) => self.resync().await,
            };
            if !news.is_empty() {
                self.last_sent = Instant::now();
                return Some(Bytes::from(written(&news)));
            }
        }
    }

    async fn resync(&mut self) -> Vec<Event> {
        let looked = tokio::select! {
            () = self.shutdown.cancelled() => return Vec::new(),
            looked = look(&self.store, &self.feed) => looked,
        };
        match looked {
            Ok(records) => self.feed.reset(records),
            Err(error) => {
                self.phase = Phase::Ended;
                let kind = EventKind::Failed(ApiError::from(error).body());
                vec![Event { revision: 0, kind }]
            }
        }
    }
}

/// The events as they are sent. Only the last has an id: whoever is cut off before has not been told all of that revision,
/// and comes back with the id before.
fn written(events: &[Event]) -> String {
    let mut text = String::new();
    for (index, Event { revision, kind }) in events.iter().enumerate() {
        let ends = index + 1 == events.len() && !matches!(kind, EventKind::Failed(_));
        if ends {
            text.push_str(&format!("id: {revision}\n"));
        }
        match kind.data() {
            Ok(data) => {
                let name = kind.name();
                text.push_str(&format!("event: {name}\ndata: {data}\n\n"));
            }
            Err(error) => tracing::error!(%error, ?kind, "an event cannot be written as JSON"),
        }
    }
    text
}
