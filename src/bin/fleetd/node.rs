//! One machine of the cluster: joins, works, rejoins when its lease is lost, and leaves in order.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agent::guard::{GuardFiles, Manager};
use agent::{
    Bus, Drained, ExclusiveUnits, JoinError, Joined, Joining, Journalctl, OwnJob, ScheduleCopy,
    SystemState, Systemd, SystemdSettings,
};
use anyhow::{Context, Result, bail};
use api::server::{EngineProbe, Listener, Settings};
use engine::Advisor;
use model::{Machine, StoreError};
use registry::{Lease, LeaseId, Membership, Registry, View};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Config, OfflineStart};
use crate::engine_figures::watch_engine;
use crate::host;
use crate::lease_file::LeaseFile;
use crate::listeners::{self, Listeners};
use crate::logging::Verbosity;
use crate::offline;
use crate::signals::{Signals, obey};
use crate::steadiness::Steadiness;
use crate::store::Store;
use crate::{ConfigSource, notify, version};

/// What must survive a restart of fleetd and not a reboot.
const RUNTIME_DIRECTORY: &str = "/run/fleet";

/// systemd's directory for units that are gone after a reboot.
const LINK_DIRECTORY: &str = "/run/systemd/system";

/// First and longest pause between attempts to reach a store that does not answer.
const RETRY_FIRST: Duration = Duration::from_millis(200);
/// A machine that was cut off has to be back, and its duplicates gone, within 5 s.
const RETRY_LONGEST: Duration = Duration::from_secs(1);

/// How long leaving may take beside stopping units: telling the store, closing it.
const FAREWELL_LIMIT: Duration = Duration::from_secs(5);

/// Runs until told to stop, or until this machine may not be part of the cluster.
pub(crate) async fn run(
    config: Config,
    source: ConfigSource,
    verbosity: Verbosity,
    passed: listenfd::ListenFd,
) -> Result<()> {
    let signals = Signals::new()?;
    let machine = host::describe(&config, &version())?;
    let directory = runtime_directory(&config)?;
    let listeners = listeners::bind(&config, passed).await?;
    let systemd = Arc::new(connect_systemd(&config, &directory)?);
    let store = Store::open(&config).await?;
    let shutdown = CancellationToken::new();
    let tasks = TaskTracker::new();
    tasks.spawn(notify::watchdog(shutdown.clone()));
    let Listeners {
        sockets,
        owned: _owned,
    } = listeners;
    let (engine_report, _) = watch::channel(engine::EngineReport::default());
    let (probe, noting) = watch_engine(engine_report.subscribe(), shutdown.clone());
    tasks.spawn(noting);
    let engine = (!config.disable_engine).then_some(probe);
    let view = View::new(store.registry.clone(), shutdown.clone());
    serve_api(
        &config,
        &machine,
        (sockets, engine),
        view.clone(),
        &tasks,
        &shutdown,
    );
    notify::ready();
    let (machine_changed, machine) = watch::channel(machine);
    let mut node = Node {
        registry: store.registry.clone(),
        view,
        store_name: store.name.clone(),
        lease_file: LeaseFile::in_directory(&directory),
        systemd: Arc::clone(&systemd),
        copy: ScheduleCopy::in_directory(&config.data_directory.join("schedule")),
        offline_start: config.offline_start,
        journal: Arc::new(Journalctl { bus: bus(&config) }),
        lease_ttl: config.agent_ttl,
        brake: config.brake.limits(config.agent_ttl),
        leads: !config.disable_engine,
        engine_report,
        steadiness: Steadiness::new(),
        machine,
        shutdown: shutdown.clone(),
    };
    let reload = || reload(&source, &verbosity, &machine_changed);
    let ended = obey(node.work(), signals, reload, &shutdown).await;
    shutdown.cancel();
    tasks.close();
    tasks.wait().await;
    store.close().await;
    ended
}

/// Serves the API over this machine's view of the cluster, until told to stop.
fn serve_api(
    config: &Config,
    machine: &Machine,
    (sockets, engine): (Vec<Listener>, Option<EngineProbe>),
    view: View,
    tasks: &TaskTracker,
    shutdown: &CancellationToken,
) {
    let advisor = Arc::new(Advisor::default());
    let (kept, ended) = (Arc::clone(&advisor), shutdown.clone());
    tasks.spawn(async move { kept.forget_unused(&ended).await });
    let settings = Settings {
        token_limit: config.token_limit,
        engine,
        placement: Some(advisor),
        ..Settings::new(machine.id.clone())
    };
    let journal = Journalctl { bus: bus(config) };
    let router = api::server::router(view, journal, settings, shutdown.clone());
    tasks.spawn(api::server::serve(router, sockets, shutdown.clone()));
}

