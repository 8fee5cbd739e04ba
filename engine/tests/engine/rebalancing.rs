//! Rebalancing on random clusters, judged by the oracle, and carried out as the store, the engine
//! and the machines would.

use std::collections::BTreeSet;

use crate::oracle::{Oracle, Schedule, schedule_of};
use crate::picture::{Picture, name};
use crate::properties::{additions, cases, steps};
use crate::trials::{at_rest, come_to_rest};
use engine::rebalance;
use model::{MachineId, Move, Records};
use proptest::prelude::*;
use unitfile::UnitName;

/// More rounds than any of these small clusters has units and machines for.
const ROUNDS_MAX: usize = 200;

fn lines(moves: &[Move]) -> Vec<String> {
    let line = |it: &Move| {
        let by = it.by.as_str();
        format!("{} {} {} {} {by}", it.round, it.unit, it.from, it.to)
    };
    moves.iter().map(line).collect()
}

#[test]
fn a_new_machine_gets_its_share_one_instance_at_a_time() {
    let mut picture = at_rest(
        "machine a\nmachine b\nunit web@1.service\nunit web@2.service\nunit web@3.service\nunit web@4.service\n\
         unit one.service\nunit two.service\nunit fixed.service : Sticky=yes\nunit follower.service : MachineOf=one.service",
    );
    picture.draw("machine c");
    come_to_rest(&mut picture);
    assert_eq!(
        lines(&rebalance(&picture.records, 100)),
        [
            "1 web@1.service a c siblings",
            "1 two.service a c load",
            // Of one template one at a time.
            "2 web@2.service b a load",
        ]
    );
    assert_eq!(
        lines(&rebalance(&picture.records, 1)),
        ["1 web@1.service a c siblings"]
    );
    assert!(rebalance(&picture.records, 0).is_empty());
}

#[test]
fn what_has_ended_or_is_asked_to_move_already_is_left_alone() {
    let mut picture = at_rest("machine a\nunit done.service\nunit one.service\nunit two.service");
    picture.draw("machine b\nended done.service a");
    come_to_rest_but(&mut picture, "ended done.service a");
    let moves = rebalance(&picture.records, 100);
    assert_eq!(lines(&moves), ["1 one.service a b load"]);
    picture.draw("move one.service b");
    // The engine decides about it first, and what else is better is better beside that.
    let moves = rebalance(&picture.records, 100);
    assert!(moves.iter().all(|it| it.unit != name("one.service")));
}

/// `settle` says of every unit that it runs: `then` says otherwise again.
fn come_to_rest_but(picture: &mut Picture, then: &str) {
    come_to_rest(picture);
    picture.draw(then);
}

/// Makes the moves of one round. An error says which of them should not have been made.
fn carry_out(picture: &mut Picture, moves: &[Move]) -> Result<(), TestCaseError> {
    let records: Records = picture.records.clone();
    let oracle = Oracle::of(&records);
    let mut schedule = schedule_of(&records);
    let mut moved = BTreeSet::new();
    let mut templates = BTreeSet::new();
    for it in moves {
        prop_assert!(moved.insert(&it.unit), "{} moves twice at once", it.unit);
        if it.unit.is_instance() {
            let template = it.unit.template();
            prop_assert!(templates.insert(template), "two of {} at once", it.unit);
        }
        let had = schedule.remove(&it.unit).unwrap_or_default();
        prop_assert_eq!(had, BTreeSet::from([it.from.clone()]));
        let obstacle = oracle.obstacle(&it.unit, &it.to, &schedule);
        prop_assert_eq!(obstacle, None, "{} to {}", it.unit, it.to);
        let merit = |id| {
            let (domain, siblings, disliked, load, _) = oracle.merit(&it.unit, id, &schedule);
            (domain, siblings, disliked, load)
        };
        prop_assert!(merit(&it.to) < merit(&it.from), "{:?} is no better", it);
        for other in records.machines.keys() {
            let can = *other != it.from && oracle.obstacle(&it.unit, other, &schedule).is_none();
            let best = (merit(&it.to), &it.to) <= (merit(other), other);
            prop_assert!(!can || best, "{other} is better: {it:?}");
        }
        schedule.insert(it.unit.clone(), BTreeSet::from([it.to.clone()]));
    }
    for it in moves {
        picture.draw(&format!("move {} {}", it.unit, it.to));
    }
    come_to_rest(picture);
    let now = schedule_of(&picture.records);
    for it in moves {
        let on = &now[&name(it.unit.as_str())];
        prop_assert_eq!(on, &BTreeSet::from([it.to.clone()]), "{}", it.unit);
    }
    // Nothing else has moved but what finds room now, and what goes on from that.
    let goes_on = going_on(&records, &now);
    for (unit, machines) in &now {
        if !moved.contains(unit) && !goes_on.contains(unit) {
            prop_assert_eq!(
                records
                    .schedule
                    .get(unit)
                    .map(|it| it.keys().cloned().collect()),
                Some(machines.clone())
            );
        }
    }
    Ok(())
}

/// Units that the room a move makes can move, too: those that wait for room or have it on some machines only, those that somebody beside
/// them replaces, and what follows any of these.
fn going_on(before: &Records, now: &Schedule) -> BTreeSet<UnitName> {
    let oracle = Oracle::of(before);
    let mut found: BTreeSet<UnitName> = before.holds.keys().cloned().collect();
    for (unit, machines) in schedule_of(before) {
        let is_replaced = |id: &MachineId| {
            let then = oracle.replaced(&unit, id, &schedule_of(before));
            then.is_some() || oracle.replaced(&unit, id, now).is_some()
        };
        let is_partial =
            oracle.requirements[&unit].global && machines.len() < before.machines.len();
        if is_partial || machines.iter().any(is_replaced) {
            found.insert(unit);
        }
    }
    let follows = |unit: &UnitName, found: &BTreeSet<UnitName>| {
        let peers = &oracle.requirements[unit].machine_of;
        !found.contains(unit) && peers.iter().any(|peer| found.contains(peer))
    };
    while let Some(unit) = now.keys().find(|unit| follows(unit, &found)) {
        found.insert(unit.clone());
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases() / 4, ..ProptestConfig::default() })]

    #[test]
    fn every_move_is_legal_and_better_and_after_all_there_are_none(
        steps in steps(),
        additions in additions(),
        moves_max in prop_oneof![Just(1_usize), Just(3), Just(1000)],
    ) {
        let mut picture = Picture::default();
        for commands in steps {
            picture.draw(&commands.join("\n"));
            let decisions = engine::schedule(&picture.records);
            picture.apply(&decisions);
        }
        come_to_rest(&mut picture);
        picture.draw(&additions.join("\n"));
        come_to_rest(&mut picture);
        let foretold = rebalance(&picture.records, moves_max);
        prop_assert!(foretold.len() <= moves_max);
        // What takes the room that a move makes is not foretold.
        let is_full = !going_on(&picture.records, &schedule_of(&picture.records)).is_empty();
        let mut made: Vec<Move> = Vec::new();
        for round in 1.. {
            prop_assert!(round < ROUNDS_MAX, "no end: {:?}", lines(&made));
            let mut moves = rebalance(&picture.records, moves_max - made.len());
            moves.retain(|it| it.round == 1);
            if moves.is_empty() {
                break;
            }
            carry_out(&mut picture, &moves)?;
            made.extend(moves.into_iter().map(|it| Move { round, ..it }));
        }
        prop_assert!(is_full || foretold == made, "{:?} {:?}", lines(&foretold), lines(&made));
    }
}
