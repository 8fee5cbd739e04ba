//! `fleetd hollow`: many machines in one process, to see what an etcd can carry. Everything that talks to etcd is the real
//! thing (agents, engine, API); only systemd is pretended.
//!
//! The machines share one connection to etcd; each has its own lease, keep-alives, watch, statuses and memory of files, so
//! that etcd answers as many requests as it would for as many hosts. They live under a key prefix of their own, and a
//! prefix where a real machine or unit lives is refused: units put on a hollow machine would not run.

mod arguments;
mod etcd_figures;
mod gauge;
mod machine;
mod report;
mod units;
mod warnings;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use agent::{Bus, Journalctl};
use anyhow::{Context, Result, bail};
use api::server::Settings;
use engine::Advisor;
use model::{Machine, MachineId};
use registry::{Registry, View};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::gauge::{Gauge, Used};
use self::machine::{HOLLOW_METADATA, Roll, Shared};
use self::report::{BringUp, Idle, Stretch};
use self::units::{NAME_PREFIX, Reports, Units, with_progress};
use crate::config::{Config, Listen};
use crate::listeners::{self, OwnedSockets};
use crate::store::{self, Store};
use crate::version;

pub(crate) use arguments::{Order, USAGE, parse};
pub(crate) use warnings::Warnings;

/// How long etcd may take to answer at all.
const PING_LIMIT: Duration = Duration::from_secs(5);

/// Machines that join or leave at a time: more would wait in line at etcd for longer than a request may take.
const DOORS: usize = 64;

/// How long after the last event a cluster is taken to be idle.
const SETTLE: Duration = Duration::from_secs(5);

/// How long a request to etcd may take: a thousand machines in one process wait for each other, and a real one that is told
/// "try again" as soon as etcd is slow would only add to that.
const REQUEST_TIMEOUT_MIN: Duration = Duration::from_secs(30);

/// How long nobody may manage to join before that is given up.
const JOIN_STALL_LIMIT: Duration = Duration::from_secs(30);

/// Runs the hollow cluster until all that was ordered is done, or until told to stop; then takes it down.
pub(crate) async fn run(config: Config, order: Order, warnings: Warnings) -> Result<()> {
    let mut stop = Stop::new()?;
    let mut cluster = Cluster::prepare(config, order).await?;
    let worked = tokio::select! {
        worked = cluster.work() => worked,
        () = stop.asked() => {
            say("told to stop");
            Ok(())
        }
    };
    let ended = tokio::select! {
        ended = cluster.end() => ended,
        () = stop.asked() => bail!("told to stop twice: leases that were not ended yet end by themselves"),
    };
    for warning in warnings.take() {
        say(&format!("warning: {warning}"));
    }
    worked.and(ended)
}

