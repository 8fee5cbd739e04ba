//! The cgroups of a testbed: one for each machine and etcd member, below one that ends them all.
//!
//! Only the kernel's unified hierarchy can kill and freeze a whole group. On a host with the older
//! layout, where that hierarchy lies beside the one named systemd, machines need a group in both.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Error;
use crate::wait::until;

/// How long the kernel may take to kill or freeze a group. It takes milliseconds; a process in
/// uninterruptible sleep takes as long as its disk.
const SETTLE_LIMIT: Duration = Duration::from_secs(10);

const PARENT: &str = "fleet-testbed";

/// Where cgroups are made on this host: the unified hierarchy first.
pub(crate) fn hierarchies() -> Result<Vec<PathBuf>, String> {
    let all = Path::new("/sys/fs/cgroup");
    let found = if all.join("cgroup.controllers").exists() {
        vec![all.to_path_buf()]
    } else if all.join("unified/cgroup.controllers").exists() {
        let named = all.join("systemd");
        let both = [all.join("unified"), named];
        both.into_iter()
            .filter(|root| root.join("cgroup.procs").exists())
            .collect()
    } else {
        return Err(
            "no cgroup v2 is mounted at /sys/fs/cgroup or /sys/fs/cgroup/unified".to_owned(),
        );
    };
    Ok(found)
}

/// A cgroup of a testbed, in every hierarchy of the host.
#[derive(Debug)]
pub(crate) struct Cgroup {
    /// The unified hierarchy's first.
    paths: Vec<PathBuf>,
}

impl Cgroup {
    /// Makes the group `name` of testbed `id`; it may exist.
    pub(crate) fn make(id: &str, name: &str) -> Result<Self, Error> {
        let roots = hierarchies().map_err(|reason| Error::Unavailable { reason })?;
        let paths: Vec<_> = roots
            .iter()
            .map(|root| root.join(PARENT).join(id).join(name))
            .collect();
        for path in &paths {
            fs::create_dir_all(path).map_err(Error::file("create cgroup", path))?;
        }
        Ok(Self { paths })
    }

    /// Returns the directories that a process must enter to be in the group.
    pub(crate) fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Kills every process in the group with SIGKILL and returns when all are gone.
    pub(crate) fn kill(&self) -> Result<(), Error> {
        self.write("cgroup.kill", "1")?;
        self.settle("populated 0")
    }

    /// Stops every process in the group where it is, as SIGSTOP would, and returns when all have.
    pub(crate) fn freeze(&self) -> Result<(), Error> {
        self.write("cgroup.freeze", "1")?;
        self.settle("frozen 1")
    }

    /// Lets every process in the group go on.
    pub(crate) fn thaw(&self) -> Result<(), Error> {
        self.write("cgroup.freeze", "0")?;
        self.settle("frozen 0")
    }

    fn write(&self, file: &str, text: &str) -> Result<(), Error> {
        let path = self.paths[0].join(file);
        fs::write(&path, text).map_err(Error::file("write", &path))
    }

    fn settle(&self, wanted: &str) -> Result<(), Error> {
        let path = self.paths[0].join("cgroup.events");
        until(
            &format!("'{wanted}' in {}", path.display()),
            SETTLE_LIMIT,
            || {
                let events = fs::read_to_string(&path).map_err(|error| error.to_string())?;
                if events.lines().any(|line| line == wanted) {
                    Ok(())
                } else {
                    Err(events)
                }
            },
        )
    }
}
