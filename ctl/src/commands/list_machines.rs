//! `fleetctl list-machines`: the machines that are there.

use api::client::{OverviewQuery, Section};
use api::types::MachineRow;

use crate::cli::TableArgs;
use crate::error::{CommandError, Kind, chain};
use crate::machine_label::IdForm;
use crate::session::Session;
use crate::table::{Legend, NOTHING, Table, fields};

/// Enumerate the current hosts in the cluster.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    table: TableArgs,
    /// Columns, separated by commas, out of: machine, ip, metadata
    #[arg(long, value_name = "FIELDS", default_value = "machine,ip,metadata")]
    fields: String,
}

#[derive(Debug, Clone, Copy)]
enum Field {
    Machine,
    Ip,
    Metadata,
}

const FIELDS: [(&str, Field); 3] = [
    ("machine", Field::Machine),
    ("ip", Field::Ip),
    ("metadata", Field::Metadata),
];

/// Lists the machines by id.
pub(crate) async fn run(args: &Args, session: &mut Session<'_>) -> Result<(), CommandError> {
    let (columns, fields) = fields(&args.fields, &FIELDS)?;
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
    let row = |machine: &MachineRow| {
        fields
            .iter()
            .map(|field| cell(machine, *field, form))
            .collect()
    };
    let table = Table {
        columns,
        rows: overview.machines.iter().map(row).collect(),
    };
    let text = table.render(
        Legend::of_flag(args.table.no_legend),
        session.output.reader(),
    );
    session.output.text(&text)
}

fn cell(machine: &MachineRow, field: Field, form: IdForm) -> String {
    let text = match field {
        Field::Machine => form.show(&machine.id),
        Field::Ip => machine.primary_ip.clone(),
        Field::Metadata => {
            let pairs: Vec<_> = machine
                .metadata
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            pairs.join(",")
        }
    };
    if text.is_empty() {
        NOTHING.to_owned()
    } else {
        text
    }
}
