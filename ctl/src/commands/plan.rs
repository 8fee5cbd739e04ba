//! `fleetctl plan`, and `start --dry-run`: where units would go and what else would move, without doing it.

use api::types::{BatchAction, BatchResult, Hold, Place, Plan, PlannedUnit};
use serde_json::{Value, json};

use crate::cli::ReplaceArgs;
use crate::commands::explain::table;
use crate::count::counted;
use crate::error::{CommandError, Kind};
use crate::format::{self, FormatArgs, Language};
use crate::machine_label::IdForm;
use crate::request::{OnDifference, as_requests};
use crate::selection::{Scope, expand_strictly};
use crate::session::Session;
use crate::sources;
use crate::table::Legend;

/// Begins the message if fleetd cannot be asked.
const FAILED: &str = "Error planning units";

/// Machines that a cell of the table names; of a global unit there may be thousands.
const NAMED_MAX: usize = 3;

/// Say where units would go if they were started, and what would move; nothing is done.
///
/// The whole placement is gone through on a copy of the cluster as it is now. Exits with 0 if all would fit: none would be
/// refused or wait, and no other unit would lose its place.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Units, or paths of unit files; a quoted pattern such as 'web@*' stands for units in the cluster
    #[arg(value_name = "UNIT", value_hint = clap::ValueHint::AnyPath)]
    units: Vec<String>,
    #[command(flatten)]
    replace: ReplaceArgs,
    #[command(flatten)]
    format: FormatArgs,
}

/// Plans to start the units.
pub(crate) async fn run(args: &Args, session: &mut Session<'_>) -> Result<(), CommandError> {
    if args.units.is_empty() {
        return super::no_units_given(session);
    }
    let language = args.format.format.language();
    rehearse(session, &args.units, &args.replace, language).await
}

/// Says what starting the units would do.
pub(super) async fn rehearse(
    session: &mut Session<'_>,
    units: &[String],
    replace: &ReplaceArgs,
    language: Option<Language>,
) -> Result<(), CommandError> {
    replace.refuse_sign()?;
    let units = expand_strictly(session, FAILED, units, Scope::Runnable).await?;
    let asked = sources::read(&units, session.output)?;
    let on_difference = OnDifference::of_flag(replace.replace);
    let requests = as_requests(&asked, BatchAction::Start, on_difference);
    let units = counted(requests.len(), "unit");
    session.debug(&format!("what starting {units} would do"));
    let answer = session.client_for(requests.len()).plan(&requests).await;
    let plan = match answer.map_err(|error| CommandError::request(FAILED, error))? {
        Ok(plan) => plan,
        Err(invalid) => {
            for outcome in &invalid.outcomes {
                if let BatchResult::Failed { error } = &outcome.result {
                    let text = format!("{}: {}", outcome.name, error.message);
                    session.output.note(&text);
                }
            }
            let message = invalid.error.map(|error| error.message).unwrap_or_default();
            let text = format!("{FAILED}: {message}");
            return Err(CommandError::new(Kind::Input, text));
        }
    };
    match language {
        Some(language) => format::write(&document(&plan), language, session.output)?,
        None => print(session, &plan)?,
    }
    match plan.fits {
        true => Ok(()),
        false => Err(CommandError::ended_with(1)),
    }
}

fn print(session: &mut Session<'_>, plan: &Plan) -> Result<(), CommandError> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (units, others) in [(&plan.units, false), (&plan.others, true)] {
        for unit in units {
            rows.push(vec![
                unit.name.to_string(),
                place(&unit.before),
                match &unit.error {
                    Some(_) => "refused".to_owned(),
                    None => place(&unit.after),
                },
                note(unit, others),
            ]);
        }
    }
    let table = table(&["unit", "now", "then", "note"], rows);
    let text = table.render(Legend::Shown, session.output.reader());
    session.output.text(&text)?;
    let waiting = plan.units.iter().chain(&plan.others);
    for unit in waiting {
        let Some(hold) = &unit.after.hold else {
            continue;
        };
        for obstacle in &hold.obstacles {
            let machine = IdForm::Short.show(&obstacle.machine_id);
            let line = format!("{}: {machine} {}", unit.name, obstacle.reason);
            session.output.note(&line);
        }
    }
    let verdict = match plan.fits {
        true => "All would fit. Nothing was done.",
        false => "Not all would fit. Nothing was done.",
    };
    session.output.note(verdict);
    Ok(())
}

fn place(place: &Place) -> String {
    if place.hold.is_some() {
        return "waits".to_owned();
    }
    let named = place.machine_ids.iter().take(NAMED_MAX);
    let named: Vec<String> = named.map(|machine| IdForm::Short.show(machine)).collect();
    match place.count.saturating_sub(named.len()) {
        0 if named.is_empty() => "-".to_owned(),
        0 => named.join(","),
        more => format!("{},+{more}", named.join(",")),
    }
}

fn note(unit: &PlannedUnit, other: bool) -> String {
    if let Some(error) = &unit.error {
        return error.message.clone();
    }
    let mut notes: Vec<String> = Vec::new();
    if other {
        notes.push("moves too".to_owned());
    }
    if unit.differs {
        notes.push("by the cluster's file, which differs: --replace takes yours".to_owned());
    }
    notes.extend(unit.after.hold.as_ref().map(|hold| hold.reason.clone()));
    match notes.is_empty() {
        true => "-".to_owned(),
        false => notes.join("; "),
    }
}

fn document(plan: &Plan) -> Value {
    let list = |units: &[PlannedUnit]| units.iter().map(unit_document).collect::<Vec<_>>();
    json!({"fits": plan.fits, "units": list(&plan.units), "others": list(&plan.others)})
}

fn unit_document(unit: &PlannedUnit) -> Value {
    let machines = |place: &Place| {
        let machines = place.machine_ids.iter();
        machines
            .map(|machine| machine.as_str().to_owned())
            .collect::<Vec<_>>()
    };
    json!({
        "unit": unit.name.as_str(),
        "now": machines(&unit.before),
        "then": machines(&unit.after),
        "count": unit.after.count,
        "hold": unit.after.hold.as_ref().map(hold_document),
        "error": unit.error.as_ref().map(|error| error.message.clone()),
        "differs": unit.differs,
    })
}

fn hold_document(hold: &Hold) -> Value {
    let obstacles = hold.obstacles.iter().map(
        |obstacle| json!({"machine": obstacle.machine_id.as_str(), "reason": obstacle.reason}),
    );
    json!({
        "reason": hold.reason,
        "machines": hold.machines,
        "obstacles": obstacles.collect::<Vec<_>>(),
    })
}
