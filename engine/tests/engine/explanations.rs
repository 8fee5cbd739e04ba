//! Why units are where they are: examples, and the law that what is said agrees with the oracle,
//! rule by rule and machine by machine.

use crate::oracle::{Oracle, Schedule, schedule_of};
use crate::picture::{Picture, id, name};
use crate::properties::{cases, steps};
use engine::{Explainer, Look, explain, schedule};
use model::{
    Criterion, Decision, Explanation, GLOBAL_MACHINES_MAX, HoldReason, MachineId, NEAREST_MAX,
    Obstacle, Rule, Situation, Standing, UnassignReason, WhyThere,
};
use proptest::prelude::*;
use unitfile::{Demand, UnitName};

fn drawn(text: &str) -> Picture {
    let mut picture = Picture::default();
    picture.draw(text);
    picture
}

fn settled(text: &str) -> Picture {
    let mut picture = drawn(text);
    let decisions = schedule(&picture.records);
    picture.apply(&decisions);
    picture.settle();
    picture
}

fn table(explanation: &Explanation) -> Vec<String> {
    let effects = explanation.rules.iter();
    effects
        .map(|effect| format!("{} {} {}", effect.rule, effect.passes, effect.left))
        .collect()
}

fn nearest(explanation: &Explanation) -> Vec<String> {
    let nearest = explanation.nearest.iter();
    nearest
        .map(|near| format!("{} {} {}", near.machine, near.failed, near.obstacle))
        .collect()
}

#[test]
fn a_waiting_unit_is_told_what_each_rule_leaves_and_who_comes_nearest() {
    let picture = settled(
        "machine a disk=ssd zone=x
         machine b disk=ssd zone=y
         machine c disk=hdd zone=x
         cordon a
         unit db.service : MachineID=b
         unit web.service : MachineMetadata=disk=ssd; MachineMetadata=zone=x; Conflicts=db.service; Memory=5G",
    );
    let explanation = explain(&picture.records, &name("web.service")).unwrap();
    assert!(matches!(explanation.situation, Situation::Waiting(_)));
    assert_eq!(
        table(&explanation),
        [
            "MachineMetadata=disk=ssd 2 2",
            "MachineMetadata=zone=x 2 1",
            "Conflicts= 2 1",
            "Memory= 0 0",
            "cordon 2 0",
        ]
    );
    assert_eq!(
        nearest(&explanation),
        [
            "a 2 has 4294967296 of memory left, 5368709120 is needed",
            "c 2 metadata disk=ssd is wanted, it has hdd",
            "b 3 metadata zone=x is wanted, it has y",
        ]
    );
}

#[test]
fn a_unit_that_has_a_machine_is_told_what_decided_and_what_would_now() {
    let mut picture = settled(
        "machine a
         machine b
         unit one.service : Weight=5
         unit two.service
         unit three.service",
    );
    let explanation = explain(&picture.records, &name("two.service")).unwrap();
    let Situation::Placed {
        here, why, open, ..
    } = explanation.situation
    else {
        panic!("{:?}", explanation.situation);
    };
    assert_eq!((here.machine, open), (id("b"), 2));
    assert_eq!(why, WhyThere::Best(Criterion::Load));
    picture.draw("destroy one.service\nsettle");
    let decisions = schedule(&picture.records);
    picture.apply(&decisions);
    let explanation = explain(&picture.records, &name("two.service")).unwrap();
    let Situation::Placed { why, .. } = explanation.situation else {
        panic!("{:?}", explanation.situation);
    };
    let better = WhyThere::Stays {
        better: id("a"),
        by: Criterion::Load,
    };
    assert_eq!(why, better);
}

#[test]
fn what_is_decided_but_not_written_is_said_to_be_pending() {
    let picture = drawn("machine a\nunit one.service\nunit two.service inactive:");
    let one = explain(&picture.records, &name("one.service")).unwrap();
    assert!(one.pending);
    assert!(matches!(
        one.situation,
        Situation::Placed {
            why: WhyThere::OnlyOne,
            ..
        }
    ));
    let two = explain(&picture.records, &name("two.service")).unwrap();
    assert_eq!((two.situation, two.pending), (Situation::Inactive, false));
    assert_eq!(explain(&picture.records, &name("three.service")), None);
}

