//! Faults: what can go wrong with the world, drawn by the seed, and what mends it again.

use std::time::Duration;

use agent::Parting;
use agent::fake::Reachable;
use model::ServiceError;
use tokio::time::{Instant, sleep};
use unitfile::UnitName;

use crate::gate::{Effect, Moment};
use crate::haste::Pace;
use crate::network::Flow;
use crate::process::Host;
use crate::world::{Role, World};

/// What undoes a fault, or comes of it later.
#[derive(Clone, Debug)]
pub(crate) enum Heal {
    Start(Role, usize),
    Resume(Role, usize),
    Link {
        role: Role,
        index: usize,
        resets: bool,
    },
    Store,
    Bus(usize),
    Disk(usize),
    Hang(usize),
    Mask(usize, UnitName),
    Clock(usize),
    Behind(Role, usize),
    /// It dies and begins anew.
    Restart(Role, usize),
    Record(Damage),
}

/// A record that was overwritten with nonsense.
#[derive(Clone, Debug)]
pub(crate) struct Damage {
    pub(crate) key: String,
    pub(crate) value: Vec<u8>,
    pub(crate) lease: i64,
    /// The revision of the nonsense.
    pub(crate) revision: i64,
}

/// Kinds of faults and how often each is drawn.
const KINDS: [(&str, u64); 28] = [
    ("crash of an agent", 10),
    ("crash of an engine", 10),
    ("crash at a store request", 10),
    ("crash at a systemd call", 10),
    ("pause", 8),
    ("partition", 10),
    ("one-way partition", 8),
    ("broken streams", 5),
    ("slow network", 8),
    ("repeated events", 4),
    ("compaction", 5),
    ("lease revoked", 4),
    ("store down", 3),
    ("bus lost", 6),
    ("disk full", 5),
    ("systemd hangs", 6),
    ("masked unit", 3),
    ("operator stops a unit", 5),
    ("unit killed", 4),
    ("reboot", 4),
    ("damaged record", 9),
    ("machine leaves in order", 5),
    ("agent restarts in order", 3),
    ("clock jump", 5),
    ("reads fall behind", 5),
    ("leader cut off amid a write", 5),
    ("lease ended while well", 8),
    ("request cut off", 6),
];

/// How far a clock is ahead when it is right: so it can be set back too.
pub(crate) const CLOCK_AHEAD_MS: u64 = 3_600_000;

/// How long an agent takes to look at everything once systemd can be reached again; a try that failed is repeated after a second.
const RELIST: Duration = Duration::from_secs(2);

impl World {
    /// Lets one fault happen.
    pub(crate) async fn fault(&mut self) {
        let kinds = match self.pace {
            Pace::Steady => &KINDS[..KINDS.len() - 1],
            Pace::Hasty => &KINDS[..],
        };
        let total = kinds.iter().map(|(_, weight)| weight).sum();
        let mut drawn = self.dice.below(total);
        let mut kind = KINDS[0].0;
        for (name, weight) in kinds {
            if drawn < *weight {
                kind = name;
                break;
            }
            drawn -= weight;
        }
        match kind {
            "crash of an agent" => self.crash(Role::Agent, kind),
            "crash of an engine" => self.crash(Role::Engine, kind),
            "crash at a store request" => self.crash_at(Effect::Request, kind),
            "crash at a systemd call" => self.crash_at(Effect::Call, kind),
            "pause" => self.pause(kind),
            "partition" | "one-way partition" => self.partition(kind),
            "broken streams" | "slow network" | "repeated events" => self.bad_network(kind),
            "compaction" => self.compact(kind).await,
            "lease revoked" => self.revoke(kind).await,
            "lease ended while well" => self.end_lease(kind).await,
            "store down" => self.store_down(kind),
            "reboot" => self.reboot(kind),
            "damaged record" => self.damage(kind).await,
            "machine leaves in order" => self.leave(Parting::Leave, kind),
            "agent restarts in order" => self.leave(Parting::Pause, kind),
            "clock jump" => self.jump(kind),
            "reads fall behind" => self.fall_behind(kind),
            "leader cut off amid a write" => self.hold_leader(kind).await,
            "request cut off" => {
                let role = *self.dice.one_of(&[Role::Agent, Role::Engine, Role::User]);
                let index = self.draw(role);
                self.cut_requests(kind, role, index);
                self.ask();
            }
            "bus lost" | "disk full" | "systemd hangs" => self.machine_away(kind).await,
            _ => self.machine_fault(kind),
        }
    }

