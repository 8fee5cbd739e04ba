//! Tells systemd how we are: ready, what we do, alive.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

/// Says that fleetd serves.
pub(crate) fn ready() {
    send(&[NotifyState::Ready]);
}

/// Says what fleetd is doing, for `systemctl status`.
pub(crate) fn status(text: &str) {
    send(&[NotifyState::Status(text)]);
}

/// Says that fleetd is on its way out.
pub(crate) fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// How long fleetd may be silent while it stops.
pub(crate) const EXTENSION: Duration = Duration::from_secs(60);

/// Says that stopping goes on: for [`EXTENSION`] from now, whatever `TimeoutStopSec=` says.
pub(crate) fn extend() {
    let usec = u32::try_from(EXTENSION.as_micros()).unwrap_or(u32::MAX);
    send(&[NotifyState::ExtendTimeoutUsec(usec)]);
}

/// Pings systemd's watchdog for as long as the runtime gets to run, at half of the interval that systemd allows.
pub(crate) async fn watchdog(shutdown: CancellationToken) {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return;
    };
    let mut ticks = tokio::time::interval((limit / 2).max(Duration::from_millis(100)));
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => send(&[NotifyState::Watchdog]),
        }
    }
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd could not be told");
    }
}
