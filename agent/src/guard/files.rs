//! What the guard, fleetd and systemd tell each other by: the deadline, which units were given up, the guard's unit file and the
//! drop-ins that bind exclusive units to it. Each file is whole or not there, whenever the process dies.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use model::Deadline;
use unitfile::UnitName;

use super::{GUARD_UNIT, GuardError, Manager};

/// A drop-in's name, in `UNIT.d/`.
const DROP_IN: &str = "50-fleet-exclusive.conf";

/// A deadline that is just being written is read again so often; writing takes microseconds.
const READS_MAX: usize = 100;

/// Where it all is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GuardFiles {
    /// fleet's own directory for it; gone after a reboot.
    pub directory: PathBuf,
    /// A directory of systemd's unit path; likewise.
    pub link_directory: PathBuf,
    /// The program that has `guard wait` and `guard end`: fleetd.
    pub program: PathBuf,
    /// Whose service it is.
    pub manager: Manager,
}

impl GuardFiles {
    /// Makes the directories and writes the guard's unit file.
    ///
    /// # Errors
    /// If the disk does not let us.
    pub fn prepare(&self) -> Result<(), GuardError> {
        let given_up = self.directory.join("given-up");
        fs::create_dir_all(&given_up).map_err(file_error(&given_up))?;
        let path = self.link_directory.join(GUARD_UNIT);
        let text = self.unit_text();
        if fs::read_to_string(&path).is_ok_and(|present| present == text) {
            return Ok(());
        }
        write(&path, &text)
    }

    fn unit_text(&self) -> String {
        let program = self.program.display();
        let directory = self.directory.display();
        let links = self.link_directory.display();
        let manager = self.manager.option();
        // The guard must not be the one that goes when memory is short, nor wait for others when it has to act, nor be refused because
        // units came and went fast: none of them would start.
        format!(
            "# Written by fleetd.\n\
             [Unit]\n\
             Description=fleet: ends exclusive units before this machine's lease can have ended\n\
             StopWhenUnneeded=yes\n\
             StartLimitIntervalSec=0\n\
             \n\
             [Service]\n\
             Type=notify\n\
             ExecStart={program} guard wait {directory} {links} {manager}\n\
             ExecStopPost={program} guard end {directory} {links} {manager}\n\
             TimeoutStopSec=60s\n\
             OOMScoreAdjust=-900\n\
             Nice=-10\n"
        )
    }

    /// Sets the deadline.
    ///
    /// # Errors
    /// If the disk does not let us.
    pub fn set_deadline(&self, deadline: Deadline) -> Result<(), GuardError> {
        let path = self.deadline_path();
        let text = print(deadline);
        // In its place, byte for byte: that needs no space, so that a full disk ends nothing.
        let in_place = OpenOptions::new().write(true).open(&path);
        match in_place.and_then(|mut file| file.write_all(text.as_bytes())) {
            Ok(()) => Ok(()),
            Err(_) => write(&path, &text),
        }
    }

    /// The deadline.
    ///
    /// # Errors
    /// If none was set, or its file cannot be read.
    pub fn deadline(&self) -> Result<Deadline, GuardError> {
        let path = self.deadline_path();
        for _ in 0..READS_MAX {
            let text = fs::read_to_string(&path).map_err(file_error(&path))?;
            if let Some(deadline) = parse(&text) {
                return Ok(deadline);
            }
        }
        Err(GuardError::NoDeadline { path })
    }

    /// True if the unit is bound to the guard.
    pub fn is_exclusive(&self, unit: &str) -> bool {
        self.drop_in(unit).is_file()
    }

