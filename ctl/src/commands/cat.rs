//! `fleetctl cat`: a unit's file.

use unitfile::UnitName;

use crate::error::{CommandError, Kind};
use crate::session::Session;

/// Output the contents of a submitted unit, byte for byte.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// One unit
    #[arg(value_name = "UNIT")]
    units: Vec<String>,
}

/// Prints the unit's file and nothing else.
pub(crate) async fn run(args: &Args, session: &mut Session<'_>) -> Result<(), CommandError> {
    let [unit] = args.units.as_slice() else {
        return Err(CommandError::new(
            Kind::Usage,
            "One unit file must be provided",
        ));
    };
    let name = UnitName::from_user(unit)
        .map_err(|error| CommandError::new(Kind::Input, format!("{unit}: {error}")))?;
    session.debug(&format!("file of {name}"));
    let file = session.client.unit_file(&name).await;
    match file
        .map_err(|error| CommandError::request(format!("Error retrieving Unit {name}"), error))?
    {
        Some(bytes) => session.output.bytes(&bytes),
        None => Err(CommandError::new(
            Kind::Outcome,
            format!("Unit {name} not found"),
        )),
    }
}
