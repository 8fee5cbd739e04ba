//! `fleetctl doctor`: looks at the whole cluster and says what is wrong and what to do.

use std::time::Duration;

use tokio::time::sleep;

use crate::cli::TableArgs;
use crate::doctor::{Finding, Severity, judge};
use crate::error::{CommandError, Kind};
use crate::listing::{self, Cell, Field, Shown};
use crate::session::Session;
use crate::tint::Tint;

/// Between the two looks: what machines deal with in a moment is dealt with then.
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);

/// Check the cluster and its etcd, and say what is wrong and what to do.
///
/// Looks twice, 2 s apart. Exits 1 if something does not work; warnings alone exit 0.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    table: TableArgs,
    /// Columns, separated by commas, out of: severity, check, found, advice [default: all]
    #[arg(long, value_name = "FIELDS")]
    fields: Option<String>,
}

#[derive(Debug, Clone, Copy)]
enum Of {
    Severity,
    Check,
    Found,
    Advice,
}

const fn field(name: &'static str, field: Of) -> Field<Of> {
    let shown = Shown::Always;
    Field { name, shown, field }
}

const FIELDS: [Field<Of>; 4] = [
    field("severity", Of::Severity),
    field("check", Of::Check),
    field("found", Of::Found),
    field("advice", Of::Advice),
];

/// Examines the cluster.
pub(crate) async fn run(args: &Args, session: &mut Session<'_>) -> Result<(), CommandError> {
    let fields = listing::select(&args.table, args.fields.as_deref(), &FIELDS)?;
    let failed = |error| CommandError::request("Error examining the cluster", error);
    session.debug("diagnosis");
    let earlier = session.client.diagnosis().await.map_err(failed)?;
    sleep(BETWEEN_LOOKS).await;
    let later = session.client.diagnosis().await.map_err(failed)?;
    let findings = judge(&earlier, &later);
    listing::print(&args.table, &fields, &findings, cell, session.output)?;
    let errors = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .count();
    match errors {
        0 => Ok(()),
        1 => Err(CommandError::new(Kind::Cluster, "1 check found an error")),
        _ => Err(CommandError::new(
            Kind::Cluster,
            format!("{errors} checks found errors"),
        )),
    }
}

fn cell(finding: &Finding, field: Of) -> Cell {
    match field {
        Of::Severity => {
            let word = finding.severity.to_string();
            Cell::plain(word).tinted(match finding.severity {
                Severity::Ok => Some(Tint::Good),
                Severity::Warning => Some(Tint::Moving),
                Severity::Error => Some(Tint::Bad),
            })
        }
        Of::Check => Cell::plain(finding.check),
        Of::Found => Cell::plain(&finding.found),
        Of::Advice if finding.advice.is_empty() => Cell::plain(""),
        Of::Advice => Cell::plain(&finding.advice),
    }
}
