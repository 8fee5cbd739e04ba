//! Tells what fleet does as a story on three real machines: `make demo`, `STORE=embedded`, `KEEP=1`.
//!
//! Every step shows the command that a person would type and what it really said. The story asserts what it
//! tells: if a step is not as told, the demo ends with status 1 and what the machines' journals say.

mod stage;
mod story;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use testbed::{Config, FleetFiles, Store};

use crate::stage::Stage;

/// Metadata of the three machines: the story needs two with a fast disk, neither of them the first.
const METADATA: [&str; 3] = ["zone=a,disk=hdd", "zone=b,disk=ssd", "zone=c,disk=ssd"];

/// The unit files of `examples/`, compiled in so that the demo needs no path to them.
const EXAMPLES: [(&str, &str); 6] = [
    (
        "hello.service",
        include_str!("../../../../examples/hello.service"),
    ),
    (
        "web@.service",
        include_str!("../../../../examples/web@.service"),
    ),
    (
        "app.service",
        include_str!("../../../../examples/app.service"),
    ),
    (
        "app-sidekick.service",
        include_str!("../../../../examples/app-sidekick.service"),
    ),
    (
        "node-agent.service",
        include_str!("../../../../examples/node-agent.service"),
    ),
    (
        "db.service",
        include_str!("../../../../examples/db.service"),
    ),
];

/// What becomes of the cluster when the story is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Afterwards {
    End,
    Keep,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\ndemo: the story broke off: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let store = store(&variable("STORE")?)?;
    let afterwards = afterwards(&variable("KEEP")?)?;
    let stage = Stage::new();
    let config = Config::of(3, store)
        .metadata(&METADATA)
        .fleet(fleet_files()?);
    let bed = story::boot(&stage, &config)?;
    if let Err(error) = story::tell(&stage, &bed) {
        eprintln!("{}", bed.diagnosis());
        return Err(error);
    }
    match afterwards {
        Afterwards::End => story::tidy_up(&stage, bed),
        Afterwards::Keep => story::keep(&stage, bed),
    }
}

/// Returns an environment variable; empty if it is not set.
fn variable(name: &str) -> Result<String> {
    match std::env::var(name) {
        Err(std::env::VarError::NotPresent) => Ok(String::new()),
        other => other.with_context(|| format!("in the environment variable {name}")),
    }
}

fn store(value: &str) -> Result<Store> {
    match value {
        "" | "etcd" => Ok(Store::Etcd { members: 1 }),
        "embedded" => Ok(Store::Embedded),
        other => {
            bail!("STORE={other} is not known; use STORE=etcd (the default) or STORE=embedded")
        }
    }
}

fn afterwards(value: &str) -> Result<Afterwards> {
    match value {
        "" | "0" => Ok(Afterwards::End),
        "1" => Ok(Afterwards::Keep),
        other => bail!("KEEP={other} is not known; use KEEP=1 to leave the cluster up"),
    }
}

/// Finds the programs beside this one, and `dist/` in the repository it was built from.
fn fleet_files() -> Result<FleetFiles> {
    let own = std::env::current_exe().context("cannot tell where this program is")?;
    let folder = own.parent().context("this program has no folder")?;
    let repository = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let files = FleetFiles {
        fleetd: folder.join("fleetd"),
        fleetctl: folder.join("fleetctl"),
        dist: repository.join("dist"),
    };
    for program in [&files.fleetd, &files.fleetctl] {
        ensure!(
            program.exists(),
            "{} is not built: run `make demo`",
            program.display()
        );
    }
    Ok(files)
}
