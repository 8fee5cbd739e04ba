//! PURE. Explanations and rehearsals as the answers show them, and an explanation in one sentence.

use model::{
    Criterion, Displaced, Explanation, GLOBAL_MACHINES_MAX, HoldReason, Move, Outcome, Refusal,
    Situation, Standing, Trial, TrialPlan, WhyThere,
};

use super::answer::ApiError;
use super::rows;
use crate::types;

/// An explanation.
pub(super) fn explanation(explanation: &Explanation) -> types::Explanation {
    let (situation, choice, machines) = match &explanation.situation {
        Situation::Inactive => (types::Situation::Inactive, None, None),
        Situation::Damaged => (types::Situation::Damaged, None, None),
        Situation::Waiting(_) => (types::Situation::Waiting, None, None),
        Situation::Placed {
            here,
            why,
            open,
            others,
        } => {
            let (why, by) = shown_why(why);
            let choice = types::Choice {
                here: standing(here),
                why,
                by: by.map(|by| by.as_str().to_owned()),
                open: *open,
                others: others.iter().map(standing).collect(),
            };
            (types::Situation::Placed, Some(choice), None)
        }
        Situation::Everywhere { count, machines } => (
            types::Situation::Everywhere,
            None,
            Some((*count, machines.clone())),
        ),
    };
    let effects = explanation.rules.iter().map(|effect| types::RuleEffect {
        rule: effect.rule.to_string(),
        passes: effect.passes,
        left: effect.left,
    });
    let nearest = explanation.nearest.iter().map(|near| types::Nearest {
        machine_id: near.machine.clone(),
        failed: near.failed,
        reason: near.obstacle.to_string(),
    });
    let needs = match &explanation.situation {
        Situation::Waiting(reason) => {
            let obstacles = explanation.nearest.iter().map(|near| &near.obstacle);
            Some(rows::needs(reason.needs(obstacles)))
        }
        Situation::Inactive
        | Situation::Damaged
        | Situation::Placed { .. }
        | Situation::Everywhere { .. } => None,
    };
    types::Explanation {
        name: explanation.unit.clone(),
        situation,
        needs,
        summary: summary(explanation),
        pending: explanation.pending,
        machines: explanation.machines,
        choice,
        count: machines.as_ref().map(|(count, _)| *count),
        machine_ids: machines.map(|(_, machines)| machines).unwrap_or_default(),
        rules: effects.collect(),
        nearest: nearest.collect(),
    }
}

fn shown_why(why: &WhyThere) -> (types::Why, Option<Criterion>) {
    match why {
        WhyThere::OnlyOne => (types::Why::Only, None),
        WhyThere::Best(by) => (types::Why::Best, Some(*by)),
        WhyThere::Stays { by, .. } => (types::Why::Stays, Some(*by)),
        WhyThere::Frozen(_) => (types::Why::Frozen, None),
    }
}

fn standing(standing: &Standing) -> types::Standing {
    types::Standing {
        machine_id: standing.machine.clone(),
        in_domain: standing.in_domain,
        siblings: standing.siblings,
        preference: standing.preference,
        load: standing.load,
    }
}

/// The explanation in one sentence that reads on after the unit's name.
fn summary(explanation: &Explanation) -> String {
    let said = match &explanation.situation {
        Situation::Inactive => "is wanted on no machine".to_owned(),
        Situation::Damaged => {
            "has a damaged record and is left alone: destroy it and submit it again".to_owned()
        }
        Situation::Everywhere { count, .. } => {
            let machines = explanation.machines;
            format!("is global and on {count} of {machines} machines")
        }
        Situation::Waiting(reason) => {
            format!("waits: {reason}{}", culprit(explanation, reason))
        }
        Situation::Placed {
            here, why, open, ..
        } => {
            let machine = here.machine.short();
            let why = match why {
                WhyThere::OnlyOne => "no other machine can take it".to_owned(),
                WhyThere::Best(by) => {
                    format!("the best of {open} that can take it, by {}", by_what(*by))
                }
                WhyThere::Stays { better, by } => format!(
                    "{} is better now, by {}, but a unit that is fine is not moved",
                    better.short(),
                    by_what(*by)
                ),
                WhyThere::Frozen(reason) => format!("it stays there because {reason}"),
            };
            format!("is on {machine}: {why}")
        }
    };
    if explanation.pending {
        return format!("{said} (decided, about to be written)");
    }
    said
}

/// Which rule takes the last machine from a unit for which there is none.
fn culprit(explanation: &Explanation, reason: &HoldReason) -> String {
    if *reason != HoldReason::NothingFits {
        return String::new();
    }
    let mut before = explanation.machines;
    for effect in &explanation.rules {
        if effect.left == 0 {
            return format!("; {} leaves none of {before}", effect.rule);
        }
        before = effect.left;
    }
    String::new()
}

fn by_what(criterion: Criterion) -> &'static str {
    match criterion {
        Criterion::Spread => "fewest of its template in the zone",
        Criterion::Siblings => "fewest of its template",
        Criterion::Preference => "what Prefers= asks for",
        Criterion::Load => "load",
        Criterion::Id => "id alone",
    }
}

/// What would become of a cluster.
pub(super) fn plan(plan: &TrialPlan) -> types::Plan {
    types::Plan {
        fits: plan.fits(),
        units: plan.units.iter().map(trial).collect(),
        others: plan.others.iter().map(displaced).collect(),
    }
}

/// Moves; if they were asked for, those of the first round with the answers.
pub(super) fn rebalancing(
    moves: &[Move],
    answers: Vec<Result<Outcome, Refusal>>,
) -> types::Rebalancing {
    let shown = match answers.len() {
        0 => moves,
        count => &moves[..count.min(moves.len())],
    };
    let mut answers = answers.into_iter();
    let rows = shown.iter().map(|it| {
        let (outcome, error) = match answers.next() {
            Some(Ok(outcome)) => (Some(outcome), None),
            Some(Err(refusal)) => (None, Some(ApiError::from(refusal).body())),
            None => (None, None),
        };
        types::UnitMove {
            name: it.unit.clone(),
            from: it.from.clone(),
            to: it.to.clone(),
            by: it.by.as_str().to_owned(),
            round: it.round,
            before: standing(&it.before),
            after: standing(&it.after),
            generation: outcome.as_ref().map(|outcome| outcome.generation.0),
            target_state: outcome.map(|outcome| outcome.target),
            error,
        }
    });
    types::Rebalancing {
        moves: rows.collect(),
        left: moves.len() - shown.len(),
    }
}

fn trial(trial: &Trial) -> types::PlannedUnit {
    let (after, error) = match &trial.after {
        Ok(after) => (place(after), None),
        Err(refusal) => {
            let error = ApiError::from(refusal.clone()).body();
            (types::Place::default(), Some(error))
        }
    };
    types::PlannedUnit {
        name: trial.name.clone(),
        before: place(&trial.before),
        after,
        error,
        differs: trial.differs,
    }
}

fn displaced(displaced: &Displaced) -> types::PlannedUnit {
    types::PlannedUnit {
        name: displaced.name.clone(),
        before: place(&displaced.before),
        after: place(&displaced.after),
        error: None,
        differs: false,
    }
}

fn place(place: &model::Place) -> types::Place {
    match place {
        model::Place::Nowhere => types::Place::default(),
        model::Place::On(machines) => types::Place {
            count: machines.len(),
            machine_ids: machines.iter().take(GLOBAL_MACHINES_MAX).cloned().collect(),
            hold: None,
        },
        model::Place::Waits(hold) => types::Place {
            hold: Some(rows::hold(hold)),
            ..types::Place::default()
        },
    }
}
