//! Leading: follows the whole cluster and, whenever something changed that a plan depends on,
//! decides and writes.
//!
//! One plan at a time: what happens while a plan is being written is answered by the next one,
//! together. There is no timer in the way from an event to its decision.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use futures_util::FutureExt;
use model::mutation::{Mutation, is_made};
use model::{Brake, Change, Decision, MachineId, RecordKey, Records, Revision};
use registry::{
    Follow, FollowEvent, Leadership, Lease, LeaseLost, Registry, RegistryError, Scope, WriteError,
};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use unitfile::UnitName;

use crate::absence::{ASKED_MAX, Absences, Gone, away, shown};
use crate::brake::Lookout;
use crate::echo::Echo;
use crate::log::log_decisions;
use crate::mend::{displaced, mended};
use crate::planner::Planner;
use crate::premises::unreported;
use crate::relevance::may_alter_plan;
use crate::retry::Retry;
use crate::run::{EngineReport, EngineSettings};
use crate::schedule::unreferenced_files;

/// Events taken in before a plan is made of them, so that a stream of events without end cannot put
/// off a plan.
const EVENTS_PER_PASS_MAX: usize = 1024;

/// How long after the last change to units unreferenced files are collected: a file that is about
/// to be used again (a unit destroyed and submitted anew) is not collected in between, and the look
/// through all files stays rare.
const COLLECT_DELAY: Duration = Duration::from_secs(60);

/// How long our own writes may take to come back before everything is read again.
const ECHO_MAX: Duration = Duration::from_secs(10);

/// How long machines are given to come back after the store was away: they try once a second.
const RETURN_MAX: Duration = Duration::from_secs(5);

/// Why an engine stopped leading.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StepDown {
    /// It was told to stop.
    Shutdown,
    /// Another was elected, or its record was deleted or written over.
    Deposed,
    /// Its lease ended.
    LeaseLost(LeaseLost),
}

impl fmt::Display for StepDown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StepDown::Shutdown => "it is shutting down",
            StepDown::Deposed => "its record is gone or another's",
            StepDown::LeaseLost(LeaseLost::Ended) => "its lease has ended",
            StepDown::LeaseLost(LeaseLost::Unconfirmed) => {
                "the store could not be reached for as long as its lease lives"
            }
        })
    }
}

/// What an election gives.
#[derive(Debug)]
pub(crate) struct Elected {
    /// Who was elected.
    pub(crate) machine: MachineId,
    pub(crate) leadership: Leadership,
    pub(crate) lease: Lease,
}

/// Leads until there is a reason not to.
pub(crate) async fn lead(
    registry: &Registry,
    elected: &Elected,
    settings: &EngineSettings,
    report: &watch::Sender<EngineReport>,
    shutdown: &CancellationToken,
) -> StepDown {
    let mut leader = Leader {
        registry,
        elected,
        report,
        watched: registry.follow(Scope::Cluster),
        planner: Planner::of(&Records::default()),
        records: Records::default(),
        touch: Touch::Out,
        stale: false,
        damaged: BTreeSet::new(),
        echo: Echo::default(),
        echo_by: None,
        collect_at: None,
        lookout: Lookout::new(settings.brake),
        retry: Retry::new(),
        unwritten: Vec::new(),
        settings,
        waits_until: None,
        // A leader's lease is half of a machine's.
        absences: Absences::new(registry, settings.loss, 2 * settings.lease_ttl),
        started: Instant::now(),
    };
    let work = leader.work();
    tokio::select! {
        biased;
        () = shutdown.cancelled() => StepDown::Shutdown,
        lost = elected.lease.lost() => StepDown::LeaseLost(lost),
        ended = work => ended,
    }
}

/// Whether the records are those of the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Touch {
    /// They are, up to events on their way.
    In,
    /// They may be out of date: nothing may be decided.
    Out,
}

