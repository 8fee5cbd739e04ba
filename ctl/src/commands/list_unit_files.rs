//! `fleetctl list-unit-files`: the units that the cluster knows, wherever they are.

use api::client::{OverviewQuery, Section};
use api::types::{Hold, UnitRow};
use serde_json::{Value, json};

use crate::cli::TableArgs;
use crate::error::CommandError;
use crate::listing::{self, Cell, Field, Shown};
use crate::machine_label::{Addresses, IdForm};
use crate::session::Session;
use crate::table::hash;
use crate::tint::Tint;

/// List the units that exist in the cluster.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    table: TableArgs,
    /// Columns, separated by commas, out of: unit, hash, dstate, state, target, ip, global, launched, hold, desc [default:
    /// unit,hash,dstate,state,target]
    #[arg(long, value_name = "FIELDS")]
    fields: Option<String>,
}

#[derive(Debug, Clone, Copy)]
enum Of {
    Description,
    DesiredState,
    Global,
    Hash,
    Hold,
    Ip,
    Launched,
    State,
    Target,
    Unit,
}

const fn field(name: &'static str, shown: Shown, field: Of) -> Field<Of> {
    Field { name, shown, field }
}

const FIELDS: [Field<Of>; 11] = [
    field("unit", Shown::Always, Of::Unit),
    field("hash", Shown::Always, Of::Hash),
    field("dstate", Shown::Always, Of::DesiredState),
    field("state", Shown::Always, Of::State),
    field("target", Shown::Always, Of::Target),
    field("ip", Shown::Document, Of::Ip),
    field("global", Shown::Wide, Of::Global),
    field("launched", Shown::Wide, Of::Launched),
    field("desc", Shown::Wide, Of::Description),
    field("hold", Shown::Wide, Of::Hold),
    field("tmachine", Shown::Named, Of::Target),
];

/// Lists the units by name.
pub(crate) async fn run(args: &Args, session: &mut Session<'_>) -> Result<(), CommandError> {
    let fields = listing::select(&args.table, args.fields.as_deref(), &FIELDS)?;
    if fields.iter().any(|field| field.name == "tmachine") {
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
    let cell = |unit: &UnitRow, field| cell(unit, field, form, &addresses);
    listing::print(&args.table, &fields, &overview.units, cell, session.output)
}

fn cell(unit: &UnitRow, field: Of, form: IdForm, addresses: &Addresses) -> Cell {
    match field {
        // A description of several lines would break the table.
        Of::Description => Cell::plain(
            unit.description
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" "),
        ),
        Of::DesiredState => Cell::plain(unit.desired_state.as_str()),
        Of::Global => Cell::with_value(unit.global.to_string(), unit.global),
        Of::Hash => Cell::with_value(hash(&unit.hash, form), unit.hash.to_string()),
        Of::Hold => match &unit.hold {
            Some(hold) => Cell::with_value(&hold.reason, hold_value(hold)).tinted(Some(Tint::Bad)),
            None => Cell::plain(""),
        },
        Of::Ip => {
            let address = unit
                .machine_id
                .as_ref()
                .and_then(|id| addresses.address(id));
            Cell::plain(address.unwrap_or_default())
        }
        Of::Launched => match unit.launched_on {
            Some(machines) => Cell::with_value(machines.to_string(), machines),
            None => Cell::plain(""),
        },
        Of::State if unit.global => Cell::plain(""),
        Of::State => {
            let tint = Tint::of_progress(unit.current_state, unit.desired_state);
            Cell::plain(unit.current_state.as_str()).tinted(tint)
        }
        Of::Target if unit.global => Cell::with_value("global", Value::Null),
        Of::Target => match &unit.machine_id {
            Some(id) => Cell::with_value(addresses.label(id, form), id.as_str()),
            None => Cell::plain(""),
        },
        Of::Unit => Cell::plain(unit.name.as_str()),
    }
}

/// Why a unit waits, and what is in the way on which machine.
fn hold_value(hold: &Hold) -> Value {
    let obstacles: Vec<_> = hold
        .obstacles
        .iter()
        .map(|obstacle| json!({"machine": obstacle.machine_id.as_str(), "reason": obstacle.reason}))
        .collect();
    json!({"reason": hold.reason, "machines": hold.machines, "obstacles": obstacles})
}
