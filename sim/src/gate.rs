//! One incarnation of a process: whatever it asks of the world passes its gate, which can be shut for a while (the process
//! is stopped with SIGSTOP), or for good between any two effects (it is killed).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

/// When, around an effect, a process dies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Moment {
    /// Before it: the effect does not happen.
    Before,
    /// In the middle of it, if it has parts: systemd has the job, the mark is not written.
    Amid,
    /// After it, before the process learns of it.
    After,
}

/// Which effects are counted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Effect {
    /// A request to the store.
    Request,
    /// A call to systemd.
    Call,
}

/// Where all gates of a run tell what goes through them. Clones are the same run's.
#[derive(Clone, Debug)]
pub(crate) struct Gatekeeper {
    /// Deaths at a crash point, by name.
    pub(crate) deaths: mpsc::UnboundedSender<String>,
    /// Requests to the store and calls to systemd.
    pub(crate) effects: Arc<AtomicU64>,
}

/// A process's gate. Clones are the same gate.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Which process, which incarnation of it.
    who: String,
    state: Mutex<State>,
    changed: Notify,
    keeper: Gatekeeper,
}

#[derive(Debug)]
struct State {
    is_paused: bool,
    is_dead: bool,
    dies: Option<(Effect, u64, Moment)>,
    /// Since when it has been neither.
    goes_since: Instant,
}

impl Gate {
    pub(crate) fn new(who: String, keeper: Gatekeeper) -> Gate {
        let inner = Inner {
            who,
            state: Mutex::new(State {
                is_paused: false,
                is_dead: false,
                dies: None,
                goes_since: Instant::now(),
            }),
            changed: Notify::new(),
            keeper,
        };
        Gate {
            inner: Arc::new(inner),
        }
    }

    pub(crate) fn who(&self) -> &str {
        &self.inner.who
    }

    /// Waits while the process is stopped; for ever if it is dead.
    pub(crate) async fn pass(&self) {
        loop {
            let changed = self.inner.changed.notified();
            {
                let state = self.lock();
                if !state.is_paused && !state.is_dead {
                    return;
                }
            }
            changed.await;
        }
    }

    /// Counts an effect; says when around it the process dies, if it does.
    pub(crate) fn count(&self, effect: Effect) -> Option<Moment> {
        self.inner.keeper.effects.fetch_add(1, Ordering::Relaxed);
        let mut state = self.lock();
        let (which, left, moment) = state.dies.as_mut()?;
        if *which != effect {
            return None;
        }
        *left = left.saturating_sub(1);
        let moment = (*left == 0).then_some(*moment)?;
        state.dies = None;
        Some(moment)
    }

    /// The process dies here: never returns.
    pub(crate) async fn die<T>(&self) -> T {
        self.kill();
        // Nobody listens once the run is over.
        drop(self.inner.keeper.deaths.send(self.inner.who.clone()));
        std::future::pending().await
    }

    /// Nothing of the process happens any more.
    pub(crate) fn kill(&self) {
        self.lock().is_dead = true;
    }

    /// It will die at the `nth` effect of this kind from now.
    pub(crate) fn dies_at(&self, effect: Effect, nth: u64, moment: Moment) {
        self.lock().dies = Some((effect, nth.max(1), moment));
    }

    pub(crate) fn pause(&self) {
        self.lock().is_paused = true;
    }

    pub(crate) fn resume(&self) {
        let mut state = self.lock();
        state.is_paused = false;
        state.goes_since = Instant::now();
        drop(state);
        self.inner.changed.notify_waiters();
    }

    /// Since when the process has gone on, if it does and nothing is in wait for it.
    pub(crate) fn well_since(&self) -> Option<Instant> {
        let state = self.lock();
        let is_well = !state.is_paused && !state.is_dead && state.dies.is_none();
        is_well.then_some(state.goes_since)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
