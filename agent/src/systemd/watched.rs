//! What systemd has told of running units without being asked: every change of a unit is announced with all that changed, so a unit
//! that runs need not be asked about again. For 500 units that start at once, that is 500 times a hundred properties less.
//!
//! Only *running* units are answered from here. Whatever is at rest is looked at, because that depends on files too.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::{ActiveState, LoadState};
use unitfile::UnitName;

use super::state::{Properties, State, invocation, take};

/// The last announcement of each running unit.
#[derive(Debug, Default)]
pub(super) struct Watched(Mutex<Units>);

#[derive(Debug, Default)]
struct Units {
    running: HashMap<UnitName, State>,
    /// Units whose file was rewritten since systemd read it: whether that needs a reload is not announced.
    rewritten: HashSet<UnitName>,
}

/// The body of `PropertiesChanged`.
pub(super) type Announcement = (String, Properties, Vec<String>);

impl Watched {
    /// Takes in what systemd announced of a unit. An announcement that is not complete makes the unit be asked about.
    pub(super) fn note(&self, name: &UnitName, (_, properties, _): &Announcement) {
        let mut units = self.units();
        match running(properties) {
            Some(state) if !units.rewritten.contains(name) => {
                units.running.insert(name.clone(), state);
            }
            Some(_) | None => {
                units.running.remove(name);
            }
        }
    }

    /// The state of a unit that runs, as last announced.
    pub(super) fn running(&self, name: &UnitName) -> Option<State> {
        self.units().running.get(name).cloned()
    }

    /// Notes that the file of a unit that systemd may know was rewritten.
    pub(super) fn rewritten(&self, name: &UnitName) {
        let mut units = self.units();
        units.running.remove(name);
        units.rewritten.insert(name.clone());
    }

    /// Forgets a unit that systemd has forgotten.
    pub(super) fn forget(&self, name: &UnitName) {
        let mut units = self.units();
        units.running.remove(name);
        units.rewritten.remove(name);
    }

    /// Forgets everything: announcements may have been lost, or systemd has read all files again.
    pub(super) fn forget_all(&self) {
        *self.units() = Units::default();
    }

    fn units(&self) -> MutexGuard<'_, Units> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn running(properties: &Properties) -> Option<State> {
    let text = |name: &str| take::<String>(properties, name);
    let active = ActiveState::from_word(&text("ActiveState")?);
    if active != ActiveState::Active {
        return None;
    }
    Some(State {
        load: LoadState::Loaded,
        active,
        sub: text("SubState")?,
        invocation: Some(invocation(properties)?),
        since_unix_ms: take::<u64>(properties, "StateChangeTimestamp")? / 1000,
        // Matters before a start only, and this one runs.
        needs_reload: false,
    })
}
