//! Signals that would end fleetctl while the terminal is not as the person left it: then they end the work instead, and whoever
//! has changed the terminal changes it back as it is dropped.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::select_all;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

/// What people and programs send to end a program, with the status that a shell has of one that ended so: 128 and the signal's number.
const ENDING: [(SignalKind, u8); 4] = [
    (SignalKind::hangup(), 128 + 1),
    (SignalKind::interrupt(), 128 + 2),
    (SignalKind::quit(), 128 + 3),
    (SignalKind::terminate(), 128 + 15),
];

/// The signals that end fleetctl. Cheap to clone; clones are one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signals {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    minded: Mutex<Minded>,
    changed: Notify,
}

#[derive(Debug, Default)]
enum Minded {
    /// Each of them ends the process at once.
    #[default]
    Not,
    /// These will say that one has come.
    Ready(Vec<(Signal, u8)>),
    /// Somebody waits for them.
    Awaited,
}

impl Signals {
    /// From now on none of them ends the process by itself; [`come`](Signals::come) returns instead. To be called before the
    /// terminal is changed, by who cannot block the thread.
    pub(crate) fn mind(&self) -> io::Result<()> {
        let minded = self.inner.minded.lock();
        let mut minded = minded.unwrap_or_else(PoisonError::into_inner);
        if matches!(*minded, Minded::Not) {
            let signals = ENDING.map(|(kind, status)| signal(kind).map(|signal| (signal, status)));
            *minded = Minded::Ready(signals.into_iter().collect::<io::Result<_>>()?);
            self.inner.changed.notify_one();
        }
        Ok(())
    }

    /// Waits until one of them has come, from when they are minded; never returns before. For one caller. Returns the status to exit with.
    pub(crate) async fn come(&self) -> u8 {
        loop {
            self.inner.changed.notified().await;
            let taken = {
                let minded = self.inner.minded.lock();
                let mut minded = minded.unwrap_or_else(PoisonError::into_inner);
                std::mem::replace(&mut *minded, Minded::Awaited)
            };
            let Minded::Ready(mut signals) = taken else {
                continue;
            };
            let each = signals.iter_mut().map(|(signal, status)| {
                Box::pin(async move {
                    signal.recv().await;
                    *status
                })
            });
            return select_all(each).await.0;
        }
    }
}
