//! The world of one run: machines with their agents, engines, one store, one user, and the clockwork that lets things
//! happen to them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use agent::MemoryDisk;
use agent::fake::FakeSystemd;
use model::{Clock, MachineId};
use registry::embedded::Embedded;
use registry::{Registry, View};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use unitfile::UnitName;

use crate::catalog::Catalog;
use crate::checker::Checker;
use crate::client::{Ask, Asked, client};
use crate::dice::Dice;
use crate::faults::{CLOCK_AHEAD_MS, Heal};
use crate::gate::{Gate, Gatekeeper};
use crate::haste::Pace;
use crate::history::{History, Telling};
use crate::manager::{Hang, Manager};
use crate::network::{Link, Writers};
use crate::process::{
    AgentProcess, Host, Memory, PREFIX, REQUEST_TIMEOUT, Running, engine_process,
};

/// What a process is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    Agent,
    Engine,
    User,
}

/// A machine's wall clock, which somebody may set.
#[derive(Debug)]
pub(crate) struct WallClock {
    began: Instant,
    ahead_ms: AtomicU64,
}

impl WallClock {
    pub(crate) fn set(&self, ahead_ms: u64) {
        self.ahead_ms.store(ahead_ms, Ordering::Relaxed);
    }
}

impl Clock for WallClock {
    fn unix_ms(&self) -> u64 {
        self.boot_ms() + self.ahead_ms.load(Ordering::Relaxed)
    }

    fn boot_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// A place for a process: what outlives its incarnations.
pub(crate) struct Slot {
    pub(crate) link: Link,
    pub(crate) running: Option<Running>,
    incarnations: u64,
}

/// One run's world.
pub(crate) struct World {
    pub(crate) history: History,
    pub(crate) checker: Checker,
    pub(crate) dice: Dice,
    pub(crate) pace: Pace,
    pub(crate) store: Embedded,
    /// For whoever works on the store by hand.
    pub(crate) raw: etcd_client::Client,
    pub(crate) hosts: Vec<Arc<Host>>,
    pub(crate) clocks: Vec<Arc<WallClock>>,
    pub(crate) agents: Vec<Slot>,
    pub(crate) engines: Vec<Slot>,
    pub(crate) user: Slot,
    pub(crate) asked: Asked,
    pub(crate) asks: mpsc::UnboundedSender<Ask>,
    pub(crate) heals: BTreeMap<(Instant, u64), Heal>,
    pub(crate) number: u64,
    pub(crate) writers: Writers,
    deaths: mpsc::UnboundedReceiver<String>,
    pub(crate) keeper: Gatekeeper,
    /// The checker's watch and ear, and the user; end with this.
    pub(crate) tasks: JoinSet<()>,
}

impl World {
    /// A cluster of three to five machines, of which two or three have an engine.
    pub(crate) async fn new(
        seed: u64,
        telling: Telling,
        pace: Pace,
    ) -> Result<World, etcd_client::Error> {
        let mut dice = Dice::new(seed);
        let history = History::new(telling);
        let store = Embedded::in_memory();
        let writers = Writers::default();
        let under_way = TaskTracker::new();
        let (died, deaths) = mpsc::unbounded_channel();
        let keeper = Gatekeeper {
            deaths: died,
            effects: Arc::default(),
        };
        let slot = |dice: Dice| Slot {
            link: Link::new(store.clone(), writers.clone(), under_way.clone(), dice),
            running: None,
            incarnations: 0,
        };
        let (machines, engines) = (dice.between(3, 5), dice.between(2, 3));
        let (mut hosts, mut clocks, mut agents) = (Vec::new(), Vec::new(), Vec::new());
        for number in 1..=machines {
            let (host, clock) = host(number);
            hosts.push(Arc::new(host));
            clocks.push(clock);
            agents.push(slot(dice.fork("agent")));
        }
        let engines = (0..engines).map(|_| slot(dice.fork("engine"))).collect();
        let fakes = hosts
            .iter()
            .map(|host| (host.id.to_string(), host.fake.clone()))
            .collect();
        let checker = Checker::new(history.clone(), Arc::new(Catalog::new()), fakes);
        let user = slot(dice.fork("user"));
        let by_hand = slot(dice.fork("operator"));
        let operator = Gate::new(crate::written::OPERATOR.to_owned(), keeper.clone());
        let raw = etcd_client::Client::from_channel(by_hand.link.channel(operator), None).await?;
        let (asks, queue) = mpsc::unbounded_channel();
        let asked = Asked::default();
        let registry = Registry::over(
            user.link
                .channel(Gate::new("user".to_owned(), keeper.clone())),
            PREFIX,
            REQUEST_TIMEOUT,
        );
        let mut tasks = JoinSet::new();
        let view = View::new(registry, CancellationToken::new());
        tasks.spawn(client(view, queue, asked.clone(), history.clone()));
        Ok(World {
            history,
            checker,
            dice,
            pace,
            store,
            raw,
            hosts,
            clocks,
            agents,
            engines,
            user,
            asked,
            asks,
            heals: BTreeMap::new(),
            number: 0,
            writers,
            deaths,
            keeper,
            tasks,
        })
    }

    pub(crate) fn slot(&mut self, role: Role, index: usize) -> &mut Slot {
        match role {
            Role::Agent => &mut self.agents[index],
            Role::Engine => &mut self.engines[index],
            Role::User => &mut self.user,
        }
    }