    fn crash(&mut self, role: Role, kind: &'static str) {
        let index = self.draw(role);
        if self.kill(role, index) {
            self.history.fault(kind, self.name(role, index));
            let pause = self.dice.between(0, 14_000);
            self.later(pause, Heal::Start(role, index));
        }
    }

    fn crash_at(&mut self, effect: Effect, kind: &'static str) {
        let role = match effect {
            Effect::Request => *self.dice.one_of(&[Role::Agent, Role::Engine]),
            Effect::Call => Role::Agent,
        };
        let index = self.draw(role);
        let nth = self.dice.between(1, 6);
        let moment = *self
            .dice
            .one_of(&[Moment::Before, Moment::Amid, Moment::After]);
        let name = self.name(role, index);
        if let Some(running) = self.slot(role, index).running.as_ref() {
            running.gate.dies_at(effect, nth, moment);
            let what = format!("{name} will die {moment:?} its {effect:?} no. {nth} from now");
            self.history.fault(kind, what);
        }
    }

    fn pause(&mut self, kind: &'static str) {
        let role = *self.dice.one_of(&[Role::Agent, Role::Engine]);
        let index = self.draw(role);
        let pause = *self
            .dice
            .one_of(&[1_000, 4_000, 6_000, 9_000, 11_000, 20_000]);
        let name = self.name(role, index);
        if let Some(running) = self.slot(role, index).running.as_ref() {
            running.gate.pause();
            self.history.fault(kind, format!("{name} for {pause} ms"));
            self.later(pause, Heal::Resume(role, index));
        }
    }

    fn partition(&mut self, kind: &'static str) {
        let role = *self
            .dice
            .one_of(&[Role::Agent, Role::Agent, Role::Engine, Role::User]);
        let index = self.draw(role);
        let flow = *self.dice.one_of(&[Flow::Held, Flow::Lost]);
        let (to, from) = match (kind, self.dice.percent(50)) {
            ("partition", _) => (flow, flow),
            (_, true) => (flow, Flow::Passing),
            (_, false) => (Flow::Passing, flow),
        };
        let lasts = self.dice.between(500, 22_000);
        let resets = self.dice.percent(50);
        self.slot(role, index).link.set(|weather| {
            weather.to_store = to;
            weather.from_store = from;
        });
        let name = self.name(role, index);
        let what = format!("{name} to the store {to:?}, back {from:?}, for {lasts} ms");
        self.history.fault(kind, what);
        self.heal_link_after(lasts, role, index, resets);
    }

    pub(crate) fn heal_link_after(&mut self, ms: u64, role: Role, index: usize, resets: bool) {
        let heal = Heal::Link {
            role,
            index,
            resets,
        };
        self.later(ms, heal);
    }

    /// The engine that leads.
    pub(crate) fn leader(&self) -> Option<usize> {
        let leader = self.checker.lock().mirror.leader.clone();
        let is_leader = |host: &Host| leader.as_ref().is_some_and(|it| it.0 == host.id.as_str());
        let index = self.hosts.iter().position(|host| is_leader(host));
        index.filter(|index| *index < self.engines.len())
    }

    /// The connection breaks under what is asked next.
    pub(crate) fn cut_requests(&mut self, kind: &'static str, role: Role, index: usize) {
        let count = self.dice.between(1, 3);
        self.slot(role, index).link.cut_requests(count);
        let what = format!("{}, {count} transactions", self.name(role, index));
        self.history.fault(kind, what);
    }

    /// What the leader writes arrives when another leads.
    async fn hold_leader(&mut self, kind: &'static str) {
        let Some(index) = self.leader() else {
            return;
        };
        self.ask();
        let pause = self.dice.between(2, 14);
        sleep(Duration::from_millis(pause)).await;
        let lasts = self.dice.between(5_500, 12_000);
        let link = &self.engines[index].link;
        link.set(|weather| weather.to_store = Flow::Held);
        self.history
            .fault(kind, format!("{}, {lasts} ms", self.machine(index)));
        let role = Role::Engine;
        let resets = self.dice.percent(50);
        self.heal_link_after(lasts, role, index, resets);
    }

