//! A systemd in memory, for simulations of whole clusters: keeps the contract of [`model::ServiceManager`] (the same suite runs
//! on it and on a real one), refuses what the real one refuses, and uses no thread and no clock but tokio's.

mod behaviour;
mod history;
mod passing;
mod refusals;
mod world;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::Stream;
use model::{
    Clock, Deadline, InvocationId, JobEnd, Mark, ServiceChange, ServiceError, ServiceManager,
    ServiceUnit,
};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until};
use unitfile::{UnitFile, UnitName};

pub use self::history::{Happening, What};

use self::behaviour::Behaviour;
use self::passing::FakeChanges;
use self::refusals::{refuse_unguarded, refuse_unloadable, refuse_unstartable};
use self::world::{Now, Term, Verb, World};
use crate::changes::ChangeHub;

/// A fake machine's systemd. Clones are the same machine, so it outlives any agent.
#[derive(Clone)]
pub struct FakeSystemd {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Arc<dyn Clock>,
    world: Mutex<World>,
    trouble: Mutex<Trouble>,
    hub: ChangeHub,
    /// Something was asked of the machine, so the time of the next event may be another.
    asked: Notify,
}

/// What is wrong with the machine now.
#[derive(Debug, Default)]
struct Trouble {
    bus_is_down: bool,
    /// What every write of a file fails with.
    disk: Option<String>,
    /// What the next start, stop, restart or load of a unit is refused with.
    refusals: BTreeMap<UnitName, ServiceError>,
}

impl std::fmt::Debug for FakeSystemd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakeSystemd").finish_non_exhaustive()
    }
}

impl FakeSystemd {
    /// A machine that has just booted.
    pub fn new(clock: Arc<dyn Clock>) -> FakeSystemd {
        FakeSystemd {
            inner: Arc::new(Inner {
                clock,
                world: Mutex::default(),
                trouble: Mutex::default(),
                hub: ChangeHub::default(),
                asked: Notify::new(),
            }),
        }
    }

    /// Gives the host a unit of its own, or a template.
    pub fn plant(&self, name: &str) {
        self.world().host.insert(name.to_owned());
    }

    /// The administrator masks a unit.
    pub fn mask(&self, name: &str) {
        self.world().masked.insert(name.to_owned());
    }

    /// The administrator unmasks it.
    pub fn unmask(&self, name: &str) {
        self.world().masked.remove(name);
    }

    /// The machine boots again: everything stops at once, and what is on tmpfs is gone.
    pub fn reboot(&self) {
        let now = self.now();
        let mut world = self.world();
        world.settle(now);
        world.reboot(now);
        drop(world);
        self.inner.asked.notify_waiters();
        self.inner.hub.tell(&ServiceChange::All);
    }

    /// The main process of a unit dies of a signal.
    pub fn kill(&self, name: &UnitName) {
        self.with(|world, now| world.kill(name, now));
    }

    /// An operator stops the unit with `systemctl stop`.
    pub fn stop_by_hand(&self, name: &UnitName) {
        self.with(|world, now| world.enqueue(name, Verb::Stop, oneshot::channel().0, now));
    }

    /// The bus is lost, or is there again.
    pub fn set_reachable(&self, reachable: Reachable) {
        self.trouble().bus_is_down = reachable == Reachable::No;
        if reachable == Reachable::Yes {
            self.inner.hub.tell(&ServiceChange::All);
        }
    }

    /// Every write of a file fails with this from now on; with none, they succeed.
    pub fn set_disk_failure(&self, message: Option<&str>) {
        self.trouble().disk = message.map(str::to_owned);
    }

    /// The next load, start, stop or restart of the unit is refused.
    pub fn refuse_next(&self, name: &UnitName, error: ServiceError) {
        self.trouble().refusals.insert(name.clone(), error);
    }

    /// A killed agent leaves the unit half-loaded: its mark is lost.
    pub fn lose_mark(&self, name: &UnitName) {
        self.world().marks.remove(name);
    }

    /// Puts a unit file in place without a mark, as a killed agent may leave it.
    pub fn leave_file(&self, name: &UnitName, file: &UnitFile) {
        self.world().files.insert(name.clone(), file.clone());
    }

    /// How often systemd has read all unit files again.
    pub fn reloads(&self) -> u64 {
        self.world().reloads
    }

