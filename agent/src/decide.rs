//! One pass of the agent: begins whatever is due, for every unit that something happened to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use model::mutation::{Mutation, is_made};
use model::{JobEnd, JobResult, ServiceError, ServiceManager, TargetState};
use registry::{Registry, RegistryError};
use tokio::time::Instant;
use unitfile::{FileHash, UnitFile, UnitName};

use crate::reconcile::{LoadReason, Step, StopReason};
use crate::run::{Agent, Ended, RETRY_FIRST, STORE_RETRY, TRANSITION_DELAY};
use crate::steps::{LookAfter, carry_out, remember, stop_remembered};
use crate::units::{Advance, Slot, Work};

/// The longest pause before something that failed is tried again.
const RETRY_LONGEST: Duration = Duration::from_secs(60);

impl<S: ServiceManager> Agent<'_, S> {
    /// Decides about every unit that is awake. Nothing is decided before the schedule and what is there are known, nor while the lease
    /// `may_have_ended`: an engine may take this machine for lost then, and what is taken out of the schedule is no order.
    pub(crate) fn decide(&mut self, may_have_ended: bool) {
        let is_listed = self.listed || is_made(Mutation::DecidedBeforeListing);
        if !self.synced || !is_listed || may_have_ended {
            return;
        }
        self.keep_running();
        let mut wanted_files = BTreeSet::new();
        let mut reloads = Vec::new();
        for name in std::mem::take(&mut self.awake) {
            let Some(slot) = self.slots.get_mut(&name) else {
                continue;
            };
            match slot.advance() {
                Advance::Nothing => {}
                Advance::CutShort => self.cut_short(&name),
                Advance::Begin(work) => match &work.step {
                    Step::Load(mark, _)
                        if !self.bodies.contains_key(&mark.file)
                            && !self.missing.contains(&mark.file) =>
                    {
                        wanted_files.insert(mark.file);
                    }
                    // The engine takes a unit without a status for one that does not run.
                    Step::Start(_) | Step::Restart(_)
                        if !self.published.contains_key(&name)
                            && !is_made(Mutation::StartedBeforeReported) => {}
                    Step::Stop(StopReason::NotScheduled(_)) if self.kept.contains(&name) => {}
                    Step::Reload => reloads.push((name, work)),
                    Step::Load(..)
                    | Step::Stop(_)
                    | Step::Unload
                    | Step::Start(_)
                    | Step::Restart(_) => {
                        self.begin(name, work);
                    }
                },
            }
        }
        self.begin_reloads(reloads);
        self.fetch(wanted_files);
        self.forget();
    }

    fn begin(&mut self, name: UnitName, work: Work) {
        tracing::info!(unit = %name, "{}", work.step);
        let body = match &work.step {
            // A file that was missing is asked for again when the load is tried again.
            Step::Load(mark, _) => {
                self.missing.remove(&mark.file);
                self.bodies.get(&mark.file).cloned()
            }
            Step::Stop(_) | Step::Unload | Step::Reload | Step::Start(_) | Step::Restart(_) => None,
        };
        let (step, cut) = (work.step.clone(), work.cut.clone());
        let mut look = LookAfter::Yes;
        if let Some(slot) = self.slots.get_mut(&name) {
            let launches = slot
                .desired
                .as_ref()
                .is_some_and(|wanted| wanted.target == TargetState::Launched);
            if matches!(step, Step::Load(_, LoadReason::New)) && launches && slot.observed.is_none()
            {
                look = LookAfter::StartFollows;
            }
            slot.begin(work);
        }
        if self.published.contains_key(&name) {
            // What it is on its way to is told when it is there, unless that takes long.
            self.unpublished
                .insert(name.clone(), Instant::now() + TRANSITION_DELAY);
        }
        let manager = Arc::clone(&self.manager);
        self.tasks.spawn(async move {
            Ended::Step(Box::new(
                carry_out(manager, name, step, body, look, cut).await,
            ))
        });
    }

    /// Has systemd read files again once for all units that need it, after the files that are being written now.
    fn begin_reloads(&mut self, reloads: Vec<(UnitName, Work)>) {
        let loading = self.slots.values().any(|slot| {
            slot.working
                .as_ref()
                .is_some_and(|work| matches!(work.step, Step::Load(..)))
        });
        for (name, work) in reloads {
            if loading {
                self.awake.insert(name);
            } else {
                // The service manager merges reloads that are asked for at the same time.
                self.begin(name, work);
            }
        }
    }

    fn cut_short(&mut self, name: &UnitName) {
        let working = self.slots.get(name).and_then(|slot| slot.working.as_ref());
        let Some((Step::Start(mark) | Step::Restart(mark), cut)) =
            working.map(|work| (&work.step, &work.cut))
        else {
            return;
        };
        cut.short();
        tracing::info!(unit = %name, "its start is no longer wanted: stopping it");
        let mark = Some(mark.given_up()).filter(|_| !is_made(Mutation::CutNotRemembered));
        let (manager, name) = (Arc::clone(&self.manager), name.clone());
        self.tasks.spawn(async move {
            let result = stop_remembered(&*manager, &name, mark.clone()).await;
            // The start may have written its own mark meanwhile.
            if let Some(mark) = mark {
                remember(&*manager, &name, &mark).await;
            }
            Ended::Cut(name, result)
        });
    }

    /// Takes in that cutting a start short is over. If that failed and the start goes on, it is tried again after a pause.
    pub(crate) fn take_cut(&mut self, name: &UnitName, result: &Result<JobEnd, ServiceError>) {
        let has_failed = match result {
            Ok(end) if end.result == JobResult::Done => false,
            Ok(end) => {
                tracing::warn!(unit = %name, result = %end.result, "cutting the start short did not end well");
                true
            }
            Err(error) => {
                tracing::warn!(unit = %name, %error, "the start cannot be cut short");
                true
            }
        };
        if let Some(slot) = self.slots.get_mut(name) {
            slot.cutting = false;
            if has_failed && slot.working.is_some() && !is_made(Mutation::CutWithoutPause) {
                slot.resting = true;
                self.retries
                    .insert(name.clone(), Instant::now() + RETRY_FIRST);
            }
        }
        self.look(name);
        self.touch(name);
    }

    fn fetch(&mut self, wanted: BTreeSet<FileHash>) {
        if self.refetch_at.is_some() {
            return;
        }
        let ask: Vec<FileHash> = wanted
            .into_iter()
            .filter(|hash| !self.fetching.contains(hash))
            .collect();
        if ask.is_empty() {
            return;
        }
        self.fetching.extend(ask.iter().copied());
        let registry = self.registry.clone();
        self.tasks.spawn(async move {
            let found = files(&registry, &ask).await;
            Ended::Files(ask, found)
        });
    }

    pub(crate) fn take_files(
        &mut self,
        asked: &[FileHash],
        found: Result<BTreeMap<FileHash, Arc<UnitFile>>, RegistryError>,
    ) {
        for hash in asked {
            self.fetching.remove(hash);
        }
        match found {
            Ok(found) => {
                self.missing
                    .extend(asked.iter().filter(|hash| !found.contains_key(hash)));
                self.bodies.extend(found);
            }
            Err(error) => {
                tracing::warn!(%error, "unit files cannot be fetched yet");
                self.refetch_at = Some(Instant::now() + STORE_RETRY);
                return;
            }
        }
        let names: Vec<UnitName> = self
            .slots
            .iter()
            .filter(|(_, slot)| {
                slot.desired
                    .as_ref()
                    .is_some_and(|wanted| asked.contains(&wanted.file))
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in names {
            self.touch(&name);
        }
    }

    /// Drops what is no longer needed, also while something else takes for ever: files once written, units that are gone.
    fn forget(&mut self) {
        let (awake, retries, unpublished) = (&self.awake, &self.retries, &self.unpublished);
        let is_due = |name: &UnitName| {
            awake.contains(name) || retries.contains_key(name) || unpublished.contains_key(name)
        };
        self.slots
            .retain(|name, slot| !slot.is_empty() || is_due(name));
        if self.bodies.is_empty() && self.missing.is_empty() {
            return;
        }
        let due: BTreeSet<FileHash> = self.slots.values().filter_map(Slot::file_due).collect();
        self.bodies.retain(|hash, _| due.contains(hash));
        self.missing.retain(|hash| due.contains(hash));
    }

    /// The next moment at which something is due without an event.
    pub(crate) fn next_wake(&self, publishing: bool) -> Option<Instant> {
        let publication = self.unpublished.values().min().copied();
        let publication = publication.map(|due| self.publish_at.map_or(due, |at| at.max(due)));
        // Nothing is published before what is there is known: `publish` would be woken for nothing, again and again.
        let publication = publication.filter(|_| !publishing && self.listed);
        [
            self.retries.values().min().copied(),
            self.relist_at,
            self.refetch_at,
            self.looks.values().map(|look| look.due).min(),
            publication,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Does what has become due.
    pub(crate) fn wake(&mut self) {
        let now = Instant::now();
        let due: Vec<UnitName> = self
            .retries
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(name, _)| name.clone())
            .collect();
        for name in due {
            self.retries.remove(&name);
            if let Some(slot) = self.slots.get_mut(&name) {
                slot.resting = false;
                if let Some(wanted) = &slot.desired {
                    // It may have been submitted again.
                    self.missing.remove(&wanted.file);
                }
            }
            self.awake.insert(name);
        }
        let looks: Vec<UnitName> = self
            .looks
            .iter()
            .filter(|(_, look)| look.due <= now)
            .map(|(name, _)| name.clone())
            .collect();
        for name in looks {
            self.looks.remove(&name);
            self.look(&name);
        }
        if self.relist_at.is_some_and(|at| at <= now) {
            self.list();
        }
        if self.refetch_at.is_some_and(|at| at <= now) {
            self.refetch_at = None;
            self.awake.extend(self.slots.keys().cloned());
        }
    }
}

/// How long something waits that has failed so often in a row.
pub(crate) fn pause(failures: u32) -> Duration {
    let pause = RETRY_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(6));
    pause.min(RETRY_LONGEST)
}

/// The files that the store has of these. A damaged one counts as missing and holds up no other.
pub(crate) async fn files(
    registry: &Registry,
    hashes: &[FileHash],
) -> Result<BTreeMap<FileHash, Arc<UnitFile>>, RegistryError> {
    match registry.files(hashes).await {
        Err(RegistryError::Damaged { .. }) => {}
        outcome => return outcome,
    }
    let mut found = BTreeMap::new();
    for hash in hashes {
        match registry.file(hash).await {
            Ok(file) => found.extend(file.map(|file| (*hash, file))),
            Err(error @ RegistryError::Damaged { .. }) => {
                tracing::error!(file = %hash, %error, "units with this file cannot be loaded");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}
