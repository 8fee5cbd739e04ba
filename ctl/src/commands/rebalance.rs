//! `fleetctl rebalance`: moves units to machines that are better for them, round by round.

use std::collections::BTreeSet;

use api::types::{Generation, RebalanceRequest, Rebalancing, TargetState, UnitMove};
use clap::ArgAction;
use serde_json::{Value, json};

use crate::cli::{WaitArgs, boolean};
use crate::commands::explain::table;
use crate::count::counted;
use crate::error::{CommandError, Kind};
use crate::format::{self, FormatArgs};
use crate::machine_label::IdForm;
use crate::session::Session;
use crate::table::Legend;
use crate::wait::{Goal, Patience, Wish, wait};

/// Begins the message if it cannot be done.
const FAILED: &str = "Error rebalancing units";

/// Move units to machines that are better for them.
///
/// A unit that is fine is never moved by itself, so machines that come later stay emptier than others. This moves what would be
/// placed elsewhere now: fewer of its template in the zone or on the machine, more of what it prefers, less load. Each unit is
/// stopped, then started on the other machine; of one template never two at once. Units that have ended or failed, that are
/// Sticky=, or that MachineOf= ties stay where they are.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only say which units would move
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false",
          default_missing_value = "true", hide_default_value = true, action = ArgAction::Set, value_parser = boolean)]
    dry_run: bool,
    /// Move at most N units, those first that gain most
    #[arg(long, value_name = "N")]
    max_moves: Option<usize>,
    #[command(flatten)]
    format: FormatArgs,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Moves units until there is nothing to gain.
pub(crate) async fn run(args: &Args, session: &mut Session<'_>) -> Result<(), CommandError> {
    let mut all: Vec<UnitMove> = Vec::new();
    let ended = match args.dry_run {
        true => ask(args, session, args.max_moves).await.map(|answer| {
            all = answer.moves;
        }),
        false => go_on(args, session, &mut all).await,
    };
    match args.format.format.language() {
        Some(language) => {
            let list = all.iter().map(document).collect();
            format::write(&Value::Array(list), language, session.output)?;
        }
        None if args.dry_run => print(session, &all)?,
        None => {}
    }
    ended?;
    if args.format.format.language().is_none() {
        let verdict = match (all.len(), args.dry_run) {
            (0, _) => "Every unit is where it would be placed now: nothing to move.".to_owned(),
            (count, true) => format!("{} would move. Nothing was done.", counted(count, "unit")),
            (1, false) if args.wait.no_block => {
                "Triggered 1 move; those after it are for the next time.".to_owned()
            }
            (count, false) if args.wait.no_block => {
                format!("Triggered {count} moves; those after them are for the next time.")
            }
            (count, false) => format!("Moved {}.", counted(count, "unit")),
        };
        session.output.note(&verdict);
    }
    Ok(())
}

async fn ask(
    args: &Args,
    session: &mut Session<'_>,
    max_moves: Option<usize>,
) -> Result<Rebalancing, CommandError> {
    session.debug("which units would be better off elsewhere");
    let dry_run = args.dry_run;
    let request = RebalanceRequest { max_moves, dry_run };
    let answer = session.client.rebalance(request).await;
    answer.map_err(|error| CommandError::request(FAILED, error))
}

/// Round after round.
async fn go_on(
    args: &Args,
    session: &mut Session<'_>,
    all: &mut Vec<UnitMove>,
) -> Result<(), CommandError> {
    // A unit that was to go somewhere and could not after all would be asked to go there for ever.
    let mut asked = BTreeSet::new();
    loop {
        let left = args.max_moves.map(|most| most.saturating_sub(all.len()));
        let answer = ask(args, session, left).await?;
        let moves: Vec<UnitMove> = answer.moves;
        let is_new = |it: &UnitMove| !asked.contains(&(it.name.clone(), it.to.clone()));
        if !moves.iter().any(is_new) {
            return Ok(());
        }
        asked.extend(moves.iter().map(|it| (it.name.clone(), it.to.clone())));
        let mut wishes = Vec::new();
        for it in &moves {
            let (from, to) = (IdForm::Short.show(&it.from), IdForm::Short.show(&it.to));
            if let Some(error) = &it.error {
                let text = format!("{FAILED}: unit {}: {}", it.name, error.message);
                return Err(CommandError::new(Kind::Outcome, text));
            }
            let line = format!("Moving unit {} from {from} to {to}: {}", it.name, it.by);
            if args.format.format.language().is_none() {
                session.output.line(&line)?;
            }
            wishes.extend(wish(it));
        }
        all.extend(moves);
        if args.wait.no_block {
            return Ok(());
        }
        let patience = Patience::of_attempts(args.wait.block_attempts);
        wait(session, FAILED, wishes, patience).await?;
        if answer.left == 0 {
            return Ok(());
        }
    }
}

fn wish(it: &UnitMove) -> Option<Wish> {
    let goal = match it.target_state? {
        TargetState::Launched => Goal::Launched,
        TargetState::Loaded => Goal::Loaded,
        TargetState::Inactive => return None,
    };
    Some(Wish {
        name: it.name.clone(),
        goal,
        generation: Generation(it.generation?),
    })
}

fn print(session: &mut Session<'_>, moves: &[UnitMove]) -> Result<(), CommandError> {
    if moves.is_empty() {
        return Ok(());
    }
    let rows = moves.iter().map(|it| {
        vec![
            it.round.to_string(),
            it.name.to_string(),
            IdForm::Short.show(&it.from),
            IdForm::Short.show(&it.to),
            it.by.clone(),
            gain(it),
        ]
    });
    let columns = ["round", "unit", "from", "to", "by", "gain"];
    let text = table(&columns, rows.collect()).render(Legend::Shown, session.output.reader());
    session.output.text(&text)
}

/// What it is better by, in numbers.
fn gain(it: &UnitMove) -> String {
    let (before, after) = (&it.before, &it.after);
    match it.by.as_str() {
        "spread" => {
            let shown = |count: Option<usize>| count.unwrap_or_default();
            format!("{} > {}", shown(before.in_domain), shown(after.in_domain))
        }
        "siblings" => format!("{} > {}", before.siblings, after.siblings),
        "preference" => format!("{} > {}", before.preference, after.preference),
        _ => format!("{} > {}", before.load, after.load),
    }
}

fn document(it: &UnitMove) -> Value {
    json!({
        "round": it.round,
        "unit": it.name.as_str(),
        "from": it.from.as_str(),
        "to": it.to.as_str(),
        "by": it.by,
        "gain": gain(it),
        "error": it.error.as_ref().map(|error| error.message.clone()),
    })
}
