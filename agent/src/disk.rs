//! Where a machine's copy of its schedule is kept: two folders of small files, in a directory, or in memory for a simulation, whose power
//! cuts then come between any two writes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Which files.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Folder {
    /// Entries of the schedule, by the unit's name.
    Units,
    /// Unit files, by their hash.
    Files,
}

impl Folder {
    pub(crate) const ALL: [Folder; 2] = [Folder::Units, Folder::Files];

    fn name(self) -> &'static str {
        match self {
            Folder::Units => "units",
            Folder::Files => "files",
        }
    }
}

/// A disk.
#[derive(Clone, Debug)]
pub(crate) enum Disk {
    Directory(PathBuf),
    Memory(MemoryDisk),
}

/// A disk that is none. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    inner: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    files: BTreeMap<(Folder, String), Vec<u8>>,
    /// Changes that are still made before the disk fails; none if it does not.
    fails_after: Option<u64>,
}

impl MemoryDisk {
    /// After so many changes more it refuses every one, as a full disk does and as it looks after a power cut at that moment; none for
    /// never.
    pub fn fail_after(&self, changes: Option<u64>) {
        self.lock().fails_after = changes;
    }

    /// Changes one file; removes it with none.
    fn set(&self, folder: Folder, name: &str, bytes: Option<&[u8]>) -> io::Result<()> {
        let mut kept = self.lock();
        match &mut kept.fails_after {
            Some(0) => return Err(ErrorKind::StorageFull.into()),
            Some(left) => *left -= 1,
            None => {}
        }
        let key = (folder, name.to_owned());
        match bytes {
            Some(bytes) => drop(kept.files.insert(key, bytes.to_vec())),
            None => drop(kept.files.remove(&key)),
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk {
    /// Where this is, for people.
    pub(crate) fn path(&self, folder: Folder, name: &str) -> PathBuf {
        match self {
            Disk::Directory(directory) => directory.join(folder.name()).join(name),
            Disk::Memory(_) => Path::new(folder.name()).join(name),
        }
    }

    pub(crate) fn names(&self, folder: Folder) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        match self {
            Disk::Directory(_) => {
                for entry in fs::read_dir(self.path(folder, ""))? {
                    if let Ok(name) = entry?.file_name().into_string() {
                        names.push(name);
                    }
                }
            }
            Disk::Memory(disk) => {
                let kept = disk.lock();
                let found = kept.files.keys().filter(|(of, _)| *of == folder);
                names.extend(found.map(|(_, name)| name.clone()));
            }
        }
        Ok(names)
    }

    pub(crate) fn has(&self, folder: Folder, name: &str) -> bool {
        match self {
            Disk::Directory(_) => self.path(folder, name).exists(),
            Disk::Memory(disk) => disk.lock().files.contains_key(&(folder, name.to_owned())),
        }
    }

    pub(crate) fn read(&self, folder: Folder, name: &str) -> io::Result<Vec<u8>> {
        match self {
            Disk::Directory(_) => fs::read(self.path(folder, name)),
            Disk::Memory(disk) => {
                let kept = disk.lock();
                let found = kept.files.get(&(folder, name.to_owned())).cloned();
                found.ok_or_else(|| ErrorKind::NotFound.into())
            }
        }
    }

    /// Makes the folder, if it is not there.
    pub(crate) fn prepare(&self, folder: Folder) -> io::Result<()> {
        match self {
            Disk::Directory(_) => fs::create_dir_all(self.path(folder, "")),
            Disk::Memory(_) => Ok(()),
        }
    }

    /// Writes a file whole or not at all, also if the power goes.
    pub(crate) fn replace(&self, folder: Folder, name: &str, bytes: &[u8]) -> io::Result<()> {
        match self {
            Disk::Directory(_) => {
                let unfinished = self.path(folder, ".unfinished");
                let mut file = File::create(&unfinished)?;
                file.write_all(bytes)?;
                file.sync_all()?;
                fs::rename(&unfinished, self.path(folder, name))
            }
            Disk::Memory(disk) => disk.set(folder, name, Some(bytes)),
        }
    }

    pub(crate) fn remove(&self, folder: Folder, name: &str) -> io::Result<()> {
        match self {
            Disk::Directory(_) => fs::remove_file(self.path(folder, name)),
            Disk::Memory(disk) => disk.set(folder, name, None),
        }
    }

    /// A name is safe from a power cut only once its folder is.
    pub(crate) fn sync(&self, folder: Folder) -> io::Result<()> {
        match self {
            Disk::Directory(_) => File::open(self.path(folder, ""))?.sync_all(),
            Disk::Memory(_) => Ok(()),
        }
    }

    /// Removes the folder with all that is in it.
    pub(crate) fn clear(&self, folder: Folder) -> io::Result<()> {
        match self {
            Disk::Directory(_) => match fs::remove_dir_all(self.path(folder, "")) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
                Ok(()) | Err(_) => Ok(()),
            },
            Disk::Memory(disk) => {
                for name in self.names(folder)? {
                    disk.set(folder, &name, None)?;
                }
                Ok(())
            }
        }
    }
}
