//! Our files on disk: unit files, the links by which systemd finds them, and marks. Each file is whole or not there, whenever
//! the process dies.
//!
//! All are small and on tmpfs, so the calls are made in place rather than on a thread of their own.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use model::{Mark, ServiceError};
use unitfile::{FileHash, UnitFile, UnitHash, UnitName};

use super::mark;

/// Begins the names of files that are being written; what a killed process left of them is removed at the next start.
const UNFINISHED: &str = ".fleet-new-";

/// In the directory of marks, holds those of units that were given up. A mark is moved there rather than written anew, as that needs
/// no space: `/run` may be full when a unit has to be stopped. A mark outside of it is newer.
const GIVEN_UP: &str = "given-up";

/// Anyone may read unit files and marks, as those of the host.
const MODE: u32 = 0o644;

/// Where our files are.
#[derive(Debug)]
pub(super) struct Files {
    units: PathBuf,
    marks: PathBuf,
    links: PathBuf,
    /// Makes the names of unfinished files unique in this process.
    unfinished: AtomicU64,
}

/// A unit file on disk.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) file: FileHash,
    /// None if it is no unit file.
    pub(super) unit_file: Option<UnitFile>,
}

impl Found {
    pub(super) fn hash(&self) -> Option<UnitHash> {
        self.unit_file.as_ref().map(UnitFile::hash)
    }

    /// True if the unit may have been enabled.
    pub(super) fn may_be_enabled(&self) -> bool {
        self.unit_file.as_ref().is_none_or(UnitFile::has_install)
    }
}

impl Files {
    /// Makes the directories, and removes what a killed process left unfinished.
    ///
    /// # Errors
    /// If a directory cannot be made or read.
    pub(super) fn open(units: &Path, marks: &Path, links: &Path) -> Result<Files, ServiceError> {
        let given_up = marks.join(GIVEN_UP);
        for directory in [units, marks, &given_up, links] {
            fs::create_dir_all(directory).map_err(|error| failed(directory, &error))?;
        }
        for directory in [units, marks] {
            for name in entries(directory)? {
                if name.starts_with(UNFINISHED) {
                    remove(&directory.join(name))?;
                }
            }
        }
        Ok(Files {
            units: units.to_path_buf(),
            marks: marks.to_path_buf(),
            links: links.to_path_buf(),
            unfinished: AtomicU64::new(0),
        })
    }

    /// Every unit of which there is a file, a link or a mark. Anything else in the directories is left alone.
    pub(super) fn names(&self) -> Result<BTreeSet<UnitName>, ServiceError> {
        let mut names = BTreeSet::new();
        let runnable = |name: &str| {
            let name = UnitName::parse(name).ok()?;
            name.check_runnable().is_ok().then_some(name)
        };
        for directory in [&self.units, &self.marks, &self.marks.join(GIVEN_UP)] {
            names.extend(entries(directory)?.iter().filter_map(|name| runnable(name)));
        }
        for name in entries(&self.links)?
            .iter()
            .filter_map(|name| runnable(name))
        {
            if self.is_linked(&name) {
                names.insert(name);
            }
        }
        Ok(names)
    }

    /// True if anything of this unit is there.
    pub(super) fn has(&self, name: &UnitName) -> bool {
        let there = |path: &Path| path.symlink_metadata().is_ok();
        there(&self.unit(name))
            || there(&self.mark_path(name))
            || there(&self.given_up_path(name))
            || self.is_linked(name)
    }

    /// The unit file on disk; none if there is none or it cannot be read.
    pub(super) fn read(&self, name: &UnitName) -> Option<Found> {
        let path = self.unit(name);
        match fs::read(&path) {
            Ok(raw) => Some(Found {
                file: FileHash::of_raw(&raw),
                unit_file: UnitFile::from_bytes(&raw).ok(),
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "unit file cannot be read");
                None
            }
        }
    }

