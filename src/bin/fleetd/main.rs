//! fleetd: the daemon on every machine. Reads the configuration, then ties store, agent, engine and API together.

mod arguments;
mod boot_clock;
mod brake;
mod config;
#[cfg(test)]
mod config_tests;
mod engine_figures;
mod guard;
mod hollow;
mod host;
mod ini;
mod journal;
mod lease_file;
mod listeners;
mod logging;
mod node;
mod notify;
mod signals;
mod steadiness;
mod store;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use arguments::Command;
use config::Loaded;

/// Read if no other file is named and this one exists.
const DEFAULT_CONFIG_FILE: &str = "/etc/fleet/fleet.conf";

/// Worker threads. The work is waiting; two are enough to keep the watchdog and the API answering while one is busy.
const WORKERS: usize = 2;

fn main() -> ExitCode {
    let passed = listeners::passed();
    let command = match arguments::parse(std::env::args().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            let usage = match std::env::args().nth(1).as_deref() {
                Some("hollow") => hollow::USAGE,
                _ => arguments::USAGE,
            };
            say(&mut std::io::stderr(), &format!("{error}\n\n{usage}"));
            let positional = matches!(error, arguments::ArgumentError::Positional(_));
            return ExitCode::from(if positional { 1 } else { 2 });
        }
    };
    let (config_file, standalone) = match command {
        Command::Version => {
            say(
                &mut std::io::stdout(),
                &format!("fleetd version {}\n", version()),
            );
            return ExitCode::SUCCESS;
        }
        Command::Guard(command, files) => return guard::run(command, &files),
        Command::Help => {
            say(&mut std::io::stdout(), arguments::USAGE);
            return ExitCode::SUCCESS;
        }
        Command::HollowHelp => {
            say(&mut std::io::stdout(), hollow::USAGE);
            return ExitCode::SUCCESS;
        }
        Command::Hollow(order) => return exit(start_hollow(order)),
        Command::Run { config, standalone } => (config, standalone),
    };
    exit(start(
        ConfigSource {
            file: config_file,
            standalone,
        },
        passed,
    ))
}

fn exit(ended: Result<()>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&mut std::io::stderr(), &format!("fleetd: {error:#}\n"));
            ExitCode::FAILURE
        }
    }
}

/// The version, as clients compare it: with the leading `v` that the ancestor's releases had.
pub(crate) fn version() -> String {
    format!("v{}", env!("CARGO_PKG_VERSION"))
}

fn say(stream: &mut impl Write, text: &str) {
    // Nobody is left to tell if even this cannot be written.
    drop(stream.write_all(text.as_bytes()));
}

fn start(source: ConfigSource, passed: listenfd::ListenFd) -> Result<()> {
    let loaded = source.load()?;
    let verbosity = logging::start(loaded.config.verbose);
    tracing::info!("Starting fleetd version {}", version());
    match source.path() {
        Some(path) => tracing::info!("Using config file {}", path.display()),
        None => tracing::info!("No provided or default config file found - proceeding without"),
    }
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    runtime()?.block_on(node::run(loaded.config, source, verbosity, passed))
}

fn start_hollow(order: hollow::Order) -> Result<()> {
    let source = ConfigSource {
        file: order.config.clone(),
        standalone: false,
    };
    let loaded = source.load()?;
    let warnings = hollow::Warnings::default();
    if loaded.config.verbose {
        logging::start(true);
    } else {
        logging::start_counting(warnings.clone());
    }
    runtime()?.block_on(hollow::run(loaded.config, order, warnings))
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

/// Where the configuration comes from, so that SIGHUP can read it again.
#[derive(Clone, Debug)]
pub(crate) struct ConfigSource {
    file: Option<PathBuf>,
    /// `-standalone` on the command line.
    standalone: bool,
}

impl ConfigSource {
    /// The file that is read; none if there is none.
    pub(crate) fn path(&self) -> Option<&Path> {
        match &self.file {
            Some(path) => Some(path),
            None => Some(Path::new(DEFAULT_CONFIG_FILE)).filter(|path| path.exists()),
        }
    }

    /// Reads everything afresh.
    pub(crate) fn load(&self) -> Result<Loaded> {
        let mut environment: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| name.starts_with("FLEET_"))
            .collect();
        if self.standalone {
            environment.insert("FLEET_STANDALONE".to_owned(), "true".to_owned());
        }
        let Some(path) = self.path() else {
            return Ok(config::load(None, &environment)?);
        };
        if path.is_dir() {
            bail!(
                "Provided config {} is a directory, not a file",
                path.display()
            );
        }
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("Unable to use config file {}", path.display()))?;
        let name = path.display().to_string();
        Ok(config::load(Some((&name, &text)), &environment)?)
    }
}
