//! Long trials: one trouble that lasts, and no healthy unit may notice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::{Action, InvocationId};
use tokio::time::{Instant, sleep, sleep_until};
use unitfile::UnitName;

use crate::catalog::{Fate, Rule};
use crate::checker::Place;
use crate::haste::Pace;
use crate::history::Telling;
use crate::process::OFFLINE_START_AFTER;
use crate::run::{Outcome, REST_MAX};
use crate::world::{Role, World};

/// What a cluster at rest has to endure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trial {
    /// The store has no quorum for an hour: nobody is answered, and no lease ends.
    StoreAwayForAnHour,
    /// Every engine is killed within seconds of its start, for ten minutes.
    EnginesCrashInALoop,
    /// Every machine loses its power, boots again within seconds, and the store stays away for minutes.
    PowerOutage,
    /// etcd loses what the watches of every agent and engine were to be told, while all is asked for something. Nobody ever tells them.
    EventsLost,
    /// etcd ends the lease of each machine, one after the other, then of all at once. All are well.
    LeasesEnded,
}

/// How often systemd's histories are read meanwhile: an hour is long.
const EAR: Duration = Duration::from_millis(500);

const HOUR: Duration = Duration::from_secs(3_600);

const TEN_MINUTES: Duration = Duration::from_secs(600);

/// What is due after a power cut.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Due {
    Boots,
    HasStarted,
    IsAsBefore,
}

/// How long machines take to boot, in milliseconds, at most.
const BOOT_MS_MAX: u64 = 20_000;

/// How long the slowest unit takes to start (3 s), with the calls to systemd before that.
const START_MAX: Duration = Duration::from_secs(4);

const FIVE_MINUTES: Duration = Duration::from_secs(300);

/// A watch is compared with the store after two minutes at most: what an agent does then may be what an engine has to hear of, in as
/// long again.
const FOUND_OUT_MAX: Duration = Duration::from_secs(2 * 120);

/// Longer than a request takes, and shorter than any time in which a watch may be opened again.
const LOST_FOR: Duration = Duration::from_secs(2);

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endured {
    /// As of any other run; a unit that was touched is among the violations.
    pub outcome: Outcome,
    /// Activations that are the same as before, of units that are not exclusive.
    pub untouched: usize,
    /// Times that an engine was killed.
    pub kills: u64,
    /// Units that machines had back by their own copies of their schedules.
    pub back: usize,
}

/// Lets a cluster of this seed come to rest, endure that, and come to rest again.
///
/// # Errors
/// If there is no runtime to be had.
pub fn endure(seed: u64, trial: Trial) -> std::io::Result<Endured> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    Ok(runtime.block_on(run(seed, trial)))
}

async fn run(seed: u64, trial: Trial) -> Endured {
    let mut world = World::watched(seed, (Telling::AtEnd, Pace::Steady), EAR).await;
    world.begin().await;
    world.rest(None).await;
    let mut before = world.healthy();
    let (mut kills, mut back) = (0, 0);
    match trial {
        Trial::StoreAwayForAnHour => world.without_store().await,
        Trial::EnginesCrashInALoop => kills = world.without_engines().await,
        Trial::PowerOutage => {
            back = world.without_power(&before).await;
            // What has come back is what must not be touched when the store does.
            before = world.healthy();
            world.store_returns();
        }
        Trial::EventsLost => {
            let asked = world.lose_events(&before).await;
            before.retain(|(_, unit), _| !asked.iter().any(|it| it.as_str() == unit));
        }
        Trial::LeasesEnded => {
            let all: Vec<usize> = (0..world.hosts.len()).collect();
            for index in &all {
                world.end_leases("lease ended while well", &[*index]).await;
            }
            world.end_leases("lease ended while well", &all).await;
        }
    }
    let rest = match trial {
        Trial::EventsLost => world.rest_within(FOUND_OUT_MAX + REST_MAX, None).await,
        Trial::StoreAwayForAnHour
        | Trial::EnginesCrashInALoop
        | Trial::PowerOutage
        | Trial::LeasesEnded => world.rest(None).await,
    };
    let after = world.healthy();
    for ((machine, unit), invocation) in &before {
        if after.get(&(machine.clone(), unit.clone())) != Some(invocation) {
            let what = format!("{unit} on {machine} is not the activation that it was");
            world.history.violation("I6 hands off", what);
        }
    }
    Endured {
        outcome: world.outcome(seed, rest),
        untouched: before.len(),
        kills,
        back,
    }
}

impl World {
    /// Everything that runs and would run on by itself.
    fn healthy(&self) -> BTreeMap<Place, Option<InvocationId>> {
        self.checker.hear();
        let state = self.checker.lock();
        let is_lasting = |place: &Place| {
            state.running.get(place).is_some_and(|it| {
                let catalog = &self.checker.catalog;
                catalog.fate(&it.file) == Fate::Runs && catalog.rule(&it.file) != Rule::Sole
            })
        };
        let running = self.hosts.iter().flat_map(|host| {
            let units = host.fake.running().into_iter();
            units.map(|(unit, it)| ((host.id.to_string(), unit.to_string()), it))
        });
        running.filter(|(place, _)| is_lasting(place)).collect()
    }

