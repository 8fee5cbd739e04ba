//! A private `systemd --user` with its own bus, mount and PID namespace and cgroup. It ends with the test process, however
//! that ends.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use agent::{Bus, Systemd, SystemdSettings};
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// How many boot at a time: each is a whole systemd.
static BOOTS: Semaphore = Semaphore::const_new(2);

/// A boot takes some 0.3 s on an idle machine, and this one may be busy.
const BOOT_LIMIT: Duration = Duration::from_secs(30);

static NUMBER: AtomicU32 = AtomicU32::new(0);

pub(crate) struct Private {
    directory: TempDir,
    cgroup: String,
    process: Child,
    pub(crate) systemd: Systemd,
    _turn: SemaphorePermit<'static>,
}

impl Private {
    /// Boots one. None, and the reason printed, if this machine cannot; that is a failure where CI says it must.
    pub(crate) async fn boot() -> Option<Private> {
        match Private::try_boot().await {
            Ok(private) => Some(private),
            Err(reason) => {
                assert!(std::env::var("CI").is_err(), "no private systemd: {reason}");
                println!("SKIP: no private systemd: {reason}");
                None
            }
        }
    }

    async fn try_boot() -> Result<Private, String> {
        let turn = BOOTS.acquire().await.map_err(|error| error.to_string())?;
        let directory = TempDir::with_prefix("fleet-agent-").map_err(|error| error.to_string())?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let cgroup = format!("fleet-agent-{}-{number}", std::process::id());
        let log = File::create(directory.path().join("log")).map_err(|error| error.to_string())?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contract/boot.sh");
        let process = Command::new("unshare")
            .args([
                "--mount",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
                "sh",
            ])
            .arg(script)
            .arg(directory.path())
            .arg(&cgroup)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().map_err(|error| error.to_string())?)
            .stderr(log)
            .spawn()
            .map_err(|error| format!("unshare: {error}"))?;
        let systemd =
            Systemd::connect(&settings(directory.path())).map_err(|error| error.to_string())?;
        let mut private = Private {
            directory,
            cgroup,
            process,
            systemd,
            _turn: turn,
        };
        private.answers().await?;
        Ok(private)
    }

    async fn answers(&mut self) -> Result<(), String> {
        let ended = async {
            loop {
                match self.process.try_wait() {
                    Ok(None) => tokio::time::sleep(Duration::from_millis(20)).await,
                    outcome => return format!("{outcome:?}"),
                }
            }
        };
        let outcome = tokio::select! {
            ended = ended => Err(ended),
            answer = timeout(BOOT_LIMIT, self.systemd.reachable()) => {
                answer.map_err(|_| format!("no answer within {BOOT_LIMIT:?}"))
            }
        };
        outcome.map_err(|reason| {
            let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            format!(
                "{reason}; its log ends: {}",
                log.lines().last().unwrap_or_default()
            )
        })
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn settings(&self) -> SystemdSettings {
        settings(self.directory())
    }

    /// Where an administrator's units are.
    pub(crate) fn host_units(&self) -> PathBuf {
        self.directory().join("home/.config/systemd/user")
    }

    /// Another client of systemd's calls one of its methods, as `systemctl` does.
    pub(crate) async fn call(&self, method: &str, arguments: &[&str]) {
        let status = self.busctl(method, arguments).await;
        assert!(status.success(), "{method} {arguments:?}: {status}");
    }

    /// The same for a method after which systemd is no longer there to answer.
    pub(crate) async fn call_without_answer(&self, method: &str) {
        let status = self.busctl(method, &[]).await;
        println!("{method}: {status}");
    }

    async fn busctl(&self, method: &str, arguments: &[&str]) -> ExitStatus {
        tokio::process::Command::new("busctl")
            .arg(format!(
                "--address=unix:path={}/run/bus",
                self.directory().display()
            ))
            .args([
                "call",
                "org.freedesktop.systemd1",
                "/org/freedesktop/systemd1",
            ])
            .args(["org.freedesktop.systemd1.Manager", method])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .await
            .unwrap()
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        // Its standard input ends, so process 1 of the namespace does, and with it all others.
        drop(self.process.stdin.take());
        if let Err(error) = self.process.wait() {
            println!("the private systemd cannot be waited for: {error}");
        }
        for hierarchy in ["", "systemd", "unified"] {
            let root = Path::new("/sys/fs/cgroup")
                .join(hierarchy)
                .join(&self.cgroup);
            if root.exists()
                && let Err(error) = remove_cgroup(&root)
            {
                println!("{} stays: {error}", root.display());
            }
        }
    }
}

fn remove_cgroup(cgroup: &Path) -> io::Result<()> {
    for entry in fs::read_dir(cgroup)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_cgroup(&entry.path())?;
        }
    }
    fs::remove_dir(cgroup)
}

fn settings(directory: &Path) -> SystemdSettings {
    SystemdSettings {
        bus: Bus::Address(format!("unix:path={}/run/bus", directory.display())),
        units_directory: directory.join("fleet/units"),
        marks_directory: directory.join("fleet/marks"),
        link_directory: directory.join("run/systemd/user"),
        guard: None,
    }
}
