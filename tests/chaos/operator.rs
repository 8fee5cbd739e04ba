//! The operator: goes on starting, stopping, replacing and destroying some units while things break.

use crate::history::{Answer, now};
use crate::lab::Lab;
use crate::seed::Seed;

/// One request about one of the units he changes his mind about, asked of one of `on`.
pub(crate) fn ask(lab: &mut Lab, seed: &mut Seed, on: &[String]) {
    let units = lab.churned();
    let unit = seed.one_of(&units).clone();
    let machine = seed.one_of(on).clone();
    let file = format!("/root/{unit}");
    let exists = lab.history.wanted[&unit].exists == Some(true);
    let (verb, words) = match seed.within(0..4) {
        0 if exists => ("stop", vec!["stop".to_owned(), unit.clone()]),
        1 if exists => ("destroy", vec!["destroy".to_owned(), unit.clone()]),
        2 if exists => {
            replace_file(lab, &machine, &unit, seed);
            let words = vec!["start".to_owned(), "--replace".to_owned(), file];
            ("replace", words)
        }
        _ => ("start", vec!["start".to_owned(), file]),
    };
    perform(lab, &machine, verb, &unit, &words);
}

/// Makes what is wanted of each unit known again, once nothing is broken.
pub(crate) fn settle(lab: &mut Lab) {
    for unit in lab.churned() {
        let wanted = &lab.history.wanted[&unit];
        if wanted.launched.is_none() || wanted.exists.is_none() {
            let words = ["start".to_owned(), format!("/root/{unit}")];
            perform(lab, "m1", "start", &unit, &words);
        }
    }
}

fn perform(lab: &mut Lab, on: &str, verb: &'static str, unit: &str, words: &[String]) {
    let at = now();
    let output = lab.fleetctl(on, words);
    let answer = if output.status.success() {
        Answer::Acknowledged
    } else {
        Answer::Unknown
    };
    println!("  {on}$ fleetctl {}: {answer:?}", words.join(" "));
    for line in output.stderr.lines().filter(|_| answer == Answer::Unknown) {
        println!("      {line}");
    }
    lab.take_answer(at, verb, unit, answer);
}

/// A file of this unit's own, different each time.
fn replace_file(lab: &Lab, on: &str, unit: &str, seed: &mut Seed) {
    let text = format!(
        "[Unit]\nDescription=version {}\n[Service]\nExecStart=/bin/sleep infinity\n",
        seed.within(0..1_000_000)
    );
    lab.machine(on)
        .install_file(&format!("/root/{unit}"), text.as_bytes(), 0o644)
        .unwrap();
}
