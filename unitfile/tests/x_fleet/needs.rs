//! What a unit needs and likes, and what becomes of it when its machine is gone.

use crate::verdict::{check, stored, submit_as};

#[test]
fn spread_preferences_and_weight() {
    check("Spread=zone", "spread=zone");
    check("Spread=zone\nSpread=rack", "spread=rack");
    check("Spread=zone\nSpread=", "");
    check(
        "Spread=zone rack",
        "line 2: Spread \"zone rack\" is not one metadata key, such as zone. Correct or remove it",
    );
    check(
        "Prefers=disk=ssd 10:zone=a\nPrefers=5:cores>=8",
        "prefers=1:disk=ssd prefers=10:zone=a prefers=5:cores>=8",
    );
    check(
        "Prefers=0:disk=ssd",
        "line 2: Prefers \"0:disk=ssd\" is not preceded by a weight from 1 to 1000, as in 10:disk=ssd. \
         Correct or remove it",
    );
    check(
        "Prefers=ssd",
        "line 2: Prefers \"ssd\" is not of the form key=value. \
         Write one key, one \"=\" and one value, none of them empty",
    );
    check("Weight=3", "weight=3");
    for bad in ["0", "1001", "-1", "1.5", "heavy", "99999999999999999999"] {
        check(
            &format!("Weight={bad}"),
            &format!(
                "line 2: Weight \"{bad}\" is not a whole number from 1 to 1000. Correct or remove it"
            ),
        );
    }
}

#[test]
fn reservations() {
    check("Memory=512M\nCPU=0.5", "needs=536870912B,500m,{}");
    check(
        "CPU=250m\nResources=gpu=1 slots=4",
        "needs=0B,250m,{\"gpu\": 1, \"slots\": 4}",
    );
    check("Resources=gpu=0", "");
    check(
        "Memory=lots",
        "line 2: Memory \"lots\" is not an amount of memory, such as 512M or 4G. Correct or remove it",
    );
    check(
        "CPU=50%",
        "line 2: CPU \"50%\" is not a number of processors, such as 2, 0.5 or 250m. Correct or remove it",
    );
    check(
        "Resources=gpu",
        "line 2: Resources \"gpu\" is not of the form name=count, such as gpu=1. Correct or remove it",
    );
}

#[test]
fn most_of_a_template_and_sticky() {
    check("MaxPerMachine=2\nSticky=yes", "max=2 sticky");
    check(
        "Sticky=maybe",
        "line 2: Sticky \"maybe\" is neither true nor false. Write true or false",
    );
    assert_eq!(
        submit_as("plain.service", "MaxPerMachine=2"),
        "line 2: MaxPerMachine has no meaning for a unit that is not an instance of a template. \
         Name the unit like web@1.service, or remove the option"
    );
}

#[test]
fn exclusive_and_on_disconnect() {
    check("Exclusive=yes\nSticky=yes", "sticky exclusive");
    check("Exclusive=no\nOnDisconnect=keep\nGlobal=yes", "global");
    check(
        "Exclusive=maybe",
        "line 2: Exclusive \"maybe\" is neither true nor false. Write true or false",
    );
    check(
        "OnDisconnect=stop",
        "line 2: OnDisconnect \"stop\" is not keep, the only policy there is. Correct or remove it",
    );
    check(
        "Global=yes\nExclusive=yes",
        "line 3: Exclusive contradicts Global. Remove one: a global unit runs on every machine, \
         an exclusive one never on two",
    );
    check(
        "Exclusive=yes\nOnDisconnect=keep",
        "line 2: Exclusive contradicts OnDisconnect=keep. Remove one: an exclusive unit is stopped on a machine \
         that is cut off",
    );
    assert_eq!(
        stored("Global=yes\nExclusive=yes"),
        ("global".to_owned(), 1),
        "what contradicts itself is treated as any other unit"
    );
}
