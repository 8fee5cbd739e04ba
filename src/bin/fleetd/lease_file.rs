//! Remembers this machine's lease across a restart of fleetd, so that the cluster sees no loss. Under `/run`: gone after a reboot.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use registry::LeaseId;

/// The file that holds the lease.
#[derive(Clone, Debug)]
pub(crate) struct LeaseFile(PathBuf);

impl LeaseFile {
    /// The file in fleet's runtime directory.
    pub(crate) fn in_directory(directory: &Path) -> LeaseFile {
        LeaseFile(directory.join("lease"))
    }

    /// The remembered lease; none if there is none, or the file cannot be understood (then a new lease is taken).
    pub(crate) fn read(&self) -> Option<LeaseId> {
        let text = fs::read_to_string(&self.0).ok()?;
        i64::from_str_radix(text.trim(), 16).ok().map(LeaseId)
    }

    /// Remembers a lease, whole or not at all.
    pub(crate) fn write(&self, lease: LeaseId) -> io::Result<()> {
        let temporary = self.0.with_extension("new");
        fs::write(&temporary, format!("{:x}\n", lease.0))?;
        fs::rename(&temporary, &self.0)
    }

    /// Forgets it.
    pub(crate) fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_remembered_and_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let file = LeaseFile::in_directory(folder.path());
        assert_eq!(file.read(), None);
        file.write(LeaseId(0x1234_5678_9abc)).unwrap();
        assert_eq!(file.read(), Some(LeaseId(0x1234_5678_9abc)));
        fs::write(folder.path().join("lease"), "rubbish").unwrap();
        assert_eq!(file.read(), None);
        file.remove().unwrap();
        file.remove().unwrap();
        assert_eq!(file.read(), None);
    }
}
