//! systemd over D-Bus: [`model::ServiceManager`] for the machine's own systemd or a user's.
//!
//! [`Systemd`] is the port. `link` holds the connections, `jobs` follows jobs to their end, `files` has what we put on disk, `host`
//! keeps us from shadowing the host's own units. Only this folder names zbus. `journalctl` is beside it:
//! what systemd's tools say of units.

mod errors;
mod exclusive;
mod exit_status;
mod files;
mod follow;
mod host;
mod jobs;
mod journalctl;
mod link;
mod mark;
mod proxies;
mod reload;
mod state;
mod watched;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{Stream, StreamExt, stream};
use model::{
    Deadline, JobEnd, JobResult, LoadState, Mark, ServiceChange, ServiceError, ServiceManager,
    ServiceUnit,
};
use tokio::task::JoinSet;
use unitfile::{UnitFile, UnitName, UnitType};

pub use self::journalctl::Journalctl;

use self::errors::of_unit;
use self::files::Files;
use self::follow::Verb;
use self::link::Link;
use self::proxies::{JobProxy, ManagerProxy, UnitProxy};
use self::reload::ReloadGate;
use self::state::State;
use crate::guard::GuardFiles;

/// Units looked at concurrently when all are; the answers of one fill the bus while the next are asked.
const LOOKS_MAX: usize = 16;

/// Where systemd is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Bus {
    /// The machine's own systemd.
    System,
    /// The systemd of the user we run as.
    User,
    /// A bus at this address, such as `unix:path=/run/user/1000/bus`.
    Address(String),
}

/// How to reach systemd, and where our files are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SystemdSettings {
    /// Where systemd is reached.
    pub bus: Bus,
    /// Holds our unit files; on a file system that is empty after a reboot. `/run/fleet/units`.
    pub units_directory: PathBuf,
    /// Holds what is remembered of each; likewise. `/run/fleet/marks`.
    pub marks_directory: PathBuf,
    /// Holds the links by which systemd finds our units; a directory of its unit path. `/run/systemd/system`, or
    /// `$XDG_RUNTIME_DIR/systemd/user` for a user's systemd.
    pub link_directory: PathBuf,
    /// The guard of exclusive units; without one they are refused.
    pub guard: Option<GuardFiles>,
}

/// Which job systemd runs for the unit that this process belongs to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OwnJob {
    /// None, or this process belongs to no unit.
    None,
    /// `systemctl stop`, or the machine is shut down.
    Stop,
    /// `systemctl restart` and its kin: we come back at once.
    Restart,
    /// Another, such as `start` or `reload`.
    Other(String),
}

/// What the whole of systemd is up to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SystemState {
    /// The machine is shut down.
    Stopping,
    /// Anything else, in systemd's word.
    Other(String),
}

/// One machine's systemd. Cheap to clone; the connection ends with the last clone.
#[derive(Clone, Debug)]
pub struct Systemd {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    link: Arc<Link>,
    files: Files,
    guard: Option<GuardFiles>,
    gate: ReloadGate,
    /// systemd's unit path, and after how many reloads it was read.
    unit_path: Mutex<Option<(u64, Arc<[PathBuf]>)>>,
    /// Ends with this.
    _pump: JoinSet<()>,
}

impl Systemd {
    /// Prepares our directories and connects in the background; calls fail with [`ServiceError::Unreachable`] until that has
    /// succeeded, and again while the connection is lost. [`ServiceChange::All`] tells when it is there.
    ///
    /// # Errors
    /// If one of the directories cannot be made or read.
    pub fn connect(settings: &SystemdSettings) -> Result<Systemd, ServiceError> {
        let files = Files::open(
            &settings.units_directory,
            &settings.marks_directory,
            &settings.link_directory,
        )?;
        if let Some(guard) = &settings.guard {
            guard.prepare().map_err(exclusive::failed)?;
        }
        let link = Arc::new(Link::new(settings.bus.clone()));
        let mut pump = JoinSet::new();
        pump.spawn(Arc::clone(&link).run());
        Ok(Systemd {
            inner: Arc::new(Inner {
                link,
                files,
                guard: settings.guard.clone(),
                gate: ReloadGate::default(),
                unit_path: Mutex::default(),
                _pump: pump,
            }),
        })
    }

    /// Waits until systemd has answered once; true at once if it has.
    pub async fn reachable(&self) {
        self.link().reached().await;
    }

