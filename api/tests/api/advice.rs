//! Somebody who explains placement: what is said does not matter here, how it is shown does.

use model::{
    Criterion, Displaced, Explanation, Hold, HoldReason, Move, Nearest, Obstacle, Place, Placement,
    Records, Refusal, Revision, Rule, RuleEffect, Situation, Standing, Trial, TrialPlan,
    UnitRequest, WhyThere,
};
use unitfile::UnitName;

use crate::harness::{HERE, THERE, machine_id, name};

/// Says the same of every cluster.
#[derive(Debug)]
pub(crate) struct Advice;

fn standing(machine: &str, load: usize) -> Standing {
    Standing {
        machine: machine_id(machine),
        in_domain: Some(1),
        siblings: 0,
        preference: 3,
        load,
    }
}

impl Placement for Advice {
    fn explain(&self, records: Records, unit: &UnitName) -> Option<Explanation> {
        let known = records.units.get(unit)?;
        let situation = match known.name.as_str() {
            "a.service" => Situation::Placed {
                here: standing(HERE, 1),
                why: WhyThere::Best(Criterion::Load),
                open: 2,
                others: vec![standing(THERE, 4)],
            },
            "everywhere.service" => Situation::Everywhere {
                count: 1,
                machines: vec![machine_id(HERE)],
            },
            _ => Situation::Waiting(HoldReason::NothingFits),
        };
        let disk = Rule::Metadata {
            wanted: "disk=ssd".to_owned(),
        };
        Some(Explanation {
            unit: unit.clone(),
            machines: 2,
            situation,
            pending: false,
            rules: vec![
                RuleEffect {
                    rule: disk,
                    passes: 1,
                    left: 1,
                },
                RuleEffect {
                    rule: Rule::Cordon,
                    passes: 1,
                    left: 0,
                },
            ],
            nearest: vec![Nearest {
                machine: machine_id(HERE),
                failed: 1,
                obstacle: Obstacle::Cordoned,
            }],
        })
    }

    fn explain_again(&self, _: Revision, _: &UnitName) -> Option<Explanation> {
        None
    }

    fn rebalance(&self, _records: &Records, moves_max: usize) -> Vec<Move> {
        let a_move = |(unit, round)| Move {
            unit: name(unit),
            from: machine_id(HERE),
            to: machine_id(THERE),
            by: Criterion::Load,
            before: standing(HERE, 4),
            after: standing(THERE, 1),
            round,
        };
        let moves = [("a.service", 1), ("absent.service", 1), ("b.service", 2)];
        moves.map(a_move).into_iter().take(moves_max).collect()
    }

    fn trial(&self, _records: Records, requests: &[UnitRequest]) -> TrialPlan {
        let hold = Hold {
            reason: HoldReason::NothingFits,
            obstacles: vec![(machine_id(HERE), Obstacle::Cordoned)],
            machines: 1,
        };
        let units = requests.iter().enumerate().map(|(at, request)| Trial {
            name: request.name.clone(),
            before: Place::Nowhere,
            after: match at {
                0 => Ok(Place::On(vec![machine_id(HERE)])),
                1 => Ok(Place::Waits(hold.clone())),
                _ => Err(Refusal::NotFound),
            },
            differs: false,
        });
        TrialPlan {
            units: units.collect(),
            others: vec![Displaced {
                name: name("other.service"),
                before: Place::On(vec![machine_id(HERE)]),
                after: Place::On(vec![machine_id(THERE)]),
            }],
        }
    }
}
