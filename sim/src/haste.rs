//! A user in haste: asks for several things of one unit within a moment, or takes back what was asked. What is under way then is what
//! the next request meets.

use std::sync::Arc;
use std::time::Duration;

use agent::fake::Reachable;
use model::{Action, ActiveState, MachineId, MetadataEdit, ServiceManager};
use tokio::time::{Instant, sleep};
use unitfile::UnitName;

use crate::checker::STALE;
use crate::client::Ask;
use crate::faults::Heal;
use crate::process::Host;
use crate::run::REST_MAX;
use crate::world::{Role, World};

/// Units that take long to start: what is asked of them meets a start that is under way.
const SLOW: [&str; 3] = ["app.service", "slow.service", "stuck.service"];

/// What is older is no excuse to act upon, in milliseconds: as [`STALE`].
const STALE_MS: u64 = STALE.as_secs() * 1_000;

/// How long a restart that is asked for is waited for, in milliseconds: unless something is in the way, it begins within a few.
const RESTART_MS: u64 = 100;

/// How hard the world is on the product.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// Faults of all kinds, and users who wait a little between requests.
    Steady,
    /// Also users in haste, who ask for one thing and its opposite just where something goes wrong; connections that break under a request;
    /// damage to what everything depends on, just before another leads; and nothing that comes after and would happen to mend it.
    Hasty,
}

impl World {
    /// True in so many of a hundred cases, if this world is a hasty one.
    pub(crate) fn hurries(&mut self, percent: u64) -> bool {
        self.pace == Pace::Hasty && self.dice.percent(percent)
    }

    /// Something of a machine does not answer, while it is asked for something.
    pub(crate) async fn machine_away(&mut self, kind: &'static str) {
        let mut index = self.draw(Role::Agent);
        let lasts = self.dice.between(500, 12_000);
        let is_in_haste = self.hurries(60);
        if kind == "bus lost" && !is_in_haste && self.hurries(40) {
            self.restart_begins(index).await;
        } else if self.hurries(100)
            && !is_in_haste
            && let Some((at, unit)) = self.starting_near(index).await
        {
            index = at;
            self.ask_away(index, unit);
            let pause = self.dice.between(0, 20);
            sleep(Duration::from_millis(pause)).await;
        } else if is_in_haste {
            self.haste(index);
            let pause = self.dice.between(0, 2_500);
            sleep(Duration::from_millis(pause)).await;
        }
        let what = format!("{}, {lasts} ms", self.machine(index));
        self.history.fault(kind, what);
        let fake = self.hosts[index].fake.clone();
        match kind {
            "bus lost" => {
                self.lose_bus(index, lasts);
                if self.hurries(50) {
                    self.put_down("unit killed", index);
                }
            }
            "disk full" => {
                fake.set_disk_failure(Some("No space left on device"));
                let writes = self.dice.below(4);
                self.hosts[index].disk.fail_after(Some(writes));
                self.later(lasts, Heal::Disk(index));
                if self.hurries(50) {
                    let unit = self.unit_on(index);
                    self.ask_unit(unit.clone(), Action::Unload);
                    self.ask_unit(unit, Action::Start);
                    self.flip(index);
                }
            }
            _ => {
                self.hosts[index].hang.set(true);
                self.later(lasts, Heal::Hang(index));
                if self.hurries(100) {
                    self.waver(index, lasts);
                }
            }
        }
        if is_in_haste && self.dice.percent(40) {
            // What has failed meanwhile must be tried again also if everything was read anew.
            let pause = self.dice.between(500, 3_000);
            sleep(Duration::from_millis(pause)).await;
            self.compact("compaction").await;
            self.agents[index].link.break_streams();
        }
    }

    pub(crate) fn lose_bus(&mut self, index: usize, lasts: u64) {
        self.hosts[index].fake.set_reachable(Reachable::No);
        self.later(lasts, Heal::Bus(index));
        let until = Instant::now() + REST_MAX;
        let machine = self.machine(index).to_owned();
        self.checker.lock().deaf_until.insert(machine, until);
    }