    fn bad_network(&mut self, kind: &'static str) {
        let role = *self.dice.one_of(&[Role::Agent, Role::Engine, Role::User]);
        let index = self.draw(role);
        let lasts = self.dice.between(2_000, 15_000);
        let slow_ms = self.dice.between(20, 1_500);
        let link = &self.slot(role, index).link;
        match kind {
            "broken streams" => link.break_streams(),
            "slow network" => link.set(|weather| weather.slow_ms = slow_ms),
            _ => link.set(|weather| weather.repeats = true),
        }
        self.history.fault(kind, self.name(role, index));
        self.heal_link_after(lasts, role, index, false);
        if kind != "slow network" || !self.hurries(60) {
            return;
        }
        self.haste_amid_slowness(slow_ms, lasts);
    }

    fn store_down(&mut self, kind: &'static str) {
        let lasts = self.dice.between(200, 20_000);
        // Without a quorum no lease ends; a store that only nobody reaches goes on ending them.
        let has_quorum = self.dice.percent(50);
        if !has_quorum {
            self.store.hold_leases();
        }
        for link in self.links() {
            link.set(|weather| weather.refused = true);
            link.break_streams();
        }
        self.history.fault(kind, format!("for {lasts} ms"));
        self.later(lasts, Heal::Store);
    }

    fn reboot(&mut self, kind: &'static str) {
        let index = self.draw(Role::Agent);
        self.history.fault(kind, self.name(Role::Agent, index));
        self.power_off(index);
        let pause = self.dice.between(1_000, 20_000);
        self.later(pause, Heal::Start(Role::Agent, index));
        if self.dice.percent(40) {
            // The network comes later, or only for a moment.
            self.agents[index]
                .link
                .set(|weather| weather.to_store = Flow::Lost);
            let lasts = pause + self.dice.between(5_000, 20_000);
            self.heal_link_after(lasts, Role::Agent, index, true);
        }
        if index < self.engines.len() {
            self.later(pause, Heal::Start(Role::Engine, index));
        }
    }

    /// systemd ends an agent: for good, or to start it again.
    fn leave(&mut self, parting: Parting, kind: &'static str) {
        let index = self.draw(Role::Agent);
        let name = self.machine(index).to_owned();
        let running = self.agents[index].running.as_ref();
        let Some(running) = running.filter(|running| !running.leave.is_cancelled()) else {
            return;
        };
        running.leave.cancel();
        self.hosts[index].lock().parting = Some(parting);
        self.checker.leaves(&name, parting == Parting::Leave);
        self.history.fault(kind, name);
        let fake = self.hosts[index].fake.clone();
        let running: Vec<UnitName> = fake.running().into_keys().collect();
        let upset = match (self.pace, parting) {
            (Pace::Hasty, Parting::Leave) => self.dice.below(100),
            (Pace::Hasty, Parting::Pause) | (Pace::Steady, _) => 100,
        };
        match upset {
            0..40 if !running.is_empty() => {
                let message = "Transport endpoint is not connected".to_owned();
                let unit = self.dice.one_of(&running);
                fake.refuse_next(unit, ServiceError::Refused { message });
            }
            40..60 => {
                let lasts = self.dice.between(200, 4_000);
                self.lose_bus(index, lasts);
            }
            _ => {}
        }
        let pause = match parting {
            Parting::Leave => self.dice.between(8_000, 20_000),
            Parting::Pause => self.dice.between(100, 3_000),
        };
        self.later(pause, Heal::Start(Role::Agent, index));
    }

    /// Something that runs on this machine is put down by somebody else.
    pub(crate) fn put_down(&mut self, kind: &'static str, index: usize) {
        let machine = self.machine(index).to_owned();
        let fake = self.hosts[index].fake.clone();
        let running: Vec<UnitName> = fake.running().into_keys().collect();
        if running.is_empty() {
            return;
        }
        let unit = self.dice.one_of(&running).clone();
        self.checker.hear();
        self.checker.puts_down(&machine, &unit);
        match kind {
            "unit killed" => fake.kill(&unit),
            _ => fake.stop_by_hand(&unit),
        }
        self.checker.hear();
        self.checker.hands_off();
        self.history.fault(kind, format!("{machine}, {unit}"));
    }

