//! Made-up histories: what must be accepted, and what must be refused.

use super::check;
use crate::history::{
    Activation, Answer, Calm, Fault, Harm, History, Instant, Kind, Request, Wanted,
};

const S: Instant = 1_000_000;
const NONE: &[&str] = &[];

fn ran(machine: &str, begun: Instant, ended: Option<Instant>) -> Activation {
    Activation {
        machine: machine.to_owned(),
        unit: "chaos-a.service".to_owned(),
        invocation: format!("{machine}-{begun}"),
        begun,
        active: Some(begun),
        ended,
    }
}

fn history(kind: Kind, activations: Vec<Activation>, faults: Vec<Fault>) -> History {
    let wanted = Wanted {
        kind,
        launched: Some(true),
        exists: Some(true),
    };
    History {
        lease_ttl_us: 10 * S,
        activations,
        faults,
        wanted: [("chaos-a.service".to_owned(), wanted)].into(),
        listed: vec!["chaos-a.service".to_owned()],
        ..History::default()
    }
}

fn on(place: &str, harm: Harm, begun: Instant, healed: Instant) -> Fault {
    Fault {
        kind: "test",
        on: place.to_owned(),
        harm,
        begun,
        done: begun,
        healing: healed,
        healed,
    }
}

fn fault(harm: Harm, begun: Instant, healed: Instant) -> Fault {
    on("m1", harm, begun, healed)
}

fn asked(verb: &'static str, at: Instant, ended: Instant, answer: Answer) -> Request {
    Request {
        at,
        ended,
        verb,
        unit: "chaos-a.service".to_owned(),
        answer,
    }
}

/// The promises that are broken.
fn found(history: &History) -> Vec<String> {
    let violations = check(history).violations;
    let numbers = violations
        .iter()
        .map(|text| text.split(':').next().unwrap());
    numbers.map(str::to_owned).collect()
}

/// A copy on m1, which is cut off from 10 s to 40 s and whose lease ends at 20 s, until `ended`; and one on m2 from `begun` on.
fn moved(kind: Kind, begun: Instant, ended: Instant, harm: Harm) -> Vec<String> {
    let copies = vec![ran("m1", S, Some(ended)), ran("m2", begun, None)];
    found(&history(kind, copies, vec![fault(harm, 10 * S, 40 * S)]))
}

#[test]
fn two_copies_need_a_lost_lease() {
    let copies = || vec![ran("m1", S, None), ran("m2", 30 * S, None)];
    for faults in [
        vec![],
        vec![fault(Harm::Blocked, 10 * S, 40 * S)],
        vec![fault(Harm::None, 10 * S, 40 * S)],
        vec![on("etcd", Harm::Unconfirmed, 10 * S, 40 * S)],
        vec![on("m3", Harm::CutOff, 10 * S, 40 * S)],
    ] {
        assert_eq!(
            found(&history(Kind::Single, copies(), faults.clone())),
            ["I2"],
            "{faults:?}"
        );
    }
}

#[test]
fn a_cut_off_copy_ends_after_healing_once_the_new_one_is_up_and_soon() {
    let cut = |begun, ended| moved(Kind::Single, begun, ended, Harm::CutOff);
    assert_eq!(cut(20 * S, 42 * S), NONE);
    assert_eq!(cut(20 * S, 39 * S), ["I6"], "while it is cut off");
    assert_eq!(
        cut(12 * S, 42 * S),
        ["I2", "I6"],
        "before the lease can have ended"
    );
    assert_eq!(cut(20 * S, 70 * S), ["I2", "I6"], "long after healing");
    let hampered = |ended| moved(Kind::Single, 20 * S, ended, Harm::Hampered);
    assert_eq!(hampered(30 * S), NONE, "it may come back meanwhile");
    assert_eq!(hampered(19 * S), ["I6"], "the new one is not up yet");
}

#[test]
fn a_cut_off_unit_that_is_up_nowhere_else_is_not_ended() {
    let cut = fault(Harm::CutOff, 10 * S, 24 * S);
    let mut copies = vec![ran("m1", S, Some(27 * S)), ran("m2", 26 * S, None)];
    copies[1].active = Some(28 * S);
    assert_eq!(
        found(&history(Kind::Single, copies.clone(), vec![cut.clone()])),
        ["I6"]
    );
    copies[1].active = Some(26 * S);
    assert_eq!(found(&history(Kind::Single, copies, vec![cut])), NONE);
}

