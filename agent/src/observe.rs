//! Looks at what is there: at a unit once it has come to rest, or at all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use model::{ServiceError, ServiceManager, ServiceUnit};
use tokio::time::Instant;
use unitfile::UnitName;

use crate::run::{Agent, DueLook, Ended, RETRY_FIRST, TRANSITION_DELAY};

/// How long further news of a unit are waited for before it is looked at: systemd sends several for one change.
const LOOK_DELAY: Duration = Duration::from_millis(10);

impl<S: ServiceManager> Agent<'_, S> {
    pub(crate) fn list(&mut self) {
        self.relist_at = None;
        let manager = Arc::clone(&self.manager);
        self.tasks
            .spawn(async move { Ended::List(manager.list().await) });
    }

    /// Looks at a unit of ours once it has come to rest: systemd tells of every move on the way, and the end of a step under
    /// way is looked at anyhow.
    pub(crate) fn look_soon(&mut self, name: UnitName) {
        let Some(slot) = self.slots.get(&name) else {
            return;
        };
        let delay = if slot.working.is_some() {
            TRANSITION_DELAY
        } else {
            LOOK_DELAY
        };
        let asked = Instant::now();
        let due = asked + delay;
        self.looks.entry(name).or_insert(DueLook { asked, due });
    }

    /// Looks at a unit of ours again, once at a time.
    pub(crate) fn look(&mut self, name: &UnitName) {
        let Some(slot) = self.slots.get_mut(name) else {
            return;
        };
        if slot.looking.is_some() {
            slot.looking = Some(true);
            return;
        }
        slot.looking = Some(false);
        let (manager, name, epoch) = (Arc::clone(&self.manager), name.clone(), slot.epoch);
        self.tasks.spawn(async move {
            let seen = manager.unit(&name).await;
            Ended::Look(name, epoch, seen)
        });
    }

    pub(crate) fn take_look(
        &mut self,
        name: &UnitName,
        epoch: u64,
        seen: Result<Option<ServiceUnit>, ServiceError>,
    ) {
        let Some(slot) = self.slots.get_mut(name) else {
            return;
        };
        let again = slot.looking.take() == Some(true);
        let outdated = slot.epoch != epoch;
        match seen {
            Ok(seen) if !outdated => slot.see(seen),
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(unit = %name, %error, "the unit cannot be looked at; all will be listed");
                self.relist_at.get_or_insert(Instant::now() + RETRY_FIRST);
            }
        }
        if again || outdated {
            self.look(name);
        }
        self.touch(name);
    }

    pub(crate) fn take_list(&mut self, units: Vec<ServiceUnit>) {
        self.listed = true;
        let mut seen: BTreeMap<UnitName, ServiceUnit> = units
            .into_iter()
            .map(|unit| (unit.name.clone(), unit))
            .collect();
        let names: BTreeSet<UnitName> = self.slots.keys().chain(seen.keys()).cloned().collect();
        for name in names {
            let found = seen.remove(&name);
            let slot = self.slots.entry(name.clone()).or_default();
            if slot.working.is_none() {
                slot.see(found);
            } else {
                self.look(&name);
            }
            self.touch(&name);
        }
        // Published under an earlier fleetd, and gone since.
        let now = Instant::now();
        self.unpublished
            .extend(self.published.keys().map(|name| (name.clone(), now)));
    }
}