#[test]
fn what_gives_way_is_told_where_it_is_left_alone() {
    let picture = settled(
        "machine a
         machine b
         machine c
         unit new.service : Replaces=old.service; MachineID=a
         unit old.service
         unit one.service : MachineID=b
         unit two.service : MachineID=b",
    );
    let explanation = explain(&picture.records, &name("old.service")).unwrap();
    assert_eq!(table(&explanation), ["Replaces= 2 2"]);
    assert_eq!(
        nearest(&explanation),
        ["a 1 is given up to new.service, which replaces it"]
    );
    let Situation::Placed { here, open, .. } = explanation.situation else {
        panic!("{:?}", explanation.situation);
    };
    assert_eq!((here.machine, open), (id("c"), 2));
}

#[test]
fn a_global_unit_is_explained_machine_by_machine() {
    let picture = settled(
        "machine a disk=ssd
         machine b disk=hdd
         machine c disk=ssd
         unit g.service : Global=true; MachineMetadata=disk=ssd",
    );
    let explanation = explain(&picture.records, &name("g.service")).unwrap();
    let everywhere = Situation::Everywhere {
        count: 2,
        machines: vec![id("a"), id("c")],
    };
    assert_eq!(explanation.situation, everywhere);
    assert_eq!(
        nearest(&explanation),
        ["b 1 metadata disk=ssd is wanted, it has hdd"]
    );
}

fn is_of(rule: &Rule, obstacle: &Obstacle) -> bool {
    match (rule, obstacle) {
        (Rule::MachineId { wanted }, Obstacle::MachineId { wanted: failed }) => wanted == failed,
        (Rule::Metadata { wanted }, Obstacle::Metadata { wanted: failed, .. }) => wanted == failed,
        (Rule::MachineOf { peer }, Obstacle::MachineOf { peer: failed }) => peer == failed,
        (
            Rule::Room { resource },
            Obstacle::NoRoom {
                resource: failed, ..
            },
        ) => resource == failed,
        (Rule::Conflicts, Obstacle::Conflict { .. })
        | (Rule::MaxPerMachine, Obstacle::MaxPerMachine { .. })
        | (Rule::Cordon, Obstacle::Cordoned)
        | (Rule::Replaces, Obstacle::Replaced { .. }) => true,
        _ => false,
    }
}

/// Whether the machine passes this rule alone: the oracle is asked about a unit that has no other.
fn passes(
    oracle: &mut Oracle<'_>,
    unit: &UnitName,
    rule: &Rule,
    machine: &MachineId,
    others: &Schedule,
) -> bool {
    let whole = oracle.requirements[unit].clone();
    let only = oracle.requirements.get_mut(unit).unwrap();
    only.machine_id = None;
    only.metadata.clear();
    only.machine_of.clear();
    only.demand = Demand::default();
    match rule {
        Rule::MachineId { .. } => only.machine_id.clone_from(&whole.machine_id),
        Rule::Metadata { wanted } => {
            let term = whole
                .metadata
                .iter()
                .find(|term| term.to_string() == *wanted);
            only.metadata.push(term.unwrap().clone());
        }
        Rule::MachineOf { peer } => only.machine_of.push(peer.clone()),
        Rule::Room { resource } => match resource.as_str() {
            "memory" => only.demand.memory_bytes = whole.demand.memory_bytes,
            "cpu" => only.demand.cpu_milli = whole.demand.cpu_milli,
            counted => {
                let count = whole.demand.counted[counted];
                only.demand.counted.insert(counted.to_owned(), count);
            }
        },
        Rule::Conflicts | Rule::MaxPerMachine | Rule::Cordon | Rule::Replaces => {}
    }
    let obstacle = match rule {
        Rule::Room { .. } | Rule::MaxPerMachine => oracle.full(unit, machine, others),
        Rule::Cordon | Rule::Replaces => None,
        Rule::MachineId { .. }
        | Rule::Metadata { .. }
        | Rule::MachineOf { .. }
        | Rule::Conflicts => oracle.obstacle(unit, machine, others),
    };
    oracle.requirements.insert(unit.clone(), whole);
    let is_open = match rule {
        Rule::Cordon => !oracle.is_cordoned(machine),
        Rule::Replaces => oracle.is_calm(unit, machine, others),
        _ => true,
    };
    is_open && !obstacle.is_some_and(|obstacle| is_of(rule, &obstacle))
}

