//! Dry runs: what is said would happen is what happens, and nothing is written.

use crate::picture::{Picture, file, name};
use crate::properties::{cases, steps};
use engine::{schedule, trial};
use model::{Action, OnDifference, Place, Refusal, TrialPlan, UnitRequest};
use proptest::prelude::*;
use unitfile::UnitName;

/// How many rounds of "carry out, report, decide" a cluster may need to come to rest.
const ROUNDS_MAX: usize = 40;

fn request(unit: &str, action: Action, options: Option<&str>) -> UnitRequest {
    UnitRequest {
        name: name(unit),
        action,
        file: options.map(|options| {
            let options: Vec<&str> = options.split(';').filter(|it| !it.is_empty()).collect();
            file(&options)
        }),
        template: None,
        on_difference: OnDifference::Replace,
    }
}

fn start(unit: &str, options: &str) -> UnitRequest {
    request(unit, Action::Start, Some(options))
}

pub fn at_rest(text: &str) -> Picture {
    let mut picture = Picture::default();
    picture.draw(text);
    come_to_rest(&mut picture);
    picture
}

pub fn come_to_rest(picture: &mut Picture) {
    for _ in 0..ROUNDS_MAX {
        let decisions = schedule(&picture.records);
        picture.apply(&decisions);
        picture.settle();
    }
    assert!(schedule(&picture.records).is_empty(), "not at rest");
}

fn place(place: &Place) -> String {
    match place {
        Place::Nowhere => "nowhere".to_owned(),
        Place::On(machines) => format!("{machines:?}"),
        Place::Waits(hold) => format!("waits: {}", hold.reason),
    }
}

fn lines(plan: &TrialPlan) -> Vec<String> {
    let units = plan.units.iter().map(|trial| match &trial.after {
        Ok(after) => format!("{} {} {}", trial.name, place(&trial.before), place(after)),
        Err(refusal) => format!("{} refused: {refusal}", trial.name),
    });
    let others = plan.others.iter();
    let others = others.map(|it| {
        format!(
            "also {} {} {}",
            it.name,
            place(&it.before),
            place(&it.after)
        )
    });
    units.chain(others).collect()
}

#[test]
fn units_go_where_placement_would_put_them_and_others_are_told_of() {
    let picture = at_rest(
        "machine a disk=ssd
         machine b
         unit old.service : MachineMetadata=disk=ssd
         unit pair.service : MachineOf=old.service
         unit quiet.service",
    );
    let before = picture.records.clone();
    let plan = trial(
        picture.records.clone(),
        &[
            start("new.service", ""),
            start("lost.service", "MachineMetadata=disk=tape"),
            request("old.service", Action::Unload, None),
            request("none.service", Action::Stop, None),
        ],
    );
    assert_eq!(
        lines(&plan),
        [
            "new.service nowhere [a]",
            "lost.service nowhere waits: no machine can run it",
            "old.service [a] nowhere",
            "none.service refused: unit does not exist",
            "also pair.service [a] waits: no machine can run it",
        ]
    );
    assert!(!plan.fits());
    assert_eq!(before, picture.records);
}

#[test]
fn a_unit_that_must_move_first_makes_room() {
    let picture = at_rest(
        "machine a\nmachine b\nunit z.service : MachineID=a; Weight=9\nunit old.service : MachineMetadata=disk!=x",
    );
    // It has to stop on b before the new one can be there.
    let plan = trial(
        picture.records.clone(),
        &[
            start("old.service", "MachineID=a"),
            start("new.service", "MachineID=b; Conflicts=old.service"),
        ],
    );
    assert!(plan.fits(), "{:?}", lines(&plan));
    assert_eq!(
        lines(&plan),
        ["old.service [b] [a]", "new.service nowhere [b]"]
    );
}

fn submitted(picture: &mut Picture, units: &[(String, String)]) {
    for (unit, options) in units {
        picture.draw(&format!("unit {unit} : {options}"));
    }
}

fn of_records(picture: &Picture, unit: &UnitName) -> Place {
    match (
        picture.records.holds.get(unit),
        picture.records.schedule.get(unit),
    ) {
        (Some(hold), _) => Place::Waits(hold.clone()),
        (None, Some(machines)) => Place::On(machines.keys().cloned().collect()),
        (None, None) => Place::Nowhere,
    }
}

fn refusals(plan: &TrialPlan) -> Vec<&Refusal> {
    plan.units
        .iter()
        .filter_map(|trial| trial.after.as_ref().err())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases() / 4, ..ProptestConfig::default() })]

    #[test]
    fn what_is_foretold_is_what_happens(
        steps in steps(),
        units in proptest::collection::vec(crate::properties::submission(), 1..4),
    ) {
        let mut picture = Picture::default();
        for commands in steps {
            picture.draw(&commands.join("\n"));
            let decisions = schedule(&picture.records);
            picture.apply(&decisions);
        }
        come_to_rest(&mut picture);
        let requests: Vec<UnitRequest> = units.iter().map(|(unit, options)| start(unit, options)).collect();
        let plan = trial(picture.records.clone(), &requests);
        if !refusals(&plan).is_empty() {
            // What the API refuses never comes to placement.
            return Ok(());
        }
        let before = picture.clone();
        submitted(&mut picture, &units);
        come_to_rest(&mut picture);
        for foretold in &plan.units {
            prop_assert_eq!(&foretold.before, &of_records(&before, &foretold.name));
            prop_assert_eq!(foretold.after.as_ref().unwrap(), &of_records(&picture, &foretold.name));
        }
        for unit in picture.records.units.keys() {
            if plan.units.iter().any(|trial| trial.name == *unit) {
                continue;
            }
            let (then, now) = (before.records.schedule.get(unit), picture.records.schedule.get(unit));
            let foretold = plan.others.iter().find(|other| other.name == *unit);
            prop_assert_eq!(foretold.is_some(), then != now, "{}", unit);
            if let Some(foretold) = foretold {
                prop_assert_eq!(&foretold.after, &of_records(&picture, unit));
            }
        }
    }
}
