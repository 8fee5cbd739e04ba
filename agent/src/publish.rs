//! Publishes what changed, and only that, in one write at a time; what changes meanwhile goes into the next.

use std::collections::BTreeSet;
use std::time::Duration;

use model::mutation::{Mutation, is_made};
use model::{ServiceManager, UnitStatus};
use tokio::time::Instant;
use unitfile::UnitName;

use crate::run::{Agent, Batch, Published, Publishing, STORE_RETRY};

/// How often one unit's status is written within [`WINDOW`] when nobody asked anything of it: a unit that systemd restarts
/// every 100 ms would otherwise cost the store 20 writes a second. What is kept back is written when the window ends, so a
/// status is never more than that out of date.
const WRITES_MAX: u32 = 4;
const WINDOW: Duration = Duration::from_secs(2);

/// Writes a machine makes over time, and how many of them may come at once. Many units that start together are told of in
/// few writes; one unit's start has two and waits for none.
pub(crate) const PACE: Duration = Duration::from_millis(50);
const BURST: u32 = 4;

/// After a write, the next one waits this many times as long as it took, up to the limit: when the store is busy with a
/// thousand machines, each writes more at a time instead of asking it more often. Two milliseconds when it is not.
const RESTRAINT: u32 = 2;
const RESTRAINT_MAX: Duration = Duration::from_secs(1);

/// How often a unit's status was written lately.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    begins: Instant,
    writes: u32,
}

impl<'a, S: ServiceManager> Agent<'a, S> {
    /// Begins to publish what is due; none if nothing is.
    pub(crate) fn publish(&mut self) -> Option<Publishing<'a>> {
        let now = Instant::now();
        if !self.listed || self.publish_at.is_some_and(|at| at > now) {
            return None;
        }
        self.publish_at = None;
        let due: Vec<UnitName> = self
            .unpublished
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(name, _)| name.clone())
            .collect();
        let mut batch: Batch = Vec::new();
        let mut first = BTreeSet::new();
        for name in due {
            self.unpublished.remove(&name);
            let status = self.status(&name);
            if status.as_ref() == self.published.get(&name) && !self.doubtful.contains(&name) {
                continue;
            }
            if is_made(Mutation::StatusesNotRepublished) && self.is_old_activation(&name) {
                self.published.extend(status.map(|status| (name, status)));
                continue;
            }
            match self.held_back_until(&name, status.as_ref(), now) {
                Some(at) => drop(self.unpublished.insert(name, at)),
                None => {
                    if status.is_none() && !is_made(Mutation::StartedDuringWithdrawal) {
                        // From now on its start waits for a new status, should it be wanted again meanwhile.
                        self.published.remove(&name);
                    }
                    if status.is_some() && self.is_asked_for(&name) {
                        first.insert(name.clone());
                    }
                    batch.push((name, status));
                }
            }
        }
        if batch.is_empty() {
            return None;
        }
        self.paid_at = self.paid_at.max(now) + PACE;
        let next = self.paid_at - PACE * BURST;
        self.publish_at = (next > now).then_some(next);
        self.wrote_at = now;
        let membership = self.membership;
        Some(Box::pin(async move {
            let result = membership
                .publish_where_scheduled(batch.clone(), &first)
                .await;
            (batch, result)
        }))
    }

    /// True if the unit's status would take it for this machine: it does not run here yet, and its start waits for that. The
    /// engine may be giving it to another machine just now.
    fn is_asked_for(&self, name: &UnitName) -> bool {
        let Some(slot) = self.slots.get(name) else {
            return false;
        };
        let runs = slot
            .observed
            .as_ref()
            .is_some_and(|unit| !unit.active.is_stopped());
        slot.desired.is_some() && !runs && !self.published.contains_key(name)
    }

    /// True if the unit ran before this agent said anything of it.
    fn is_old_activation(&self, name: &UnitName) -> bool {
        let observed = self.slots.get(name).and_then(|slot| slot.observed.as_ref());
        !self.published.contains_key(name) && observed.is_some_and(|it| it.invocation.is_some())
    }

    /// Until when a status waits because its unit changes too often; none if it is written now.
    fn held_back_until(
        &mut self,
        name: &UnitName,
        status: Option<&UnitStatus>,
        now: Instant,
    ) -> Option<Instant> {
        let Some(status) = status else {
            self.windows.remove(name);
            return None;
        };
        let window = self.windows.entry(name.clone()).or_insert(Window {
            begins: now,
            writes: 0,
        });
        if window.begins + WINDOW <= now {
            *window = Window {
                begins: now,
                writes: 0,
            };
        }
        let before = self.published.get(name);
        let answers = before.is_none_or(|before| {
            (before.generation, &before.job, before.state)
                != (status.generation, &status.job, status.state)
        });
        if window.writes >= WRITES_MAX && !answers {
            return Some(window.begins + WINDOW);
        }
        window.writes += 1;
        None
    }

    fn status(&self, name: &UnitName) -> Option<UnitStatus> {
        let slot = self.slots.get(name)?;
        let wanted = slot.desired.as_ref();
        let body = wanted.and_then(|wanted| self.bodies.get(&wanted.file));
        slot.status(body.map(|file| file.hash()))
    }

    /// Takes in how a publication went. One that failed is repeated with what is so by then.
    pub(crate) fn take_published(&mut self, batch: Batch, result: Published) {
        let is_mistaken = is_made(Mutation::UnknownOutcomeTakenForPublished);
        match result {
            Err(_) if is_mistaken => {
                let known = batch.into_iter().filter_map(|(name, it)| Some((name, it?)));
                self.published.extend(known);
            }
            Ok(unscheduled) => {
                let now = Instant::now();
                let took = now.duration_since(self.wrote_at);
                let rested = now + (took * RESTRAINT).min(RESTRAINT_MAX);
                self.publish_at = Some(self.publish_at.map_or(rested, |at| at.max(rested)));
                for (name, status) in batch {
                    if unscheduled.contains(&name) {
                        // The schedule will say so; until then it is not started.
                        tracing::info!(unit = %name, "it is scheduled here no longer");
                        continue;
                    }
                    self.doubtful.remove(&name);
                    if !self.published.contains_key(&name) {
                        // Its start waits for this.
                        self.awake.insert(name.clone());
                    }
                    match status {
                        Some(status) => self.published.insert(name, status),
                        None => self.published.remove(&name),
                    };
                }
            }
            Err(error) => {
                tracing::warn!(%error, "statuses could not be published; trying again");
                let now = Instant::now();
                self.publish_at = Some(now + STORE_RETRY);
                for (name, _) in batch {
                    // What the store has now is not known.
                    self.doubtful.insert(name.clone());
                    self.unpublished.entry(name).or_insert(now);
                }
            }
        }
    }
}