/// Compares what is said of one unit with what the oracle says of every machine.
fn check(picture: &Picture, explanation: &Explanation) -> Result<(), TestCaseError> {
    let records = &picture.records;
    let unit = &explanation.unit;
    let mut oracle = Oracle::of(records);
    let mut others = schedule_of(records);
    let places: Vec<MachineId> = others.remove(unit).into_iter().flatten().collect();
    let is_global = oracle.requirements[unit].global;
    let mut firsts: Vec<(MachineId, Option<Obstacle>)> = Vec::new();
    for machine in records.machines.keys() {
        let stays = is_global && places.contains(machine);
        let first = oracle.obstacle(unit, machine, &others).filter(|_| !stays);
        firsts.push((machine.clone(), first));
    }
    let able = firsts.iter().filter(|(_, first)| first.is_none());
    let able: Vec<&MachineId> = able.map(|(machine, _)| machine).collect();
    let asked: Vec<MachineId> = oracle
        .asked(unit, able, &others)
        .into_iter()
        .cloned()
        .collect();
    let mut left: Vec<&MachineId> = records.machines.keys().collect();
    let mut failed = vec![0; firsts.len()];
    for effect in &explanation.rules {
        let falls = |machine: &MachineId| {
            let (_, first) = firsts.iter().find(|(id, _)| id == machine).unwrap();
            match first {
                Some(first) => is_of(&effect.rule, first),
                None => effect.rule == Rule::Replaces && !asked.contains(machine),
            }
        };
        left.retain(|machine| !falls(machine));
        prop_assert_eq!(effect.left, left.len(), "{}: {:?}", unit, effect);
        let mut passing = 0;
        for (at, machine) in records.machines.keys().enumerate() {
            let stays = is_global && places.contains(machine);
            let is_in = stays || passes(&mut oracle, unit, &effect.rule, machine, &others);
            passing += usize::from(is_in);
            failed[at] += usize::from(!is_in);
        }
        prop_assert_eq!(effect.passes, passing, "{}: {:?}", unit, effect);
    }
    let open: Vec<&MachineId> = asked.iter().collect();
    prop_assert_eq!(
        left,
        open.clone(),
        "{}: a rule is missing: {:?}",
        unit,
        explanation
    );
    let mut near: Vec<_> = firsts
        .iter()
        .zip(&failed)
        .filter_map(|((machine, first), failed)| {
            let replaced = || oracle.replaced(unit, machine, &others);
            let first = first.clone().or_else(replaced)?;
            (*failed > 0).then_some((*failed, machine, first))
        })
        .filter(|(_, machine, _)| is_global || !places.contains(machine))
        .collect();
    near.sort();
    near.truncate(if is_global {
        GLOBAL_MACHINES_MAX
    } else {
        NEAREST_MAX
    });
    let said = explanation.nearest.iter();
    let said: Vec<_> = said
        .map(|near| (near.failed, &near.machine, near.obstacle.clone()))
        .collect();
    prop_assert_eq!(said, near, "{}", unit);
    check_standings(&oracle, explanation, &open, &others)
}

