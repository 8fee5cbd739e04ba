//! Kills units without systemd, through the kernel's cgroups: process 1 may be what does not answer.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use super::GUARD_UNIT;

/// Where cgroups are mounted.
const MOUNT: &str = "/sys/fs/cgroup";

/// Slices in slices that are looked through for a unit. Each dash in a slice's name is one; nobody writes names with so many.
const SLICES_DEEP_MAX: usize = 16;

/// The cgroups of one systemd.
#[derive(Debug)]
pub(super) struct Cgroups {
    /// The directories below which that systemd has its slices.
    roots: Vec<PathBuf>,
}

impl Cgroups {
    /// Those of the systemd that this process, the guard's, is a service of.
    pub(super) fn ours() -> io::Result<Cgroups> {
        let text = fs::read_to_string("/proc/self/cgroup")?;
        Ok(Cgroups {
            roots: roots(Path::new(MOUNT), &text),
        })
    }

    #[cfg(test)]
    pub(super) fn below(root: &Path) -> Cgroups {
        Cgroups {
            roots: vec![root.to_path_buf()],
        }
    }

    /// Sends `SIGKILL` to whatever a unit has started. A unit without processes has nothing to be killed.
    ///
    /// # Errors
    /// If the kernel does not let us.
    pub(super) fn kill(&self, unit: &str) -> io::Result<()> {
        for root in &self.roots {
            gone_is_fine(kill_in(root, unit, SLICES_DEEP_MAX))?;
        }
        Ok(())
    }
}

/// From `/proc/self/cgroup`: one line for each hierarchy, `0::PATH` for the unified one. systemd uses that, or one named after itself.
fn roots(mount: &Path, text: &str) -> Vec<PathBuf> {
    let mut roots = Vec::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(number), Some(name), Some(path)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let path = manager(path);
        if name == "name=systemd" {
            roots.push(mount.join("systemd").join(&path));
        } else if number == "0" {
            roots.push(mount.join(&path));
            roots.push(mount.join("unified").join(&path));
        }
    }
    roots
}

/// The path of the systemd that has the guard as a service, from the guard's own: without the service and the slices around it.
fn manager(path: &str) -> PathBuf {
    let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if let Some(at) = parts.iter().rposition(|part| *part == GUARD_UNIT) {
        parts.truncate(at);
    }
    while parts.last().is_some_and(|part| part.ends_with(".slice")) {
        parts.pop();
    }
    parts.iter().collect()
}

/// Kills the unit if it is in this slice or in one below.
fn kill_in(slice: &Path, unit: &str, deep: usize) -> io::Result<()> {
    // What looks like a file of the kernel's own gets an underscore from systemd.
    for name in [unit, &format!("_{unit}")] {
        let cgroup = slice.join(name);
        if cgroup.is_dir() {
            gone_is_fine(kill_tree(&cgroup))?;
        }
    }
    if deep == 0 {
        return Ok(());
    }
    for below in directories(slice)? {
        if below.extension().is_some_and(|kind| kind == "slice") {
            gone_is_fine(kill_in(&below, unit, deep - 1))?;
        }
    }
    Ok(())
}

/// Kills what is in a cgroup and below it.
fn kill_tree(cgroup: &Path) -> io::Result<()> {
    let at_once = cgroup.join("cgroup.kill");
    if at_once.exists() {
        return fs::write(at_once, "1");
    }
    // The older hierarchies, and kernels before 5.14. What forks meanwhile is killed the next time.
    for line in fs::read_to_string(cgroup.join("cgroup.procs"))?.lines() {
        let Some(process) = line.parse().ok().and_then(Pid::from_raw) else {
            continue;
        };
        match kill_process(process, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => return Err(error.into()),
        }
    }
    for below in directories(cgroup)? {
        gone_is_fine(kill_tree(&below))?;
    }
    Ok(())
}

fn directories(parent: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// A cgroup goes with its last process.
fn gone_is_fine(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cgroups_of_our_systemd_are_found_by_our_own() {
        let mount = Path::new("/c");
        let unified = roots(mount, "0::/system.slice/fleet-guard.service\n");
        assert_eq!(unified, [Path::new("/c"), Path::new("/c/unified")]);
        let hybrid = "5:cpu:/x\n1:name=systemd:/box/system.slice/fleet-guard.service\n\
                      0::/user.slice/user@0.service/app.slice/fleet-guard.service\n";
        let expected = [
            "/c/systemd/box",
            "/c/user.slice/user@0.service",
            "/c/unified/user.slice/user@0.service",
        ];
        assert_eq!(roots(mount, hybrid), expected.map(PathBuf::from));
    }

    #[test]
    fn a_unit_is_found_in_any_slice_and_killed_at_once_where_the_kernel_can() {
        let root = tempfile::tempdir().unwrap();
        let slice = root.path().join("system.slice/system-a.slice");
        let (unit, other) = (slice.join("a@1.service"), slice.join("b.service"));
        for cgroup in [&unit, &other] {
            fs::create_dir_all(cgroup).unwrap();
            fs::write(cgroup.join("cgroup.kill"), "").unwrap();
        }
        Cgroups::below(root.path()).kill("a@1.service").unwrap();
        assert_eq!(fs::read_to_string(unit.join("cgroup.kill")).unwrap(), "1");
        assert_eq!(fs::read_to_string(other.join("cgroup.kill")).unwrap(), "");
        Cgroups::below(root.path()).kill("unknown.service").unwrap();
        Cgroups::below(&root.path().join("gone"))
            .kill("a@1.service")
            .unwrap();
    }
}
