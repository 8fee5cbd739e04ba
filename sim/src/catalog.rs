//! The units of the simulated cluster: what their files say, and what the checker must know of them without asking the
//! product: where they may run and what becomes of them.

use std::collections::BTreeMap;

use unitfile::{FileHash, UnitFile, UnitName};

use Fate::{Ends, Hangs, Runs};
use Rule::{Anywhere, Beside, Everywhere, Machine, Metadata, NotWith, Sole};

/// What becomes of a unit that was started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// It runs on.
    Runs,
    /// It ends by itself, well or not, or ends and begins again.
    Ends,
    /// It never gets to run, and is stopped as any other.
    Hangs,
}

/// Where a unit may run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rule {
    Anywhere,
    /// On all machines at the same time.
    Everywhere,
    /// Where the machine's metadata says so.
    Metadata(&'static str, &'static str),
    /// Where this unit is.
    Beside(&'static str),
    /// Not where a unit is whose name begins so.
    NotWith(&'static str),
    /// On this machine.
    Machine(&'static str),
    /// Anywhere, and never on two, whatever happens.
    Sole,
}

/// All units, each with its versions.
#[derive(Clone, Debug)]
pub(crate) struct Catalog {
    pub(crate) units: BTreeMap<UnitName, Vec<UnitFile>>,
    by_hash: BTreeMap<FileHash, (Fate, Rule)>,
}

const SERVER: &str = "ExecStart=/bin/sleep infinity\n";
const SLOW_STOP: &str = "ExecStart=/bin/sleep infinity\nExecStop=/bin/sleep 3\n";
const SLOW_START: &str = "ExecStartPre=/bin/sleep 3\nExecStart=/bin/sleep infinity\n";
const HUNG_START: &str = "ExecStartPre=/bin/sleep infinity\nExecStart=/bin/sleep infinity\n";
const HUNG_STOP: &str =
    "ExecStart=/bin/sleep infinity\nExecStop=/bin/sleep infinity\nTimeoutStopSec=6\n";
const ONCE: &str = "Type=oneshot\nExecStart=/bin/true\n";
const FAILS: &str = "Type=oneshot\nExecStart=/bin/false\n";
const CRASHES: &str = "ExecStart=/bin/sleep 2\nRestart=always\n";

/// What one version of a unit has in it, and what it is.
type Version = (&'static str, Fate, Rule);

/// Each unit by name, with its versions.
const TABLE: [(&str, &[Version]); 13] = [
    (
        "web@1.service",
        &[
            (SERVER, Runs, NotWith("web@")),
            (SLOW_STOP, Runs, NotWith("web@")),
        ],
    ),
    (
        "web@2.service",
        &[
            (SERVER, Runs, NotWith("web@")),
            (SERVER, Runs, NotWith("db.")),
        ],
    ),
    (
        "db.service",
        &[
            (SERVER, Runs, Anywhere),
            (SLOW_STOP, Runs, Metadata("disk", "ssd")),
        ],
    ),
    (
        "app.service",
        &[
            (SLOW_STOP, Runs, Beside("db.service")),
            (SLOW_START, Runs, Anywhere),
        ],
    ),
    (
        "everywhere.service",
        &[(SERVER, Runs, Everywhere), (SLOW_STOP, Runs, Everywhere)],
    ),
    (
        "fast.service",
        &[
            (SLOW_STOP, Runs, Metadata("disk", "ssd")),
            (SERVER, Runs, Metadata("disk", "hdd")),
        ],
    ),
    (
        "job.service",
        &[(ONCE, Ends, Anywhere), (FAILS, Ends, Anywhere)],
    ),
    (
        "slow.service",
        &[(SLOW_START, Runs, Anywhere), (SLOW_STOP, Runs, Anywhere)],
    ),
    (
        "sole.service",
        &[(SERVER, Runs, Sole), (SLOW_STOP, Runs, Sole)],
    ),
    (
        "lone.service",
        &[(HUNG_STOP, Runs, Sole), (SERVER, Runs, Sole)],
    ),
    (
        "stuck.service",
        &[(HUNG_START, Hangs, Anywhere), (HUNG_STOP, Runs, Anywhere)],
    ),
    (
        "crashy.service",
        &[(CRASHES, Ends, Anywhere), (FAILS, Ends, Anywhere)],
    ),
    (
        "pinned.service",
        &[(SERVER, Runs, Machine("m2")), (SERVER, Runs, Anywhere)],
    ),
];

impl Catalog {
    pub(crate) fn new() -> Catalog {
        let mut catalog = Catalog {
            units: BTreeMap::new(),
            by_hash: BTreeMap::new(),
        };
        for (name, versions) in TABLE {
            for (number, (body, fate, rule)) in versions.iter().enumerate() {
                catalog.add(name, number, body, *fate, *rule);
            }
        }
        catalog
    }

    fn add(&mut self, name: &str, number: usize, body: &str, fate: Fate, rule: Rule) {
        let options = match rule {
            Anywhere => String::new(),
            Everywhere => "Global=true\n".to_owned(),
            Metadata(key, value) => format!("MachineMetadata={key}={value}\n"),
            Beside(peer) => format!("MachineOf={peer}\n"),
            NotWith(prefix) => format!("Conflicts={prefix}*\n"),
            Machine(id) => format!("MachineID={id}\n"),
            Sole => "Exclusive=yes\n".to_owned(),
        };
        let text = format!(
            "[Unit]\nDescription={name} version {number}\n[Service]\n{body}[X-Fleet]\n{options}"
        );
        // The table above is right, or the first seed says so: a unit that is not there fails every check.
        let (Ok(name), Ok(file)) = (UnitName::parse(name), UnitFile::parse(text)) else {
            return;
        };
        self.by_hash.insert(file.file_hash(), (fate, rule));
        self.units.entry(name).or_default().push(file);
    }

    /// What becomes of a unit with this file.
    pub(crate) fn fate(&self, file: &FileHash) -> Fate {
        self.by_hash.get(file).map_or(Ends, |(fate, _)| *fate)
    }

    /// Where a unit with this file may run.
    pub(crate) fn rule(&self, file: &FileHash) -> Rule {
        self.by_hash.get(file).map_or(Anywhere, |(_, rule)| *rule)
    }

    /// True if two units, each with its file, may not be on one machine.
    pub(crate) fn conflict(&self, one: (&str, &FileHash), other: (&str, &FileHash)) -> bool {
        let excludes = |(own, file): (&str, &FileHash), name: &str| match self.rule(file) {
            NotWith(prefix) => name.starts_with(prefix) && name != own,
            Anywhere | Everywhere | Metadata(..) | Beside(_) | Machine(_) | Sole => false,
        };
        excludes(one, other.0) || excludes(other, one.0)
    }
}
