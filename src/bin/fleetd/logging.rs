//! Logs: structured into the journal where systemd runs us, as text on stderr elsewhere. The level can be changed while running.

use std::io::IsTerminal;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use crate::hollow::Warnings;
use crate::journal::Journal;

/// Changes the level of a running fleetd.
#[derive(Clone, Debug)]
pub(crate) struct Verbosity(reload::Handle<LevelFilter, Registry>);

impl Verbosity {
    /// Debug messages on or off.
    pub(crate) fn set(&self, verbose: bool) {
        if self.0.modify(|level| *level = level_of(verbose)).is_err() {
            tracing::warn!("the log level cannot be changed any more");
        }
    }
}

fn level_of(verbose: bool) -> LevelFilter {
    if verbose {
        LevelFilter::DEBUG
    } else {
        LevelFilter::INFO
    }
}

/// Starts logging. Call once.
pub(crate) fn start(verbose: bool) -> Verbosity {
    let (level, handle) = reload::Layer::new(level_of(verbose));
    // systemd sets JOURNAL_STREAM if stderr goes to the journal: then structured records replace the text.
    let journal = std::env::var_os("JOURNAL_STREAM").and_then(|_| Journal::connect().ok());
    let text = journal.is_none().then(|| {
        tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
            // Other people's crates speak up only when something is wrong.
            .with_filter(ours())
    });
    let journal = journal.map(|layer| layer.with_filter(ours()));
    tracing_subscriber::registry()
        .with(level)
        .with(journal)
        .with(text)
        .init();
    Verbosity(handle)
}

/// Has warnings counted, and prints nothing. Call instead of [`start`].
pub(crate) fn start_counting(warnings: Warnings) {
    tracing_subscriber::registry()
        .with(warnings.with_filter(ours()))
        .init();
}

/// Our crates at any level (the reloadable level decides), others from warnings up.
fn ours() -> tracing_subscriber::filter::Targets {
    let ours = [
        "fleetd", "agent", "engine", "registry", "api", "model", "unitfile",
    ];
    tracing_subscriber::filter::Targets::new()
        .with_default(LevelFilter::WARN)
        .with_targets(ours.map(|name| (name, LevelFilter::DEBUG)))
}
