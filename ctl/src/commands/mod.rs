//! The verbs, one a file: arguments whose comments are the help, and one function: resolve, check, change, say what happened.

mod destroy;
mod load;
mod rebalance;
mod restart;
mod start;
mod stop;
mod submit;
mod unload;

mod cat;
mod complete;
mod completion;
mod doctor;
mod explain;
mod fd_forward;
mod journal;
mod list_machines;
mod list_unit_files;
mod list_units;
mod man;
mod plan;
mod quarantine;
mod ssh;
mod status;
mod verify;
mod version;

mod looking;
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
    #[command(hide = true)]
    Complete(complete::Args),
    Completion(completion::Args),
    Destroy(destroy::Args),
    Doctor(doctor::Args),
    Explain(explain::Args),
    FdForward(fd_forward::Args),
    Journal(journal::Args),
    ListMachines(list_machines::Args),
    ListUnitFiles(list_unit_files::Args),
    ListUnits(list_units::Args),
    Load(load::Args),
    #[command(hide = true)]
    Man(man::Args),
    Plan(plan::Args),
    Quarantine(quarantine::Args),
    Rebalance(rebalance::Args),
    Restart(restart::Args),
    Ssh(ssh::Args),
    Start(start::Args),
    Status(status::Args),
    Stop(stop::Args),
    Submit(submit::Args),
    Unload(unload::Args),
    Verify(verify::Args),
    Version(version::Args),
}

impl Command {
    /// Runs a verb that asks fleetd for nothing; none if this is not one.
    pub(crate) fn run_alone(&self, output: &mut Output) -> Option<Result<(), CommandError>> {
        match self {
            Command::Completion(args) => Some(completion::run(args, output)),
            Command::FdForward(args) => Some(fd_forward::run(args)),
            Command::Man(args) => Some(man::run(args)),
            Command::Verify(_) => Some(verify::run(output)),
            Command::Version(args) => Some(version::run(args, output)),
            Command::Cat(_)
            | Command::Complete(_)
            | Command::Destroy(_)
            | Command::Doctor(_)
            | Command::Explain(_)
            | Command::Journal(_)
            | Command::ListMachines(_)
            | Command::ListUnitFiles(_)
            | Command::ListUnits(_)
            | Command::Load(_)
            | Command::Plan(_)
            | Command::Quarantine(_)
            | Command::Rebalance(_)
            | Command::Restart(_)
            | Command::Ssh(_)
            | Command::Start(_)
            | Command::Status(_)
            | Command::Stop(_)
            | Command::Submit(_)
            | Command::Unload(_) => None,
        }
    }

    /// Whether a shell runs this while the person types: questions would go unseen, and answers be missing elsewhere.
    pub(crate) fn is_for_completion(&self) -> bool {
        matches!(self, Command::Complete(_))
    }

    /// Runs the verb.
    pub(crate) async fn run(&self, session: &mut Session<'_>) -> Result<(), CommandError> {
        match self {
            Command::Cat(args) => cat::run(args, session).await,
            Command::Complete(args) => complete::run(args, session).await,
            Command::Destroy(args) => destroy::run(args, session).await,
            Command::Doctor(args) => doctor::run(args, session).await,
            Command::Explain(args) => explain::run(args, session).await,
            Command::Journal(args) => journal::run(args, session).await,
            Command::ListMachines(args) => list_machines::run(args, session).await,
            Command::ListUnitFiles(args) => list_unit_files::run(args, session).await,
            Command::ListUnits(args) => list_units::run(args, session).await,
            Command::Load(args) => load::run(args, session).await,
            Command::Plan(args) => plan::run(args, session).await,
            Command::Quarantine(args) => quarantine::run(args, session).await,
            Command::Rebalance(args) => rebalance::run(args, session).await,
            Command::Restart(args) => restart::run(args, session).await,
            Command::Ssh(args) => ssh::run(args, session).await,
            Command::Start(args) => start::run(args, session).await,
            Command::Status(args) => status::run(args, session).await,
            Command::Stop(args) => stop::run(args, session).await,
            Command::Submit(args) => submit::run(args, session).await,
            Command::Unload(args) => unload::run(args, session).await,
            Command::Completion(_)
            | Command::FdForward(_)
            | Command::Man(_)
            | Command::Verify(_)
            | Command::Version(_) => self.run_alone(session.output).unwrap_or(Ok(())),
        }
    }
}

/// Says that there is nothing to do; in fleet 1.0's words, and no error as there.
pub(crate) fn no_units_given(session: &mut Session<'_>) -> Result<(), CommandError> {
    session.output.note("No units given");
    Ok(())
}
