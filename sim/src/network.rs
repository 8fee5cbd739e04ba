//! The network between one process and the store: requests and answers take their time, wait, get lost, come twice, and
//! streams break. What has been sent arrives even if its sender has given up or died meanwhile.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use registry::embedded::Embedded;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{BoxFuture, Bytes, Service};
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

use crate::dice::Dice;
use crate::gate::{Effect, Gate, Moment};

/// How long anything takes at least and at most on a good network, in milliseconds.
const TRIP_MS: (u64, u64) = (1, 4);

/// What is heard when a connection breaks.
const RESET: &str = "connection reset by peer";

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What becomes of what is sent one way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Flow {
    /// It arrives.
    #[default]
    Passing,
    /// It arrives when the way is open again.
    Held,
    /// It does not arrive; of a stream, not before the way is open again.
    Lost,
}

/// One way or the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    ToStore,
    FromStore,
}

/// What is wrong with a link now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Weather {
    pub(crate) to_store: Flow,
    pub(crate) from_store: Flow,
    /// How much longer everything may take, in milliseconds.
    pub(crate) slow_ms: u64,
    /// The store refuses connections.
    pub(crate) refused: bool,
    /// Messages of watches may come twice.
    pub(crate) repeats: bool,
    /// Messages of watches do not come, and never will: etcd has been seen to lose events of watches that stand.
    pub(crate) loses: bool,
}

/// Which process wrote each revision.
pub(crate) type Writers = Arc<Mutex<BTreeMap<i64, String>>>;

/// One process's link to the store; outlives its incarnations. Clones are the same link.
#[derive(Clone)]
pub(crate) struct Link {
    inner: Arc<Inner>,
}

struct Inner {
    store: Embedded,
    /// To the store; making one costs more than a request.
    channel: etcd_client::Channel,
    writers: Writers,
    state: Mutex<State>,
    changed: Notify,
    /// What is on its way.
    under_way: TaskTracker,
}

struct State {
    weather: Weather,
    /// To a member that is behind, if requests go there now.
    behind: Option<etcd_client::Channel>,
    /// How often all streams were broken.
    breaks: u64,
    /// How many of the next transactions the connection breaks under.
    cuts: u64,
    /// When anything of this was last changed.
    changed_at: Instant,
    dice: Dice,
}

impl Link {
    pub(crate) fn new(
        store: Embedded,
        writers: Writers,
        under_way: TaskTracker,
        dice: Dice,
    ) -> Link {
        let state = State {
            weather: Weather::default(),
            behind: None,
            breaks: 0,
            cuts: 0,
            changed_at: Instant::now(),
            dice,
        };
        Link {
            inner: Arc::new(Inner {
                channel: store.channel(),
                store,
                writers,
                state: Mutex::new(state),
                changed: Notify::new(),
                under_way,
            }),
        }
    }

    /// The link as one incarnation of the process uses it.
    pub(crate) fn channel(&self, gate: Gate) -> etcd_client::Channel {
        let wire = Wire {
            link: self.clone(),
            gate,
        };
        etcd_client::Channel::Custom(BoxCloneSyncService::new(wire))
    }

    /// Changes the weather.
    pub(crate) fn set(&self, change: impl FnOnce(&mut Weather)) {
        let mut state = self.lock();
        change(&mut state.weather);
        state.changed_at = Instant::now();
        drop(state);
        self.inner.changed.notify_waiters();
    }

    /// From now on requests go to a member of the store that has nothing newer than this; with none, to one that has all.
    pub(crate) fn fall_behind(&self, revision: Option<i64>) {
        let channel = revision.map(|revision| self.inner.store.channel_behind(revision));
        let mut state = self.lock();
        state.behind = channel;
        state.changed_at = Instant::now();
    }

    /// Since when the link has been good, if it is.
    pub(crate) fn well_since(&self) -> Option<Instant> {
        let state = self.lock();
        let is_good = state.weather == Weather::default() && state.behind.is_none();
        (is_good && state.cuts == 0).then_some(state.changed_at)
    }