    async fn without_store(&mut self) {
        self.store_goes("for an hour");
        sleep(HOUR).await;
        self.store_returns();
    }

    /// It has no quorum: nobody is answered, and no lease ends.
    fn store_goes(&mut self, what: &str) {
        self.history.fault("store down", what);
        self.store.hold_leases();
        for link in self.links() {
            link.set(|weather| weather.refused = true);
            link.break_streams();
        }
    }

    fn store_returns(&mut self) {
        self.store.release_leases();
        for link in self.links() {
            link.set(|weather| weather.refused = false);
        }
        self.history.note("store", "is up again");
    }

    /// Says how many of the units that were healthy before are back without the store; all of them must be, in time, and nothing
    /// exclusive may be.
    async fn without_power(&mut self, before: &BTreeMap<Place, Option<InvocationId>>) -> usize {
        self.store_goes("with the power of all machines");
        let mut due = BTreeSet::new();
        let began = Instant::now();
        for index in 0..self.hosts.len() {
            self.history.fault("reboot", self.machine(index));
            self.power_off(index);
            let boot = began + Duration::from_millis(self.dice.between(1_000, BOOT_MS_MAX));
            due.insert((boot, index, Due::Boots));
            due.insert((
                boot + OFFLINE_START_AFTER + START_MAX,
                index,
                Due::HasStarted,
            ));
            due.insert((began + FIVE_MINUTES, index, Due::IsAsBefore));
        }
        let mut back = 0;
        for (at, index, what) in due {
            sleep_until(at).await;
            match what {
                Due::Boots => {
                    self.start(Role::Agent, index);
                    if index < self.engines.len() {
                        self.start(Role::Engine, index);
                    }
                }
                Due::HasStarted => back += self.is_back(index, before),
                Due::IsAsBefore => drop(self.is_back(index, before)),
            }
        }
        back
    }

    /// Counts the units that a machine has back.
    fn is_back(&self, index: usize, before: &BTreeMap<Place, Option<InvocationId>>) -> usize {
        self.checker.hear();
        let host = &self.hosts[index];
        let running = host.fake.running();
        let wanted = before
            .keys()
            .filter(|(machine, _)| machine == host.id.as_str());
        let mut back = 0;
        for (machine, unit) in wanted {
            match running.keys().any(|name| name.as_str() == unit) {
                true => back += 1,
                false => {
                    let what = format!("{machine} has no {unit}, though it has its own copy");
                    self.history.violation("I14 runs", what);
                }
            }
        }
        let state = self.checker.lock();
        for unit in running.keys() {
            let activation = state.running.get(&(host.id.to_string(), unit.to_string()));
            if activation.is_some_and(|it| self.checker.catalog.rule(&it.file) == Rule::Sole) {
                let what = format!("{unit} runs on {}, which has no lease", host.id);
                self.history.violation("I1 never two", what);
            }
        }
        back
    }

    /// Every second healthy unit is unloaded or restarted, and one that does not run is started: these are returned. Neither the agents
    /// nor who leads are told.
    async fn lose_events(
        &mut self,
        healthy: &BTreeMap<Place, Option<InvocationId>>,
    ) -> BTreeSet<UnitName> {
        let links: Vec<_> = self.agents.iter().chain(&self.engines).collect();
        let links: Vec<_> = links.into_iter().map(|slot| slot.link.clone()).collect();
        for link in &links {
            link.set(|weather| weather.loses = true);
        }
        self.history
            .fault("events lost", "to all agents and engines");
        let is_healthy = |name: &UnitName| healthy.keys().any(|(_, unit)| unit == name.as_str());
        let names = self.checker.catalog.units.keys().cloned();
        let (running, others): (Vec<_>, Vec<_>) = names.partition(is_healthy);
        let mut asked = BTreeMap::from([(self.dice.one_of(&others).clone(), Action::Start)]);
        let actions = [Action::Unload, Action::Restart].into_iter().cycle();
        asked.extend(running.into_iter().skip(1).step_by(2).zip(actions));
        for (unit, action) in &asked {
            self.ask_unit(unit.clone(), action.clone());
        }
        sleep(LOST_FOR).await;
        for link in &links {
            link.set(|weather| weather.loses = false);
        }
        asked.into_keys().collect()
    }

    async fn without_engines(&mut self) -> u64 {
        let until = Instant::now() + TEN_MINUTES;
        let mut kills = 0;
        while Instant::now() < until {
            let pause = self.dice.between(20, 2_500);
            sleep(Duration::from_millis(pause)).await;
            let index = self.draw(Role::Engine);
            if self.kill(Role::Engine, index) {
                self.history
                    .fault("crash of an engine", self.name(Role::Engine, index));
                kills += 1;
            }
            let again = self.draw(Role::Engine);
            self.start(Role::Engine, again);
        }
        kills
    }
}
