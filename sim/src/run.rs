//! One run: a cluster comes up, things are asked of it and happen to it, then the faults end and it must come to rest as
//! it was asked to be.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use model::{Action, OnDifference, ServiceManager, UnitRequest};
use tokio::time::{Instant, sleep};

use crate::client::Ask;
use crate::converge::Seen;
use crate::faults::Heal;
use crate::haste::Pace;
use crate::history::{Telling, Violation};
use crate::operator::watch;
use crate::world::{Role, World};

/// How long the cluster may take to come to rest after the last fault: the agent's longest pause before it tries again what
/// has failed (60 s), a machine's lease, a stop that takes its time, and a little.
pub(crate) const REST_MAX: Duration = Duration::from_secs(90);

/// How long it must then stay as it is.
const QUIET: Duration = Duration::from_secs(15);

/// How often it is looked whether it has come to rest.
const LOOK: Duration = Duration::from_millis(500);

/// How often systemd's histories are read.
const EAR: Duration = Duration::from_millis(20);

/// What a run has shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// Which run.
    pub seed: u64,
    /// The promises that were broken; none is as it should be.
    pub violations: Vec<Violation>,
    /// Who did what and when, a line each.
    pub history: Vec<String>,
    /// How many faults of each kind there were.
    pub faults: BTreeMap<&'static str, u64>,
    /// How long the cluster took to come to rest after the last fault.
    pub rest: Option<Duration>,
    /// How much was written.
    pub revisions: i64,
    /// Requests to the store and calls to systemd.
    pub effects: u64,
}

/// Runs the simulation of this seed; ends early at the first promise that is broken.
///
/// # Errors
/// If there is no runtime to be had.
pub fn simulate(seed: u64, telling: Telling, pace: Pace) -> std::io::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    Ok(runtime.block_on(run(seed, telling, pace)))
}

/// As [`simulate`] of a hasty world, with a product that makes this mistake. Not in a release build, which can make none.
///
/// # Errors
/// If there is no runtime to be had.
#[cfg(debug_assertions)]
pub fn simulate_mistaken(
    seed: u64,
    mutation: model::mutation::Mutation,
) -> std::io::Result<Outcome> {
    model::mutation::make(Some(mutation));
    let outcome = simulate(seed, Telling::AtEnd, Pace::Hasty);
    model::mutation::make(None);
    outcome
}

async fn run(seed: u64, telling: Telling, pace: Pace) -> Outcome {
    let mut world = World::watched(seed, (telling, pace), EAR).await;
    world.begin().await;
    world.trouble().await;
    let dead = world.calm().await;
    let rest = world.rest(dead).await;
    world.outcome(seed, rest)
}

impl World {
    /// A world with somebody who watches it, and listens to systemd at this interval.
    pub(crate) async fn watched(
        seed: u64,
        (telling, pace): (Telling, Pace),
        ear: Duration,
    ) -> World {
        let mut world = match World::new(seed, telling, pace).await {
            Ok(world) => world,
            Err(error) => unreachable!("a store in this process can be reached: {error}"),
        };
        let direct = world.store.channel();
        let watching = watch(direct, Arc::clone(&world.writers), world.checker.clone());
        world.tasks.spawn(watching);
        let checker = world.checker.clone();
        world.tasks.spawn(async move {
            loop {
                sleep(ear).await;
                checker.hear();
            }
        });
        world
    }

    /// What has come of it.
    pub(crate) fn outcome(&self, seed: u64, rest: Option<Duration>) -> Outcome {
        self.checker.hear();
        let told = self.history.told();
        Outcome {
            seed,
            violations: told.violations,
            history: told.lines,
            faults: told.faults,
            rest,
            revisions: self.store.revision(),
            effects: self.keeper.effects.load(Ordering::Relaxed),
        }
    }

    /// Everything starts, and the user has some units started.
    pub(crate) async fn begin(&mut self) {
        for index in 0..self.agents.len() {
            self.start(Role::Agent, index);
        }
        for index in 0..self.engines.len() {
            self.start(Role::Engine, index);
        }
        for _ in 0..self.dice.between(3, 8) {
            let name = self.some_unit();
            self.ask_unit(name, Action::Start);
        }
        let pause = self.dice.between(500, 4_000);
        sleep(Duration::from_millis(pause)).await;
    }

    /// Requests and faults, for a while.
    async fn trouble(&mut self) {
        let lasts = self.dice.between(15, 40);
        let fault_percent = self.dice.between(15, 60);
        let until = Instant::now() + Duration::from_secs(lasts);
        while Instant::now() < until && !self.history.is_broken() {
            let pause = self.dice.between(20, 1_500);
            sleep(Duration::from_millis(pause)).await;
            self.bury();
            self.heal(Some(Instant::now())).await;
            if self.dice.percent(fault_percent) {
                self.fault().await;
            } else {
                self.ask();
            }
        }
    }

    /// The user asks for something.
    pub(crate) fn ask(&mut self) {
        if self.hurries(20) {
            let index = self.draw(Role::Agent);
            return self.haste(index);
        }
        let name = self.some_unit();
        let action = match self.dice.below(100) {
            0..42 => Action::Start,
            42..50 => Action::Stop,
            50..55 => Action::Unload,
            55..62 => Action::Destroy,
            62..66 => Action::Submit,
            66..72 => Action::Load,
            72..81 => Action::Restart,
            81..91 => {
                let index = self.draw(Role::Agent);
                Action::Move(self.hosts[index].id.clone())
            }
            _ => {
                let index = self.draw(Role::Agent);
                return self.ask_machine(index);
            }
        };
        self.ask_unit(name, action);
    }