#[test]
fn a_cut_excuses_nothing_of_a_global_unit() {
    let copies = vec![
        ran("m1", S, Some(42 * S)),
        ran("m1", 43 * S, None),
        ran("m2", S, None),
    ];
    let cut = fault(Harm::CutOff, 10 * S, 40 * S);
    assert_eq!(found(&history(Kind::Global, copies, vec![cut])), ["I6"]);
}

#[test]
fn a_cut_that_is_short_excuses_nothing_and_short_ones_in_a_row_are_one() {
    let copies = || vec![ran("m1", S, Some(20 * S)), ran("m2", 19 * S, None)];
    let short = fault(Harm::CutOff, 10 * S, 13 * S);
    assert_eq!(
        found(&history(Kind::Single, copies(), vec![short.clone()])),
        ["I2", "I6"]
    );
    let again = fault(Harm::CutOff, 15 * S, 18 * S);
    assert_eq!(
        found(&history(Kind::Single, copies(), vec![short, again])),
        NONE
    );
}

#[test]
fn exclusive_units_never_overlap_and_end_only_when_the_lease_may() {
    let cut = |begun, ended| moved(Kind::Exclusive, begun, ended, Harm::CutOff);
    assert_eq!(cut(20 * S, 17 * S), NONE);
    assert_eq!(cut(20 * S, 20 * S + 1), ["I1"]);
    assert_eq!(cut(20 * S, 11 * S), ["I6"], "confirmed just before");
    assert_eq!(
        moved(Kind::Exclusive, 20 * S, 17 * S, Harm::Blocked),
        ["I6"]
    );
    let store_gone = |ended| {
        let copies = vec![ran("m1", S, Some(ended)), ran("m1", 45 * S, None)];
        let gone = on("etcd", Harm::Unconfirmed, 10 * S, 40 * S);
        found(&history(Kind::Exclusive, copies, vec![gone]))
    };
    assert_eq!(store_gone(17 * S), NONE);
    assert_eq!(store_gone(12 * S), ["I6"]);
    assert_eq!(store_gone(80 * S), ["I6"]);
}

#[test]
fn only_a_machine_that_stood_still_excuses_an_exclusive_overlap_and_for_a_moment() {
    let thawed = |ended| {
        let mut frozen = fault(Harm::CutOff, 10 * S, 40 * S);
        frozen.kind = "frozen machine";
        let copies = vec![ran("m1", S, Some(ended)), ran("m2", 21 * S, None)];
        found(&history(Kind::Exclusive, copies, vec![frozen]))
    };
    assert_eq!(thawed(40 * S + S / 2), NONE);
    assert_eq!(thawed(43 * S), ["I1"]);
}

#[test]
fn the_store_alone_ends_no_other_unit() {
    let copies = vec![ran("m1", S, Some(42 * S)), ran("m1", 43 * S, None)];
    let gone = on("etcd", Harm::Unconfirmed, 10 * S, 40 * S);
    assert_eq!(found(&history(Kind::Single, copies, vec![gone])), ["I6"]);
}

#[test]
fn a_machine_that_boots_without_a_store_may_start_what_it_had() {
    let copies = || {
        vec![
            ran("m1", S, Some(10 * S)),
            ran("m2", 20 * S, None),
            ran("m1", 38 * S, Some(52 * S)),
        ]
    };
    let dead = fault(Harm::Death, 10 * S, 25 * S);
    let gone = on("etcd", Harm::Unconfirmed, 22 * S, 50 * S);
    assert_eq!(
        found(&history(Kind::Single, copies(), vec![dead.clone(), gone])),
        NONE
    );
    assert_eq!(
        found(&history(Kind::Single, copies(), vec![dead])),
        ["I2", "I6"]
    );
}

#[test]
fn a_request_excuses_what_it_asked_for_and_nothing_later() {
    let ended = |at, request: Option<Request>| {
        let copies = vec![ran("m1", S, Some(at)), ran("m2", at + S, None)];
        let mut history = history(Kind::Single, copies, vec![]);
        history.requests.extend(request);
        found(&history)
    };
    let stop = |answer| Some(asked("stop", 59 * S, 61 * S, answer));
    assert_eq!(ended(60 * S, None), ["I6"]);
    assert_eq!(ended(60 * S, stop(Answer::Acknowledged)), NONE);
    assert_eq!(ended(60 * S, stop(Answer::Unknown)), NONE);
    assert_eq!(ended(58 * S, stop(Answer::Acknowledged)), ["I6"]);
    assert_eq!(ended(90 * S, stop(Answer::Acknowledged)), ["I6"]);
    let start = asked("start", 59 * S, 61 * S, Answer::Unknown);
    assert_eq!(ended(60 * S, Some(start)), ["I6"]);
    // The answer to a request is not ended by it.
    let replaced = asked("replace", S / 4, S / 2, Answer::Acknowledged);
    assert_eq!(ended(3 * S, Some(replaced)), ["I6"]);
    // It is heard when the machine is back.
    let copies = vec![ran("m1", S, Some(92 * S))];
    let cut = fault(Harm::CutOff, 58 * S, 90 * S);
    let mut away = history(Kind::Single, copies, vec![cut]);
    away.requests.extend(stop(Answer::Acknowledged));
    assert!(!found(&away).contains(&"I6".to_owned()));
}

