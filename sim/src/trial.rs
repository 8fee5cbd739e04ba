//! Long trials: one trouble that lasts, and no healthy unit may notice.

use std::collections::BTreeMap;
use std::time::Duration;

use model::InvocationId;
use tokio::time::{Instant, sleep};

use crate::catalog::{Fate, Rule};
use crate::checker::Place;
use crate::history::Telling;
use crate::run::Outcome;
use crate::world::{Role, World};

/// What a cluster at rest has to endure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trial {
    /// The store has no quorum for an hour: nobody is answered, and no lease ends.
    StoreAwayForAnHour,
    /// Every engine is killed within seconds of its start, for ten minutes.
    EnginesCrashInALoop,
}

/// How often systemd's histories are read meanwhile: an hour is long.
const EAR: Duration = Duration::from_millis(500);

const HOUR: Duration = Duration::from_secs(3_600);

const TEN_MINUTES: Duration = Duration::from_secs(600);

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endured {
    /// As of any other run; a unit that was touched is among the violations.
    pub outcome: Outcome,
    /// Activations that are the same as before, of units that are not exclusive.
    pub untouched: usize,
    /// Times that an engine was killed.
    pub kills: u64,
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
    let mut world = World::watched(seed, Telling::AtEnd, EAR).await;
    world.begin().await;
    world.rest(None).await;
    let before = world.healthy();
    let kills = match trial {
        Trial::StoreAwayForAnHour => world.without_store().await,
        Trial::EnginesCrashInALoop => world.without_engines().await,
    };
    let rest = world.rest(None).await;
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

    async fn without_store(&mut self) -> u64 {
        self.history.fault("store down", "for an hour");
        self.store.hold_leases();
        for link in self.links() {
            link.set(|weather| weather.refused = true);
            link.break_streams();
        }
        sleep(HOUR).await;
        self.store.release_leases();
        for link in self.links() {
            link.set(|weather| weather.refused = false);
        }
        self.history.note("store", "is up again");
        0
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
