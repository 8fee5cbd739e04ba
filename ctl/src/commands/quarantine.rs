//! `fleetctl quarantine`: the records that cannot be understood, and the removal of some.

use api::types::QuarantinedRecord;

use crate::cli::TableArgs;
use crate::error::{CommandError, Kind};
use crate::listing::{self, Cell, Field, Shown};
use crate::session::Session;

/// List records that cannot be understood, or remove some.
///
/// Such a record is skipped: what was known of it before stays in force, and it stops and moves nothing. "fleetctl quarantine remove KEY"
/// deletes it from the store. That of a unit (units/NAME) takes the unit with it, as "destroy" does. That of a machine is written anew by
/// its fleetd when it is restarted; do that rather than remove it.
#[derive(Debug, clap::Args)]
#[command(mut_arg("ignored", |words| words.hide(false).value_name("list|remove KEY")
    .help("\"list\", also without it, or \"remove\" and the keys of records, as they are listed")))]
pub(crate) struct Args {
    #[command(flatten)]
    table: TableArgs,
    /// Columns, separated by commas, out of: key, reason [default: all]
    #[arg(long, value_name = "FIELDS")]
    fields: Option<String>,
}

#[derive(Debug, Clone, Copy)]
enum Of {
    Key,
    Reason,
}

const fn field(name: &'static str, field: Of) -> Field<Of> {
    let shown = Shown::Always;
    Field { name, shown, field }
}

const FIELDS: [Field<Of>; 2] = [field("key", Of::Key), field("reason", Of::Reason)];

/// Lists or removes.
pub(crate) async fn run(args: &Args, session: &mut Session<'_>) -> Result<(), CommandError> {
    let words: Vec<&str> = args.table.ignored.iter().map(String::as_str).collect();
    match words[..] {
        [] | ["list"] => list(args, session).await,
        ["remove", _, ..] => remove(&words[1..], session).await,
        _ => Err(CommandError::new(
            Kind::Usage,
            "quarantine takes \"list\", or \"remove\" and the keys of records",
        )
        .with_hint("\"fleetctl quarantine list\" shows the keys.")),
    }
}

async fn list(args: &Args, session: &mut Session<'_>) -> Result<(), CommandError> {
    let fields = listing::select(&args.table, args.fields.as_deref(), &FIELDS)?;
    session.debug("quarantine");
    let failed = |error| CommandError::request("Error listing damaged records", error);
    let quarantine = session.client.quarantine().await.map_err(failed)?;
    listing::print(
        &args.table,
        &fields,
        &quarantine.records,
        cell,
        session.output,
    )
}

fn cell(record: &QuarantinedRecord, field: Of) -> Cell {
    match field {
        Of::Key => Cell::plain(&record.key),
        Of::Reason => Cell::plain(&record.reason),
    }
}

async fn remove(keys: &[&str], session: &mut Session<'_>) -> Result<(), CommandError> {
    for key in keys {
        session.debug("quarantine");
        let failed = |error| CommandError::request("Error removing a damaged record", error);
        session
            .client
            .remove_quarantined(key)
            .await
            .map_err(failed)?;
        session.output.line(&format!("Removed {key}"))?;
    }
    Ok(())
}
