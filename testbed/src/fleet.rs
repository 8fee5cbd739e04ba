//! Installs fleet as a package would: programs, units, sysusers and tmpfiles, all from what the repository ships.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::command::host;

/// What of `dist/` goes where on a machine.
const SHIPPED: &[(&str, &str)] = &[
    ("fleet.service", "usr/lib/systemd/system/fleet.service"),
    ("fleet.socket", "usr/lib/systemd/system/fleet.socket"),
    ("fleet.sysusers", "usr/lib/sysusers.d/fleet.conf"),
    ("fleet.tmpfiles", "usr/lib/tmpfiles.d/fleet.conf"),
];

/// The files of a build of fleet.
#[derive(Clone, Debug)]
pub struct FleetFiles {
    /// The server.
    pub fleetd: PathBuf,
    /// The client.
    pub fleetctl: PathBuf,
    /// The repository's `dist/`.
    pub dist: PathBuf,
}

impl FleetFiles {
    /// Puts fleet into `layer`, which machines are overlays of, and enables it.
    pub(crate) fn install(&self, layer: &Path) -> Result<(), Error> {
        let bin = layer.join("usr/bin");
        copy(&self.fleetd, &bin.join("fleetd"))?;
        copy(&self.fleetctl, &bin.join("fleetctl"))?;
        for (name, place) in SHIPPED {
            copy(&self.dist.join(name), &layer.join(place))?;
        }
        let root = format!("--root={}", layer.display());
        host(&[
            "systemctl",
            "--quiet",
            &root,
            "enable",
            "fleet.service",
            "fleet.socket",
        ])
        .map(drop)
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
    }
    fs::copy(from, to)
        .map(drop)
        .map_err(Error::file("install", from))
}
