//! Verdicts, checked on what the cluster says as text.

use api::types::EventKind;

use super::observed::Observed;
use super::verdict::{Failure, Goal, Pending, Verdict, Wish, judge};
use super::{Patience, report};

const MACHINE: &str = "aaaaaaaa00000000";

fn unit(generation: u64, desired: &str, machine: bool, hold: bool) -> (String, String) {
    let machine = if machine {
        format!(r#","machineID":"{MACHINE}""#)
    } else {
        String::new()
    };
    let hold = if hold {
        format!(
            r#","hold":{{"reason":"no machine can run it","machines":12,"obstacles":[{{"machineID":"{MACHINE}","reason":"is cordoned"}}]}}"#
        )
    } else {
        String::new()
    };
    let data = format!(
        r#"{{"name":"web.service","hash":"1c6fb6f3684bafb0c173d8b8b957ceff031180c1","desiredState":"{desired}","currentState":"inactive","generation":{generation}{machine}{hold}}}"#
    );
    ("unit".to_owned(), data)
}

/// `states` is "target active sub", `job` is "kind result generation" or empty.
fn state(generation: u64, states: &str, job: &str) -> (String, String) {
    let [target, active, sub] = states.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let job = match job.split(' ').collect::<Vec<_>>()[..] {
        [kind, result, generation] => format!(
            r#","job":{{"kind":"{kind}","result":"{result}","generation":{generation},"message":"exit code 1"}}"#
        ),
        _ => String::new(),
    };
    let data = format!(
        r#"{{"name":"web.service","machineID":"{MACHINE}","hash":"1c6fb6f3684bafb0c173d8b8b957ceff031180c1","systemdLoadState":"loaded","systemdActiveState":"{active}","systemdSubState":"{sub}","targetState":"{target}","generation":{generation}{job}}}"#
    );
    ("state".to_owned(), data)
}

fn wish(goal: Goal) -> Wish {
    Wish {
        name: "web.service".parse().unwrap(),
        goal,
        generation: api::types::Generation(7),
    }
}

fn observed(events: Vec<(String, String)>) -> Observed {
    let mut observed = Observed::default();
    let machine = (
        "machine".to_owned(),
        format!(r#"{{"id":"{MACHINE}","primaryIP":"10.0.0.1","metadata":{{}}}}"#),
    );
    for (name, data) in [machine].into_iter().chain(events) {
        observed.apply(EventKind::read(&name, &data).unwrap().unwrap());
    }
    observed.apply(EventKind::Synced);
    observed
}

/// The verdict on a request of generation 7, as one line.
fn check(goal: Goal, events: Vec<(String, String)>, expected: &str) {
    let observed = observed(events);
    let wish = wish(goal);
    let text = match judge(&wish, &observed) {
        Verdict::Reached { state, machine } => {
            report::reached(&wish, state, machine.as_ref(), &observed.machines)
        }
        Verdict::Failed(failure) => format!(
            "FAILED {}",
            report::failed(&wish, &failure, &observed.machines)
        ),
        Verdict::Pending(Pending::Unseen) => "unseen".to_owned(),
        Verdict::Pending(Pending::Unplaced) => "unplaced".to_owned(),
        Verdict::Pending(Pending::Held(_)) => "held".to_owned(),
        Verdict::Pending(Pending::OnMachine(_)) => "on machine".to_owned(),
        Verdict::Pending(Pending::InSystemd(_)) => "in systemd".to_owned(),
    };
    assert_eq!(text, expected);
}

#[test]
fn while_systemd_is_at_it_systemd_is_what_is_waited_for() {
    for active in ["deactivating stop", "activating start-pre"] {
        check(
            Goal::Launched,
            vec![
                unit(7, "launched", true, false),
                state(6, &format!("launched {active}"), "start done 6"),
            ],
            "in systemd",
        );
    }
}

#[test]
fn a_start_ends_well_only_by_what_is_said_of_this_request() {
    let placed = || unit(7, "launched", true, false);
    let launched = "Unit web.service launched on aaaaaaaa.../10.0.0.1";
    check(
        Goal::Launched,
        vec![unit(6, "launched", true, false)],
        "unseen",
    );
    check(
        Goal::Launched,
        vec![unit(7, "launched", false, false)],
        "unplaced",
    );
    check(
        Goal::Launched,
        vec![unit(7, "launched", false, true)],
        "held",
    );
    check(Goal::Launched, vec![placed()], "on machine");
    // It was active before, it had failed before: both say nothing about this request.
    check(
        Goal::Launched,
        vec![
            placed(),
            state(6, "launched active running", "start done 6"),
        ],
        "on machine",
    );
    check(
        Goal::Launched,
        vec![
            placed(),
            state(6, "launched failed failed", "start failed 6"),
        ],
        "on machine",
    );
    check(
        Goal::Launched,
        vec![
            placed(),
            state(7, "launched active running", "start done 7"),
        ],
        launched,
    );
    check(
        Goal::Launched,
        vec![
            placed(),
            state(8, "launched active running", "start done 8"),
        ],
        launched,
    );
    // A finished oneshot; a unit that ran already and needed no job.
    check(
        Goal::Launched,
        vec![placed(), state(7, "launched inactive dead", "start done 7")],
        launched,
    );
    check(
        Goal::Launched,
        vec![
            placed(),
            state(7, "launched active running", "start failed 3"),
        ],
        launched,
    );
    check(
        Goal::Launched,
        vec![placed(), state(7, "launched activating start-pre", "")],
        "in systemd",
    );
}

#[test]
fn a_start_that_fails_says_how() {
    let placed = || unit(7, "launched", true, false);
    check(
        Goal::Launched,
        vec![
            placed(),
            state(7, "launched failed failed", "start failed 7"),
        ],
        "FAILED unit web.service failed on aaaaaaaa.../10.0.0.1: its start ended with result \"failed\": exit code 1; systemd says loaded, failed (failed)",
    );
    for (states, job) in [
        ("launched failed failed", "start done 7"),
        ("launched activating auto-restart", "start done 7"),
        ("launched inactive dead", "start dependency 7"),
        ("loaded inactive dead", "load failed 7"),
    ] {
        let observed = observed(vec![placed(), state(7, states, job)]);
        let verdict = judge(&wish(Goal::Launched), &observed);
        assert!(
            matches!(verdict, Verdict::Failed(Failure::OnMachine(_))),
            "{states}, {job}: {verdict:?}"
        );
    }
}

#[test]
fn what_others_ask_for_meanwhile_ends_the_wait() {
    check(
        Goal::Launched,
        vec![],
        "FAILED unit web.service was destroyed meanwhile",
    );
    check(
        Goal::Launched,
        vec![unit(8, "inactive", false, false)],
        "FAILED unit web.service was asked to be inactive meanwhile, by another request",
    );
    check(
        Goal::Launched,
        vec![unit(8, "launched", true, false)],
        "on machine",
    );
}

#[test]
fn load_and_stop_end_when_the_machine_says_so() {
    let placed = || unit(7, "loaded", true, false);
    let loaded = "Unit web.service loaded on aaaaaaaa.../10.0.0.1";
    for goal in [Goal::Loaded, Goal::Stopped] {
        check(
            goal,
            vec![placed(), state(6, "launched active running", "")],
            "on machine",
        );
        check(
            goal,
            vec![placed(), state(7, "loaded deactivating stop", "")],
            "in systemd",
        );
        check(
            goal,
            vec![placed(), state(7, "loaded inactive dead", "stop done 7")],
            loaded,
        );
    }
    // What is nowhere does not run; but it is not loaded either.
    check(
        Goal::Stopped,
        vec![unit(7, "loaded", false, true)],
        "Unit web.service inactive",
    );
    check(Goal::Loaded, vec![unit(7, "loaded", false, true)], "held");
}

#[test]
fn unload_ends_when_no_machine_has_it() {
    check(
        Goal::Inactive,
        vec![unit(7, "inactive", true, false)],
        "on machine",
    );
    check(
        Goal::Inactive,
        vec![
            unit(7, "inactive", false, false),
            state(6, "launched active running", ""),
        ],
        "on machine",
    );
    check(
        Goal::Inactive,
        vec![unit(7, "inactive", false, false)],
        "Unit web.service inactive",
    );
}

#[test]
fn destroy_ends_when_record_and_states_are_gone_even_if_the_name_is_used_again() {
    check(Goal::Gone, vec![unit(7, "launched", true, false)], "unseen");
    check(
        Goal::Gone,
        vec![state(7, "launched active running", "")],
        "on machine",
    );
    check(Goal::Gone, vec![], "Destroyed web.service");
    let again = vec![
        unit(9, "launched", true, false),
        state(9, "launched active running", ""),
    ];
    check(Goal::Gone, again, "Destroyed web.service");
}

#[test]
fn a_hold_names_each_machine_and_counts_the_rest() {
    let observed = observed(vec![unit(7, "launched", false, true)]);
    let Verdict::Pending(Pending::Held(hold)) = judge(&wish(Goal::Launched), &observed) else {
        panic!("not held");
    };
    assert_eq!(
        report::held(&wish(Goal::Launched), &hold, None, &observed.machines),
        "unit web.service waits: no machine can run it\n  aaaaaaaa.../10.0.0.1: is cordoned\n  and 11 more machines"
    );
}

#[test]
fn no_attempts_means_until_it_is_clear() {
    assert_eq!(Patience::of_attempts(0), Patience::UntilClear);
    assert_eq!(Patience::of_attempts(-1), Patience::UntilClear);
    assert_eq!(
        Patience::of_attempts(3),
        Patience::Limited(std::time::Duration::from_secs(6))
    );
}