#[test]
fn a_request_is_dealt_with_when_nothing_is_in_its_way_any_more() {
    let ended = |at| {
        let copies = vec![ran("m1", S, Some(at)), ran("m1", at + S, None)];
        let faults = vec![
            fault(Harm::Blocked, 58 * S, 80 * S),
            on("etcd", Harm::Unconfirmed, 81 * S, 100 * S),
        ];
        let mut history = history(Kind::Single, copies, faults);
        let replace = asked("replace", 59 * S, 61 * S, Answer::Unknown);
        history.requests.push(replace);
        found(&history)
    };
    assert_eq!(ended(102 * S), NONE);
    assert_eq!(ended(140 * S), ["I6"]);
}

#[test]
fn a_machine_that_leaves_ends_its_units_and_leaves_none() {
    let left = |ended| {
        let copies = vec![ran("m1", S, Some(ended)), ran("m2", 62 * S, None)];
        let mut drain = fault(Harm::Drain, 59 * S, 80 * S);
        drain.done = 61 * S;
        found(&history(Kind::Single, copies, vec![drain]))
    };
    assert_eq!(left(60 * S), NONE);
    assert_eq!(left(58 * S), ["I6"]);
    assert_eq!(left(61 * S + 1), ["I6", "I2"]);
    assert_eq!(left(90 * S), ["I2", "I6", "I2"]);
}

#[test]
fn a_lost_unit_and_one_that_came_back_are_found() {
    let mut lost = history(Kind::Single, vec![], vec![]);
    lost.listed.clear();
    assert_eq!(found(&lost), ["I5"]);
    let mut back = history(Kind::Single, vec![], vec![]);
    back.wanted.get_mut("chaos-a.service").unwrap().exists = Some(false);
    assert_eq!(found(&back), ["I5"]);
}

#[test]
fn each_calm_settles_in_time_and_for_good() {
    let settled = |as_wanted| {
        let mut history = history(Kind::Single, vec![], vec![]);
        let from = 100 * S;
        history.calms = vec![Calm { from, as_wanted }];
        found(&history)
    };
    assert_eq!(settled(Some(102 * S)), NONE);
    assert_eq!(settled(Some(145 * S)), ["I13"]);
    assert_eq!(settled(None), ["I13"]);
    let mut restless = history(Kind::Single, vec![], vec![]);
    let runs = |id: &str| ("m1".to_owned(), "chaos-a.service".to_owned(), id.to_owned());
    restless.settled = vec![runs("a")];
    restless.later = vec![runs("b")];
    assert_eq!(found(&restless), ["I13", "I13"]);
}

#[test]
fn units_of_a_lost_machine_are_elsewhere_within_the_lease_and_a_second() {
    let died = |active, others: &[Fault]| {
        let copies = vec![ran("m1", S, Some(10 * S)), ran("m2", active, None)];
        let mut faults = vec![fault(Harm::Death, 10 * S, 200 * S)];
        faults.extend_from_slice(others);
        found(&history(Kind::Single, copies, faults))
    };
    assert_eq!(died(20 * S, &[]), NONE);
    assert_eq!(died(26 * S, &[]), ["I14"]);
    let beside = on("etcd", Harm::Unconfirmed, 15 * S, 30 * S);
    assert_eq!(died(26 * S, &[beside]), NONE);
    let nowhere = vec![ran("m1", S, None)];
    let cut = fault(Harm::CutOff, 10 * S, 200 * S);
    assert_eq!(found(&history(Kind::Single, nowhere, vec![cut])), ["I14"]);
}

#[test]
fn a_run_in_which_little_happened_is_refused() {
    let idle = history(Kind::Single, vec![ran("m1", S, None)], vec![]);
    let shortfalls = check(&idle).shortfalls(1);
    for what in [
        "faults",
        "kinds",
        "activations",
        "requests",
        "moved",
        "duplicates",
    ] {
        assert!(
            shortfalls.iter().any(|text| text.contains(what)),
            "{what}: {shortfalls:?}"
        );
    }
}