    /// What has something running now, and which activation it is.
    pub fn running(&self) -> BTreeMap<UnitName, Option<InvocationId>> {
        self.with(|world, _| {
            let running = world
                .memory
                .iter()
                .filter(|(_, unit)| !unit.active.is_stopped());
            running
                .map(|(name, unit)| (name.clone(), unit.invocation.clone()))
                .collect()
        })
    }

    /// What has happened to units since the last call, in order.
    pub fn take_history(&self) -> Vec<Happening> {
        self.with(|world, _| world.history.take())
    }

    /// Keeps no history from now on: nobody will take it.
    pub fn forget_history(&self) {
        self.with(|world, _| world.history.forget());
    }

    /// Commands of units that have ended, in order, as written in their files.
    pub fn ended_commands(&self) -> Vec<String> {
        self.with(|world, _| world.ended_commands.clone())
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.inner
            .world
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn trouble(&self) -> MutexGuard<'_, Trouble> {
        self.inner
            .trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Now {
        Now {
            at: Instant::now(),
            unix_ms: self.inner.clock.unix_ms(),
        }
    }

    /// Looks at the machine as it is now, or does something to it, and tells what changed.
    fn with<T>(&self, act: impl FnOnce(&mut World, Now) -> T) -> T {
        let now = self.now();
        let (result, changed) = {
            let mut world = self.world();
            world.settle(now);
            let result = act(&mut world, now);
            world.settle(now);
            (result, std::mem::take(&mut world.changed))
        };
        if !changed.is_empty() {
            self.inner.asked.notify_waiters();
        }
        // What happens while the bus is lost is told by nobody, also not later.
        if self.trouble().bus_is_down {
            return result;
        }
        for name in changed {
            self.inner.hub.tell(&ServiceChange::Unit(name));
        }
        result
    }

    fn check_bus(&self) -> Result<(), ServiceError> {
        if self.trouble().bus_is_down {
            return Err(ServiceError::Unreachable {
                message: "not connected to the bus".into(),
            });
        }
        Ok(())
    }

    fn check(&self, name: &UnitName) -> Result<(), ServiceError> {
        self.check_bus()?;
        self.trouble().refusals.remove(name).map_or(Ok(()), Err)
    }

    fn check_disk(&self, name: &UnitName) -> Result<(), ServiceError> {
        match self.trouble().disk.clone() {
            Some(message) => Err(ServiceError::File {
                path: format!("/run/fleet/units/{name}"),
                message,
            }),
            None => Ok(()),
        }
    }

    /// The moment of our time at which the boot clock shows this.
    fn at(&self, boot_ms: u64) -> Instant {
        let now = self.inner.clock.boot_ms();
        let ahead = Duration::from_millis(boot_ms.saturating_sub(now));
        let now = Instant::now();
        now.checked_add(ahead).unwrap_or(now)
    }

    async fn run_job(
        &self,
        name: &UnitName,
        verb: Verb,
        mark: Option<&Mark>,
    ) -> Result<JobEnd, ServiceError> {
        self.check(name)?;
        // Every call goes over a bus: others get their turn.
        tokio::task::yield_now().await;
        if mark.is_some() {
            self.check_disk(name)?;
        }
        let (told, mut end) = oneshot::channel();
        self.with(|world, now| {
            if verb != Verb::Stop {
                refuse_unstartable(world, name)?;
                refuse_unguarded(world, name, now)?;
                world.read(name);
                if let Some(unit) = world.memory.get_mut(name) {
                    unit.reset_failed();
                }
            }
            if verb != Verb::Stop {
                world.start_required(name, now);
            }
            world.enqueue(name, verb, told, now);
            Ok(())
        })?;
        if let Some(mark) = mark {
            self.with(|world, _| {
                world.marks.insert(name.clone(), mark.clone());
                world.changed.insert(name.clone());
            });
        }
        loop {
            let asked = self.inner.asked.notified();
            let next = self.with(|world, _| world.next_event());
            tokio::select! {
                biased;
                outcome = &mut end => {
                    return outcome.map_err(|_| ServiceError::Unreachable {
                        message: "the machine was switched off".into(),
                    });
                }
                () = asked => {}
                () = until(next) => {}
            }
        }
    }
}

/// Whether the bus can be reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reachable {
    /// It can.
    Yes,
    /// It cannot.
    No,
}

