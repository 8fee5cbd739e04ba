//! One machine of the cluster: ties its life (`agent::Lifecycle`) to this process, its systemd, its engine and its API.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agent::guard::{GuardFiles, Manager};
use agent::{
    Bus, Environment, Journalctl, Lifecycle, OwnJob, Parting, ScheduleCopy, Stage, SystemState,
    Systemd, SystemdSettings,
};
use anyhow::{Context, Result, bail};
use api::server::{EngineProbe, Listener, Settings};
use engine::Advisor;
use futures_util::stream;
use model::{Machine, MachineId};
use registry::{LeaseId, Membership, Registry, View};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::engine_figures::watch_engine;
use crate::host;
use crate::lease_file::LeaseFile;
use crate::listeners::{self, Listeners};
use crate::logging::Verbosity;
use crate::signals::{Signals, obey};
use crate::steadiness::Steadiness;
use crate::store::Store;
use crate::{ConfigSource, notify, version};

/// What must survive a restart of fleetd and not a reboot.
const RUNTIME_DIRECTORY: &str = "/run/fleet";

/// systemd's directory for units that are gone after a reboot.
const LINK_DIRECTORY: &str = "/run/systemd/system";

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
    let process = Process {
        registry: store.registry.clone(),
        machine: machine.borrow().id.clone(),
        store_name: store.name.clone(),
        lease_file: LeaseFile::in_directory(&directory),
        systemd: Arc::clone(&systemd),
        journal: Arc::new(Journalctl { bus: bus(&config) }),
        lease_ttl: config.agent_ttl,
        brake: config.brake.limits(config.agent_ttl),
        leads: !config.disable_engine,
        engine: TaskTracker::new(),
        engine_shutdown: CancellationToken::new(),
        engine_report,
        steadiness: Steadiness::new(),
    };
    let life = Lifecycle {
        registry: store.registry.clone(),
        view,
        machine,
        manager: systemd,
        copy: ScheduleCopy::in_directory(&config.data_directory.join("schedule")),
        offline_start: config.offline_start,
        lease_ttl: config.agent_ttl,
        environment: process,
        shutdown: shutdown.clone(),
    };
    let work = async { Ok(life.run().await?) };
    let reload = || reload(&source, &verbosity, &machine_changed);
    let ended = obey(work, signals, reload, &shutdown).await;
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

/// This process, as this machine's life has need of it.
struct Process {
    registry: Registry,
    machine: MachineId,
    store_name: String,
    lease_file: LeaseFile,
    systemd: Arc<Systemd>,
    journal: Arc<Journalctl>,
    lease_ttl: Duration,
    brake: engine::BrakeLimits,
    leads: bool,
    engine: TaskTracker,
    engine_shutdown: CancellationToken,
    engine_report: watch::Sender<engine::EngineReport>,
    steadiness: Steadiness,
}

impl Process {
    fn start_engine(&self) {
        let settings = engine::EngineSettings {
            // Half of the machine lease: a machine that leads and dies is replaced as leader before its units are due.
            lease_ttl: self.lease_ttl / 2,
            brake: self.brake,
            unsteady: Some(self.steadiness.unsteady()),
            loss: engine::Loss::Questioned,
        };
        let (registry, id) = (self.registry.clone(), self.machine.clone());
        let (report, shutdown) = (self.engine_report.clone(), self.engine_shutdown.clone());
        self.engine
            .spawn(engine::run(registry, id, settings, report, shutdown));
    }
}

impl Environment for Process {
    fn lease(&self) -> Option<LeaseId> {
        self.lease_file.read()
    }

    fn remember(&self, lease: LeaseId) -> io::Result<()> {
        self.lease_file.write(lease)
    }

    fn forget_lease(&self) -> io::Result<()> {
        self.lease_file.remove()
    }

    fn tell(&self, stage: Stage<'_>) {
        match stage {
            Stage::Waiting(problem) => {
                tracing::warn!(
                    "{} cannot be used yet, trying on: {problem}. Set etcd_servers to the etcd of the cluster, or run fleetd \
                     --standalone to do without one",
                    self.store_name
                );
                notify::status(&format!("waiting for {}", self.store_name));
            }
            Stage::Offline => {
                notify::status("running units by this machine's own copy of its schedule");
            }
            Stage::Joined => {
                notify::status("part of the cluster");
                if self.leads && self.engine.is_empty() {
                    self.start_engine();
                }
            }
            Stage::LeaseLost => self.steadiness.lease_lost(),
            Stage::Leaving | Stage::Left | Stage::Paused => {}
        }
    }

    /// Answers what other machines ask of this one, and watches how steady its lease is.
    async fn beside(&self, membership: &Membership) {
        let (registry, machine) = (self.registry.clone(), self.machine.clone());
        // It ends by being dropped.
        let told_to_end = CancellationToken::new();
        let answering = agent::answer(registry, machine, Arc::clone(&self.journal), told_to_end);
        let confirmed =
            stream::unfold(membership.confirmations(), |mut confirmations| async move {
                confirmations.next().await;
                Some(((), confirmations))
            });
        tokio::select! {
            () = answering => {}
            () = self.steadiness.follow(self.lease_ttl, confirmed) => {}
        }
    }

    async fn resign(&self) {
        self.engine_shutdown.cancel();
        self.engine.close();
        self.engine.wait().await;
    }

    /// systemd knows: it stops fleetd for good, or the machine shuts down. A restart, a crash and a plain signal leave units alone.
    async fn parting(&self) -> Parting {
        let leaves = match self.systemd.own_job().await {
            Ok(OwnJob::Stop) => true,
            Ok(OwnJob::Restart) => false,
            Ok(OwnJob::None | OwnJob::Other(_)) => {
                matches!(self.systemd.system_state().await, Ok(SystemState::Stopping))
            }
            Err(error) => {
                tracing::warn!(%error, "systemd cannot say why fleetd is being stopped; leaving the units running");
                false
            }
        };
        match leaves {
            true => Parting::Leave,
            false => Parting::Pause,
        }
    }
}