    /// Which job systemd runs for our own unit now: tells a restart from a stop while we handle SIGTERM.
    ///
    /// # Errors
    /// If systemd does not answer.
    pub async fn own_job(&self) -> Result<OwnJob, ServiceError> {
        let kind = self
            .link()
            .call("the job of our own unit", |connection| async move {
                let manager = ManagerProxy::new(&connection).await?;
                let unit = manager.get_unit_by_pid(std::process::id()).await?;
                let unit = uncached(UnitProxy::builder(&connection).path(unit)).await?;
                let (job, path) = unit.job().await?;
                if job == 0 {
                    return Ok(None);
                }
                uncached(JobProxy::builder(&connection).path(path))
                    .await?
                    .job_type()
                    .await
                    .map(Some)
            });
        match kind.await {
            Ok(None) => Ok(OwnJob::None),
            Ok(Some(kind)) => Ok(match kind.as_str() {
                "stop" => OwnJob::Stop,
                "restart" | "try-restart" => OwnJob::Restart,
                _ => OwnJob::Other(kind),
            }),
            Err(ServiceError::Refused { message }) if message.contains("NoUnitForPID") => {
                Ok(OwnJob::None)
            }
            Err(error) => Err(error),
        }
    }

    /// What the whole of systemd is up to.
    ///
    /// # Errors
    /// If systemd does not answer.
    pub async fn system_state(&self) -> Result<SystemState, ServiceError> {
        let state = self
            .link()
            .call("systemd's state", |connection| async move {
                uncached(ManagerProxy::builder(&connection))
                    .await?
                    .system_state()
                    .await
            });
        Ok(match state.await?.as_str() {
            "stopping" => SystemState::Stopping,
            other => SystemState::Other(other.to_owned()),
        })
    }

    /// How often systemd has read all unit files again since we connected, whoever asked for it.
    pub fn reloads_seen(&self) -> u64 {
        *self.link().reloads.borrow()
    }

    fn link(&self) -> &Link {
        &self.inner.link
    }

    fn files(&self) -> &Files {
        &self.inner.files
    }

    async fn state(&self, name: &UnitName) -> Result<State, ServiceError> {
        let what = format!("the state of {name}");
        self.link()
            .call(&what, |connection| async move {
                state::state(&connection, name).await
            })
            .await
    }

    async fn look(&self, name: &UnitName) -> Result<ServiceUnit, ServiceError> {
        let state = match self.link().watched.running(name) {
            Some(state) => state,
            None => self.state(name).await?,
        };
        let found = self.files().read(name);
        Ok(ServiceUnit {
            name: name.clone(),
            file: found.as_ref().map(|found| found.file),
            hash: found.as_ref().and_then(files::Found::hash),
            mark: self.remembered(name)?,
            load: state.load,
            active: state.active,
            sub: state.sub,
            invocation: state.invocation,
            since_unix_ms: state.since_unix_ms,
            needs_reload: state.needs_reload,
        })
    }

    /// The directories in which systemd looks for units.
    async fn unit_path(&self) -> Result<Arc<[PathBuf]>, ServiceError> {
        let reloads = self.reloads_seen();
        let known = self
            .inner
            .unit_path
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some((read_at, path)) = known
            && read_at == reloads
        {
            return Ok(path);
        }
        let path = self
            .link()
            .call("systemd's unit path", |connection| async move {
                uncached(ManagerProxy::builder(&connection))
                    .await?
                    .unit_path()
                    .await
            });
        let path: Arc<[PathBuf]> = path.await?.into_iter().map(PathBuf::from).collect();
        *self
            .inner
            .unit_path
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some((reloads, Arc::clone(&path)));
        Ok(path)
    }

    /// Refuses names that the host has already.
    async fn check_host(&self, name: &UnitName, file: &UnitFile) -> Result<(), ServiceError> {
        host::check(&self.unit_path().await?, self.files(), name, file)?;
        // Mounts and devices of the host need no file.
        if matches!(
            name.unit_type(),
            UnitType::Mount | UnitType::Automount | UnitType::Device
        ) && !self.files().has(name)
        {
            let state = self.state(name).await?;
            if state.load == LoadState::Loaded || !state.active.is_stopped() {
                return Err(ServiceError::Foreign {
                    unit: name.clone(),
                    path: "the kernel's own table".to_owned(),
                });
            }
        }
        Ok(())
    }

    async fn enable(&self, name: &UnitName) -> Result<(), ServiceError> {
        let enabled = self.link().call("enabling", |connection| async move {
            // Not forced: a link of the host is not overwritten.
            ManagerProxy::new(&connection)
                .await?
                .enable_unit_files(&[name.as_str()], true, false)
                .await
        });
        let (carries_install_info, _) = enabled.await.map_err(|error| of_unit(name, error))?;
        if carries_install_info {
            return Ok(());
        }
        Err(ServiceError::Refused {
            message: format!("{name} has an [Install] section that systemd cannot use"),
        })
    }

    async fn disable(&self, name: &UnitName) -> Result<(), ServiceError> {
        self.link()
            .call("disabling", |connection| async move {
                ManagerProxy::new(&connection)
                    .await?
                    .disable_unit_files(&[name.as_str()], true)
                    .await
            })
            .await
            .map(drop)
    }