async fn until(next: Option<Instant>) {
    match next {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl ServiceManager for FakeSystemd {
    async fn list(&self) -> Result<Vec<ServiceUnit>, ServiceError> {
        self.check_bus()?;
        tokio::task::yield_now().await;
        Ok(self.with(|world, _| {
            let mut names: Vec<UnitName> = world
                .files
                .keys()
                .chain(world.marks.keys())
                .cloned()
                .collect();
            names.sort();
            names.dedup();
            names.iter().map(|name| world.look(name)).collect()
        }))
    }

    async fn unit(&self, name: &UnitName) -> Result<Option<ServiceUnit>, ServiceError> {
        self.check_bus()?;
        tokio::task::yield_now().await;
        Ok(self.with(|world, _| {
            let ours = world.files.contains_key(name) || world.marks.contains_key(name);
            ours.then(|| world.look(name))
        }))
    }

    async fn load(
        &self,
        name: &UnitName,
        file: &UnitFile,
        mark: &Mark,
    ) -> Result<(), ServiceError> {
        self.check(name)?;
        tokio::task::yield_now().await;
        self.with(|world, _| refuse_unloadable(world, name, file))?;
        self.check_disk(name)?;
        self.with(|world, _| {
            world.files.insert(name.clone(), file.clone());
            world.marks.insert(name.clone(), mark.clone());
        });
        Ok(())
    }

    async fn mark(&self, name: &UnitName, mark: &Mark) -> Result<(), ServiceError> {
        let before = self.with(|world, _| world.marks.get(name).map(Mark::given_up));
        // That a unit is given up needs no space.
        if before.as_ref() != Some(mark) {
            self.check_disk(name)?;
        }
        self.with(|world, _| world.marks.insert(name.clone(), mark.clone()));
        Ok(())
    }

    async fn unload(&self, name: &UnitName) -> Result<(), ServiceError> {
        self.check_bus()?;
        tokio::task::yield_now().await;
        self.with(|world, _| {
            if let Some(unit) = world.memory.get_mut(name) {
                unit.reset_failed();
            }
            world.marks.remove(name);
            world.files.remove(name);
            world.collect();
        });
        Ok(())
    }

    async fn knows(&self, name: &UnitName) -> Result<bool, ServiceError> {
        self.check_bus()?;
        Ok(self.with(|world, _| world.memory.contains_key(name)))
    }

    async fn reload(&self) -> Result<(), ServiceError> {
        self.check_bus()?;
        tokio::task::yield_now().await;
        self.with(|world, _| {
            world.reloads += 1;
            for (name, unit) in &mut world.memory {
                if let Some(file) = world.files.get(name) {
                    unit.file = file.clone();
                    unit.behaviour = Behaviour::of(name, file);
                }
            }
        });
        self.inner.hub.tell(&ServiceChange::All);
        Ok(())
    }

    async fn start(&self, name: &UnitName, mark: &Mark) -> Result<JobEnd, ServiceError> {
        self.run_job(name, Verb::Start, Some(mark)).await
    }

    async fn stop(&self, name: &UnitName) -> Result<JobEnd, ServiceError> {
        self.run_job(name, Verb::Stop, None).await
    }

    async fn restart(&self, name: &UnitName, mark: &Mark) -> Result<JobEnd, ServiceError> {
        self.run_job(name, Verb::Restart, Some(mark)).await
    }

    async fn extend(&self, deadline: Deadline) -> Result<(), ServiceError> {
        let term = Term {
            stop: self.at(deadline.stop_boot_ms),
            kill: self.at(deadline.kill_boot_ms),
        };
        self.with(|world, _| world.term = Some(term));
        self.inner.asked.notify_waiters();
        Ok(())
    }

    async fn give_up_exclusive(&self) -> Result<(), ServiceError> {
        self.check_bus()?;
        self.with(|world, now| {
            world.term = Some(Term {
                stop: now.at,
                kill: now.at,
            });
        });
        Ok(())
    }

    fn changes(&self) -> impl Stream<Item = ServiceChange> + Send + Unpin + 'static {
        FakeChanges {
            changes: self.inner.hub.subscribe(),
            machine: self.clone(),
            next: None,
        }
    }
}
