//! The table of legal moves, row by row: what the store has, what is asked, what is written and answered.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use model::{
    Action, Done, Generation, Known, MachineId, OnDifference, Outcome, Refusal, TargetState, Unit,
    UnitRequest, UnitWrite, resolve,
};
use proptest::prelude::*;
use unitfile::{UnitFile, UnitName};

const FIRST: &str = "[Service]\nExecStart=/bin/sleep 1\n";
const SECOND: &str = "[Service]\nExecStart=/bin/sleep 2\n";

fn name(text: &str) -> UnitName {
    UnitName::parse(text).unwrap()
}

fn file(text: &str) -> UnitFile {
    UnitFile::parse(text).unwrap()
}

fn unit(text: &str, target: TargetState) -> Unit {
    let started = if target == TargetState::Launched {
        5
    } else {
        0
    };
    Unit {
        name: name("web.service"),
        file: file(text).file_hash(),
        hash: file(text).hash(),
        target,
        generation: Generation(5),
        start: Generation(started),
        restart: Generation(0),
        relocation: None,
    }
}

fn request(action: Action) -> UnitRequest {
    UnitRequest {
        name: name("web.service"),
        action,
        file: None,
        template: None,
        on_difference: OnDifference::Keep,
    }
}

fn answer(request: &UnitRequest, known: Option<&Unit>) -> Result<(UnitWrite, Outcome), Refusal> {
    resolve(
        request,
        Known {
            unit: known,
            ..Known::default()
        },
        Generation(9),
    )
}

fn written(result: Result<(UnitWrite, Outcome), Refusal>) -> Unit {
    match result.unwrap().0 {
        UnitWrite::Put { unit, .. } => unit,
        other => panic!("expected a record, got {other:?}"),
    }
}

#[test]
fn each_verb_moves_each_state_as_the_table_says() {
    use TargetState::{Inactive, Launched, Loaded};
    type Row = (Action, TargetState, Result<(Done, TargetState), Refusal>);
    let table: &[Row] = &[
        (Action::Submit, Launched, Ok((Done::Unchanged, Launched))),
        (Action::Load, Inactive, Ok((Done::Updated, Loaded))),
        (Action::Load, Loaded, Ok((Done::Unchanged, Loaded))),
        (Action::Load, Launched, Ok((Done::Updated, Loaded))),
        (Action::Start, Inactive, Ok((Done::Updated, Launched))),
        (Action::Start, Loaded, Ok((Done::Updated, Launched))),
        // Asked again, it is started again: a unit that failed must come back.
        (Action::Start, Launched, Ok((Done::Updated, Launched))),
        (Action::Stop, Inactive, Err(Refusal::InState(Inactive))),
        (Action::Stop, Loaded, Ok((Done::Unchanged, Loaded))),
        (Action::Stop, Launched, Ok((Done::Updated, Loaded))),
        (Action::Unload, Inactive, Ok((Done::Unchanged, Inactive))),
        (Action::Unload, Launched, Ok((Done::Updated, Inactive))),
        (Action::Restart, Inactive, Err(Refusal::InState(Inactive))),
        (Action::Restart, Loaded, Ok((Done::Updated, Launched))),
        (Action::Restart, Launched, Ok((Done::Updated, Launched))),
        // A client that says again what it wants already does not disturb anything.
        (
            Action::Set(Launched),
            Launched,
            Ok((Done::Unchanged, Launched)),
        ),
        (
            Action::Set(Inactive),
            Launched,
            Ok((Done::Updated, Inactive)),
        ),
        (Action::Destroy, Launched, Ok((Done::Destroyed, Launched))),
    ];
    for (action, before, expected) in table {
        let existing = unit(FIRST, *before);
        let got = answer(&request(action.clone()), Some(&existing));
        let got = got.map(|(_, outcome)| (outcome.done, outcome.target));
        assert_eq!(
            &got,
            expected,
            "{} a unit that is {before}",
            action.as_str()
        );
    }
}

#[test]
fn a_verb_on_an_unknown_unit_without_a_file_finds_nothing() {
    for action in [
        Action::Submit,
        Action::Start,
        Action::Stop,
        Action::Destroy,
        Action::Unload,
    ] {
        assert_eq!(
            answer(&request(action), None).unwrap_err(),
            Refusal::NotFound
        );
    }
}