    pub(crate) fn ask_unit(&mut self, name: unitfile::UnitName, action: Action) {
        let versions = &self.checker.catalog.units[&name];
        let takes_file = matches!(action, Action::Start | Action::Submit | Action::Load);
        let file = takes_file.then(|| self.dice.one_of(versions).clone());
        let on_difference = match self.dice.percent(60) {
            true => OnDifference::Replace,
            false => OnDifference::Keep,
        };
        self.send(Ask::Unit(Box::new(UnitRequest {
            name,
            action,
            file,
            template: None,
            on_difference,
        })));
    }

    pub(crate) fn send(&mut self, ask: Ask) {
        self.asked.queue();
        // The user is there as long as the run.
        drop(self.asks.send(ask));
    }

    /// The faults end. One machine may be gone for good: which is returned.
    async fn calm(&mut self) -> Option<usize> {
        self.history.note("world", "the faults end");
        self.asked.hurry();
        self.bury();
        self.heal(None).await;
        if self.hurries(60) {
            self.last_request().await;
        }
        let dead = self.dice.percent(35).then(|| self.draw(Role::Agent));
        if let Some(index) = dead {
            self.history
                .fault("machine lost for good", self.machine(index));
            self.power_off(index);
        }
        dead
    }

    /// The last that is asked meets a connection that breaks: nothing comes after it that would happen to mend what was taken wrongly.
    async fn last_request(&mut self) {
        let index = self.draw(Role::Agent);
        let (role, at) = match (self.leader(), self.dice.percent(50)) {
            (Some(leader), true) => (Role::Engine, leader),
            _ => (Role::Agent, index),
        };
        self.cut_requests("request cut off", role, at);
        let unit = self.unit_on(index);
        let action = self
            .dice
            .one_of(&[Action::Start, Action::Restart, Action::Unload])
            .clone();
        self.ask_unit(unit, action);
        let pause = self.dice.between(500, 4_000);
        sleep(Duration::from_millis(pause)).await;
        for link in self.links() {
            link.cut_requests(0);
        }
    }

    fn is_up(&self, index: usize, dead: Option<usize>) -> bool {
        dead != Some(index)
    }

    /// Waits until the cluster is at rest; says how long that took. None if it does not come to rest.
    pub(crate) async fn rest(&mut self, dead: Option<usize>) -> Option<Duration> {
        self.rest_within(REST_MAX, dead).await
    }

    /// As [`World::rest`], which may take so long.
    pub(crate) async fn rest_within(
        &mut self,
        most: Duration,
        dead: Option<usize>,
    ) -> Option<Duration> {
        let began = Instant::now();
        let mut rested: Option<Instant> = None;
        while !self.history.is_broken() {
            sleep(LOOK).await;
            self.raise(dead).await;
            let problems = self.look(dead).await;
            let now = Instant::now();
            match rested {
                _ if problems.is_empty() && rested.is_none() && self.asked.is_answered() => {
                    self.history.note("checker", "the cluster is at rest");
                    rested = Some(now);
                }
                Some(since) if self.checker.lock().written_at.is_some_and(|at| at > since) => {
                    self.history
                        .note("checker", "no rest yet: something was written");
                    rested = None;
                }
                Some(_) if !problems.is_empty() => {
                    self.history
                        .note("checker", format!("no rest yet: {}", problems.join("; ")));
                    rested = None;
                }
                Some(since) if now - since >= QUIET => return Some(since - began),
                Some(_) | None => {}
            }
            if now - began > most + QUIET {
                let what = format!(
                    "no {} s of rest {} s after the last fault: {}",
                    QUIET.as_secs(),
                    most.as_secs(),
                    problems.join("; ")
                );
                self.history.violation("I13 converges", what);
            }
        }
        None
    }

    /// Starts whatever has died late of an earlier fault.
    async fn raise(&mut self, dead: Option<usize>) {
        self.bury();
        self.heals.retain(|_, heal| match heal {
            Heal::Start(_, index) | Heal::Restart(_, index) => Some(*index) != dead,
            _ => true,
        });
        self.heal(None).await;
        for index in 0..self.agents.len() {
            if self.is_up(index, dead) {
                self.start(Role::Agent, index);
            }
        }
        for index in 0..self.engines.len() {
            if self.is_up(index, dead) {
                self.start(Role::Engine, index);
            }
        }
    }

    async fn look(&self, dead: Option<usize>) -> Vec<String> {
        self.checker.hear();
        let mut seen = Seen::new();
        let mut problems = Vec::new();
        for (index, host) in self.hosts.iter().enumerate() {
            if !self.is_up(index, dead) {
                continue;
            }
            match host.fake.list().await {
                Ok(units) => drop(seen.insert(host.id.to_string(), units)),
                Err(error) => problems.push(error.to_string()),
            }
        }
        problems.extend(self.checker.problems(&seen, &self.asked.units()));
        problems
    }
}
