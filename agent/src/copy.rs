//! This machine's copy of its schedule, on its own disk: what it goes by when it has booted and the store cannot be reached.
//!
//! ```text
//! /var/lib/fleet/schedule/units/UNIT    the entry, as text
//!                         files/HASH    the unit file, byte for byte
//! ```
//!
//! It is written some time after the schedule changed, off the path of any start. A file that a power cut left torn is not taken for
//! another: a unit file has to have its hash, an entry has to be whole.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use model::{Assignment, Generation, TargetState};
use registry::{Registry, RegistryError};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use unitfile::{FileHash, UnitFile, UnitName};

use crate::causes::with_causes;
use crate::decide::files;
use crate::disk::{Disk, Folder, MemoryDisk};

/// How long further changes of the schedule are waited for. A power cut within it brings back the schedule of before.
const QUIET: Duration = Duration::from_secs(1);

/// The pause after the store or the disk failed.
const RETRY: Duration = Duration::from_secs(10);

/// How often it is looked whether a file that the store has lost is there again.
const FILE_RETRY: Duration = Duration::from_secs(60);

/// A machine's schedule: what it is to have.
pub(crate) type Schedule = BTreeMap<UnitName, Assignment>;

/// The copy on disk.
#[derive(Clone, Debug)]
pub struct ScheduleCopy {
    disk: Disk,
}

/// Why the copy could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    #[error("{}", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("a unit file for it")]
    Store(#[from] RegistryError),
    #[error("writing was cut short")]
    Cut,
}

/// What became of a copy.
enum Copied {
    Whole,
    /// The store does not have all the files that it needs, whole.
    WithoutFiles,
}

impl ScheduleCopy {
    /// The copy in this directory, which need not be there yet.
    pub fn in_directory(directory: &Path) -> ScheduleCopy {
        ScheduleCopy {
            disk: Disk::Directory(directory.to_path_buf()),
        }
    }

    /// The copy on a disk that a simulation has.
    pub fn in_memory(disk: MemoryDisk) -> ScheduleCopy {
        ScheduleCopy {
            disk: Disk::Memory(disk),
        }
    }

    /// What it holds: entries with their files. What cannot be read is named in the log and left out.
    pub(crate) fn read(&self) -> BTreeMap<UnitName, (Assignment, UnitFile)> {
        let mut found = BTreeMap::new();
        for name in self.disk.names(Folder::Units).unwrap_or_default() {
            let Ok(unit) = UnitName::parse(&name) else {
                continue;
            };
            match self.read_one(&unit) {
                Some(entry) => drop(found.insert(unit, entry)),
                None => tracing::warn!(%unit, "the copy of its entry in the schedule is damaged"),
            }
        }
        found
    }

    fn read_one(&self, unit: &UnitName) -> Option<(Assignment, UnitFile)> {
        let text = self.disk.read(Folder::Units, unit.as_str()).ok()?;
        let assignment = parse(&String::from_utf8(text).ok()?)?;
        let file = assignment.file.to_string();
        let raw = self.disk.read(Folder::Files, &file).ok()?;
        let whole = FileHash::of_raw(&raw) == assignment.file;
        let file = UnitFile::from_bytes(&raw).ok().filter(|_| whole)?;
        Some((assignment, file))
    }

    /// Forgets everything: the machine has left the cluster in good order.
    ///
    /// # Errors
    /// If the disk does not let us.
    pub fn clear(&self) -> io::Result<()> {
        for folder in Folder::ALL {
            self.disk.clear(folder)?;
        }
        Ok(())
    }

    /// Keeps the copy like the schedule, without end.
    pub(crate) async fn follow(
        &self,
        registry: &Registry,
        mut schedule: watch::Receiver<Option<Schedule>>,
    ) {
        let mut written: Option<Schedule> = None;
        loop {
            if schedule.changed().await.is_err() {
                return std::future::pending().await;
            }
            sleep(QUIET).await;
            // What is wanted may change while the store or the disk is in trouble.
            loop {
                let wanted = schedule.borrow_and_update().clone();
                let Some(wanted) = wanted.filter(|wanted| written.as_ref() != Some(wanted)) else {
                    break;
                };
                match self.write(registry, &wanted).await {
                    Ok(Copied::Whole) => written = Some(wanted),
                    Ok(Copied::WithoutFiles) => {
                        if let Ok(Err(_)) = timeout(FILE_RETRY, schedule.changed()).await {
                            return std::future::pending().await;
                        }
                    }
                    Err(error) => {
                        let error = with_causes(&error);
                        tracing::warn!(error, "the machine's copy of its schedule is out of date");
                        sleep(RETRY).await;
                    }
                }
            }
        }
    }