    /// Every unit that is bound to the guard.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn exclusive(&self) -> Result<Vec<String>, GuardError> {
        let failed = file_error(&self.link_directory);
        let entries = fs::read_dir(&self.link_directory).map_err(&failed)?;
        let mut units = Vec::new();
        for entry in entries {
            let name = entry.map_err(&failed)?.file_name();
            let unit = name.to_str().and_then(|name| name.strip_suffix(".d"));
            units.extend(
                unit.filter(|unit| self.is_exclusive(unit))
                    .map(str::to_owned),
            );
        }
        units.sort();
        Ok(units)
    }

    /// Binds the unit to the guard, before systemd has read it.
    ///
    /// # Errors
    /// If the disk does not let us.
    pub fn bind(&self, unit: &UnitName) -> Result<(), GuardError> {
        let path = self.drop_in(unit.as_str());
        let folder = path.parent().unwrap_or(&self.link_directory);
        fs::create_dir_all(folder).map_err(file_error(folder))?;
        let text = self.drop_in_text();
        if fs::read_to_string(&path).is_ok_and(|present| present == text) {
            return Ok(());
        }
        write(&path, &text)
    }

    /// The condition is for `Restart=`: what the guard has killed while systemd did not answer, systemd would start again as soon as it
    /// goes on, before it hears that it is to be stopped.
    fn drop_in_text(&self) -> String {
        let given_up = self.directory.join("given-up");
        // systemd replaces what follows a percent sign.
        let given_up = given_up.display().to_string().replace('%', "%%");
        format!(
            "# Written by fleetd, because the unit has Exclusive=yes: it ends before this machine's lease can have ended.\n\
             [Unit]\n\
             BindsTo=fleet-guard.service\n\
             After=fleet-guard.service\n\
             ConditionPathExists=!{given_up}/%n\n"
        )
    }

    /// Undoes [`GuardFiles::bind`], and forgets that the unit was given up.
    ///
    /// # Errors
    /// If the disk does not let us.
    pub fn unbind(&self, unit: &UnitName) -> Result<(), GuardError> {
        self.forget_given_up(unit.as_str())?;
        let path = self.drop_in(unit.as_str());
        if path.symlink_metadata().is_err() {
            return Ok(());
        }
        remove(&path)?;
        match path.parent().map(fs::remove_dir) {
            // An administrator may have put drop-ins of his own there.
            Some(Err(error)) if error.kind() != ErrorKind::DirectoryNotEmpty => {
                Err(file_error(&path)(error))
            }
            Some(Ok(()) | Err(_)) | None => Ok(()),
        }
    }

    /// Remembers that the unit was stopped because the deadline passed.
    ///
    /// # Errors
    /// If the disk does not let us.
    pub fn give_up(&self, unit: &str) -> Result<(), GuardError> {
        let path = self.given_up_path(unit);
        fs::write(&path, "").map_err(file_error(&path))
    }

    /// As [`GuardFiles::give_up`], while systemd does not say whether the unit ran at all; `now_us` is of the monotonic clock. What is
    /// remembered of it already stays.
    ///
    /// # Errors
    /// If the disk does not let us.
    pub(super) fn give_up_unseen(&self, unit: &str, now_us: u64) -> Result<(), GuardError> {
        let path = self.given_up_path(unit);
        if path.exists() {
            return Ok(());
        }
        fs::write(&path, format!("unseen={now_us}\n")).map_err(file_error(&path))
    }

    /// When it was given up without being seen; none if it was not, or is known by now to have run.
    pub(super) fn given_up_unseen_us(&self, unit: &str) -> Option<u64> {
        let text = fs::read_to_string(self.given_up_path(unit)).ok()?;
        text.trim_end().strip_prefix("unseen=")?.parse().ok()
    }

    /// True if it was, and has not been started since.
    pub fn is_given_up(&self, unit: &UnitName) -> bool {
        self.given_up_path(unit.as_str()).exists()
    }

    /// Forgets it, before the unit is started again.
    ///
    /// # Errors
    /// If the disk does not let us.
    pub fn forget_given_up(&self, unit: &str) -> Result<(), GuardError> {
        remove(&self.given_up_path(unit))
    }

    fn deadline_path(&self) -> PathBuf {
        self.directory.join("deadline")
    }

    fn given_up_path(&self, unit: &str) -> PathBuf {
        self.directory.join("given-up").join(unit)
    }

    fn drop_in(&self, unit: &str) -> PathBuf {
        self.link_directory.join(format!("{unit}.d")).join(DROP_IN)
    }
}