fn check_standings(
    oracle: &Oracle<'_>,
    explanation: &Explanation,
    open: &[&MachineId],
    others: &Schedule,
) -> Result<(), TestCaseError> {
    let Situation::Placed {
        here,
        why,
        open: said,
        others: next,
    } = &explanation.situation
    else {
        return Ok(());
    };
    let unit = &explanation.unit;
    let merit = |standing: &Standing| {
        let Standing {
            machine,
            in_domain,
            siblings,
            preference,
            load,
        } = standing.clone();
        (
            in_domain.unwrap_or(0),
            siblings,
            u64::MAX - preference,
            load,
            machine,
        )
    };
    let expected = |machine: &MachineId| {
        let (in_domain, siblings, preference, load, machine) = oracle.merit(unit, machine, others);
        (in_domain, siblings, preference, load, machine.clone())
    };
    prop_assert_eq!(*said, open.len());
    prop_assert_eq!(merit(here), expected(&here.machine), "{}", unit);
    let elsewhere = open.iter().filter(|machine| ***machine != here.machine);
    let mut best: Vec<_> = elsewhere.map(|machine| expected(machine)).collect();
    best.sort();
    best.truncate(NEAREST_MAX);
    prop_assert_eq!(next.iter().map(merit).collect::<Vec<_>>(), best.clone());
    let agrees = match (why, best.first()) {
        (WhyThere::OnlyOne, first) => first.is_none(),
        (WhyThere::Best(_), Some(first)) => merit(here) < *first,
        (WhyThere::Stays { better, .. }, Some(first)) => *first < merit(here) && *better == first.4,
        (WhyThere::Best(_) | WhyThere::Stays { .. }, None) | (WhyThere::Frozen(_), _) => false,
    };
    prop_assert!(agrees, "{unit}: {why:?} of {best:?}");
    Ok(())
}

fn gives_way(decision: &Decision) -> bool {
    matches!(
        decision,
        Decision::Unassign {
            reason: UnassignReason::NoLongerFits(Obstacle::Replaced { .. }),
            ..
        }
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn explanations_agree_with_the_oracle(steps in steps()) {
        let mut picture = Picture::default();
        let mut look = Look::of(picture.records.clone());
        for commands in steps {
            picture.draw(&commands.join("\n"));
            let mut pending = Explainer::of(&picture.records);
            look = look.renew(picture.records.clone());
            prop_assert_eq!(look.records(), &picture.records);
            for unit in picture.records.units.keys() {
                prop_assert_eq!(look.explain(unit), pending.explain(unit), "looked at again");
            }
            let decisions = schedule(&picture.records);
            let somebody_gives_way = decisions.iter().any(gives_way);
            picture.apply(&decisions);
            let mut explainer = Explainer::of(&picture.records);
            for unit in picture.records.units.keys() {
                let explanation = explainer.explain(unit).unwrap();
                prop_assert!(!explanation.pending);
                // What is to be written is explained as it will be. A unit that is to give way counts no more where it
                // is, and once that is written it counts there again until it has stopped.
                let before = pending.explain(unit).unwrap();
                if !somebody_gives_way {
                    prop_assert_eq!(&Explanation { pending: false, ..before }, &explanation);
                }
                match &explanation.situation {
                    Situation::Inactive | Situation::Damaged => continue,
                    Situation::Waiting(reason) => {
                        let hold = &picture.records.holds[unit];
                        prop_assert_eq!(reason, &hold.reason);
                        if matches!(reason, HoldReason::Invalid { .. } | HoldReason::FileMissing { .. }) {
                            prop_assert!(explanation.rules.is_empty());
                            continue;
                        }
                    }
                    Situation::Placed { here, why, .. } => {
                        prop_assert!(picture.records.schedule[unit].contains_key(&here.machine));
                        if matches!(why, WhyThere::Frozen(_)) {
                            continue;
                        }
                    }
                    Situation::Everywhere { machines, .. } => {
                        // An entry that the brake keeps on a lost machine says nothing of the unit.
                        let live = &picture.records.machines;
                        let entries = picture.records.schedule[unit].keys();
                        let entries = entries.filter(|id| live.contains_key(*id));
                        prop_assert!(entries.eq(machines.iter()));
                    }
                }
                check(&picture, &explanation)?;
            }
        }
    }
}
