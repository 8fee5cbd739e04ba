//! One watch stream: takes the client's requests, delivers what its watchers are due.
//!
//! There is no task behind it. The stream is polled by the transport when the client has room, and
//! only then reads on in history: a slow client slows down only itself.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::WatchFilterType;
use etcd_client::proto::{PbWatchRequest, PbWatchRequestUnion, PbWatchResponse};
use futures_util::stream::{self, Stream};
use tokio::sync::Notify;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::hub::{Delivery, Filters, StreamId, Watcher};
use super::range::KeyRange;
use super::shared::Shared;
use super::wire;

/// How often an idle watcher that asked for it is told how far history has come, as in etcd.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(600);

/// Watchers of one stream. fleet uses less than ten; this only bounds what one client may cost.
const WATCHERS_MAX: usize = 10_000;

/// The watch id of an answer that belongs to no watcher.
const NO_WATCHER: i64 = -1;

/// One watch stream.
pub(crate) struct Session {
    shared: Arc<Shared>,
    stream: StreamId,
    wake: Arc<Notify>,
    /// Nothing once the client has sent its last request; it may still read.
    requests: Option<Streaming<PbWatchRequest>>,
    outbox: VecDeque<PbWatchResponse>,
    next_id: i64,
    progress_wanted: bool,
    progress: Interval,
    ended: CancellationToken,
}

enum Wake {
    Ended,
    Request(Result<Option<PbWatchRequest>, Status>),
    Progress,
    /// There may be something to deliver.
    Look,
}

impl Session {
    /// Opens a stream that ends when the client goes or when `ended`.
    pub(crate) fn open(
        shared: Arc<Shared>,
        requests: Streaming<PbWatchRequest>,
        ended: CancellationToken,
    ) -> Session {
        let (stream, wake) = shared.lock().hub.open();
        let mut progress =
            tokio::time::interval_at(Instant::now() + PROGRESS_INTERVAL, PROGRESS_INTERVAL);
        progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Session {
            shared,
            stream,
            wake,
            requests: Some(requests),
            outbox: VecDeque::new(),
            next_id: 0,
            progress_wanted: false,
            progress,
            ended,
        }
    }

    /// Takes the requests that are already there. An in-process client that asks for a watch and
    /// then writes must see its own write: its watcher must exist before the call returns.
    pub(crate) async fn take_waiting_requests(&mut self) -> Result<(), Status> {
        while let Some(requests) = &mut self.requests {
            let waiting = tokio::select! {
                biased;
                received = requests.message() => received?,
                () = std::future::ready(()) => return Ok(()),
            };
            self.receive(waiting);
        }
        Ok(())
    }

