//! Decides whether this host can boot machines, and says in one sentence why not.

use std::path::Path;

use crate::cgroup;
use crate::command;

/// The programs a testbed runs, and the Debian package each comes from.
const PROGRAMS: &[(&str, &str)] = &[
    ("systemd-nspawn", "systemd-container"),
    ("mmdebstrap", "mmdebstrap"),
    ("etcd", "etcd-server"),
    ("etcdctl", "etcd-client"),
    ("ip", "iproute2"),
    ("ssh-keygen", "openssh-client"),
    ("nsenter", "util-linux"),
    ("setsid", "util-linux"),
    ("flock", "util-linux"),
    ("timeout", "coreutils"),
];

/// Returns why this host cannot boot machines, or `None` if it can.
#[must_use]
pub fn unavailable_because() -> Option<String> {
    let root = std::fs::metadata("/proc/self").is_ok_and(|own| {
        use std::os::unix::fs::MetadataExt;
        own.uid() == 0
    });
    if !root {
        return Some("machines are containers and need root; run as root".to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    for (program, package) in PROGRAMS {
        if !folders.iter().any(|folder| folder.join(program).is_file()) {
            return Some(format!(
                "{program} is not installed (package {package}); run `make setup`"
            ));
        }
    }
    if let Err(reason) = cgroup::hierarchies() {
        return Some(reason);
    }
    if !Path::new("/proc/self/ns/net").exists() {
        return Some("the kernel has no network namespaces".to_owned());
    }
    // Root in an unprivileged container has the uid, not the rights: ask for what will be needed.
    if let Err(error) = command::host(&["unshare", "--mount", "--net", "true"]) {
        return Some(format!("root may not make namespaces here: {error}"));
    }
    None
}
