//! What a unit and those that it needs can never satisfy together, said when it is submitted.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

use model::check_ties;
use unitfile::{Requirements, UnitFile, UnitName};

fn requirements(name: &UnitName, options: &str) -> Requirements {
    let options: String = options
        .split(';')
        .map(|it| format!("{}\n", it.trim()))
        .collect();
    let file = UnitFile::parse(format!("[X-Fleet]\n{options}")).unwrap();
    let (requirements, errors) = Requirements::of_stored(name, &file);
    assert_eq!(errors, []);
    requirements
}

/// What is said when the last of these units, one a line, is submitted after all others.
fn verdict(units: &str) -> String {
    let line = |line: &str| {
        let (name, options) = line.trim().split_once(':').unwrap();
        let name = UnitName::parse(name.trim()).unwrap();
        (name.clone(), requirements(&name, options))
    };
    let mut all: Vec<_> = units.trim().lines().map(line).collect();
    let (name, needs) = all.pop().unwrap();
    let others: BTreeMap<UnitName, Requirements> = all.into_iter().collect();
    match check_ties(&name, &needs, |other| others.get(other).cloned()) {
        Ok(()) => "fine".to_owned(),
        Err(contradiction) => contradiction.to_string(),
    }
}

#[track_caller]
fn check(units: &str, expected: &str) {
    assert_eq!(verdict(units), expected);
}

#[test]
fn a_circle_is_named() {
    check(
        "a.service: MachineOf=b.service
         b.service: MachineOf=a.service",
        "unresolvable requirements: MachineOf goes round in a circle, b.service → a.service → b.service. \
         Remove one link of it",
    );
    check(
        "a.service: MachineOf=b.service
         b.service: MachineOf=x.service c.service
         x.service: Weight=2
         c.service: MachineOf=d.service
         d.service: MachineOf=x.service a.service",
        "unresolvable requirements: MachineOf goes round in a circle, \
         d.service → a.service → b.service → c.service → d.service. Remove one link of it",
    );
}

#[test]
fn chains_diamonds_and_names_that_are_not_known_are_fine() {
    check("a.service: MachineOf=nobody.service", "fine");
    check(
        "d.service: MachineID=abc
         b.service: MachineOf=d.service; MachineMetadata=disk=ssd
         c.service: MachineOf=d.service; Conflicts=e.service; MachineMetadata=disk=ssd disk=hdd
         a.service: MachineOf=b.service c.service; Replaces=e.service",
        "fine",
    );
    // A circle that is there already is not this unit's.
    check(
        "a.service: MachineOf=b.service
         b.service: MachineOf=a.service
         c.service: MachineOf=a.service",
        "fine",
    );
}

#[test]
fn what_is_tied_must_not_refuse_each_other() {
    let tied = "Remove the tie or the conflict";
    check(
        "db.service: Conflicts=web*
         web.service: MachineOf=db.service",
        &format!(
            "unresolvable requirements: db.service conflicts with web.service, and MachineOf ties web.service to both. {tied}"
        ),
    );
    check(
        "a.service: Conflicts=b.service
         b.service: MachineOf=c.service
         web.service: MachineOf=a.service b.service",
        &format!(
            "unresolvable requirements: a.service conflicts with b.service, and MachineOf ties web.service to both. {tied}"
        ),
    );
    check(
        "c.service: Weight=1
         b.service: MachineOf=c.service
         web.service: MachineOf=b.service; Replaces=c.service",
        "unresolvable requirements: web.service replaces c.service, and MachineOf ties web.service to both. \
         Remove the tie or the replace",
    );
    // It would not have to leave.
    check(
        "b.service: Global=true
         c.service: Replaces=b.service
         web.service: MachineOf=b.service c.service",
        "fine",
    );
}

#[test]
fn what_is_tied_must_be_allowed_on_one_machine() {
    check(
        "a.service: MachineID=0123456789abcdef0123456789abcdef
         b.service: MachineOf=a.service; MachineID=01234567
         c.service: MachineOf=b.service; MachineID=89abcdef",
        "unresolvable requirements: a.service needs machine 0123456789abcdef0123456789abcdef, \
         c.service needs machine 89abcdef, and MachineOf ties them. Remove the tie or one MachineID",
    );
    check(
        "a.service: MachineMetadata=disk=ssd
         b.service: MachineOf=a.service; MachineMetadata=zone=x
         c.service: MachineOf=b.service; MachineMetadata=disk=hdd disk=nvme",
        "unresolvable requirements: no value of \"disk\" satisfies all that MachineMetadata of a.service, c.service \
         asks of it, and MachineOf ties them. Remove the tie or a term",
    );
    check(
        "a.service: MachineMetadata=cores>=8
         c.service: MachineOf=a.service; MachineMetadata=cores<8",
        "unresolvable requirements: no value of \"cores\" satisfies all that MachineMetadata of a.service, c.service \
         asks of it, and MachineOf ties them. Remove the tie or a term",
    );
}

#[test]
fn no_more_of_a_template_are_tied_than_may_be_together() {
    check(
        "web@1.service: MaxPerMachine=2
         web@2.service: MachineOf=web@1.service
         web@3.service: MachineOf=web@2.service",
        "unresolvable requirements: MachineOf ties 3 units of web@.service together, and MaxPerMachine allows 2. \
         Remove a tie or raise it",
    );
    check(
        "web@1.service: MaxPerMachine=2; MachineOf=web@2.service",
        "fine",
    );
    check(
        "web@1.service: MaxPerMachine=1; MachineOf=web@2.service",
        "unresolvable requirements: MachineOf ties 2 units of web@.service together, and MaxPerMachine allows 1. \
         Remove a tie or raise it",
    );
}