    async fn write(&self, registry: &Registry, wanted: &Schedule) -> Result<Copied, CopyError> {
        let needed: BTreeSet<FileHash> = wanted.values().map(|entry| entry.file).collect();
        let missing: Vec<FileHash> = needed
            .iter()
            .filter(|hash| !self.disk.has(Folder::Files, &hash.to_string()))
            .copied()
            .collect();
        // One that is damaged keeps its unit from being started, and no other. It may be put back at any time.
        let found = files(registry, &missing).await?;
        let copied = match found.len() == missing.len() {
            true => Copied::Whole,
            false => Copied::WithoutFiles,
        };
        let (copy, wanted) = (self.clone(), wanted.clone());
        let write = move || copy.write_all(&wanted, &found);
        match self.disk {
            // It waits for the disk.
            Disk::Directory(_) => tokio::task::spawn_blocking(write)
                .await
                .map_err(|_| CopyError::Cut)??,
            Disk::Memory(_) => write()?,
        }
        Ok(copied)
    }

    fn write_all(
        &self,
        wanted: &Schedule,
        found: &BTreeMap<FileHash, Arc<UnitFile>>,
    ) -> Result<(), CopyError> {
        let disk = &self.disk;
        for folder in Folder::ALL {
            self.tried(folder, "", disk.prepare(folder))?;
        }
        for (hash, file) in found {
            let name = hash.to_string();
            let written = disk.replace(Folder::Files, &name, file.raw().as_bytes());
            self.tried(Folder::Files, &name, written)?;
        }
        for (unit, entry) in wanted {
            let (name, text) = (unit.as_str(), print(entry));
            let present = disk.read(Folder::Units, name);
            if present.is_ok_and(|present| present == text.as_bytes()) {
                continue;
            }
            let written = disk.replace(Folder::Units, name, text.as_bytes());
            self.tried(Folder::Units, name, written)?;
        }
        let units: BTreeSet<&str> = wanted.keys().map(UnitName::as_str).collect();
        let files: BTreeSet<String> = wanted.values().map(|it| it.file.to_string()).collect();
        self.prune(Folder::Units, |name| units.contains(name))?;
        self.prune(Folder::Files, |name| files.contains(name))?;
        for folder in Folder::ALL {
            self.tried(folder, "", disk.sync(folder))?;
        }
        Ok(())
    }

    fn prune(&self, folder: Folder, keeps: impl Fn(&str) -> bool) -> Result<(), CopyError> {
        for name in self.tried(folder, "", self.disk.names(folder))? {
            if !keeps(&name) {
                self.tried(folder, &name, self.disk.remove(folder, &name))?;
            }
        }
        Ok(())
    }

    /// Says which file an error is of.
    fn tried<T>(&self, folder: Folder, name: &str, outcome: io::Result<T>) -> Result<T, CopyError> {
        outcome.map_err(|source| CopyError::File {
            path: self.disk.path(folder, name),
            source,
        })
    }
}

fn print(entry: &Assignment) -> String {
    let Assignment {
        file,
        target,
        generation,
        start,
        restart,
    } = entry;
    format!(
        "file={file}\ntarget={target}\ngeneration={generation}\nstart={start}\nrestart={restart}\n"
    )
}