    /// The answers, in order.
    pub(crate) fn responses(
        self,
    ) -> impl Stream<Item = Result<PbWatchResponse, Status>> + Send + 'static {
        stream::unfold(Some(self), |session| async move {
            let mut session = session?;
            match session.next().await {
                Ok(Some(response)) => Some((Ok(response), Some(session))),
                Ok(None) => None,
                Err(status) => Some((Err(status), None)),
            }
        })
    }

    async fn next(&mut self) -> Result<Option<PbWatchResponse>, Status> {
        loop {
            if let Some(response) = self.outbox.pop_front() {
                return Ok(Some(response));
            }
            // A request that is there comes first, so that a busy watcher can be cancelled.
            self.take_waiting_requests().await?;
            self.deliver();
            if !self.outbox.is_empty() {
                continue;
            }
            match self.sleep().await {
                Wake::Ended => return Err(Status::unavailable("etcdserver: server stopped")),
                Wake::Request(Err(status)) => {
                    // The client is gone: nobody reads an answer any more.
                    tracing::debug!(%status, "a watch stream was cut");
                    return Ok(None);
                }
                Wake::Request(Ok(request)) => self.receive(request),
                Wake::Progress => self.tell_progress(),
                Wake::Look => {}
            }
        }
    }

    async fn sleep(&mut self) -> Wake {
        let Session {
            requests,
            wake,
            progress,
            ended,
            ..
        } = self;
        let request = async {
            match requests {
                Some(requests) => requests.message().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = ended.cancelled() => Wake::Ended,
            received = request => Wake::Request(received),
            () = wake.notified() => Wake::Look,
            _ = progress.tick() => Wake::Progress,
        }
    }

    fn receive(&mut self, request: Option<PbWatchRequest>) {
        let Some(request) = request else {
            self.requests = None;
            return;
        };
        match request.request_union {
            Some(PbWatchRequestUnion::CreateRequest(request)) => {
                let filters = filters(&request.filters);
                let key = if request.key.is_empty() {
                    vec![0]
                } else {
                    request.key
                };
                let range = KeyRange::new(&key, &request.range_end);
                let watcher = Watcher {
                    range,
                    from: request.start_revision,
                    filters,
                    previous: request.prev_kv,
                    progress: request.progress_notify,
                };
                self.create(request.watch_id, watcher);
            }
            Some(PbWatchRequestUnion::CancelRequest(request)) => self.cancel(request.watch_id),
            Some(PbWatchRequestUnion::ProgressRequest(_)) => self.progress_wanted = true,
            None => {}
        }
    }

    fn create(&mut self, asked_id: i64, mut watcher: Watcher) {
        let mut state = self.shared.lock();
        let visible = state.visible();
        if watcher.from == 0 {
            watcher.from = visible + 1;
        }
        let refused = if watcher.range.is_empty() {
            Some("mvcc: watcher range is empty")
        } else if asked_id != 0 && state.hub.has(self.stream, asked_id) {
            Some("mvcc: duplicate watch ID provided on the WatchStream")
        } else if state.hub.watchers(self.stream) >= WATCHERS_MAX {
            Some("etcdserver: too many watchers on the stream")
        } else {
            None
        };
        let watch_id = match refused {
            Some(_) => NO_WATCHER,
            None if asked_id != 0 => asked_id,
            None => {
                while state.hub.has(self.stream, self.next_id) {
                    self.next_id += 1;
                }
                self.next_id += 1;
                self.next_id - 1
            }
        };
        if refused.is_none() {
            state.hub.add(self.stream, watch_id, watcher, visible);
        }
        drop(state);
        self.outbox.push_back(PbWatchResponse {
            watch_id,
            created: true,
            canceled: refused.is_some(),
            cancel_reason: refused.unwrap_or_default().to_owned(),
            ..self.response(visible)
        });
    }

    fn cancel(&mut self, watch_id: i64) {
        let mut state = self.shared.lock();
        let visible = state.visible();
        let was_there = state.hub.cancel(self.stream, watch_id);
        drop(state);
        if was_there {
            let response = self.response(visible);
            self.outbox.push_back(PbWatchResponse {
                watch_id,
                canceled: true,
                ..response
            });
        }
    }

    /// Puts the next delivery into the outbox; the answer to a progress request only once
    /// everything before it has been delivered, because it promises just that.
    fn deliver(&mut self) {
        let mut state = self.shared.lock();
        let visible = state.visible();
        let super::state::State { mvcc, hub, .. } = &mut *state;
        let delivery = hub.take(mvcc, visible, self.stream);
        let served = hub.is_served(self.stream);
        drop(state);
        match delivery {
            Some(Delivery::Events {
                watch_id,
                events,
                through,
            }) => {
                let events = events.iter().map(wire::event).collect();
                let response = self.response(through);
                self.outbox.push_back(PbWatchResponse {
                    watch_id,
                    events,
                    ..response
                });
            }
            Some(Delivery::Compacted {
                watch_id,
                compacted,
            }) => {
                let response = self.response(0);
                self.outbox.push_back(PbWatchResponse {
                    watch_id,
                    canceled: true,
                    compact_revision: compacted,
                    ..response
                });
            }
            None => {}
        }
        if served && self.progress_wanted {
            self.progress_wanted = false;
            let response = self.response(visible);
            self.outbox.push_back(PbWatchResponse {
                watch_id: NO_WATCHER,
                ..response
            });
        }
    }

    fn tell_progress(&mut self) {
        let mut state = self.shared.lock();
        let visible = state.visible();
        let idle = state.hub.take_idle(self.stream);
        drop(state);
        for watch_id in idle {
            let response = self.response(visible);
            self.outbox.push_back(PbWatchResponse {
                watch_id,
                ..response
            });
        }
    }

    fn response(&self, revision: i64) -> PbWatchResponse {
        let header = Some(wire::header(self.shared.identity(), revision));
        PbWatchResponse {
            header,
            ..PbWatchResponse::default()
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.lock().hub.close(self.stream);
    }
}

/// An unknown filter is ignored, as in etcd.
fn filters(asked: &[i32]) -> Filters {
    let mut filters = Filters::default();
    for filter in asked {
        match WatchFilterType::try_from(*filter) {
            Ok(WatchFilterType::NoPut) => filters.no_put = true,
            Ok(WatchFilterType::NoDelete) => filters.no_delete = true,
            Err(_) => {}
        }
    }
    filters
}
