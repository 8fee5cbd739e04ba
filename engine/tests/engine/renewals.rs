//! Units that reserve are replaced where they are by others that reserve something else: machines are
//! never over-committed, one change at a time, and in the end nobody runs by an earlier file.

use model::{Change, MachineId, UnitStatus};
use proptest::collection::vec;
use proptest::prelude::*;
use unitfile::UnitName;

use crate::picture::{Picture, status};
use crate::properties::{cases, step};

/// More than the longest chain of units of which each waits for the one before.
const ROUNDS_MAX: usize = 60;

const RESOURCES: [&str; 2] = ["one", "two"];

/// What each of some units reserves of both resources.
fn demands() -> impl Strategy<Value = Vec<[u64; 2]>> {
    vec([1..4_u64, 1..4_u64], 2..6)
}

fn machines() -> impl Strategy<Value = Vec<[u64; 2]>> {
    vec([2..8_u64, 2..8_u64], 1..3)
}

fn submit(picture: &mut Picture, demands: &[[u64; 2]]) {
    for (number, [one, two]) in demands.iter().enumerate() {
        picture.draw(&format!(
            "unit u{number}.service : Resources=one={one} two={two}"
        ));
    }
}

/// What machines would report next: each entry carried out by the file it names, and nothing else
/// there; those that stop first.
fn due(picture: &Picture) -> Vec<Change> {
    let records = &picture.records;
    let entry = |unit: &UnitName, machine: &MachineId| {
        let entries = records.schedule.get(unit);
        entries.and_then(|all| all.get(machine))
    };
    let mut due = Vec::new();
    for (unit, seen) in &records.statuses {
        for machine in seen.keys().filter(|id| entry(unit, id).is_none()) {
            due.push(Change::Status(machine.clone(), unit.clone(), None));
        }
    }
    for (unit, entries) in &records.schedule {
        for (machine, entry) in entries {
            let hash = records.files[&entry.file].hash();
            let now = UnitStatus {
                hash,
                ..status(&records.units[unit])
            };
            let seen = records.statuses.get(unit).and_then(|all| all.get(machine));
            if seen.map(|seen| seen.hash) != Some(hash) {
                due.push(Change::Status(machine.clone(), unit.clone(), Some(now)));
            }
        }
    }
    due
}

/// Nobody runs where there is not enough for all that run there by the files that they run by.
fn check_room(picture: &Picture) -> Result<(), TestCaseError> {
    let records = &picture.records;
    for (id, machine) in &records.machines {
        for resource in RESOURCES {
            let mut taken = 0;
            for seen in records.statuses.values().filter_map(|all| all.get(id)) {
                let mut files = records.files.values();
                let file = files.find(|file| file.hash() == seen.hash).unwrap();
                let option = file.options().iter().find(|it| it.name == "Resources");
                let words = option.unwrap().value.split(' ');
                let counts = words.filter_map(|word| word.split_once('='));
                let counts = counts.filter(|(name, _)| *name == resource);
                taken += counts
                    .map(|(_, count)| count.parse::<u64>().unwrap())
                    .sum::<u64>();
            }
            let has: u64 = machine.metadata[resource].parse().unwrap();
            prop_assert!(
                taken <= has,
                "{id} has {has} of {resource}, {taken} is taken"
            );
        }
    }
    Ok(())
}

/// Plans and lets one machine after the other do one thing, until there is nothing left to do.
fn come_to_rest(picture: &mut Picture, turns: &[usize]) -> Result<(), TestCaseError> {
    for round in 0..ROUNDS_MAX {
        let is_planned = step(picture)?.is_empty();
        let due = due(picture);
        let Some(turn) = turns.get(round % turns.len()) else {
            continue;
        };
        match due.get(turn % due.len().max(1)) {
            Some(change) => picture.change(change.clone()),
            None if is_planned => return Ok(()),
            None => {}
        }
        check_room(picture)?;
    }
    Err(TestCaseError::fail("not at rest"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn nobody_waits_for_ever_to_be_replaced(
        machines in machines(),
        first in demands(),
        second in demands(),
        turns in vec(0..8_usize, 1..8),
    ) {
        let mut picture = Picture::default();
        for (number, [one, two]) in machines.iter().enumerate() {
            picture.draw(&format!("machine m{number} one={one} two={two}"));
        }
        submit(&mut picture, &first);
        come_to_rest(&mut picture, &turns)?;
        submit(&mut picture, &second);
        come_to_rest(&mut picture, &turns)?;
        let records = &picture.records;
        for (unit, entries) in &records.schedule {
            for (machine, entry) in entries {
                prop_assert_eq!(entry.file, records.units[unit].file, "{} on {}", unit, machine);
            }
        }
    }
}
