//! The connection to systemd: one for calls, one for signals, made again whenever either breaks.
//!
//! Two, because zbus stops reading a connection whose signals nobody takes, and calls on it would then wait for ever. The
//! signals are taken by a pump that only notes what they say.

use std::future::Future;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use model::{JobResult, ServiceChange, ServiceError};
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;
use unitfile::UnitName;
use zbus::connection::Builder;
use zbus::message::Type;
use zbus::wire::OwnedObjectPath;
use zbus::{Connection, Message, MessageStream};

use super::Bus;
use super::errors::refused;
use super::jobs::Jobs;
use super::proxies::{ManagerProxy, unit_of_object};
use super::watched::{Announcement, Watched};
use crate::changes::ChangeHub;

/// How long systemd may take to answer. PID 1 answers nothing during a daemon-reload, which was seen to take 30 s on large
/// hosts; three times that is no longer a reload.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(90);

/// Calls under way at a time. systemd works through them one by one, so more would only fill the bus's queues.
const CALLS_MAX: usize = 64;

/// Signals that may wait for the pump, which only has to be scheduled to take them.
const SIGNALS_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);

/// The first and the longest wait before connecting again.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What we listen to: ends of jobs and comings and goings of units; changed states, of units only and not of each type's own
/// properties; another systemd taking over.
const MATCHES: [&str; 3] = [
    "type='signal',sender='org.freedesktop.systemd1',path='/org/freedesktop/systemd1',\
     interface='org.freedesktop.systemd1.Manager'",
    "type='signal',sender='org.freedesktop.systemd1',path_namespace='/org/freedesktop/systemd1/unit',\
     interface='org.freedesktop.DBus.Properties',member='PropertiesChanged',arg0='org.freedesktop.systemd1.Unit'",
    "type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',\
     member='NameOwnerChanged',arg0='org.freedesktop.systemd1'",
];

/// What pump and callers share.
#[derive(Debug)]
pub(super) struct Link {
    bus: Bus,
    calls: Mutex<Option<Connection>>,
    permits: Semaphore,
    /// Counts the times that signals may have been lost.
    gaps: watch::Sender<u64>,
    /// Counts the reloads that systemd has announced.
    pub(super) reloads: watch::Sender<u64>,
    pub(super) jobs: Jobs,
    pub(super) hub: ChangeHub,
    pub(super) watched: Watched,
}

type Preparation = Pin<Box<dyn Future<Output = zbus::Result<()>> + Send>>;

impl Link {
    pub(super) fn new(bus: Bus) -> Link {
        Link {
            bus,
            calls: Mutex::default(),
            permits: Semaphore::new(CALLS_MAX),
            gaps: watch::Sender::new(0),
            reloads: watch::Sender::new(0),
            jobs: Jobs::default(),
            hub: ChangeHub::default(),
            watched: Watched::default(),
        }
    }

    /// Makes one call when it is its turn.
    pub(super) async fn call<T, F>(
        &self,
        what: &str,
        call: impl FnOnce(Connection) -> F,
    ) -> Result<T, ServiceError>
    where
        F: Future<Output = zbus::Result<T>>,
    {
        let unreachable = |message: &str| ServiceError::Unreachable {
            message: message.to_owned(),
        };
        let connection = self.connection().clone();
        let connection = connection.ok_or_else(|| unreachable("not connected to the bus"))?;
        let _turn = self
            .permits
            .acquire()
            .await
            .map_err(|_| unreachable("shutting down"))?;
        call(connection)
            .await
            .map_err(|error| refused(what, &error))
    }

    /// Told whenever signals may have been lost.
    pub(super) fn gaps(&self) -> watch::Receiver<u64> {
        self.gaps.subscribe()
    }

    /// Waits until systemd has answered once; returns at once if it has.
    pub(super) async fn reached(&self) {
        // The sender lives in us.
        if self.gaps().wait_for(|gaps| *gaps > 0).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Connects, listens, and connects again, until it is dropped.
    pub(super) async fn run(self: Arc<Link>) {
        let mut wait = RECONNECT.0;
        loop {
            match self.connect().await {
                Ok((signals, calls)) => {
                    wait = RECONNECT.0;
                    *self.connection() = Some(calls.clone());
                    self.pump(&signals, &calls).await;
                    self.watched.forget_all();
                    tracing::warn!("the connection to systemd was lost");
                }
                Err(error) => {
                    tracing::warn!(%error, "systemd's bus cannot be reached; trying again");
                }
            }
            *self.connection() = None;
            sleep(wait).await;
            wait = (wait * 2).min(RECONNECT.1);
        }
    }

    fn connection(&self) -> MutexGuard<'_, Option<Connection>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self) -> zbus::Result<(Connection, Connection)> {
        let builder = || match &self.bus {
            Bus::System => Builder::system(),
            Bus::User => Builder::session(),
            Bus::Address(address) => Builder::address(address.as_str()),
        };
        let signals = builder()
            .max_queued(SIGNALS_MAX)
            .method_timeout(ANSWER_LIMIT)
            .build()
            .await?;
        let calls = builder().method_timeout(ANSWER_LIMIT).build().await?;
        Ok((signals, calls))
    }

