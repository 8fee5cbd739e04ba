//! What the cases need of a machine beside its service manager: hands of an administrator, and eyes.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use agent::Systemd;
use agent::fake::FakeSystemd;
use model::{Clock, Generation, Mark, ServiceError, ServiceManager, ServiceUnit};
use unitfile::{UnitFile, UnitName};

use crate::private::Private;

pub(crate) trait Bed {
    type Manager: ServiceManager;

    fn manager(&self) -> &Self::Manager;
    /// Gives the host a unit of its own.
    fn plant(&self, name: &str);
    fn mask(&self, name: &str);
    /// A command that leaves a trace when it runs.
    fn trace(&self, trace: &str) -> String;
    /// How often that command has run to its end.
    fn traced(&self, trace: &str) -> usize;
    fn reloads(&self) -> u64;
    /// A killed agent left this file, and no mark.
    fn leave_file(&self, name: &UnitName, file: &UnitFile);
    /// The next load of this unit fails, as on a full disk.
    fn break_file(&self, name: &UnitName);
    /// The main process of the unit is killed.
    async fn kill(&self, name: &UnitName);
}

pub(crate) struct FakeBed(FakeSystemd);

struct StoppedClock;

impl Clock for StoppedClock {
    fn unix_ms(&self) -> u64 {
        1
    }
    fn boot_ms(&self) -> u64 {
        1
    }
}

impl FakeBed {
    pub(crate) fn new() -> FakeBed {
        FakeBed(FakeSystemd::new(Arc::new(StoppedClock)))
    }
}

impl Bed for FakeBed {
    type Manager = FakeSystemd;

    fn manager(&self) -> &FakeSystemd {
        &self.0
    }
    fn plant(&self, name: &str) {
        self.0.plant(name);
    }
    fn mask(&self, name: &str) {
        self.0.mask(name);
    }
    fn trace(&self, trace: &str) -> String {
        format!("echo {trace}.")
    }
    fn traced(&self, trace: &str) -> usize {
        let ended = self.0.ended_commands();
        ended
            .iter()
            .filter(|command| command.contains(&format!("echo {trace}.")))
            .count()
    }
    fn reloads(&self) -> u64 {
        self.0.reloads()
    }
    fn leave_file(&self, name: &UnitName, file: &UnitFile) {
        self.0.leave_file(name, file);
    }
    fn break_file(&self, name: &UnitName) {
        let message = "No space left on device".into();
        self.0.refuse_next(
            name,
            ServiceError::File {
                path: name.to_string(),
                message,
            },
        );
    }
    async fn kill(&self, name: &UnitName) {
        self.0.kill(name);
    }
}

impl Bed for Private {
    type Manager = Systemd;

    fn manager(&self) -> &Systemd {
        &self.systemd
    }
    fn plant(&self, name: &str) {
        fs::write(
            self.host_units().join(name),
            "[Service]\nExecStart=/bin/sleep infinity\n",
        )
        .unwrap();
    }
    fn mask(&self, name: &str) {
        symlink("/dev/null", self.host_units().join(name)).unwrap();
    }
    fn trace(&self, trace: &str) -> String {
        format!("echo . >> {}", self.directory().join(trace).display())
    }
    fn traced(&self, trace: &str) -> usize {
        fs::read_to_string(self.directory().join(trace)).map_or(0, |text| text.lines().count())
    }
    fn reloads(&self) -> u64 {
        self.systemd.reloads_seen()
    }
    fn leave_file(&self, name: &UnitName, file: &UnitFile) {
        let path = self.settings().units_directory.join(name.as_str());
        fs::write(path, file.raw()).unwrap();
    }
    fn break_file(&self, name: &UnitName) {
        // A directory cannot be replaced by a file.
        fs::create_dir_all(
            self.settings()
                .units_directory
                .join(name.as_str())
                .join("in the way"),
        )
        .unwrap();
    }
    async fn kill(&self, name: &UnitName) {
        self.call("KillUnit", &["ssi", name.as_str(), "main", "9"])
            .await;
    }
}

pub(crate) fn name(text: &str) -> UnitName {
    UnitName::parse(text).unwrap()
}

pub(crate) fn file(text: &str) -> UnitFile {
    UnitFile::parse(text).unwrap()
}

/// A oneshot that runs one shell command.
pub(crate) fn oneshot(command: &str) -> UnitFile {
    file(&format!(
        "[Service]\nType=oneshot\nExecStart=/bin/sh -c '{command}'\n"
    ))
}

/// A service that runs on.
pub(crate) fn server() -> UnitFile {
    file("[Service]\nExecStart=/bin/sleep infinity\n")
}

pub(crate) fn mark(file: &UnitFile, start: u64, restart: u64) -> Mark {
    Mark {
        file: file.file_hash(),
        start: Generation(start),
        restart: Generation(restart),
    }
}

/// The unit as it is now; it must be there.
pub(crate) async fn unit<M: ServiceManager>(manager: &M, name: &UnitName) -> ServiceUnit {
    manager
        .unit(name)
        .await
        .unwrap()
        .unwrap_or_else(|| panic!("{name} is not there"))
}