#[test]
fn start_and_restart_are_numbered_apart() {
    let launched = unit(FIRST, TargetState::Launched);
    let started = written(answer(&request(Action::Start), Some(&launched)));
    assert_eq!(
        (started.start, started.restart),
        (Generation(9), Generation(0))
    );
    let restarted = written(answer(&request(Action::Restart), Some(&launched)));
    assert_eq!(restarted.restart, Generation(9));
    let loaded = unit(FIRST, TargetState::Loaded);
    let started = written(answer(&request(Action::Restart), Some(&loaded)));
    assert_eq!(
        (started.start, started.restart),
        (Generation(9), Generation(0)),
        "a start is enough"
    );
}

#[test]
fn the_users_own_file_comes_before_the_clusters_template_and_that_before_the_users_template() {
    let mut asked = request(Action::Start);
    asked.name = name("web@1.service");
    let cluster_template = file(FIRST);
    let users_template = file(SECOND);
    let known = Known {
        template: Some(&cluster_template),
        ..Known::default()
    };
    asked.template = Some(users_template.clone());
    let (_, outcome) = resolve(&asked, known, Generation(9)).unwrap();
    assert!(outcome.differs, "the user's template is another one");
    let made = written(resolve(&asked, known, Generation(9)));
    assert_eq!(made.file, cluster_template.file_hash());
    asked.on_difference = OnDifference::Replace;
    let (_, outcome) = resolve(&asked, known, Generation(9)).unwrap();
    assert!(!outcome.differs);
    let made = written(resolve(&asked, known, Generation(9)));
    assert_eq!(made.file, users_template.file_hash());
    asked.on_difference = OnDifference::Keep;
    let made = written(resolve(&asked, Known::default(), Generation(9)));
    assert_eq!(made.file, users_template.file_hash());
    asked.file = Some(file("[Service]\nExecStart=/bin/own\n"));
    let made = written(resolve(&asked, known, Generation(9)));
    assert_eq!(
        made.file,
        file("[Service]\nExecStart=/bin/own\n").file_hash()
    );
    asked.file = None;
    asked.template = None;
    let refusal = resolve(&asked, Known::default(), Generation(9)).unwrap_err();
    assert_eq!(refusal, Refusal::TemplateNotFound(name("web@.service")));
}

#[test]
fn an_instance_is_renewed_from_the_clusters_template_if_that_is_asked_for_and_there_is_no_other_file()
 {
    let mut existing = unit(FIRST, TargetState::Launched);
    existing.name = name("web@1.service");
    let template = file(SECOND);
    let known = Known {
        unit: Some(&existing),
        template: Some(&template),
        ..Known::default()
    };
    let mut asked = request(Action::Start);
    asked.name = existing.name.clone();
    assert_eq!(
        written(resolve(&asked, known, Generation(9))).file,
        existing.file
    );
    asked.on_difference = OnDifference::Replace;
    assert_eq!(
        written(resolve(&asked, known, Generation(9))).file,
        template.file_hash()
    );
    // A client that only changes the state says nothing about the file.
    asked.action = Action::Set(TargetState::Loaded);
    assert_eq!(
        written(resolve(&asked, known, Generation(9))).file,
        existing.file
    );
}

#[test]
fn a_different_file_is_kept_and_told_or_replaced_when_asked() {
    let existing = unit(FIRST, TargetState::Launched);
    let mut asked = request(Action::Start);
    asked.file = Some(file(SECOND));
    let (_, kept) = answer(&asked, Some(&existing)).unwrap();
    assert!(kept.differs && kept.done == Done::Updated);
    asked.on_difference = OnDifference::Replace;
    let made = written(answer(&asked, Some(&existing)));
    assert_eq!(
        (made.file, made.start),
        (file(SECOND).file_hash(), Generation(9))
    );
    let mut submitted = request(Action::Submit);
    submitted.file = Some(file(SECOND));
    submitted.on_difference = OnDifference::Replace;
    let (write, outcome) = answer(&submitted, Some(&existing)).unwrap();
    assert_eq!(
        write,
        UnitWrite::Nothing,
        "submit may not pull a running unit down"
    );
    assert_eq!(outcome.replace_refused_in, Some(TargetState::Launched));
}

