//! What a testbed stands on: its directory, its disk in memory, the lock that says it lives, and the guard that ends it.
//!
//! ```text
//! /run/fleet-testbed/ID/  owner     the PID that made it, for people
//!                         lock      locked while that process lives
//!                         kept      there if it was left up on purpose
//!                         end.sh    ends it
//!                         disk/     a tmpfs: layer/ (fleet's files), one directory a machine or etcd member
//! ```

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::Error;
use crate::command::host;

const STATE: &str = "/run/fleet-testbed";
const END: &str = include_str!("end.sh");

/// systemd and dbus need some tens of inotify instances a machine; the kernel's default is 128 for all of root.
const INOTIFY_INSTANCES_MIN: u64 = 8192;

/// The directory, disk, lock and guard of one testbed.
#[derive(Debug)]
pub(crate) struct Ground {
    id: String,
    path: PathBuf,
    /// Held for its lock only. The kernel drops it when this process ends, however it does.
    _lock: File,
    guard: Child,
}

impl Ground {
    /// Ends what dead processes left behind, then makes the ground of a new testbed.
    pub(crate) fn make() -> Result<Self, Error> {
        let state = Path::new(STATE);
        fs::create_dir_all(state).map_err(Error::file("create", state))?;
        // Between its making and its locking a directory looks abandoned: one at a time.
        let gate_path = state.join(".gate");
        let gate = File::create(&gate_path).map_err(Error::file("create", &gate_path))?;
        gate.lock().map_err(Error::file("lock", &gate_path))?;
        sweep(state)?;
        let id = free_id(state);
        let path = state.join(&id);
        fs::create_dir(&path).map_err(Error::file("create", &path))?;
        write(&path.join("owner"), &std::process::id().to_string())?;
        write(&path.join("end.sh"), END)?;
        let lock_path = path.join("lock");
        let lock = File::create(&lock_path).map_err(Error::file("create", &lock_path))?;
        lock.lock().map_err(Error::file("lock", &lock_path))?;
        let guard = post_guard(&path)?;
        let ground = Self {
            id,
            path,
            _lock: lock,
            guard,
        };
        let disk = ground.disk();
        fs::create_dir(&disk).map_err(Error::file("create", &disk))?;
        host(&[
            "mount",
            "-t",
            "tmpfs",
            "-o",
            "mode=755",
            "fleet-testbed",
            &disk.to_string_lossy(),
        ])?;
        raise_inotify()?;
        Ok(ground)
    }

    /// Returns the name that tells this testbed from others on the host.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Returns where the testbed's files are: a tmpfs.
    pub(crate) fn disk(&self) -> PathBuf {
        self.path.join("disk")
    }

    /// Returns the script that ends the testbed.
    pub(crate) fn end_script(&self) -> PathBuf {
        self.path.join("end.sh")
    }

    /// Tells the guard and later runs to leave the testbed up when this process ends.
    pub(crate) fn keep(&mut self) -> Result<(), Error> {
        write(&self.path.join("kept"), "")?;
        self.dismiss("keep\n")
    }

    /// Ends the testbed and returns when all of it is gone.
    pub(crate) fn end(&mut self) -> Result<(), Error> {
        self.dismiss("end\n")
    }

    fn dismiss(&mut self, word: &str) -> Result<(), Error> {
        let script = self.end_script();
        let failed = |source| Error::Run {
            command: format!("sh {}", script.display()),
            source,
        };
        if let Some(mut pipe) = self.guard.stdin.take() {
            pipe.write_all(word.as_bytes()).map_err(failed)?;
        }
        let status = self.guard.wait().map_err(failed)?;
        if status.success() {
            return Ok(());
        }
        let output = format!("something of {} may be left", self.path.display());
        Err(Error::Failed {
            command: format!("sh {}", script.display()),
            status: status.to_string(),
            output,
        })
    }
}

/// Starts the process that ends the testbed when this one has died. It is in a session of its own, so that
/// what ends us from a terminal does not end it too.
fn post_guard(path: &Path) -> Result<Child, Error> {
    let script = path.join("end.sh");
    Command::new("setsid")
        .arg("sh")
        .arg(&script)
        .arg("--guard")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|source| Error::Run {
            command: format!("sh {} --guard", script.display()),
            source,
        })
}

/// Ends testbeds whose process died together with its guard. One that is locked lives; one that was kept stays.
fn sweep(state: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(state).map_err(Error::file("list", state))? {
        let path = entry.map_err(Error::file("list", state))?.path();
        let script = path.join("end.sh");
        if path.join("kept").exists() || !script.exists() {
            continue;
        }
        // What cannot be ended must not keep a new testbed from being made: it shares nothing with it.
        if let Err(error) = host(&["sh", &script.to_string_lossy(), "--unless-owned"]) {
            eprintln!(
                "testbed: leftovers in {} could not be ended: {error}",
                path.display()
            );
        }
    }
    Ok(())
}

/// Returns a name no testbed here has. Short, because it becomes part of the namespace's name.
fn free_id(state: &Path) -> String {
    let own = std::process::id();
    let names = (1..).map(|count| format!("{own}-{count}"));
    names
        .into_iter()
        .find(|name| {
            !state.join(name).exists() && !Path::new(&format!("/run/netns/ftb-{name}")).exists()
        })
        .unwrap_or_default()
}

fn raise_inotify() -> Result<(), Error> {
    let path = Path::new("/proc/sys/fs/inotify/max_user_instances");
    let text = fs::read_to_string(path).map_err(Error::file("read", path))?;
    if text
        .trim()
        .parse::<u64>()
        .is_ok_and(|now| now >= INOTIFY_INSTANCES_MIN)
    {
        return Ok(());
    }
    write(path, &INOTIFY_INSTANCES_MIN.to_string())
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(Error::file("write", path))
}