    /// What was remembered of the unit; none if nothing was, or what was is no mark.
    ///
    /// # Errors
    /// If it cannot be read now, and may be later: without its mark a unit would be started again.
    pub(super) fn read_mark(&self, name: &UnitName) -> Result<Option<Mark>, ServiceError> {
        let path = self.mark_path(name);
        match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let path = self.given_up_path(name);
                let mark = marked(&path, fs::read_to_string(&path))?;
                Ok(mark.as_ref().map(Mark::given_up))
            }
            text => marked(&path, text),
        }
    }

    /// Writes the unit file and links it.
    pub(super) fn put(&self, name: &UnitName, file: &UnitFile) -> Result<(), ServiceError> {
        self.write(&self.units, name, file.raw().as_bytes())?;
        let link = self.link(name);
        if !self.is_linked(name) {
            symlink(self.unit(name), &link).map_err(|error| failed(&link, &error))?;
            self.touch_links()?;
        }
        Ok(())
    }

    /// Writes the mark. That a unit is given up can be written also with a full disk.
    pub(super) fn put_mark(&self, name: &UnitName, mark: &Mark) -> Result<(), ServiceError> {
        let before = self.read_mark(name)?.as_ref().map(Mark::given_up);
        if before.as_ref() != Some(mark) {
            return self.prepare_mark(name, mark)?.put();
        }
        let (from, to) = (self.mark_path(name), self.given_up_path(name));
        match fs::rename(&from, &to) {
            Ok(()) => Ok(()),
            // It is there already.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed(&to, &error)),
        }
    }

    /// Writes the mark beside the one there is: what is done before it is put in force cannot end with a disk too full for it.
    pub(super) fn prepare_mark(
        &self,
        name: &UnitName,
        mark: &Mark,
    ) -> Result<Prepared, ServiceError> {
        self.prepare(&self.marks, name, mark::print(mark).as_bytes())
    }

    /// Removes the mark, so that what is left counts as half-loaded.
    pub(super) fn remove_mark(&self, name: &UnitName) -> Result<(), ServiceError> {
        // In this order: without the newer one, the older one would count.
        remove(&self.given_up_path(name))?;
        remove(&self.mark_path(name))
    }

    /// Removes all that is there of a unit, the file last: as long as it is there, the unit is known to be ours.
    pub(super) fn remove(&self, name: &UnitName) -> Result<(), ServiceError> {
        self.remove_mark(name)?;
        if self.is_linked(name) {
            remove(&self.link(name))?;
        }
        // Disabling may have removed the link already; systemd's cache is to notice either way.
        self.touch_links()?;
        remove(&self.unit(name))
    }

    /// Where the unit file is.
    pub(super) fn unit(&self, name: &UnitName) -> PathBuf {
        self.units.join(name.as_str())
    }

    /// Where the link is.
    pub(super) fn link(&self, name: &UnitName) -> PathBuf {
        self.links.join(name.as_str())
    }

    /// The directory in systemd's unit path that holds our links.
    pub(super) fn links(&self) -> &Path {
        &self.links
    }

    /// True if `path` is a link to one of our unit files.
    pub(super) fn leads_to_ours(&self, path: &Path) -> bool {
        fs::read_link(path).is_ok_and(|target| {
            target.parent() == Some(&self.units)
                || (target.parent() == Some(Path::new("")) && path.parent() == Some(&self.links))
                    && fs::read_link(self.links.join(&target))
                        .is_ok_and(|target| target.parent() == Some(&self.units))
        })
    }

    fn is_linked(&self, name: &UnitName) -> bool {
        fs::read_link(self.link(name)).is_ok_and(|target| target == self.unit(name))
    }

    fn mark_path(&self, name: &UnitName) -> PathBuf {
        self.marks.join(name.as_str())
    }

    fn given_up_path(&self, name: &UnitName) -> PathBuf {
        self.marks.join(GIVEN_UP).join(name.as_str())
    }

    fn write(&self, directory: &Path, name: &UnitName, bytes: &[u8]) -> Result<(), ServiceError> {
        self.prepare(directory, name, bytes)?.put()
    }

    fn prepare(
        &self,
        directory: &Path,
        name: &UnitName,
        bytes: &[u8],
    ) -> Result<Prepared, ServiceError> {
        let number = self.unfinished.fetch_add(1, Ordering::Relaxed);
        let prepared = Prepared {
            unfinished: directory.join(format!("{UNFINISHED}{}-{number}", std::process::id())),
            path: directory.join(name.as_str()),
        };
        write_new(&prepared.unfinished, bytes).map_err(|error| failed(&prepared.path, &error))?;
        Ok(prepared)
    }

    /// Gives the link directory a time of its own. systemd keeps its list of files until the time of a directory changes, and
    /// the kernel sets that time only every few milliseconds: a link made just after systemd looked could stay unseen.
    fn touch_links(&self) -> Result<(), ServiceError> {
        File::open(&self.links)
            .and_then(|directory| directory.set_modified(SystemTime::now()))
            .map_err(|error| failed(&self.links, &error))
    }
}

/// A file that was written and is not in its place yet; dropping it takes it away.
#[derive(Debug)]
pub(super) struct Prepared {
    unfinished: PathBuf,
    path: PathBuf,
}

impl Prepared {
    /// Puts it in its place, whole and at once.
    pub(super) fn put(self) -> Result<(), ServiceError> {
        fs::rename(&self.unfinished, &self.path).map_err(|error| failed(&self.path, &error))
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.unfinished) {
            tracing::warn!(%error, "an unfinished file stays until the next start");
        }
    }
}

fn marked(path: &Path, text: io::Result<String>) -> Result<Option<Mark>, ServiceError> {
    match text {
        Ok(text) => Ok(mark::parse(&text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) if is_no_mark(&error) => {
            tracing::warn!(path = %path.display(), %error, "what is remembered of a unit is damaged, and counts as none");
            Ok(None)
        }
        Err(error) => Err(failed(path, &error)),
    }
}

/// True if trying again would not help: something else has its place.
fn is_no_mark(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::InvalidData
            | ErrorKind::IsADirectory
            | ErrorKind::NotADirectory
            | ErrorKind::PermissionDenied
    )
}

/// The error for a file.
pub(super) fn failed(path: &Path, error: &io::Error) -> ServiceError {
    ServiceError::File {
        path: path.display().to_string(),
        message: error.to_string(),
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(path)?;
    file.write_all(bytes)?;
    // The exact time: by it systemd tells whether a file changed since it was read.
    file.set_modified(SystemTime::now())
}

fn remove(path: &Path) -> Result<(), ServiceError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(path, &error)),
    }
}

/// The names in a directory that are text.
fn entries(directory: &Path) -> Result<Vec<String>, ServiceError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(|error| failed(directory, &error))? {
        let entry = entry.map_err(|error| failed(directory, &error))?;
        if let Ok(name) = entry.file_name().into_string() {
            names.push(name);
        }
    }
    Ok(names)
}