/// The signals that end the process.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn new() -> Result<Stop> {
        let listen = |kind| signal(kind).context("cannot listen to signals");
        Ok(Stop {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Everything that lives in this process.
struct Cluster {
    order: Order,
    /// Tells this process's machines and units from others'.
    tag: String,
    lease_ttl: Duration,
    brake: engine::BrakeLimits,
    store: Store,
    registry: Registry,
    view: View,
    gauge: Gauge,
    units: Units,
    /// True from the first request about units.
    submitted: bool,
    shared: Shared,
    machines: TaskTracker,
    leave: CancellationToken,
    engines: TaskTracker,
    engines_end: CancellationToken,
    api: TaskTracker,
    api_end: CancellationToken,
    sockets: OwnedSockets,
}

impl Cluster {
    async fn prepare(mut config: Config, order: Order) -> Result<Cluster> {
        config.etcd_key_prefix.clone_from(&order.key_prefix);
        config.standalone = false;
        config.etcd_request_timeout = config.etcd_request_timeout.max(REQUEST_TIMEOUT_MIN);
        let lease_ttl = config.agent_ttl;
        let tag = random_tag()?;
        let units = Units::prepare(&tag, order.units, order.unit_file.as_deref())?;
        let store = Store::open(&config).await?;
        let registry = store.registry.clone();
        // Not with the patience that the machines have.
        match tokio::time::timeout(PING_LIMIT, registry.ping()).await {
            Ok(answered) => answered.with_context(|| format!("{} cannot be used", store.name))?,
            Err(_) => bail!("{} does not answer", store.name),
        }
        let (gauge, problem) = Gauge::of(&store::endpoints(&config)).await;
        if let Some(problem) = problem {
            say(&format!("etcd's own figures cannot be had: {problem}"));
        }
        let api_end = CancellationToken::new();
        let view = View::new(registry.another(), api_end.clone());
        let leave = CancellationToken::new();
        let shared = Shared {
            registry: registry.clone(),
            lease_ttl,
            roll: watch::channel(Roll::default()).0,
            doors: Arc::new(Semaphore::new(DOORS)),
            leave: leave.clone(),
        };
        let mut cluster = Cluster {
            order,
            tag,
            lease_ttl,
            brake: config.brake.limits(lease_ttl),
            store,
            registry,
            view,
            gauge,
            units,
            submitted: false,
            shared,
            machines: TaskTracker::new(),
            leave,
            engines: TaskTracker::new(),
            engines_end: CancellationToken::new(),
            api: TaskTracker::new(),
            api_end,
            sockets: OwnedSockets::default(),
        };
        cluster.serve_api(&mut config).await?;
        Ok(cluster)
    }

    /// Does what was ordered.
    async fn work(&mut self) -> Result<()> {
        let mut reports = Reports::open(&self.view, &self.tag).await?;
        let inventory = reports.inventory().await?;
        self.check_is_hollow(&inventory)?;
        if inventory.machines.is_empty() {
            units::destroy(&self.view, |name| name.as_str().starts_with(NAME_PREFIX)).await?;
        }
        say(&format!(
            "hollow cluster {} under {} in {}",
            self.tag, self.order.key_prefix, self.store.name
        ));
        self.bring_up_machines().await?;
        if !self.units.names.is_empty() {
            self.bring_up_units(&mut reports).await?;
        }
        drop(reports);
        if !self.order.idle.is_zero() {
            tokio::time::sleep(SETTLE).await;
            let before = self.gauge.read().await?;
            let began = Instant::now();
            tokio::time::sleep(self.order.idle).await;
            let stretch = self.stretch(began, &before).await?;
            say(&Idle(&stretch).to_string());
            say(&report::figures("idle", self.order.units, &stretch));
        }
        if self.order.units == 0 || self.order.listen.is_some() {
            say("up; end it with Ctrl-C");
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    /// Refuses a prefix where anything but hollow machines and their units lives.
    fn check_is_hollow(&self, inventory: &units::Inventory) -> Result<()> {
        let real = inventory
            .machines
            .iter()
            .find(|(_, metadata)| !metadata.contains_key(HOLLOW_METADATA));
        if let Some((id, _)) = real {
            bail!(
                "machine {id} under {} is a real one, and its units would be lost on hollow machines: name a prefix where \
                 nothing lives with -key-prefix",
                self.order.key_prefix
            );
        }
        let is_theirs = |name: &&unitfile::UnitName| !name.as_str().starts_with(NAME_PREFIX);
        if let Some(unit) = inventory.units.iter().find(is_theirs)
            && inventory.machines.is_empty()
        {
            bail!(
                "{unit} under {} was not made by a hollow cluster: name a prefix where nothing lives with -key-prefix, or \
                 clear this one with 'etcdctl del --prefix {}'",
                self.order.key_prefix,
                self.order.key_prefix
            );
        }
        Ok(())
    }

    async fn bring_up_machines(&mut self) -> Result<()> {
        let before = self.gauge.read().await?;
        let began = Instant::now();
        for number in 1..=self.order.machines {
            let machine = self.machine(number)?;
            if number <= self.order.engines {
                let settings = engine::EngineSettings {
                    lease_ttl: self.lease_ttl / 2,
                    brake: self.brake,
                    unsteady: None,
                    loss: engine::Loss::Believed,
                };
                self.engines.spawn(engine::run(
                    self.registry.another(),
                    machine.id.clone(),
                    settings,
                    watch::channel(engine::EngineReport::default()).0,
                    self.engines_end.clone(),
                ));
            }
            self.machines.spawn(self.shared.clone().live(machine));
        }
        let (wanted, mut roll) = (self.order.machines, self.shared.roll.subscribe());
        with_progress("machines joined", wanted as usize, async |progress| {
            loop {
                let present = {
                    let roll = roll.borrow_and_update();
                    roll.present
                };
                progress.send_replace(present as usize);
                if present >= wanted {
                    return Ok(());
                }
                match tokio::time::timeout(JOIN_STALL_LIMIT, roll.changed()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) | Err(_) => {
                        let problem = roll.borrow().problem.clone().unwrap_or_default();
                        bail!(
                            "{present} of {wanted} machines have joined, and no more do: {problem}"
                        );
                    }
                }
            }
        })
        .await?;
        self.told(&BringUpOf::Machines, wanted, began, &before)
            .await
    }

    async fn bring_up_units(&mut self, reports: &mut Reports) -> Result<()> {
        let before = self.gauge.read().await?;
        let began = Instant::now();
        let count = self.units.names.len();
        self.submitted = true;
        with_progress("units launched", count, async |progress| {
            tokio::try_join!(
                self.units.start(&self.view),
                reports.launched(count, &progress)
            )
        })
        .await?;
        let units = self.order.units;
        self.told(&BringUpOf::Units, units, began, &before).await
    }

    async fn told(
        &self,
        what: &BringUpOf,
        count: u32,
        began: Instant,
        before: &Used,
    ) -> Result<()> {
        let stretch = self.stretch(began, before).await?;
        let (what, name) = match what {
            BringUpOf::Machines => ("machines joined", "machines"),
            BringUpOf::Units => ("units from submit to reported launched", "units"),
        };
        let stretch_of = BringUp {
            what,
            count,
            stretch: &stretch,
        };
        say(&stretch_of.to_string());
        say(&report::figures(name, count, &stretch));
        Ok(())
    }

    async fn stretch(&self, began: Instant, before: &Used) -> Result<Stretch> {
        let took = began.elapsed();
        let now = self.gauge.read().await?;
        let grown = now
            .own
            .resident_bytes
            .saturating_sub(before.own.resident_bytes);
        Ok(Stretch {
            took,
            grown_bytes: grown,
            used: now.since(before),
        })
    }

    fn machine(&self, number: u32) -> Result<Machine> {
        let id = MachineId::parse(&format!("{}{number:024x}", self.tag))?;
        Ok(machine::describe(id, &self.tag, number, &version()))
    }

    /// Serves the API if that was ordered, as the first machine would.
    async fn serve_api(&mut self, config: &mut Config) -> Result<()> {
        let Some(path) = self.order.listen.clone() else {
            return Ok(());
        };
        config.listen = Some(vec![Listen::Unix(path.clone())]);
        let bound = listeners::bind(config, listenfd::ListenFd::empty()).await?;
        self.sockets = bound.owned;
        let journal = Journalctl { bus: Bus::System };
        let advisor = Arc::new(Advisor::default());
        let (kept, ended) = (Arc::clone(&advisor), self.api_end.clone());
        self.api
            .spawn(async move { kept.forget_unused(&ended).await });
        let settings = Settings {
            placement: Some(advisor),
            ..Settings::new(self.machine(1)?.id)
        };
        let router =
            api::server::router(self.view.clone(), journal, settings, self.api_end.clone());
        let serving = api::server::serve(router, bound.sockets, self.api_end.clone());
        self.api.spawn(serving);
        say(&format!(
            "the API: fleetctl --endpoint unix://{}",
            path.display()
        ));
        Ok(())
    }

    /// Takes everything down: units first, so that none is moved about while machines leave.
    async fn end(&mut self) -> Result<()> {
        let destroyed = if self.submitted {
            self.destroy_units().await
        } else {
            Ok(())
        };
        self.engines_end.cancel();
        self.engines.close();
        self.engines.wait().await;
        self.leave.cancel();
        self.machines.close();
        self.machines.wait().await;
        self.api_end.cancel();
        self.api.close();
        self.api.wait().await;
        let roll = self.shared.roll.borrow().clone();
        if roll.lost > 0 {
            say(&format!(
                "{} leases were lost on the way: etcd, or this process, could not keep up",
                roll.lost
            ));
        }
        if roll.left_behind == 0 {
            say("ended; all leases are revoked");
        } else {
            say(&format!(
                "ended; {} leases could not be revoked and end by themselves",
                roll.left_behind
            ));
        }
        destroyed
    }

    async fn destroy_units(&mut self) -> Result<()> {
        let before = self.gauge.read().await?;
        let mut reports = Reports::open(&self.view, &self.tag).await?;
        let began = Instant::now();
        with_progress("units gone", self.units.names.len(), async |progress| {
            self.units.destroy(&self.view).await?;
            reports.gone(&progress).await
        })
        .await?;
        let stretch = self.stretch(began, &before).await?;
        say(&format!(
            "destroyed, and reported by no machine any more, in {:.2} s",
            stretch.took.as_secs_f64()
        ));
        say(&report::figures("destroy", self.order.units, &stretch));
        Ok(())
    }
}

/// What was brought up.
enum BringUpOf {
    Machines,
    Units,
}

/// Eight hexadecimal digits that no other process has.
fn random_tag() -> Result<String> {
    let path = "/proc/sys/kernel/random/uuid";
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    Ok(text.chars().take(8).collect())
}

/// Prints a line; whoever reads it may be gone.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    drop(
        out.write_all(format!("{line}\n").as_bytes())
            .and_then(|()| out.flush()),
    );
}