    /// Takes signals until a connection breaks.
    async fn pump(&self, signals: &Connection, calls: &Connection) {
        let mut stream = MessageStream::from(signals);
        // Signals are taken also while we ask for them: the answer may be behind many.
        let mut preparation: Option<Preparation> = Some(Box::pin(listen(signals.clone())));
        loop {
            let prepared = async {
                match preparation.as_mut() {
                    Some(preparation) => preparation.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                outcome = prepared => match outcome {
                    Ok(()) => {
                        preparation = None;
                        self.may_have_missed_signals();
                    }
                    Err(error) => {
                        tracing::warn!(%error, "systemd does not let us listen; trying again");
                        preparation = Some(Box::pin(listen_later(signals.clone())));
                    }
                },
                message = stream.next() => match message {
                    Some(Ok(message)) => {
                        if self.note(&message) == Noted::AnotherSystemd {
                            preparation = Some(Box::pin(listen(signals.clone())));
                        }
                    }
                    Some(Err(_)) | None => return,
                },
                () = calls.closed() => return,
            }
        }
    }

    fn may_have_missed_signals(&self) {
        self.watched.forget_all();
        self.gaps.send_modify(|gaps| *gaps += 1);
        self.hub.tell(&ServiceChange::All);
    }

    /// Notes what one message says.
    fn note(&self, message: &Message) -> Noted {
        if message.message_type() != Type::Signal {
            return Noted::Nothing;
        }
        let header = message.header();
        let member = header.member().map_or("", |member| member.as_str());
        let body = message.body();
        match member {
            "PropertiesChanged" => {
                let path = header.path().map_or("", |path| path.as_str());
                self.announced(unit_of_object(path).as_deref(), body.deserialize().ok());
            }
            "JobRemoved" => {
                let end = body.deserialize::<(u32, OwnedObjectPath, String, String)>();
                if let Ok((job, _, unit, result)) = end {
                    self.jobs.ended(job, &JobResult::from_word(&result));
                    self.changed(Some(&unit));
                }
            }
            "UnitNew" | "UnitRemoved" => {
                if let Ok((unit, _)) = body.deserialize::<(String, OwnedObjectPath)>() {
                    if let Ok(name) = UnitName::parse(&unit) {
                        self.watched.forget(&name);
                    }
                    self.changed(Some(&unit));
                }
            }
            "Reloading" => {
                if body.deserialize::<bool>().is_ok_and(|begins| begins) {
                    self.reloads.send_modify(|reloads| *reloads += 1);
                } else {
                    self.watched.forget_all();
                    self.hub.tell(&ServiceChange::All);
                }
            }
            "NameOwnerChanged" => {
                if let Ok((_, _, new)) = body.deserialize::<(String, String, String)>() {
                    self.jobs.forget_ends();
                    self.watched.forget_all();
                    if new.is_empty() {
                        tracing::warn!("systemd has left the bus");
                    } else {
                        return Noted::AnotherSystemd;
                    }
                }
            }
            _ => {}
        }
        Noted::Nothing
    }

    fn announced(&self, unit: Option<&str>, announcement: Option<Announcement>) {
        if let Some(Ok(name)) = unit.map(UnitName::parse) {
            match announcement {
                Some(announcement) => self.watched.note(&name, &announcement),
                None => self.watched.forget_all(),
            }
        }
        self.changed(unit);
    }

    fn changed(&self, unit: Option<&str>) {
        // Names that fleet cannot have, such as those of slices, are no news.
        if let Some(Ok(name)) = unit.map(UnitName::parse)
            && name.unit_type().is_recognized()
        {
            self.hub.tell(&ServiceChange::Unit(name));
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Noted {
    Nothing,
    AnotherSystemd,
}

/// Asks the bus and systemd for signals. May be repeated.
async fn listen(signals: Connection) -> zbus::Result<()> {
    for rule in MATCHES {
        let bus = Some("org.freedesktop.DBus");
        signals
            .call_method(bus, "/org/freedesktop/DBus", bus, "AddMatch", &(rule,))
            .await?;
    }
    match ManagerProxy::new(&signals).await?.subscribe().await {
        Err(zbus::Error::MethodError(name, _, _))
            if name.as_str().ends_with(".AlreadySubscribed") =>
        {
            Ok(())
        }
        outcome => outcome,
    }
}

async fn listen_later(signals: Connection) -> zbus::Result<()> {
    sleep(RECONNECT.0).await;
    listen(signals).await
}