struct Leader<'a> {
    registry: &'a Registry,
    elected: &'a Elected,
    report: &'a watch::Sender<EngineReport>,
    watched: Follow,
    records: Records,
    /// Of these records.
    planner: Planner,
    touch: Touch,
    /// True if something changed that the last plan did not know of.
    stale: bool,
    /// Entries that are damaged in the store. At most one for each that there is.
    damaged: BTreeSet<(UnitName, MachineId)>,
    echo: Echo,
    /// When our own writes must have come back.
    echo_by: Option<Instant>,
    collect_at: Option<Instant>,
    lookout: Lookout,
    retry: Retry,
    /// What could not be written the last time: a plan that is the same is not logged again.
    unwritten: Vec<Decision>,
    settings: &'a EngineSettings,
    /// Nothing is decided before then, unless the machines that are waited for come back.
    waits_until: Option<Instant>,
    absences: Absences<'a>,
    started: Instant,
}

impl Leader<'_> {
    async fn work(&mut self) -> StepDown {
        loop {
            if let Some(ended) = self.listen().await {
                return ended;
            }
            if self.retry.waits() || self.touch == Touch::Out || !self.echo.is_complete() {
                continue;
            }
            // First of all: what is to be held must not be moved.
            let brake = self.lookout.decide(&self.records, self.now_ms());
            let wrote = if let Some(brake) = brake {
                self.brake(brake).await
            } else if self.stale && self.waits() {
                Ok(())
            } else if self.stale {
                self.pass().await
            } else if self.collect_at.is_some_and(|at| at <= Instant::now()) {
                self.collect().await
            } else {
                Ok(())
            };
            match wrote {
                Ok(()) => {}
                Err(WriteError::Deposed) => return StepDown::Deposed,
                Err(WriteError::Contested) => {
                    tracing::info!(
                        "a machine has begun with a unit that was to be elsewhere: deciding again"
                    );
                    self.start_over();
                }
                Err(WriteError::Store(_)) if is_made(Mutation::UnknownOutcomeTakenForWritten) => {}
                // What is known is still what the store has.
                Err(WriteError::Undone(error)) => {
                    self.stale = true;
                    // It takes for done what it planned.
                    self.planner = Planner::of(&self.records);
                    self.failed(&error);
                }
                Err(WriteError::Store(error)) => {
                    // Some of it may have been done: what the store has now must be read.
                    self.failed(&error);
                    if let Some(due) = self.retry.due() {
                        sleep_until(due).await;
                    }
                    self.start_over();
                }
            }
        }
    }

    /// Waits for an event, or for the time to do something; then takes in what else is there.
    async fn listen(&mut self) -> Option<StepDown> {
        let wake_at = match (self.touch, self.retry.due()) {
            // Nothing can be done before the store is back.
            (Touch::Out, _) => None,
            (Touch::In, Some(due)) => Some(due),
            (Touch::In, None) if self.echo.is_complete() => {
                let brake_at = self.lookout.due_ms().map(|due_ms| self.at(due_ms));
                // While machines are waited for, nothing is collected either.
                let next = self.waits_until.or(self.collect_at);
                next.into_iter().chain(brake_at).min()
            }
            (Touch::In, None) => self.echo_by,
        };
        let timer = async {
            match wake_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            event = self.watched.next() => {
                let mut ended = self.take(event);
                for _ in 0..EVENTS_PER_PASS_MAX {
                    let Some(event) = self.watched.next().now_or_never() else { break };
                    ended = ended.or(self.take(event));
                }
                ended
            }
            () = self.absences.answered() => None,
            () = timer => {
                if !self.echo.is_complete() {
                    tracing::warn!("our own writes did not come back in time; reading everything again");
                    self.start_over();
                }
                None
            }
        }
    }

    fn take(&mut self, event: FollowEvent) -> Option<StepDown> {
        match event {
            FollowEvent::Snapshot { revision, changes } => {
                self.records = Records::default();
                self.damaged.clear();
                self.lookout.look_again();
                self.planner = Planner::of(&self.records);
                self.echo = Echo::default();
                self.stale = true;
                self.collect_at = Some(Instant::now() + COLLECT_DELAY);
                self.in_touch();
                self.take_in(revision, changes);
                // Cheaper than to take in each record of a whole cluster as a change.
                self.planner = Planner::of(&self.records);
                self.absences.ask_away(&self.records);
                let leader = self.records.leader.as_ref();
                let is_ours = leader.is_some_and(|leader| leader.machine == self.elected.machine);
                (!is_ours).then_some(StepDown::Deposed)
            }
            FollowEvent::Changes { revision, changes } => {
                // Our record stays as it was written while it is ours. If somebody wrote over it, it is no longer under our lease
                // and would outlive us: to resign takes it away.
                let deposed = changes
                    .iter()
                    .any(is_about_leader)
                    .then_some(StepDown::Deposed);
                self.take_in(revision, changes);
                deposed
            }
            FollowEvent::Disconnected { reason } => {
                tracing::warn!(
                    reason,
                    "the store is lost: nothing is decided until it is back"
                );
                self.touch = Touch::Out;
                self.report
                    .send_modify(|report| report.store_problem = Some(reason));
                None
            }
            FollowEvent::Synced { .. } => {
                self.in_touch();
                None
            }
        }
    }

    fn in_touch(&mut self) {
        self.touch = Touch::In;
        self.report
            .send_modify(|report| report.store_problem = None);
    }

    fn take_in(&mut self, revision: Revision, changes: Vec<Change>) {
        let mut gone = Vec::new();
        for change in changes {
            match &change {
                Change::Machine(_, None) if is_made(Mutation::PlacedOnGoneMachine) => continue,
                Change::Unit(..) | Change::Assignment(..) => {
                    self.collect_at = Some(Instant::now() + COLLECT_DELAY);
                }
                Change::Quarantined { problem, record } => {
                    if let Some(RecordKey::Assignment(machine, unit)) = record {
                        self.damaged.insert((unit.clone(), machine.clone()));
                    }
                    tracing::warn!(
                        key = problem.key,
                        reason = problem.reason,
                        "a damaged record is skipped"
                    );
                }
                // More are not asked.
                Change::Machine(id, None) => {
                    if gone.len() <= ASKED_MAX {
                        gone.extend(Gone::of(&self.records, id));
                    }
                }
                Change::Machine(id, _) => self.absences.is_back(id),
                Change::Status(id, unit, Some(_)) => self.absences.reports(id, unit),
                Change::File(..)
                | Change::MachineSpec(..)
                | Change::Status(_, _, None)
                | Change::Hold(..)
                | Change::Leader(_)
                | Change::Brake(_)
                | Change::Healed { .. } => {}
            }
            let ours = self.echo.hear(&change);
            let units_on = |id: &MachineId| self.planner.units_on(id);
            self.lookout.hear(&self.records, &change, units_on);
            self.stale |= !ours && may_alter_plan(&self.records, &change);
            self.planner.take_in(&mut self.records, change);
        }
        self.absences.ask(gone);
        self.lookout.heard_all(&self.records);
        self.records.revision = revision;
    }

    /// Whether machines that have units are waited for: the store was away a moment ago and their leases may have ended while
    /// they are well, or they are being asked.
    fn waits(&mut self) -> bool {
        let unsteady = self.settings.unsteady.as_ref().map(|at| *at.borrow());
        let until = unsteady.map(|at| at + RETURN_MAX);
        let until = until.filter(|until| Instant::now() < *until);
        let away = until.map(|_| away(&self.records)).unwrap_or_default();
        let until = until.filter(|_| !away.is_empty());
        if until.is_some() && self.waits_until.is_none() {
            tracing::info!(
                machines = shown(&away),
                "the store was away: waiting a moment for machines to come back before their units are moved"
            );
        }
        let until = self.absences.until().into_iter().chain(until).min();
        self.waits_until = until;
        until.is_some()
    }

    /// Decides and writes.
    async fn pass(&mut self) -> Result<(), WriteError> {
        let started = Instant::now();
        let mut decisions = self.planner.plan(&self.records);
        decisions.extend(mended(&self.records, self.damaged.clone(), &decisions));
        decisions.extend(displaced(&self.records, &decisions));
        let took = started.elapsed();
        self.stale = false;
        let brake = self.records.brake.as_ref();
        let braked = brake.map_or(0, |brake| brake.machines.len());
        self.report.send_modify(|report| {
            report.passes += 1;
            report.last_pass = took;
            report.machines_braked = braked;
            report.count_made(&decisions);
        });
        if decisions.is_empty() {
            self.damaged.clear();
            self.succeeded();
            return Ok(());
        }
        if decisions != self.unwritten {
            log_decisions(&decisions);
        }
        let unreported = unreported(&self.records, &decisions);
        let leadership = &self.elected.leadership;
        let written = leadership
            .write_if_unreported(&decisions, &unreported, self.records.revision)
            .await;
        if written.is_err() {
            self.report
                .send_modify(|report| report.count_unwritten(&decisions));
            self.unwritten = decisions;
            return written;
        }
        self.damaged.clear();
        self.wrote(&decisions);
        Ok(())
    }

    /// Writes what the brake on mass loss is now. What follows from it is decided once it is back.
    async fn brake(&mut self, brake: Option<Brake>) -> Result<(), WriteError> {
        let decisions = [Decision::Brake(brake)];
        if decisions[..] != self.unwritten {
            log_decisions(&decisions);
        }
        if let Err(error) = self.elected.leadership.write(&decisions).await {
            // It is to be decided anew, from what is lost.
            self.lookout.look_again();
            self.unwritten = decisions.into();
            return Err(error);
        }
        self.wrote(&decisions);
        self.stale = true;
        Ok(())
    }

    fn failed(&mut self, error: &RegistryError) {
        let problem = error.to_string();
        if self.retry.failed(&problem) {
            tracing::warn!(
                problem,
                "writing the plan failed; it is tried again until it can be written"
            );
        }
        self.report
            .send_modify(|report| report.store_problem = Some(problem));
    }

    /// All that is decided is written.
    fn succeeded(&mut self) {
        self.unwritten.clear();
        if self.retry.over() {
            tracing::info!("the store takes what is decided again");
            self.report
                .send_modify(|report| report.store_problem = None);
        }
    }

    /// Since this leader began.
    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn at(&self, ms: u64) -> Instant {
        self.started + Duration::from_millis(ms)
    }

    fn wrote(&mut self, decisions: &[Decision]) {
        self.succeeded();
        self.echo = Echo::of(decisions);
        self.echo_by = Some(Instant::now() + ECHO_MAX);
        self.report
            .send_modify(|report| report.count_written(decisions));
    }

    /// Deletes files that nothing refers to.
    async fn collect(&mut self) -> Result<(), WriteError> {
        self.collect_at = None;
        let files = unreferenced_files(&self.records);
        if files.is_empty() {
            return Ok(());
        }
        tracing::info!(
            files = files.len(),
            "collecting unit files that nothing refers to"
        );
        let leadership = &self.elected.leadership;
        let collected = leadership.collect_files(&files, self.records.revision);
        let collected = collected.await;
        match collected {
            Ok(()) => self.succeeded(),
            Err(_) => self.collect_at = Some(Instant::now() + COLLECT_DELAY),
        }
        collected
    }

    /// Forgets everything and reads it again.
    fn start_over(&mut self) {
        self.watched = self.registry.follow(Scope::Cluster);
        self.touch = Touch::Out;
        self.echo = Echo::default();
    }
}

fn is_about_leader(change: &Change) -> bool {
    matches!(
        change,
        Change::Leader(_)
            | Change::Quarantined {
                record: Some(RecordKey::Leader),
                ..
            }
    )
}