    fn to_store(&self) -> etcd_client::Channel {
        let behind = self.lock().behind.clone();
        behind.unwrap_or_else(|| self.inner.channel.clone())
    }

    /// Breaks every stream that is open now.
    pub(crate) fn break_streams(&self) {
        let mut state = self.lock();
        state.breaks += 1;
        state.changed_at = Instant::now();
        drop(state);
        self.inner.changed.notify_waiters();
    }

    /// The connection breaks under so many of the next transactions: nobody knows whether they were carried out.
    pub(crate) fn cut_requests(&self, count: u64) {
        self.lock().cuts = count;
    }

    /// Whether the connection breaks under a request, and when: before the store has it, or after.
    fn cut_of(&self, request: &Request<Body>) -> Option<Moment> {
        if !request.uri().path().ends_with("/Txn") {
            return None;
        }
        let mut state = self.lock();
        state.cuts = state.cuts.checked_sub(1)?;
        Some(match state.dice.percent(50) {
            true => Moment::Before,
            false => Moment::After,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn flow(&self, way: Way) -> Flow {
        let weather = self.lock().weather;
        match way {
            Way::ToStore => weather.to_store,
            Way::FromStore => weather.from_store,
        }
    }

    fn trip(&self) -> Duration {
        let mut state = self.lock();
        let slow = state.weather.slow_ms;
        let trip = state.dice.between(TRIP_MS.0, TRIP_MS.1);
        let more = state.dice.below(slow + 1);
        Duration::from_millis(trip + more)
    }

    /// Carries a single message; false if it was lost.
    async fn carry(&self, way: Way) -> bool {
        sleep(self.trip()).await;
        loop {
            let changed = self.inner.changed.notified();
            match self.flow(way) {
                Flow::Passing => return true,
                Flow::Lost => return false,
                Flow::Held => changed.await,
            }
        }
    }

    /// Carries a piece of a stream: TCP repeats it until it arrives.
    async fn carry_piece(&self, way: Way) {
        sleep(self.trip()).await;
        loop {
            let changed = self.inner.changed.notified();
            if self.flow(way) == Flow::Passing {
                return;
            }
            changed.await;
        }
    }

    async fn broken(&self, breaks: u64) {
        loop {
            let changed = self.inner.changed.notified();
            if self.lock().breaks != breaks {
                return;
            }
            changed.await;
        }
    }

    fn is_repeated(&self) -> bool {
        let mut state = self.lock();
        state.weather.repeats && state.dice.percent(40)
    }
}

/// The link as one incarnation sees it.
#[derive(Clone)]
struct Wire {
    link: Link,
    gate: Gate,
}

impl Service<Request<Body>> for Wire {
    type Response = Response<Body>;
    type Error = Failure;
    type Future = BoxFuture<Response<Body>, Failure>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let wire = self.clone();
        Box::pin(async move {
            wire.gate.pass().await;
            let path = request.uri().path();
            if path.ends_with("/Watch") || path.ends_with("/LeaseKeepAlive") {
                wire.stream(request).await
            } else {
                wire.ask(request).await
            }
        })
    }
}

impl Wire {
    /// A request with one answer.
    async fn ask(self, request: Request<Body>) -> Result<Response<Body>, Failure> {
        if self.link.lock().weather.refused {
            sleep(self.link.trip()).await;
            return Err(refused());
        }
        let dies = self.gate.count(Effect::Request);
        if matches!(dies, Some(Moment::Before)) {
            return self.gate.die().await;
        }
        let cut = self.link.cut_of(&request);
        if matches!(cut, Some(Moment::Before)) {
            sleep(self.link.trip()).await;
            return Err(reset());
        }
        let (answer, answered) = oneshot::channel();
        let sent = self.clone();
        self.link.inner.under_way.spawn(async move {
            if let Some(result) = sent.deliver(request).await {
                // Its sender may have given up.
                drop(answer.send(result));
            }
        });
        if matches!(dies, Some(Moment::Amid)) {
            return self.gate.die().await;
        }
        let Ok(result) = answered.await else {
            // Lost on the way: the sender waits for as long as it likes.
            return std::future::pending().await;
        };
        if dies.is_some() {
            return self.gate.die().await;
        }
        if !self.link.carry(Way::FromStore).await {
            return std::future::pending().await;
        }
        self.gate.pass().await;
        match cut {
            Some(_) => Err(reset()),
            None => result,
        }
    }

    /// Takes a request to the store; none if it is lost. Notes what was written by it.
    async fn deliver(self, request: Request<Body>) -> Option<Result<Response<Body>, Failure>> {
        if !self.link.carry(Way::ToStore).await {
            return None;
        }
        if self.link.lock().weather.refused {
            return Some(Err(refused()));
        }
        let store = self.link.inner.store.clone();
        let mut answer = pin!(self.link.to_store().oneshot(request));
        let answered = poll_fn(|context| {
            let before = store.revision();
            let polled = answer.as_mut().poll(context);
            let mut writers = self
                .link
                .inner
                .writers
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            for revision in before + 1..=store.revision() {
                writers.insert(revision, self.gate.who().to_owned());
            }
            polled
        });
        Some(answered.await)
    }

    /// A request that is a stream, with answers that are one.
    async fn stream(self, request: Request<Body>) -> Result<Response<Body>, Failure> {
        let (refuses, breaks) = {
            let state = self.link.lock();
            (state.weather.refused, state.breaks)
        };
        if refuses {
            sleep(self.link.trip()).await;
            return Err(refused());
        }
        self.link.carry_piece(Way::ToStore).await;
        let told = match request.uri().path().ends_with("/Watch") {
            true => Told::Events,
            false => Told::Other,
        };
        let way_to = self.clone();
        let request = request.map(|body| way_to.flowing(body, Way::ToStore, breaks, Told::Other));
        let response = self.link.to_store().oneshot(request).await?;
        self.link.carry_piece(Way::FromStore).await;
        self.gate.pass().await;
        Ok(response.map(|body| self.flowing(body, Way::FromStore, breaks, told)))
    }

    /// A stream as it arrives over this link, until it breaks.
    fn flowing(self, body: Body, way: Way, breaks: u64, told: Told) -> Body {
        let flow = Flowing {
            wire: self,
            body,
            pieces: 0,
            again: None,
            ended: false,
        };
        let pieces = stream::unfold(flow, move |mut flow| async move {
            if flow.ended {
                return None;
            }
            let link = flow.wire.link.clone();
            let piece = tokio::select! {
                biased;
                () = link.broken(breaks) => {
                    flow.ended = true;
                    Some(Err(Status::unavailable(RESET)))
                }
                piece = async {
                    let piece = flow.piece(&link, told).await?;
                    link.carry_piece(way).await;
                    flow.wire.gate.pass().await;
                    Some(piece)
                } => piece,
            };
            if let (Told::Events, Some(Ok(frame))) = (told, &piece) {
                flow.pieces += 1;
                // Not the first, which says that the watch was created.
                if flow.pieces > 1 && link.is_repeated() {
                    flow.again = frame.data_ref().cloned();
                }
            }
            piece.map(|piece| (piece, flow))
        });
        Body::new(StreamBody::new(pieces))
    }
}

/// What a stream tells. etcd repeats events and loses them, and nothing else: TCP is in between.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Told {
    Events,
    Other,
}

struct Flowing {
    wire: Wire,
    body: Body,
    pieces: u64,
    /// The last piece, which comes once more.
    again: Option<Bytes>,
    ended: bool,
}

impl Flowing {
    async fn piece(
        &mut self,
        link: &Link,
        told: Told,
    ) -> Option<Result<http_body::Frame<Bytes>, Status>> {
        if let Some(piece) = self.again.take() {
            return Some(Ok(http_body::Frame::data(piece)));
        }
        loop {
            let piece = self.body.frame().await;
            let is_lost = told == Told::Events && self.pieces > 0 && link.lock().weather.loses;
            if !is_lost || !matches!(piece, Some(Ok(_))) {
                return piece;
            }
        }
    }
}

fn reset() -> Failure {
    Box::new(Status::unavailable(RESET))
}

fn refused() -> Failure {
    Box::new(Status::unavailable("connection refused"))
}