    /// Several requests about one unit, most often one that is on this machine.
    pub(crate) fn haste(&mut self, index: usize) {
        if self.dice.percent(20) {
            return self.flip(index);
        }
        let unit = self.unit_on(index);
        let here = self.hosts[index].id.clone();
        let actions = match self.dice.below(100) {
            0..15 => vec![Action::Unload, Action::Start],
            15..25 => vec![Action::Stop, Action::Start],
            25..32 => vec![Action::Destroy, Action::Start],
            32..52 => vec![self.move_elsewhere(index), Action::Move(here)],
            52..72 => vec![
                Action::Restart,
                self.move_elsewhere(index),
                Action::Move(here),
            ],
            72..82 => vec![Action::Restart, Action::Unload],
            _ => {
                let moves = self.dice.between(3, 5);
                (0..moves).map(|_| self.move_anywhere()).collect()
            }
        };
        let pause_ms = *self.dice.one_of(&[40, 400, 1_500, 3_000]);
        for action in actions {
            self.ask_unit(unit.clone(), action);
            let pause = self.dice.between(0, pause_ms);
            self.send(Ask::Wait(Duration::from_millis(pause)));
        }
    }

    /// Has a unit of this machine restarted, and returns when its agent has just asked systemd for that: it has not looked since.
    async fn restart_begins(&mut self, index: usize) {
        let unit = self.unit_on(index);
        let place = (self.machine(index).to_owned(), unit.to_string());
        let began = |world: &World| world.checker.lock().started_at.get(&place).copied();
        let before = began(self);
        self.ask_unit(unit, Action::Restart);
        for _ in 0..RESTART_MS {
            sleep(Duration::from_millis(1)).await;
            if began(self) != before {
                return;
            }
        }
    }

    /// Users change their minds twice about a unit while systemd hangs, and the agent dies when that hears of all at once.
    fn waver(&mut self, index: usize, hangs_ms: u64) {
        let unit = self.unit_on(index);
        let here = self.hosts[index].id.clone();
        let elsewhere = self.move_elsewhere(index);
        for action in [Action::Restart, elsewhere, Action::Move(here)] {
            self.ask_unit(unit.clone(), action);
            let pause = self.dice.between(5, 60);
            self.send(Ask::Wait(Duration::from_millis(pause)));
        }
        let pause = hangs_ms + self.dice.between(100, 3_000);
        self.later(pause, Heal::Restart(Role::Agent, index));
    }

    /// All agents are slow to hear of anything, or everybody is, and somebody cannot wait.
    pub(crate) fn haste_amid_slowness(&mut self, slow_ms: u64, lasts: u64) {
        let mut slow: Vec<(Role, usize)> = Vec::new();
        slow.extend((0..self.agents.len()).map(|index| (Role::Agent, index)));
        if self.dice.percent(40) {
            slow.extend((0..self.engines.len()).map(|index| (Role::Engine, index)));
        }
        for (role, index) in slow {
            let link = &self.slot(role, index).link;
            link.set(|weather| weather.slow_ms = slow_ms);
            self.heal_link_after(lasts, role, index, false);
        }
        let index = self.draw(Role::Agent);
        match self.dice.percent(35) {
            true => self.haste(index),
            false => self.chase(index, slow_ms),
        }
    }

    /// Something is asked for, and a process reads everything anew so much later that it must have heard of it.
    pub(crate) fn reads_late(&mut self, role: Role, index: usize) {
        for _ in 0..2 {
            let unit = self.unit_on(index);
            self.ask_away(index, unit);
        }
        let pause = self.dice.between(STALE_MS + 500, STALE_MS + 3_000);
        self.later(pause, Heal::Restart(role, index));
    }

