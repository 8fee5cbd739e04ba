//! `fleetctl list-machines`: the machines that are there.

use api::client::{OverviewQuery, Section};
use api::types::{Brake, MachineRow};
use serde_json::Value;

use crate::cli::TableArgs;
use crate::error::{CommandError, Kind, chain};
use crate::listing::{self, Cell, Field, Shown};
use crate::machine_label::IdForm;
use crate::session::Session;

/// Enumerate the current hosts in the cluster.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    table: TableArgs,
    /// Columns, separated by commas, out of: machine, ip, metadata, version [default: machine,ip,metadata]
    #[arg(long, value_name = "FIELDS")]
    fields: Option<String>,
}

/// So many lost machines are named in a note, which is one line.
const BRAKE_MACHINES_SHOWN_MAX: usize = 5;

#[derive(Debug, Clone, Copy)]
enum Of {
    Machine,
    Ip,
    Metadata,
    Version,
}

const fn field(name: &'static str, shown: Shown, field: Of) -> Field<Of> {
    Field { name, shown, field }
}

const FIELDS: [Field<Of>; 4] = [
    field("machine", Shown::Always, Of::Machine),
    field("ip", Shown::Always, Of::Ip),
    field("metadata", Shown::Always, Of::Metadata),
    field("version", Shown::Wide, Of::Version),
];

/// Lists the machines by id.
pub(crate) async fn run(args: &Args, session: &mut Session<'_>) -> Result<(), CommandError> {
    let fields = listing::select(&args.table, args.fields.as_deref(), &FIELDS)?;
    let query = OverviewQuery {
        units: Vec::new(),
        sections: vec![Section::Machines],
    };
    session.debug("machines");
    let overview = match session.client.overview(query).await {
        Ok(overview) => overview,
        // In fleet 1.0's words and brackets.
        Err(error) => {
            let text = format!(
                "Error retrieving list of active machines from fleet API ({})",
                chain(&error)
            );
            return Err(CommandError::new(Kind::Cluster, text)
                .with_hint("Possible issues:")
                .with_hint("  etcd is unhealthy and/or lost quorum")
                .with_hint("  connection cannot be established to any etcd servers")
                .with_hints_of(&error));
        }
    };
    let form = IdForm::of_flag(args.table.full);
    let cell = |machine: &MachineRow, field| cell(machine, field, form);
    // In a script stderr stays empty while all is well, as in fleet 1.0.
    if let Some(brake) = overview
        .brake
        .as_ref()
        .filter(|_| session.output.shows_progress())
    {
        session.output.note(&brake_note(brake));
    }
    listing::print(
        &args.table,
        &fields,
        &overview.machines,
        cell,
        session.output,
    )
}

/// Says to a person, on standard error, why units of machines that are gone do not move.
fn brake_note(brake: &Brake) -> String {
    let (lost, cluster) = (brake.machines.len(), brake.cluster);
    let machines = brake
        .machines
        .iter()
        .take(BRAKE_MACHINES_SHOWN_MAX)
        .map(api::types::MachineId::short);
    let mut named = machines.collect::<Vec<_>>().join(", ");
    if lost > BRAKE_MACHINES_SHOWN_MAX {
        named.push_str(", ...");
    }
    let what = match brake.phase.as_str() {
        "moving" => "are given up one by one; until then their units stay where they are",
        "watching" => "keep their units until it is seen whether more machines go",
        _ => "keep their units: so many lost at once look like a network that is cut",
    };
    format!("{lost} lost machines of {cluster} {what} ({named})")
}

fn cell(machine: &MachineRow, field: Of, form: IdForm) -> Cell {
    match field {
        Of::Machine => Cell::with_value(form.show(&machine.id), machine.id.as_str()),
        Of::Ip => Cell::plain(&machine.primary_ip),
        Of::Metadata => {
            let pairs: Vec<_> = machine
                .metadata
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            let object: serde_json::Map<_, _> = machine
                .metadata
                .iter()
                .map(|(key, value)| (key.clone(), Value::from(value.as_str())))
                .collect();
            Cell::with_value(pairs.join(","), object)
        }
        Of::Version => Cell::plain(&machine.version),
    }
}
