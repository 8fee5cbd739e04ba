//! `fleetctl list-units`: what the machines report of the units they have.

use api::client::{OverviewQuery, Section};
use api::types::StateRow;
use serde_json::{Map, Value, json};

use crate::cli::TableArgs;
use crate::error::CommandError;
use crate::instant::rfc3339;
use crate::listing::{self, Cell, Field, Shown};
use crate::machine_label::{Addresses, IdForm};
use crate::session::Session;
use crate::table::hash;
use crate::tint::Tint;

/// List the current state of units in the cluster.
///
/// One line for each unit on each machine; a unit that is on no machine is only in list-unit-files.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    table: TableArgs,
    /// Columns, separated by commas, out of: unit, machine, ip, load, active, sub, hash, since, job [default:
    /// unit,machine,active,sub]
    #[arg(long, value_name = "FIELDS")]
    fields: Option<String>,
}

#[derive(Debug, Clone, Copy)]
enum Of {
    Active,
    Hash,
    Ip,
    Job,
    Load,
    Machine,
    Since,
    Sub,
    Unit,
}

const fn field(name: &'static str, shown: Shown, field: Of) -> Field<Of> {
    Field { name, shown, field }
}

const FIELDS: [Field<Of>; 9] = [
    field("unit", Shown::Always, Of::Unit),
    field("machine", Shown::Always, Of::Machine),
    field("ip", Shown::Document, Of::Ip),
    field("load", Shown::Wide, Of::Load),
    field("active", Shown::Always, Of::Active),
    field("sub", Shown::Always, Of::Sub),
    field("hash", Shown::Wide, Of::Hash),
    field("since", Shown::Wide, Of::Since),
    field("job", Shown::Wide, Of::Job),
];

/// Lists the states by unit, then machine.
pub(crate) async fn run(args: &Args, session: &mut Session<'_>) -> Result<(), CommandError> {
    let fields = listing::select(&args.table, args.fields.as_deref(), &FIELDS)?;
    let query = OverviewQuery {
        units: Vec::new(),
        sections: vec![Section::States, Section::Machines],
    };
    session.debug("states and machines");
    let overview = session.client.overview(query).await;
    let overview = overview.map_err(|error| {
        CommandError::request("Error retrieving list of units from repository", error)
    })?;
    let addresses: Addresses = overview.machines.iter().collect();
    let form = IdForm::of_flag(args.table.full);
    let cell = |state: &StateRow, field| cell(state, field, form, &addresses);
    listing::print(&args.table, &fields, &overview.states, cell, session.output)
}

/// A state as `-o json` has it.
pub(crate) fn document(state: &StateRow, addresses: &Addresses) -> Map<String, Value> {
    let shown = FIELDS.iter().filter(|field| field.shown != Shown::Named);
    let pair = |field: &Field<Of>| {
        let value = cell(state, field.field, IdForm::Full, addresses).value;
        (field.name.to_owned(), value)
    };
    shown.map(pair).collect()
}

fn cell(state: &StateRow, field: Of, form: IdForm, addresses: &Addresses) -> Cell {
    match field {
        Of::Active => Cell::plain(state.systemd_active_state.as_str())
            .tinted(Tint::of_active(&state.systemd_active_state)),
        Of::Hash => Cell::with_value(hash(&state.hash, form), state.hash.to_string()),
        Of::Ip => Cell::plain(addresses.address(&state.machine_id).unwrap_or_default()),
        Of::Job => match &state.job {
            Some(job) => {
                let (kind, result) = (job.kind.as_str(), job.result.as_str());
                let value = json!({"kind": kind, "result": result, "message": job.message});
                Cell::with_value(format!("{kind}:{result}"), value)
            }
            None => Cell::plain(""),
        },
        Of::Load => Cell::plain(state.systemd_load_state.as_str())
            .tinted(Tint::of_load(&state.systemd_load_state)),
        Of::Machine => Cell::with_value(
            addresses.label(&state.machine_id, form),
            state.machine_id.as_str(),
        ),
        Of::Since if state.since_unix_ms == 0 => Cell::plain(""),
        Of::Since => Cell::plain(rfc3339(state.since_unix_ms)),
        Of::Sub => Cell::plain(&state.systemd_sub_state)
            .tinted(Tint::of_active(&state.systemd_active_state)),
        Of::Unit => Cell::plain(state.name.as_str()),
    }
}