/// Of one length always, and said twice, so that a text read while it is being written is not taken for another deadline.
fn print(deadline: Deadline) -> String {
    let Deadline {
        stop_boot_ms,
        kill_boot_ms,
    } = deadline;
    let line = format!("stop={stop_boot_ms:020} kill={kill_boot_ms:020}\n");
    line.repeat(2)
}

fn parse(text: &str) -> Option<Deadline> {
    let (stop, kill) = text.lines().next()?.split_once(' ')?;
    let deadline = Deadline {
        stop_boot_ms: stop.strip_prefix("stop=")?.parse().ok()?,
        kill_boot_ms: kill.strip_prefix("kill=")?.parse().ok()?,
    };
    (print(deadline) == text).then_some(deadline)
}

fn write(path: &Path, text: &str) -> Result<(), GuardError> {
    // systemd reads no file of this ending.
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".fleet-new");
    let unfinished = PathBuf::from(unfinished);
    fs::write(&unfinished, text)
        .and_then(|()| fs::rename(&unfinished, path))
        .map_err(file_error(path))
}

fn remove(path: &Path) -> Result<(), GuardError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(file_error(path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn file_error(path: &Path) -> impl Fn(io::Error) -> GuardError {
    let path = path.to_path_buf();
    move |source| GuardError::File {
        path: path.clone(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path) -> GuardFiles {
        let files = GuardFiles {
            directory: folder.join("guard"),
            link_directory: folder.join("links"),
            program: "/usr/bin/fleetd".into(),
            manager: Manager::System,
        };
        fs::create_dir_all(&files.link_directory).unwrap();
        files.prepare().unwrap();
        files
    }

    #[test]
    fn a_deadline_is_read_as_it_was_set_and_nothing_else_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        assert!(files.deadline().is_err(), "none was set");
        let deadline = Deadline {
            stop_boot_ms: 7_000,
            kill_boot_ms: 8_500,
        };
        files.set_deadline(deadline).unwrap();
        assert_eq!(files.deadline().unwrap(), deadline);
        let later = Deadline {
            stop_boot_ms: u64::MAX,
            kill_boot_ms: u64::MAX,
        };
        files.set_deadline(later).unwrap();
        assert_eq!(files.deadline().unwrap(), later);
        let (old, new) = (print(deadline), print(later));
        assert_eq!(old.len(), new.len());
        for cut in 1..old.len() {
            // Any byte may be new and the others old, or not there yet.
            for torn in [
                format!("{}{}", &new[..cut], &old[cut..]),
                format!("{}{}", &old[..cut], &new[cut..]),
                old[..cut].to_owned(),
            ] {
                let read = parse(&torn);
                assert!(
                    read.is_none_or(|read| read == deadline || read == later),
                    "{torn:?}"
                );
            }
        }
    }

    #[test]
    fn units_are_bound_given_up_and_let_go() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        let unit = UnitName::parse("till@1.service").unwrap();
        files.bind(&unit).unwrap();
        files.bind(&unit).unwrap();
        assert_eq!(files.exclusive().unwrap(), ["till@1.service"]);
        files.give_up("till@1.service").unwrap();
        assert!(files.is_given_up(&unit));
        files.forget_given_up(unit.as_str()).unwrap();
        assert!(!files.is_given_up(&unit));
        files.unbind(&unit).unwrap();
        files.unbind(&unit).unwrap();
        assert!(files.exclusive().unwrap().is_empty());
        assert!(!files.link_directory.join("till@1.service.d").exists());
    }
}
