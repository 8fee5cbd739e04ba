//! `fleetctl list-unit-files`: the units that the cluster knows, wherever they are.

use api::client::{OverviewQuery, Section};
use api::types::UnitRow;

use crate::cli::TableArgs;
use crate::error::CommandError;
use crate::machine_label::{Addresses, IdForm};
use crate::session::Session;
use crate::table::{Legend, NOTHING, Table, fields, hash};

/// List the units that exist in the cluster.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    table: TableArgs,
    /// Columns, separated by commas, out of: unit, hash, dstate, state, target, global, desc
    #[arg(
        long,
        value_name = "FIELDS",
        default_value = "unit,hash,dstate,state,target"
    )]
    fields: String,
}

#[derive(Debug, Clone, Copy)]
enum Field {
    Description,
    DesiredState,
    Global,
    Hash,
    State,
    Target,
    Unit,
}

const FIELDS: [(&str, Field); 8] = [
    ("desc", Field::Description),
    ("dstate", Field::DesiredState),
    ("global", Field::Global),
    ("hash", Field::Hash),
    ("state", Field::State),
    ("target", Field::Target),
    ("tmachine", Field::Target),
    ("unit", Field::Unit),
];

/// Lists the units by name.
pub(crate) async fn run(args: &Args, session: &mut Session<'_>) -> Result<(), CommandError> {
    let (columns, fields) = fields(&args.fields, &FIELDS)?;
    if columns.iter().any(|name| name == "tmachine") {
        session
            .output
            .note("WARNING: The \"tmachine\" field is deprecated. Use \"target\" instead");
    }
    let query = OverviewQuery {
        units: Vec::new(),
        sections: vec![Section::Units, Section::Machines],
    };
    session.debug("units and machines");
    let overview = session.client.overview(query).await;
    let overview = overview.map_err(|error| {
        CommandError::request("Error retrieving list of units from repository", error)
    })?;
    let addresses: Addresses = overview.machines.iter().collect();
    let form = IdForm::of_flag(args.table.full);
    let row = |unit: &UnitRow| {
        fields
            .iter()
            .map(|field| cell(unit, *field, form, &addresses))
            .collect()
    };
    let table = Table {
        columns,
        rows: overview.units.iter().map(row).collect(),
    };
    let text = table.render(
        Legend::of_flag(args.table.no_legend),
        session.output.reader(),
    );
    session.output.text(&text)
}

fn cell(unit: &UnitRow, field: Field, form: IdForm, addresses: &Addresses) -> String {
    let text = match field {
        // A description of several lines would break the table.
        Field::Description => unit
            .description
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" "),
        Field::DesiredState => unit.desired_state.to_string(),
        Field::Global => unit.global.to_string(),
        Field::Hash => hash(&unit.hash, form),
        Field::State if unit.global => String::new(),
        Field::State => unit.current_state.to_string(),
        Field::Target if unit.global => "global".to_owned(),
        Field::Target => match &unit.machine_id {
            Some(id) => addresses.label(id, form),
            None => String::new(),
        },
        Field::Unit => unit.name.to_string(),
    };
    if text.is_empty() {
        NOTHING.to_owned()
    } else {
        text
    }
}
