//! Boots one machine: makes its files, launches the container, waits until its systemd has come up.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::Error;
use crate::cgroup::Cgroup;
use crate::command::host;
use crate::network::{GATEWAY, Network};
use crate::notify::Notify;

/// How long a machine may take to become ready. It takes 1 to 3 s; a loaded host of two cores that
/// boots six at a time has been seen to take 20.
pub(crate) const BOOT_LIMIT: Duration = Duration::from_secs(120);

/// How much of a console an error shows.
const CONSOLE_LINES: usize = 40;

const LAUNCH: &str = include_str!("launch.sh");

/// What a machine is made of, fixed for its life.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    pub(crate) name: String,
    /// 32 hexadecimal digits.
    pub(crate) machine_id: String,
    /// With its prefix length.
    pub(crate) address: String,
    /// What the machine is an overlay of: directories, the topmost first, with colons.
    pub(crate) lower: String,
    /// `upper` (what the machine wrote: its disk), `work`, `root`, `console.log`.
    pub(crate) directory: PathBuf,
}

/// The processes of a machine that is on.
#[derive(Debug)]
pub(crate) struct Running {
    /// systemd-nspawn.
    pub(crate) nspawn: Child,
    /// PID 1 of the machine, as the host numbers it.
    pub(crate) leader: u32,
}

impl Body {
    /// Makes the machine's files: who it is, where it is, its ssh host key.
    pub(crate) fn make(&self) -> Result<(), Error> {
        for folder in ["upper/etc/ssh", "upper/etc/testbed", "work", "root"] {
            let path = self.directory.join(folder);
            fs::create_dir_all(&path).map_err(Error::file("create", &path))?;
        }
        self.write(
            "/etc/machine-id",
            format!("{}\n", self.machine_id).as_bytes(),
            0o444,
        )?;
        self.write(
            "/etc/hostname",
            format!("{}\n", self.name).as_bytes(),
            0o644,
        )?;
        let network = format!("ADDRESS={}\nGATEWAY={GATEWAY}\n", self.address);
        self.write("/etc/testbed/network", network.as_bytes(), 0o644)?;
        let key = self.upper("/etc/ssh/ssh_host_ed25519_key");
        host(&[
            "ssh-keygen",
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-C",
            &self.name,
            "-f",
            &key.to_string_lossy(),
        ])?;
        Ok(())
    }

    /// Writes a file of a machine that is off.
    pub(crate) fn write(&self, path: &str, bytes: &[u8], mode: u32) -> Result<(), Error> {
        let path = self.upper(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
        }
        fs::write(&path, bytes).map_err(Error::file("write", &path))?;
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(&path, permissions).map_err(Error::file("set the mode of", &path))
    }

    /// Launches the container and returns when PID 1 says that the basic system is up.
    pub(crate) fn launch(&self, network: &Network, cgroup: &Cgroup) -> Result<Running, Error> {
        let notify = Notify::open(&self.directory.join("notify"))?;
        let script = self.directory.join("launch.sh");
        fs::write(&script, LAUNCH).map_err(Error::file("write", &script))?;
        let console_path = self.console_path();
        let console =
            fs::File::create(&console_path).map_err(Error::file("create", &console_path))?;
        let errors = console
            .try_clone()
            .map_err(Error::file("open", &console_path))?;
        let mut nspawn = Command::new("setsid")
            .args(["nsenter", &format!("--net={}", network.path()), "--"])
            .args(["unshare", "--mount", "--propagation=private", "--", "sh"])
            .arg(&script)
            .args([&self.name, &self.machine_id, &self.lower])
            .arg(&self.directory)
            .args(cgroup.paths())
            .env("NOTIFY_SOCKET", notify.path())
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(console)
            .stderr(errors)
            .spawn()
            .map_err(|source| Error::Run {
                command: "systemd-nspawn".to_owned(),
                source,
            })?;
        match self.wait_ready(&notify, &mut nspawn) {
            Ok(leader) => Ok(Running { nspawn, leader }),
            Err(error) => {
                // What half came up must not be in the way of the next attempt.
                cgroup.kill()?;
                nspawn.wait().map_err(|source| Error::Run {
                    command: "systemd-nspawn".to_owned(),
                    source,
                })?;
                Err(error)
            }
        }
    }

    fn wait_ready(&self, notify: &Notify, nspawn: &mut Child) -> Result<u32, Error> {
        let mut wait = |key| notify.wait(key, nspawn, &self.name, BOOT_LIMIT, || self.console());
        let leader = wait("X_NSPAWN_LEADER_PID")?;
        wait("READY")?;
        leader.parse().map_err(|_| Error::Ended {
            name: self.name.clone(),
            log: self.console(),
        })
    }

    /// Returns the end of what the machine wrote to its console.
    pub(crate) fn console(&self) -> String {
        tail(&self.console_path())
    }

    fn console_path(&self) -> PathBuf {
        self.directory.join("console.log")
    }

    fn upper(&self, path: &str) -> PathBuf {
        self.directory
            .join("upper")
            .join(path.trim_start_matches('/'))
    }
}

/// Returns the last lines of a log, or why they cannot be had.
pub(crate) fn tail(path: &Path) -> String {
    match fs::read(path) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let lines: Vec<_> = text.lines().collect();
            lines[lines.len().saturating_sub(CONSOLE_LINES)..].join("\n")
        }
        Err(error) => format!("(cannot read {}: {error})", path.display()),
    }
}
