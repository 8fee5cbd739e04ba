//! `fleetctl complete`: names for the completion of a command line, one a line. Called by the scripts of `completion`.

use api::client::{OverviewQuery, Section};

use crate::error::CommandError;
use crate::session::Session;

/// Print names to complete a command line with
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which names
    #[arg(value_name = "KIND")]
    kind: Kind,
}

/// Which names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// Of all units that the cluster knows
    Units,
    /// Ids of the machines that are there
    Machines,
}

/// Prints the names.
pub(crate) async fn run(args: &Args, session: &mut Session<'_>) -> Result<(), CommandError> {
    let section = match args.kind {
        Kind::Units => Section::Units,
        Kind::Machines => Section::Machines,
    };
    let query = OverviewQuery {
        units: Vec::new(),
        sections: vec![section],
    };
    session.debug("names");
    let overview = session.client.overview(query).await;
    let overview =
        overview.map_err(|error| CommandError::request("Error retrieving names", error))?;
    let units = overview.units.iter().map(|unit| unit.name.to_string());
    let machines = overview
        .machines
        .iter()
        .map(|machine| machine.id.to_string());
    let lines: String = units
        .chain(machines)
        .map(|name| format!("{name}\n"))
        .collect();
    session.output.text(&lines)
}
