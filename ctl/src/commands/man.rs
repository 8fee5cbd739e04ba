//! `fleetctl man`: the man pages, from the definitions of the command line. Called when fleet is packaged.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::cli::Cli;
use crate::error::CommandError;

/// Write the man pages of fleetctl and of each of its commands
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder to write them to; it is made if it is not there
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Writes the pages.
pub(crate) fn run(args: &Args) -> Result<(), CommandError> {
    let folder = &args.folder;
    fs::create_dir_all(folder).map_err(|source| CommandError::file(folder, source))?;
    let mut definition = Cli::command().disable_help_subcommand(true);
    definition.build();
    page(&definition, "fleetctl", folder)?;
    let shown = definition
        .get_subcommands()
        .filter(|command| !command.is_hide_set());
    for command in shown {
        page(command, &format!("fleetctl-{}", command.get_name()), folder)?;
    }
    Ok(())
}

fn page(definition: &Command, name: &str, folder: &Path) -> Result<(), CommandError> {
    let path = folder.join(format!("{name}.1"));
    let mut text = Vec::new();
    let man = Man::new(definition.clone().name(name.to_owned()))
        .title(name.to_uppercase())
        .source(format!("fleet {}", crate::VERSION))
        .manual("fleet");
    man.render(&mut text)
        .and_then(|()| fs::write(&path, &text))
        .map_err(|source| CommandError::file(&path, source))
}