/// Applies what can be changed while running: log level, metadata, address. Units and sockets are not touched.
fn reload(source: &ConfigSource, verbosity: &Verbosity, machine: &watch::Sender<Machine>) {
    let path = source
        .path()
        .map(|path| path.display().to_string())
        .unwrap_or_default();
    tracing::info!("Reloading configuration from {path}");
    let described = source.load().and_then(|loaded| {
        verbosity.set(loaded.config.verbose);
        host::describe(&loaded.config, &version())
    });
    match described {
        Ok(new) => {
            machine.send_if_modified(|old| {
                let changed = *old != new;
                *old = new;
                changed
            });
        }
        Err(error) => tracing::error!("the configuration stays as it was: {error:#}"),
    }
}

/// Where marks and the lease are kept.
fn runtime_directory(config: &Config) -> Result<PathBuf> {
    let directory = match (config.systemd_user, std::env::var_os("XDG_RUNTIME_DIR")) {
        (true, Some(own)) => Path::new(&own).join("fleet"),
        (true, None) => {
            bail!("systemd_user: XDG_RUNTIME_DIR is not set: start fleetd in a user's session")
        }
        (false, _) => PathBuf::from(RUNTIME_DIRECTORY),
    };
    std::fs::create_dir_all(&directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    Ok(directory)
}

/// Where the systemd is that we drive.
fn bus(config: &Config) -> Bus {
    if config.systemd_user {
        Bus::User
    } else {
        Bus::System
    }
}

/// The systemd to drive, the machine's own or the user's.
fn connect_systemd(config: &Config, directory: &Path) -> Result<Systemd> {
    let links = if config.systemd_user {
        directory.parent().unwrap_or(directory).join("systemd/user")
    } else {
        PathBuf::from(LINK_DIRECTORY)
    };
    let guard = GuardFiles {
        directory: directory.join("guard"),
        link_directory: links.clone(),
        program: std::env::current_exe().context("fleetd's own program cannot be found")?,
        manager: if config.systemd_user {
            Manager::User
        } else {
            Manager::System
        },
    };
    let settings = SystemdSettings {
        bus: bus(config),
        units_directory: config
            .units_directory
            .clone()
            .unwrap_or_else(|| directory.join("units")),
        marks_directory: directory.join("marks"),
        guard: Some(guard),
        link_directory: links,
    };
    Ok(Systemd::connect(&settings)?)
}

/// This machine's part in the cluster.
struct Node {
    registry: Registry,
    view: View,
    store_name: String,
    lease_file: LeaseFile,
    systemd: Arc<Systemd>,
    copy: ScheduleCopy,
    offline_start: OfflineStart,
    journal: Arc<Journalctl>,
    lease_ttl: Duration,
    brake: engine::BrakeLimits,
    leads: bool,
    engine_report: watch::Sender<engine::EngineReport>,
    steadiness: Steadiness,
    machine: watch::Receiver<Machine>,
    shutdown: CancellationToken,
}

/// What became of one membership.
enum SessionEnd {
    /// The lease is gone: join again.
    LeaseLost,
    /// fleetd is to stop.
    Shutdown,
}

impl Node {
    /// Joins and works, again and again, until told to stop.
    async fn work(&mut self) -> Result<()> {
        let engine_shutdown = CancellationToken::new();
        let engine = TaskTracker::new();
        loop {
            let offline = offline::start(
                self.offline_start,
                self.lease_file.clone(),
                self.copy.clone(),
                Arc::clone(&self.systemd),
            );
            let joined = tokio::select! {
                joined = self.join() => joined?,
                () = offline => None,
            };
            let Some((lease, membership)) = joined else {
                stop_engine(&engine, &engine_shutdown).await;
                self.part_alone().await;
                return Ok(());
            };
            if self.leads && engine.is_empty() {
                self.start_engine(&engine, engine_shutdown.clone());
            }
            match self.session(&lease, &membership).await {
                SessionEnd::LeaseLost => {
                    tracing::error!(
                        "Server monitor triggered: Monitor timed out before successful heartbeat: the machine's lease is gone; \
                         units run on, joining again"
                    );
                }
                SessionEnd::Shutdown => {
                    // Resign first, so that the next leader sees what leaving does.
                    stop_engine(&engine, &engine_shutdown).await;
                    self.part(lease, &membership).await;
                    return Ok(());
                }
            }
        }
    }

    fn start_engine(&self, engine: &TaskTracker, shutdown: CancellationToken) {
        let settings = engine::EngineSettings {
            // Half of the machine lease: a machine that leads and dies is replaced as leader before its units are due.
            lease_ttl: self.lease_ttl / 2,
            brake: self.brake,
            unsteady: Some(self.steadiness.unsteady()),
        };
        let (registry, id) = (self.registry.clone(), self.machine.borrow().id.clone());
        let report = self.engine_report.clone();
        engine.spawn(engine::run(registry, id, settings, report, shutdown));
    }

    /// Takes this machine's place in the cluster, waiting for the store if need be. None if told to stop meanwhile.
    async fn join(&mut self) -> Result<Option<(Lease, Membership)>> {
        tracing::info!("Establishing etcd connectivity");
        let mut pause = RETRY_FIRST;
        let mut told = String::new();
        let mut joining = Joining::default();
        loop {
            let machine = self.machine.borrow_and_update().clone();
            let lease = (self.lease_ttl, self.lease_file.read());
            let remember = |lease| self.remember(lease);
            let attempt = tokio::select! {
                () = self.shutdown.cancelled() => return Ok(None),
                attempt = joining.attempt(&self.registry, &machine, lease, &*self.systemd, remember) => attempt,
            };
            match attempt {
                Ok(Joined::Member(lease, membership)) => {
                    tracing::info!(machine = %machine.id, address = %machine.address, "joined the cluster");
                    notify::status("part of the cluster");
                    return Ok(Some((lease, membership)));
                }
                Ok(Joined::Occupied { lease, other }) => {
                    revoke(lease).await;
                    bail!(
                        "machine {} is in the cluster already, at address {}; this one is at {}. Two machines cannot have one \
                         machine-id: give this one its own with 'rm /etc/machine-id; systemd-machine-id-setup', then reboot",
                        machine.id,
                        shown(&other.address),
                        shown(&machine.address)
                    );
                }
                Err(JoinError::Store(error)) => self.tell_once(&StoreError::from(error), &mut told),
                Err(error @ JoinError::ExclusiveMayRun) => tracing::error!("{error}"),
            }
            tokio::select! {
                () = self.shutdown.cancelled() => return Ok(None),
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(RETRY_LONGEST);
        }
    }

    fn tell_once(&self, error: &StoreError, told: &mut String) {
        let message = error.to_string();
        if message != *told {
            tracing::warn!(
                "{} cannot be used yet, trying on: {message}. Set etcd_servers to the etcd of the cluster, or run fleetd \
                 --standalone to do without one",
                self.store_name
            );
            notify::status(&format!("waiting for {}", self.store_name));
            *told = message;
        }
    }

    fn remember(&self, lease: LeaseId) {
        if let Err(error) = self.lease_file.write(lease) {
            tracing::warn!(%error, "the lease cannot be remembered: a restart of fleetd will look like a lost machine");
        }
    }

    /// Works under one membership.
    async fn session(&mut self, lease: &Lease, membership: &Membership) -> SessionEnd {
        let ended = CancellationToken::new();
        let aids = agent::Aids {
            copy: Some(self.copy.clone()),
            view: Some(self.view.clone()),
        };
        let agent = agent::run_with(
            self.registry.clone(),
            self.machine.borrow().id.clone(),
            membership,
            Arc::clone(&self.systemd),
            aids,
            ended.clone(),
        );
        tokio::pin!(agent);
        let answering = agent::answer(
            self.registry.clone(),
            self.machine.borrow().id.clone(),
            Arc::clone(&self.journal),
            ended.clone(),
        );
        let mut confirmations = membership.confirmations();
        let confirmed = async || _ = confirmations.next().await;
        let steadiness = self.steadiness.follow(self.lease_ttl, confirmed);
        tokio::pin!(answering, steadiness);
        let end = loop {
            tokio::select! {
                // They end only when told to; joining again is right if one ever does otherwise.
                () = &mut agent => return SessionEnd::LeaseLost,
                () = &mut answering => return SessionEnd::LeaseLost,
                () = &mut steadiness => return SessionEnd::LeaseLost,
                () = self.shutdown.cancelled() => break SessionEnd::Shutdown,
                _ = lease.lost() => break SessionEnd::LeaseLost,
                Ok(()) = self.machine.changed() => {
                    let machine = self.machine.borrow_and_update().clone();
                    if let Err(error) = membership.update(&machine).await {
                        tracing::warn!(%error, "the machine's description could not be renewed");
                    }
                }
            }
        };
        ended.cancel();
        agent.await;
        end
    }
}

impl Node {
    /// Ends this machine's part in the cluster, or only pauses it: systemd knows which.
    async fn part(&self, lease: Lease, membership: &Membership) {
        if !self.is_leaving().await {
            tracing::info!("leaving the units running, and the lease to the next fleetd");
            return;
        }
        tracing::info!(
            "leaving the cluster: stopping this machine's units, which start elsewhere as they stop"
        );
        within_limit("telling the cluster", async {
            match membership.leave_schedule().await {
                Ok(()) => self.forget_schedule(),
                Err(error) => {
                    tracing::warn!(%error, "the cluster could not be told; it will notice when the lease ends");
                }
            }
        })
        .await;
        let drained = agent::drain(membership, Arc::clone(&self.systemd)).await;
        let exclusive = agent::end_exclusive(&*self.systemd).await;
        match (drained, exclusive) {
            (Drained::Everything, ExclusiveUnits::Ended) => {
                within_limit("ending the lease", revoke(lease)).await;
            }
            (Drained::SomeMayRun, _) | (_, ExclusiveUnits::Unkillable | ExclusiveUnits::MayRun) => {
                tracing::error!(
                    "so the lease is not ended now, and they start nowhere else before it ends by itself"
                );
            }
        }
        self.forget_lease();
    }

    /// As [`Node::part`], while this machine is not part of the cluster: its units may run elsewhere, and nobody would be left to
    /// stop them here.
    async fn part_alone(&self) {
        if !self.is_leaving().await {
            tracing::info!("leaving the units running");
            return;
        }
        tracing::info!("leaving: stopping this machine's units; the cluster cannot be told");
        self.forget_schedule();
        agent::drain_alone(Arc::clone(&self.systemd)).await;
        if agent::end_exclusive(&*self.systemd).await == ExclusiveUnits::Ended {
            self.forget_lease();
        }
    }

    fn forget_lease(&self) {
        if let Err(error) = self.lease_file.remove() {
            tracing::warn!(%error, "the lease file could not be removed");
        }
    }

    /// What was scheduled here is placed elsewhere: it must not come back with this machine.
    fn forget_schedule(&self) {
        if let Err(error) = self.copy.clear() {
            tracing::warn!(%error, "the machine's copy of its schedule could not be removed");
        }
    }

    /// True if systemd stops fleetd for good, or the machine shuts down. A restart, a crash and a plain signal leave units alone.
    async fn is_leaving(&self) -> bool {
        match self.systemd.own_job().await {
            Ok(OwnJob::Stop) => true,
            Ok(OwnJob::Restart) => false,
            Ok(OwnJob::None | OwnJob::Other(_)) => {
                matches!(self.systemd.system_state().await, Ok(SystemState::Stopping))
            }
            Err(error) => {
                tracing::warn!(%error, "systemd cannot say why fleetd is being stopped; leaving the units running");
                false
            }
        }
    }
}

async fn stop_engine(engine: &TaskTracker, shutdown: &CancellationToken) {
    shutdown.cancel();
    engine.close();
    within_limit("resigning", engine.wait()).await;
}

async fn revoke(lease: Lease) {
    if let Err(error) = lease.revoke().await {
        tracing::warn!(%error, "the lease could not be ended; it ends by itself");
    }
}

async fn within_limit(what: &str, work: impl Future<Output = ()>) {
    if tokio::time::timeout(FAREWELL_LIMIT, work).await.is_err() {
        tracing::warn!(
            "{what} took longer than {} s; going on without",
            FAREWELL_LIMIT.as_secs()
        );
    }
}

fn shown(address: &str) -> &str {
    if address.is_empty() {
        "unknown"
    } else {
        address
    }
}
