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
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
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
    units: PathBuf,
    files: PathBuf,
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
            units: directory.join("units"),
            files: directory.join("files"),
        }
    }

    /// What it holds: entries with their files. What cannot be read is named in the log and left out.
    pub(crate) fn read(&self) -> BTreeMap<UnitName, (Assignment, UnitFile)> {
        let mut found = BTreeMap::new();
        for name in names(&self.units).unwrap_or_default() {
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
        let text = fs::read_to_string(self.units.join(unit.as_str())).ok()?;
        let assignment = parse(&text)?;
        let raw = fs::read(self.files.join(assignment.file.to_string())).ok()?;
        let whole = FileHash::of_raw(&raw) == assignment.file;
        let file = UnitFile::from_bytes(&raw).ok().filter(|_| whole)?;
        Some((assignment, file))
    }

    /// Forgets everything: the machine has left the cluster in good order.
    ///
    /// # Errors
    /// If the disk does not let us.
    pub fn clear(&self) -> io::Result<()> {
        for folder in [&self.units, &self.files] {
            match fs::remove_dir_all(folder) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
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
            .filter(|hash| !self.files.join(hash.to_string()).exists())
            .copied()
            .collect();
        // One that is damaged keeps its unit from being started, and no other. It may be put back at any time.
        let found = files(registry, &missing).await?;
        let copied = match found.len() == missing.len() {
            true => Copied::Whole,
            false => Copied::WithoutFiles,
        };
        let (copy, wanted) = (self.clone(), wanted.clone());
        // It waits for the disk.
        let write = move || copy.write_all(&wanted, &found);
        tokio::task::spawn_blocking(write)
            .await
            .map_err(|_| CopyError::Cut)??;
        Ok(copied)
    }

    fn write_all(
        &self,
        wanted: &Schedule,
        found: &BTreeMap<FileHash, Arc<UnitFile>>,
    ) -> Result<(), CopyError> {
        for folder in [&self.units, &self.files] {
            fs::create_dir_all(folder).map_err(file_error(folder))?;
        }
        for (hash, file) in found {
            replace(&self.files.join(hash.to_string()), file.raw().as_bytes())?;
        }
        for (unit, entry) in wanted {
            let path = self.units.join(unit.as_str());
            let text = print(entry);
            if fs::read_to_string(&path).is_ok_and(|present| present == text) {
                continue;
            }
            replace(&path, text.as_bytes())?;
        }
        let units: BTreeSet<&str> = wanted.keys().map(UnitName::as_str).collect();
        let files: BTreeSet<String> = wanted.values().map(|it| it.file.to_string()).collect();
        prune(&self.units, |name| units.contains(name))?;
        prune(&self.files, |name| files.contains(name))?;
        // A name is safe from a power cut only once its folder is.
        for folder in [&self.units, &self.files] {
            let sync = || File::open(folder)?.sync_all();
            sync().map_err(file_error(folder))?;
        }
        Ok(())
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

/// Writes a file whole or not at all, also if the power goes.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), CopyError> {
    let unfinished = path.with_file_name(".unfinished");
    let write = || -> io::Result<()> {
        let mut file = File::create(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)
    };
    write().map_err(file_error(path))
}

fn prune(folder: &Path, keeps: impl Fn(&str) -> bool) -> Result<(), CopyError> {
    for name in names(folder).map_err(file_error(folder))? {
        let path = folder.join(&name);
        if !keeps(&name) {
            fs::remove_file(&path).map_err(file_error(&path))?;
        }
    }
    Ok(())
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        if let Ok(name) = entry?.file_name().into_string() {
            names.push(name);
        }
    }
    Ok(names)
}

fn file_error(path: &Path) -> impl Fn(io::Error) -> CopyError {
    let path = path.to_path_buf();
    move |source| CopyError::File {
        path: path.clone(),
        source,
    }
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
        let copy = ScheduleCopy::in_directory(folder.path());
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
        fs::write(copy.files.join(one.file_hash().to_string()), "[Serv").unwrap();
        assert_eq!(copy.read().keys().collect::<Vec<_>>(), [&b]);

        copy.write_all(&[(b.clone(), entry(&two, 17))].into(), &BTreeMap::new())
            .unwrap();
        assert_eq!(names(&copy.files).unwrap().len(), 1, "one file is left");
        assert_eq!(copy.read()[&b].0.start, Generation(17));
        copy.clear().unwrap();
        assert!(copy.read().is_empty());
    }
}