#[test]
fn another_comment_is_another_file_but_no_difference_worth_a_warning() {
    let existing = unit(FIRST, TargetState::Loaded);
    let mut asked = request(Action::Load);
    asked.file = Some(file(&format!("# a comment\n{FIRST}")));
    let (_, outcome) = answer(&asked, Some(&existing)).unwrap();
    assert!(!outcome.differs);
}

#[test]
fn a_template_can_be_submitted_but_not_started() {
    let mut asked = request(Action::Submit);
    asked.name = name("web@.service");
    asked.file = Some(file(FIRST));
    assert!(resolve(&asked, Known::default(), Generation(9)).is_ok());
    asked.action = Action::Start;
    assert_eq!(
        resolve(&asked, Known::default(), Generation(9)).unwrap_err(),
        Refusal::IsTemplate
    );
}

#[test]
fn a_file_that_cannot_be_accepted_is_refused_before_anything_is_written() {
    let mut asked = request(Action::Start);
    asked.file = Some(file(
        "[Service]\nExecStart=/bin/true\n[X-Fleet]\nMachineOff=a.service\n",
    ));
    let Err(Refusal::Invalid(errors)) = answer(&asked, None) else {
        panic!("accepted")
    };
    assert!(errors.to_string().contains("MachineOf"), "{errors}");
}

fn actions() -> impl Strategy<Value = Action> {
    prop::sample::select(vec![
        Action::Submit,
        Action::Load,
        Action::Start,
        Action::Stop,
        Action::Unload,
        Action::Restart,
        Action::Destroy,
        Action::Set(TargetState::Inactive),
        Action::Set(TargetState::Loaded),
        Action::Set(TargetState::Launched),
    ])
}

proptest! {
    /// Whatever the history, every accepted change carries its own number, and a unit that is launched has been asked to start.
    #[test]
    fn any_history_keeps_the_record_sound(
        steps in prop::collection::vec((actions(), prop::option::of(0..2_usize), any::<bool>()), 1..30)
    ) {
        let mut stored: Option<Unit> = None;
        for (index, (action, text, replace)) in steps.into_iter().enumerate() {
            let generation = Generation(index as u64 + 1);
            let mut asked = request(action);
            asked.file = text.map(|which| file([FIRST, SECOND][which]));
            if replace {
                asked.on_difference = OnDifference::Replace;
            }
            let before = stored.clone();
            match resolve(&asked, Known { unit: stored.as_ref(), ..Known::default() }, generation) {
                Err(_) => {}
                Ok((UnitWrite::Nothing, outcome)) => prop_assert_eq!(outcome.done, Done::Unchanged),
                Ok((UnitWrite::Delete, _)) => stored = None,
                Ok((UnitWrite::Put { unit, .. }, outcome)) => {
                    prop_assert_eq!(unit.generation, generation);
                    prop_assert_eq!(outcome.generation, generation);
                    prop_assert!(before.as_ref() != Some(&unit));
                    prop_assert!(unit.start <= generation && unit.restart <= generation);
                    if unit.target == TargetState::Launched {
                        prop_assert!(unit.start > Generation(0));
                    }
                    stored = Some(unit);
                }
            }
        }
    }
}

#[test]
fn a_move_is_a_request_of_its_own_and_starts_nothing() {
    let known = unit(FIRST, TargetState::Launched);
    let to = MachineId::parse("a").unwrap();
    let asked = request(Action::Move(to.clone()));
    let at = |unit| Known {
        unit: Some(unit),
        ..Known::default()
    };
    let (write, outcome) = resolve(&asked, at(&known), Generation(9)).unwrap();
    let UnitWrite::Put { unit: moved, .. } = write else {
        panic!("{write:?}");
    };
    assert_eq!(outcome.generation, Generation(9));
    assert_eq!((moved.start, moved.restart), (known.start, known.restart));
    let relocation = moved.relocation.clone().unwrap();
    assert_eq!((relocation.to, relocation.generation), (to, Generation(9)));
    // Who takes it from all machines wants it wherever it fits best, later.
    let unload = request(Action::Unload);
    let (write, _) = resolve(&unload, at(&moved), Generation(10)).unwrap();
    assert!(matches!(write, UnitWrite::Put { unit, .. } if unit.relocation.is_none()));
    let idle = unit(FIRST, TargetState::Inactive);
    let refused = resolve(&asked, at(&idle), Generation(11));
    assert_eq!(
        refused.unwrap_err(),
        Refusal::InState(TargetState::Inactive)
    );
}
