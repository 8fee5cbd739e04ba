//! `fleetctl explain`: why units are where they are, or why they wait.

use api::types::{Explanation, MachineId, Standing, UnitName};
use serde_json::{Value, json};

use crate::error::{CommandError, Kind};
use crate::format::{self, FormatArgs};
use crate::machine_label::IdForm;
use crate::selection::{Scope, expand_strictly};
use crate::session::Session;
use crate::sources;
use crate::table::{Legend, Table};

/// Begins the message if fleetd cannot be asked.
const FAILED: &str = "Error explaining units";

/// Say why units are where they are, or why they wait.
///
/// For a unit that waits: each rule with how many machines it leaves, and the machines that come nearest with the first rule
/// each fails. For one that has a machine: what the machine was compared by, and with which others. It is found out anew from
/// the cluster as it is now.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Units; a quoted pattern such as 'web@*' stands for units in the cluster
    #[arg(value_name = "UNIT")]
    units: Vec<String>,
    #[command(flatten)]
    format: FormatArgs,
}

/// Explains each.
pub(crate) async fn run(args: &Args, session: &mut Session<'_>) -> Result<(), CommandError> {
    if args.units.is_empty() {
        return super::no_units_given(session);
    }
    let units = expand_strictly(session, FAILED, &args.units, Scope::Runnable).await?;
    let asked = sources::names(&units, session.output)?;
    let mut found = Vec::new();
    let mut missing = None;
    for unit in &asked {
        match explanation(session, &unit.name).await? {
            Some(explanation) => found.push(explanation),
            None => {
                let text = format!("{FAILED}: unit {} does not exist", unit.name);
                if let Some(before) = missing.replace(text) {
                    session.output.note(&before);
                }
            }
        }
    }
    match args.format.format.language() {
        Some(language) => {
            let list = found.iter().map(document).collect();
            format::write(&Value::Array(list), language, session.output)?;
        }
        None => {
            for (at, explanation) in found.iter().enumerate() {
                if at > 0 {
                    session.output.line("")?;
                }
                print(session, explanation)?;
            }
        }
    }
    match missing {
        Some(text) => Err(CommandError::new(Kind::Outcome, text)),
        None => Ok(()),
    }
}

/// Why the unit is where it is; none if there is no such unit.
async fn explanation(
    session: &mut Session<'_>,
    name: &UnitName,
) -> Result<Option<Explanation>, CommandError> {
    session.debug(&format!("why {name} is where it is"));
    let answer = session.client.explanation(name).await;
    answer.map_err(|error| CommandError::request(FAILED, error))
}

fn print(session: &mut Session<'_>, explanation: &Explanation) -> Result<(), CommandError> {
    let name = &explanation.name;
    let output = &mut *session.output;
    output.line(&format!("{name} {}", explanation.summary))?;
    if let Some(choice) = &explanation.choice
        && !choice.others.is_empty()
    {
        let standings = std::iter::once(&choice.here).chain(&choice.others);
        let rows = standings.map(|standing| {
            vec![
                IdForm::Short.show(&standing.machine_id),
                standing
                    .in_domain
                    .map_or_else(|| "-".to_owned(), |count| count.to_string()),
                standing.siblings.to_string(),
                standing.preference.to_string(),
                standing.load.to_string(),
            ]
        });
        let columns = ["compared", "zone", "siblings", "preference", "load"];
        let text = table(&columns, rows.collect()).render(Legend::Shown, output.reader());
        output.text(&text)?;
    }
    if !explanation.rules.is_empty() {
        let rows = explanation.rules.iter().map(|effect| {
            vec![
                effect.rule.clone(),
                effect.passes.to_string(),
                effect.left.to_string(),
            ]
        });
        let all = vec![
            "(machines)".to_owned(),
            explanation.machines.to_string(),
            explanation.machines.to_string(),
        ];
        let rows = std::iter::once(all).chain(rows).collect();
        let text = table(&["rule", "pass", "left"], rows).render(Legend::Shown, output.reader());
        output.text(&text)?;
    }
    if !explanation.nearest.is_empty() {
        let rows = explanation.nearest.iter().map(|near| {
            vec![
                IdForm::Short.show(&near.machine_id),
                near.failed.to_string(),
                near.reason.clone(),
            ]
        });
        let columns = ["nearest", "fails", "first"];
        let text = table(&columns, rows.collect()).render(Legend::Shown, output.reader());
        output.text(&text)?;
    }
    Ok(())
}

/// A table without colours.
pub(super) fn table(columns: &[&str], rows: Vec<Vec<String>>) -> Table {
    let plain = |row: Vec<String>| row.into_iter().map(|text| (text, None)).collect();
    Table {
        columns: columns.iter().map(|&name| name.to_owned()).collect(),
        rows: rows.into_iter().map(plain).collect(),
    }
}

fn document(explanation: &Explanation) -> Value {
    let choice = explanation.choice.as_ref();
    let on: Vec<&str> = match choice {
        Some(choice) => vec![choice.here.machine_id.as_str()],
        None => {
            let machines = explanation.machine_ids.iter();
            machines.map(MachineId::as_str).collect()
        }
    };
    let compared: Vec<Value> = choice
        .into_iter()
        .flat_map(|choice| std::iter::once(&choice.here).chain(&choice.others))
        .map(standing)
        .collect();
    let rules: Vec<Value> = explanation
        .rules
        .iter()
        .map(|effect| json!({"rule": effect.rule, "passes": effect.passes, "left": effect.left}))
        .collect();
    let nearest: Vec<Value> = explanation
        .nearest
        .iter()
        .map(|near| json!({"machine": near.machine_id.as_str(), "failed": near.failed, "reason": near.reason}))
        .collect();
    json!({
        "unit": explanation.name.as_str(),
        "situation": serde_json::to_value(explanation.situation).unwrap_or(Value::Null),
        "summary": explanation.summary,
        "pending": explanation.pending,
        "machines": explanation.machines,
        "on": on,
        "why": choice.map(|choice| serde_json::to_value(choice.why).unwrap_or(Value::Null)),
        "by": choice.and_then(|choice| choice.by.clone()),
        "open": choice.map(|choice| choice.open),
        "compared": compared,
        "rules": rules,
        "nearest": nearest,
    })
}

fn standing(standing: &Standing) -> Value {
    json!({
        "machine": standing.machine_id.as_str(),
        "in_domain": standing.in_domain,
        "siblings": standing.siblings,
        "preference": standing.preference,
        "load": standing.load,
    })
}
