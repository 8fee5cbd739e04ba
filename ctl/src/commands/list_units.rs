//! `fleetctl list-units`: what the machines report of the units they have.

use api::client::{OverviewQuery, Section};
use api::types::StateRow;

use crate::cli::TableArgs;
use crate::error::CommandError;
use crate::machine_label::{Addresses, IdForm};
use crate::session::Session;
use crate::table::{Legend, NOTHING, Table, fields, hash};

/// List the current state of units in the cluster.
///
/// One line for each unit on each machine; a unit that is on no machine is only in list-unit-files.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    table: TableArgs,
    /// Columns, separated by commas, out of: unit, machine, load, active, sub, hash
    #[arg(long, value_name = "FIELDS", default_value = "unit,machine,active,sub")]
    fields: String,
}

#[derive(Debug, Clone, Copy)]
enum Field {
    Active,
    Hash,
    Load,
    Machine,
    Sub,
    Unit,
}

const FIELDS: [(&str, Field); 6] = [
    ("active", Field::Active),
    ("hash", Field::Hash),
    ("load", Field::Load),
    ("machine", Field::Machine),
    ("sub", Field::Sub),
    ("unit", Field::Unit),
];

/// Lists the states by unit, then machine.
pub(crate) async fn run(args: &Args, session: &mut Session<'_>) -> Result<(), CommandError> {
    let (columns, fields) = fields(&args.fields, &FIELDS)?;
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
    let row = |state: &StateRow| {
        fields
            .iter()
            .map(|field| cell(state, *field, form, &addresses))
            .collect()
    };
    let table = Table {
        columns,
        rows: overview.states.iter().map(row).collect(),
    };
    let text = table.render(
        Legend::of_flag(args.table.no_legend),
        session.output.reader(),
    );
    session.output.text(&text)
}

fn cell(state: &StateRow, field: Field, form: IdForm, addresses: &Addresses) -> String {
    let text = match field {
        Field::Active => state.systemd_active_state.to_string(),
        Field::Hash => hash(&state.hash, form),
        Field::Load => state.systemd_load_state.to_string(),
        Field::Machine => addresses.label(&state.machine_id, form),
        Field::Sub => state.systemd_sub_state.clone(),
        Field::Unit => state.name.to_string(),
    };
    if text.is_empty() {
        NOTHING.to_owned()
    } else {
        text
    }
}