    async fn reset_failed(&self, name: &UnitName) -> Result<(), ServiceError> {
        let reset = self
            .link()
            .call("forgetting a failure", |connection| async move {
                ManagerProxy::new(&connection)
                    .await?
                    .reset_failed_unit(name.as_str())
                    .await
            });
        match reset.await {
            Ok(()) | Err(ServiceError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Puts file, link and what `[Install]` asks for in place.
    async fn put(&self, name: &UnitName, file: &UnitFile) -> Result<(), ServiceError> {
        let before = self.files().read(name);
        if before.is_some_and(|before| before.file != file.file_hash() && before.may_be_enabled()) {
            self.disable(name).await?;
        }
        if self.files().has(name) {
            self.link().watched.rewritten(name);
        }
        self.bind(name, file)?;
        self.files().put(name, file)?;
        if file.has_install() {
            self.enable(name).await?;
        }
        Ok(())
    }
}

impl ServiceManager for Systemd {
    async fn list(&self) -> Result<Vec<ServiceUnit>, ServiceError> {
        let names: BTreeSet<UnitName> = self.files().names()?;
        let looks = names
            .into_iter()
            .map(|name| async move { self.look(&name).await });
        let looks: Vec<Result<ServiceUnit, ServiceError>> =
            stream::iter(looks).buffered(LOOKS_MAX).collect().await;
        looks.into_iter().collect()
    }

    async fn unit(&self, name: &UnitName) -> Result<Option<ServiceUnit>, ServiceError> {
        if !self.files().has(name) {
            return Ok(None);
        }
        self.look(name).await.map(Some)
    }

    async fn load(
        &self,
        name: &UnitName,
        file: &UnitFile,
        mark: &Mark,
    ) -> Result<(), ServiceError> {
        self.check_host(name, file).await?;
        let is_new = !self.files().has(name);
        let loaded = match self.put(name, file).await {
            Ok(()) => self.files().put_mark(name, mark),
            Err(error) => Err(error),
        };
        if loaded.is_err() && is_new {
            // Leaves nothing behind; if even that fails, what is left is listed as half-loaded.
            if let Err(error) = self.unload(name).await {
                tracing::warn!(unit = %name, %error, "what a failed load left could not be removed");
            }
        }
        loaded
    }

    async fn mark(&self, name: &UnitName, mark: &Mark) -> Result<(), ServiceError> {
        self.files().put_mark(name, mark)
    }

    async fn unload(&self, name: &UnitName) -> Result<(), ServiceError> {
        if !self.files().has(name) {
            return Ok(());
        }
        self.reset_failed(name).await?;
        let may_be_enabled = self
            .files()
            .read(name)
            .is_none_or(|found| found.may_be_enabled());
        self.files().remove_mark(name)?;
        if may_be_enabled {
            self.disable(name).await?;
        }
        self.files().remove(name)?;
        self.unbind(name)
    }

    async fn knows(&self, name: &UnitName) -> Result<bool, ServiceError> {
        let what = format!("whether systemd knows {name}");
        let unit = self.link().call(&what, |connection| async move {
            let manager = ManagerProxy::new(&connection).await?;
            manager.get_unit(name.as_str()).await
        });
        match unit.await {
            Ok(_) => Ok(true),
            Err(ServiceError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn reload(&self) -> Result<(), ServiceError> {
        let reload = || {
            self.link().call("reload", |connection| async move {
                ManagerProxy::new(&connection).await?.reload().await
            })
        };
        self.inner.gate.reload(reload).await
    }

    async fn start(&self, name: &UnitName, mark: &Mark) -> Result<JobEnd, ServiceError> {
        self.reset_failed(name).await?;
        self.begin(name, Verb::Start, mark).await
    }

    async fn stop(&self, name: &UnitName) -> Result<JobEnd, ServiceError> {
        match self.run_job(name, Verb::Stop, None).await {
            Err(ServiceError::NotFound { .. }) => Ok(JobEnd {
                result: JobResult::Done,
                message: String::new(),
            }),
            outcome => outcome,
        }
    }

    async fn restart(&self, name: &UnitName, mark: &Mark) -> Result<JobEnd, ServiceError> {
        self.reset_failed(name).await?;
        self.begin(name, Verb::Restart, mark).await
    }

    async fn extend(&self, deadline: Deadline) -> Result<(), ServiceError> {
        self.set_deadline(deadline)
    }

    async fn give_up_exclusive(&self) -> Result<(), ServiceError> {
        self.end_exclusive().await
    }

    fn changes(&self) -> impl Stream<Item = ServiceChange> + Send + Unpin + 'static {
        self.link().hub.subscribe()
    }
}

/// Builds a proxy that asks systemd each time: what it would remember needs signals that nobody takes.
async fn uncached<T>(builder: zbus::proxy::Builder<'static, T>) -> zbus::Result<T>
where
    T: zbus::proxy::Defaults + zbus::proxy::ProxyImpl<'static> + From<zbus::Proxy<'static>>,
{
    builder
        .cache_properties(zbus::proxy::CacheProperties::No)
        .build()
        .await
}