    fn machine_fault(&mut self, kind: &'static str) {
        let index = self.draw(Role::Agent);
        let lasts = self.dice.between(500, 12_000);
        let unit = self.some_unit();
        let machine = self.machine(index).to_owned();
        let fake = self.hosts[index].fake.clone();
        match kind {
            "operator stops a unit" | "unit killed" => self.put_down(kind, index),
            _ => {
                let what = format!("{machine}, {unit}, {lasts} ms");
                fake.mask(unit.as_str());
                self.later(lasts, Heal::Mask(index, unit));
                self.history.fault(kind, what);
            }
        }
        if self.dice.percent(20) {
            let message = "Transport endpoint is not connected".to_owned();
            fake.refuse_next(&self.some_unit(), ServiceError::Refused { message });
        }
    }

    /// Somebody sets a machine's clock, at most an hour back or forth.
    fn jump(&mut self, kind: &'static str) {
        let index = self.draw(Role::Agent);
        let lasts = self.dice.between(500, 20_000);
        let ahead_ms = self.dice.below(7_200_000);
        self.clocks[index].set(ahead_ms);
        let what = format!("{}, for {lasts} ms", self.machine(index));
        self.history.fault(kind, what);
        self.later(lasts, Heal::Clock(index));
    }

    /// A process is connected to a member of the store that is cut off from the others.
    fn fall_behind(&mut self, kind: &'static str) {
        let role = *self.dice.one_of(&[Role::Agent, Role::Agent, Role::Engine]);
        let index = self.draw(role);
        let mut lasts = self.dice.between(2_000, 25_000);
        if self.hurries(60) {
            lasts = self.dice.between(16_000, 25_000);
            self.reads_late(role, index);
        }
        let revision = self.store.revision();
        let name = self.name(role, index);
        self.slot(role, index).link.fall_behind(Some(revision));
        self.history.fault(
            kind,
            format!("{name} at revision {revision}, for {lasts} ms"),
        );
        self.later(lasts, Heal::Behind(role, index));
    }

    /// Notes what has to be undone, and when.
    pub(crate) fn later(&mut self, pause_ms: u64, heal: Heal) {
        self.number += 1;
        let at = Instant::now() + Duration::from_millis(pause_ms);
        self.heals.insert((at, self.number), heal);
    }

    /// Undoes what is due; everything with `all`.
    pub(crate) async fn heal(&mut self, until: Option<Instant>) {
        // What is noted meanwhile, such as to try again in a moment, is left for the next time.
        for (key, heal) in std::mem::take(&mut self.heals) {
            if until.is_some_and(|until| key.0 > until) {
                self.heals.insert(key, heal);
            } else {
                self.undo(heal).await;
            }
        }
    }

    async fn undo(&mut self, heal: Heal) {
        match heal {
            Heal::Start(role, index) => self.start(role, index),
            Heal::Resume(role, index) => {
                if let Some(running) = self.slot(role, index).running.as_ref() {
                    running.gate.resume();
                    self.history.note(&self.name(role, index), "goes on");
                }
            }
            Heal::Link {
                role,
                index,
                resets,
            } => {
                // What it has missed may be gone.
                if resets && self.dice.percent(40) {
                    self.compact("compaction").await;
                }
                let name = self.name(role, index);
                let link = &self.slot(role, index).link;
                link.set(|weather| {
                    let refused = weather.refused;
                    *weather = crate::network::Weather {
                        refused,
                        ..Default::default()
                    };
                });
                if resets {
                    link.break_streams();
                }
                self.history.note(&name, "has a good network again");
            }
            Heal::Store => {
                for link in self.links() {
                    link.set(|weather| weather.refused = false);
                }
                self.store.release_leases();
                self.history.note("store", "is up again");
            }
            Heal::Bus(index) => {
                self.hosts[index].fake.set_reachable(Reachable::Yes);
                let until = Instant::now() + RELIST;
                let machine = self.machine(index).to_owned();
                self.checker.lock().deaf_until.insert(machine, until);
            }
            Heal::Disk(index) => {
                self.hosts[index].fake.set_disk_failure(None);
                self.hosts[index].disk.fail_after(None);
            }
            Heal::Hang(index) => self.hosts[index].hang.set(false),
            Heal::Mask(index, unit) => self.hosts[index].fake.unmask(unit.as_str()),
            Heal::Clock(index) => self.clocks[index].set(CLOCK_AHEAD_MS),
            Heal::Behind(role, index) => self.slot(role, index).link.fall_behind(None),
            Heal::Restart(role, index) => {
                if self.kill(role, index) {
                    self.history.note(&self.name(role, index), "dies");
                }
                self.start(role, index);
            }
            Heal::Record(damage) => self.repair(damage).await,
        }
    }
}
