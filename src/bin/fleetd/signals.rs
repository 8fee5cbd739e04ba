//! What operators and systemd ask of the process by signals, and what is done about it.

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::notify;

/// What an operator asked of the process.
enum Event {
    Reload,
    Terminate,
}

/// The signals that we listen to.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    pub(crate) fn new() -> Result<Signals> {
        let listen = |kind| signal(kind).context("cannot listen to signals");
        Ok(Signals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Event {
        tokio::select! {
            _ = self.terminate.recv() => Event::Terminate,
            _ = self.interrupt.recv() => Event::Terminate,
            _ = self.hangup.recv() => Event::Reload,
        }
    }
}

/// Sees the work to its end, and does what signals ask for meanwhile.
pub(crate) async fn obey(
    work: impl Future<Output = Result<()>>,
    mut signals: Signals,
    reload: impl Fn(),
    shutdown: &CancellationToken,
) -> Result<()> {
    tokio::pin!(work);
    let mut extensions = tokio::time::interval(notify::EXTENSION / 3);
    loop {
        tokio::select! {
            ended = &mut work => return ended,
            // Units may take as long to stop as they like: systemd must not kill us over it.
            _ = extensions.tick(), if shutdown.is_cancelled() => notify::extend(),
            event = signals.next() => match event {
                Event::Reload => reload(),
                Event::Terminate => {
                    tracing::info!("Gracefully shutting down");
                    notify::stopping();
                    shutdown.cancel();
                }
            },
        }
    }
}