fn parse(text: &str) -> Option<Assignment> {
    let mut lines = text.lines();
    let mut value = |key: &str| lines.next()?.strip_prefix(key)?.strip_prefix('=');
    let entry = Assignment {
        file: value("file")?.parse().ok()?,
        target: value("target")?.parse::<TargetState>().ok()?,
        generation: Generation(value("generation")?.parse().ok()?),
        start: Generation(value("start")?.parse().ok()?),
        restart: Generation(value("restart")?.parse().ok()?),
    };
    // A text that was cut within its last number would read as a smaller one.
    (print(&entry) == text).then_some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(file: &UnitFile, start: u64) -> Assignment {
        Assignment {
            file: file.file_hash(),
            target: TargetState::Launched,
            generation: Generation(start),
            start: Generation(start),
            restart: Generation(0),
        }
    }

    #[test]
    fn a_schedule_is_read_as_it_was_written_and_what_is_torn_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        round_trip(&ScheduleCopy::in_directory(folder.path()));
        round_trip(&ScheduleCopy::in_memory(MemoryDisk::default()));
    }

    fn round_trip(copy: &ScheduleCopy) {
        assert!(copy.read().is_empty());
        let (one, two) = (
            UnitFile::parse("[Service]\nExecStart=/bin/one\n").unwrap(),
            UnitFile::parse("[Service]\nExecStart=/bin/two\n").unwrap(),
        );
        let (a, b) = (
            UnitName::parse("a.service").unwrap(),
            UnitName::parse("b.service").unwrap(),
        );
        let files: BTreeMap<_, _> = [&one, &two]
            .map(|file| (file.file_hash(), Arc::new(file.clone())))
            .into();
        let wanted: Schedule = [(a.clone(), entry(&one, 5)), (b.clone(), entry(&two, 16))].into();
        copy.write_all(&wanted, &files).unwrap();
        let read = copy.read();
        assert_eq!(read[&a], (entry(&one, 5), one.clone()));
        assert_eq!(read[&b], (entry(&two, 16), two.clone()));

        let text = print(&entry(&two, 16));
        for cut in 0..text.len() {
            assert_eq!(parse(&text[..cut]), None);
        }
        let torn = one.file_hash().to_string();
        copy.disk.replace(Folder::Files, &torn, b"[Serv").unwrap();
        assert_eq!(copy.read().keys().collect::<Vec<_>>(), [&b]);

        copy.write_all(&[(b.clone(), entry(&two, 17))].into(), &BTreeMap::new())
            .unwrap();
        assert_eq!(
            copy.disk.names(Folder::Files).unwrap().len(),
            1,
            "one file is left"
        );
        assert_eq!(copy.read()[&b].0.start, Generation(17));
        copy.clear().unwrap();
        assert!(copy.read().is_empty());
    }

    #[test]
    fn what_a_power_cut_leaves_is_of_before_or_after_unit_by_unit() {
        let (one, two) = (
            UnitFile::parse("[Service]\nExecStart=/bin/one\n").unwrap(),
            UnitFile::parse("[Service]\nExecStart=/bin/two\n").unwrap(),
        );
        let unit = |name: &str| UnitName::parse(name).unwrap();
        let (a, b, c) = (unit("a.service"), unit("b.service"), unit("c.service"));
        let before: Schedule = [(a.clone(), entry(&one, 5)), (b.clone(), entry(&one, 6))].into();
        let after: Schedule = [(a.clone(), entry(&two, 7)), (c.clone(), entry(&two, 8))].into();
        let files = |file: &UnitFile| [(file.file_hash(), Arc::new(file.clone()))].into();
        let mut cuts = 0;
        loop {
            let disk = MemoryDisk::default();
            let copy = ScheduleCopy::in_memory(disk.clone());
            copy.write_all(&before, &files(&one)).unwrap();
            disk.fail_after(Some(cuts));
            let written = copy.write_all(&after, &files(&two));
            for (unit, (found, _)) in copy.read() {
                let known = [before.get(&unit), after.get(&unit)];
                assert!(known.contains(&Some(&found)), "{unit} after {cuts} changes");
            }
            disk.fail_after(None);
            copy.write_all(&after, &files(&two)).unwrap();
            assert!(copy.read().into_keys().eq([a.clone(), c.clone()]));
            if written.is_ok() {
                break;
            }
            cuts += 1;
        }
        assert!(cuts > 3, "there is more than one moment for a power cut");
    }
}