    /// A unit that runs nowhere is started, and moved on and on before it can have arrived.
    fn chase(&mut self, index: usize, pause_ms: u64) {
        let mut unit = self.some_unit();
        for _ in 0..20 {
            let runs = |host: &Arc<Host>| host.fake.running().contains_key(&unit);
            if !self.hosts.iter().any(runs) {
                break;
            }
            unit = self.some_unit();
        }
        let here = self.hosts[index].id.clone();
        self.ask_unit(unit.clone(), Action::Start);
        self.ask_unit(unit.clone(), Action::Move(here));
        for _ in 0..self.dice.between(8, 14) {
            let action = self.move_anywhere();
            self.ask_unit(unit.clone(), action);
            let pause = self.dice.between(0, pause_ms);
            self.send(Ask::Wait(Duration::from_millis(pause)));
        }
    }

    /// A machine is no longer what its units are there for, and is again a moment later.
    pub(crate) fn flip(&mut self, index: usize) {
        let host = &self.hosts[index];
        let is_ssd = host.metadata.values().any(|value| value == "ssd");
        let edit = |value: Option<&str>| MetadataEdit {
            machine: host.id.clone(),
            key: "disk".to_owned(),
            value: value.map(str::to_owned),
        };
        let there = edit(Some(if is_ssd { "hdd" } else { "ssd" }));
        let back = edit(None);
        self.send(Ask::Machine(there));
        let pause = self.dice.between(50, 2_500);
        self.send(Ask::Wait(Duration::from_millis(pause)));
        self.send(Ask::Machine(back));
    }

    /// Sets a machine's metadata; half the time that is taken back soon.
    pub(crate) fn ask_machine(&mut self, index: usize) {
        let values = [Some("ssd"), Some("hdd"), None];
        let value = self.dice.one_of(&values).map(str::to_owned);
        let edit = |value| MetadataEdit {
            machine: self.hosts[index].id.clone(),
            key: "disk".to_owned(),
            value,
        };
        let (there, back) = (Ask::Machine(edit(value)), Ask::Machine(edit(None)));
        self.send(there);
        if self.dice.percent(50) {
            let pause = self.dice.between(50, 3_000);
            self.send(Ask::Wait(Duration::from_millis(pause)));
            self.send(back);
        }
    }

    pub(crate) fn unit_on(&mut self, index: usize) -> UnitName {
        let running: Vec<UnitName> = self.hosts[index].fake.running().into_keys().collect();
        let is_slow = |unit: &&UnitName| SLOW.contains(&unit.as_str());
        let slow: Vec<UnitName> = running.iter().filter(is_slow).cloned().collect();
        if !slow.is_empty() && self.dice.percent(50) {
            return self.dice.one_of(&slow).clone();
        }
        if !running.is_empty() && self.dice.percent(85) {
            return self.dice.one_of(&running).clone();
        }
        self.some_unit()
    }

    /// A unit whose start is under way, on this machine or on the next that has one.
    pub(crate) async fn starting_near(&self, index: usize) -> Option<(usize, UnitName)> {
        let count = self.hosts.len();
        for index in (index..index + count).map(|index| index % count) {
            let units = self.hosts[index].fake.list().await.unwrap_or_default();
            let starting = units
                .iter()
                .find(|unit| unit.active == ActiveState::Activating);
            if let Some(unit) = starting {
                return Some((index, unit.name.clone()));
            }
        }
        None
    }

    /// It is no longer to run on this machine.
    pub(crate) fn ask_away(&mut self, index: usize, unit: UnitName) {
        let elsewhere = self.move_elsewhere(index);
        let actions = [Action::Stop, Action::Unload, Action::Destroy, elsewhere];
        let action = self.dice.one_of(&actions).clone();
        self.ask_unit(unit, action);
    }

    fn move_anywhere(&mut self) -> Action {
        let index = self.draw(Role::Agent);
        Action::Move(self.hosts[index].id.clone())
    }

    fn move_elsewhere(&mut self, index: usize) -> Action {
        let others = self.hosts.iter().enumerate();
        let others = others.filter(|(other, _)| *other != index);
        let others: Vec<MachineId> = others.map(|(_, host)| host.id.clone()).collect();
        Action::Move(self.dice.one_of(&others).clone())
    }
}