    /// A process of this role.
    pub(crate) fn draw(&mut self, role: Role) -> usize {
        let count = match role {
            Role::Agent => self.agents.len(),
            Role::Engine => self.engines.len(),
            Role::User => 1,
        };
        usize::try_from(self.dice.below(count as u64)).unwrap_or(0)
    }

    pub(crate) fn machine(&self, index: usize) -> &str {
        self.hosts[index].id.as_str()
    }

    pub(crate) fn name(&self, role: Role, index: usize) -> String {
        match role {
            Role::Agent => format!("{}/agent", self.machine(index)),
            Role::Engine => format!("{}/engine", self.machine(index)),
            Role::User => "user".to_owned(),
        }
    }

    pub(crate) fn links(&self) -> Vec<Link> {
        let slots = self.agents.iter().chain(&self.engines);
        let slots = slots.chain(std::iter::once(&self.user));
        slots.map(|slot| slot.link.clone()).collect()
    }

    pub(crate) fn some_unit(&mut self) -> UnitName {
        let names: Vec<UnitName> = self.checker.catalog.units.keys().cloned().collect();
        self.dice.one_of(&names).clone()
    }

    /// Starts a process unless it runs; one that is still leaving is waited for.
    pub(crate) fn start(&mut self, role: Role, index: usize) {
        let name = self.name(role, index);
        if let Some(running) = self.slot(role, index).running.as_mut()
            && !running.has_ended()
        {
            if running.leave.is_cancelled() {
                self.later(1_000, Heal::Start(role, index));
            }
            return;
        }
        let dice = self.dice.fork("process");
        let keeper = self.keeper.clone();
        let slot = self.slot(role, index);
        slot.incarnations += 1;
        let who = format!("{name}#{}", slot.incarnations);
        let gate = Gate::new(who.clone(), keeper);
        let channel = slot.link.channel(gate.clone());
        let clock = Arc::clone(&self.clocks[index]) as Arc<dyn Clock>;
        let registry = Registry::over(channel, PREFIX, REQUEST_TIMEOUT).with_clock(clock);
        let leave = CancellationToken::new();
        let host = Arc::clone(&self.hosts[index]);
        let running = match role {
            Role::Agent => {
                self.checker.leaves(host.id.as_str(), false);
                let manager = Manager {
                    machine: host.id.to_string(),
                    fake: host.fake.clone(),
                    gate: gate.clone(),
                    hang: host.hang.clone(),
                    checker: self.checker.clone(),
                    dice: Mutex::new(dice),
                };
                let process = AgentProcess {
                    host,
                    view: View::new(registry.clone(), leave.clone()),
                    registry,
                    manager: Arc::new(manager),
                    checker: self.checker.clone(),
                    leave: leave.clone(),
                };
                Running::start(gate, leave, process.run())
            }
            Role::Engine | Role::User => {
                let work = engine_process(registry, host.id.clone(), leave.clone());
                Running::start(gate, leave, work)
            }
        };
        self.slot(role, index).running = Some(running);
        self.history.note(&who, "starts");
    }

    /// SIGKILL; false if it does not run.
    pub(crate) fn kill(&mut self, role: Role, index: usize) -> bool {
        let machine = self.machine(index).to_owned();
        let Some(running) = self.slot(role, index).running.take() else {
            return false;
        };
        if role == Role::Agent {
            self.checker.leaves(&machine, false);
        }
        running.kill();
        true
    }

    /// The machine loses its power.
    pub(crate) fn power_off(&mut self, index: usize) {
        let machine = self.machine(index).to_owned();
        self.kill(Role::Agent, index);
        if index < self.engines.len() {
            self.kill(Role::Engine, index);
        }
        let host = Arc::clone(&self.hosts[index]);
        self.checker.hear();
        host.fake.reboot();
        self.checker.hear();
        self.checker.reboots(&machine);
        self.checker.goes_by_copy(&machine, false);
        let mut memory = host.lock();
        memory.boot += 1;
        memory.lease = None;
    }

    /// Buries who has died at a crash point, and has them started again.
    pub(crate) fn bury(&mut self) {
        while let Ok(who) = self.deaths.try_recv() {
            self.history.note(&who, "has died");
            let roles = [Role::Agent, Role::Engine];
            for (role, index) in roles
                .iter()
                .flat_map(|role| (0..5).map(|index| (*role, index)))
            {
                let exists = match role {
                    Role::Agent => index < self.agents.len(),
                    Role::Engine | Role::User => index < self.engines.len(),
                };
                let is_it = exists
                    && self
                        .slot(role, index)
                        .running
                        .as_ref()
                        .is_some_and(|running| running.gate.who() == who);
                if is_it && self.kill(role, index) {
                    let pause = self.dice.between(0, 12_000);
                    self.later(pause, Heal::Start(role, index));
                }
            }
        }
    }
}

/// A machine that has just booted.
fn host(number: u64) -> (Host, Arc<WallClock>) {
    let clock = Arc::new(WallClock {
        began: Instant::now(),
        ahead_ms: AtomicU64::new(CLOCK_AHEAD_MS),
    });
    let disk = if number <= 2 { "ssd" } else { "hdd" };
    let id = format!("m{number}");
    let host = Host {
        id: MachineId::parse(&id).unwrap_or_else(|error| unreachable!("{error}")),
        fake: FakeSystemd::new(Arc::clone(&clock) as Arc<dyn Clock>),
        hang: Hang::default(),
        disk: MemoryDisk::default(),
        memory: Mutex::new(Memory::default()),
        metadata: BTreeMap::from([("disk".to_owned(), disk.to_owned())]),
    };
    (host, clock)
}
