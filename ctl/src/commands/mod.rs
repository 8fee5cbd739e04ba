//! The verbs, one a file: arguments whose comments are the help, and one function: resolve, check, change, say what happened.

mod destroy;
mod load;
mod restart;
mod start;
mod stop;
mod submit;
mod unload;

mod cat;
mod list_machines;
mod list_unit_files;
mod list_units;
mod version;

mod lowering;
mod raising;

use clap::Subcommand;

use crate::error::CommandError;
use crate::output::Output;
use crate::session::Session;

pub(crate) use version::line as version_line;

/// A verb. Its help is that of its arguments.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Cat(cat::Args),
    Destroy(destroy::Args),
    ListMachines(list_machines::Args),
    ListUnitFiles(list_unit_files::Args),
    ListUnits(list_units::Args),
    Load(load::Args),
    Restart(restart::Args),
    Start(start::Args),
    Stop(stop::Args),
    Submit(submit::Args),
    Unload(unload::Args),
    Version(version::Args),
}

impl Command {
    /// Whether the verb asks fleetd for anything.
    pub(crate) fn needs_cluster(&self) -> bool {
        match self {
            Command::Version(_) => false,
            Command::Cat(_)
            | Command::Destroy(_)
            | Command::ListMachines(_)
            | Command::ListUnitFiles(_)
            | Command::ListUnits(_)
            | Command::Load(_)
            | Command::Restart(_)
            | Command::Start(_)
            | Command::Stop(_)
            | Command::Submit(_)
            | Command::Unload(_) => true,
        }
    }

    /// Runs a verb that asks fleetd for nothing.
    pub(crate) fn run_alone(&self, output: &mut Output) -> Result<(), CommandError> {
        output.line(&version_line())
    }

    /// Runs the verb.
    pub(crate) async fn run(&self, session: &mut Session<'_>) -> Result<(), CommandError> {
        match self {
            Command::Cat(args) => cat::run(args, session).await,
            Command::Destroy(args) => destroy::run(args, session).await,
            Command::ListMachines(args) => list_machines::run(args, session).await,
            Command::ListUnitFiles(args) => list_unit_files::run(args, session).await,
            Command::ListUnits(args) => list_units::run(args, session).await,
            Command::Load(args) => load::run(args, session).await,
            Command::Restart(args) => restart::run(args, session).await,
            Command::Start(args) => start::run(args, session).await,
            Command::Stop(args) => stop::run(args, session).await,
            Command::Submit(args) => submit::run(args, session).await,
            Command::Unload(args) => unload::run(args, session).await,
            Command::Version(_) => self.run_alone(session.output),
        }
    }
}

/// Says that there is nothing to do; in fleet 1.0's words, and no error as there.
pub(crate) fn no_units_given(session: &mut Session<'_>) -> Result<(), CommandError> {
    session.output.note("No units given");
    Ok(())
}
