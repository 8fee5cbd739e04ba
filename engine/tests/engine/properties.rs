//! Laws of the scheduler on random clusters with all options mixed, judged by an oracle that shares
//! nothing with it.

use crate::oracle;
use crate::picture::{Picture, id, written};
use engine::{Planner, may_alter_plan, schedule};
use model::{Decision, MachineId, Obstacle, Records, UnassignReason};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const MACHINES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

const UNITS: [&str; 10] = [
    "a.service",
    "b.service",
    "c.service",
    "d.service",
    "web@1.service",
    "web@2.service",
    "web@3.service",
    "db@1.service",
    "g.service",
    "h.service",
];

/// How many rounds of "carry out, report, decide" a cluster may need to come to rest: a chain of
/// units that follow each other takes one round each to stop and one to start.
const ROUNDS_MAX: usize = 40;

fn machine() -> impl Strategy<Value = &'static str> {
    select(&MACHINES[..])
}

fn unit() -> impl Strategy<Value = &'static str> {
    select(&UNITS[..])
}

fn metadata() -> impl Strategy<Value = String> {
    (
        select(vec!["disk=ssd", "disk=hdd", ""]),
        select(vec!["zone=x", "zone=y", ""]),
        select(vec!["cores=2", "cores=4", "cores=16", "cores=many", ""]),
    )
        .prop_map(|(disk, zone, cores)| format!("{disk} {zone} {cores}"))
}

fn option() -> impl Strategy<Value = String> {
    let pattern = select(vec![
        "web@*.service",
        "*.service",
        "db@*",
        "[a-c].service",
        "g.service",
        "d.service",
    ]);
    prop_oneof![
        1 => machine().prop_map(|id| format!("MachineID={id}")),
        2 => select(vec![
            "disk=ssd", "disk=hdd", "zone=x", "zone=y", "disk!=ssd", "zone?", "zone in x,y", "disk~s*d",
            "cores>=4", "cores<4", "cores>2", "cores<=8",
        ])
            .prop_map(|pair| format!("MachineMetadata={pair}")),
        3 => unit().prop_map(|peer| format!("MachineOf={peer}")),
        4 => pattern.prop_map(|pattern| format!("Conflicts={pattern}")),
        2 => select(vec![
            "Replaces=a.service", "Replaces=web@*", "Replaces=d.service web@2.service", "Replaces=db@*",
        ]).prop_map(str::to_owned),
        2 => Just("Global=true".to_owned()),
        2 => select(vec![
            "Spread=zone", "Prefers=disk=ssd 3:zone=x", "Prefers=cores>=4", "Weight=3", "Memory=1G",
            "Memory=3G", "CPU=1.5", "CPU=4", "Resources=cores=1", "Resources=cores=2",
            "Sticky=yes",
        ]).prop_map(str::to_owned),
    ]
}

/// Options for instances of one template.
fn instance_option() -> impl Strategy<Value = String> {
    prop_oneof![
        1 => Just("MaxPerMachine=1".to_owned()),
        1 => Just("MaxPerMachine=2".to_owned()),
        1 => Just("Spread=zone".to_owned()),
        2 => option(),
    ]
}

fn command() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => (select(&UNITS[4..7]), vec(instance_option(), 0..3))
            .prop_map(|(unit, options)| format!("unit {unit} : {}", options.join(";"))),
        6 => (unit(), select(vec!["launched", "launched", "launched", "loaded", "inactive"]), vec(option(), 0..4))
            .prop_map(|(unit, target, options)| format!("unit {unit} {target}: {}", options.join(";"))),
        4 => (machine(), metadata()).prop_map(|(id, metadata)| format!("machine {id} {metadata}")),
        1 => machine().prop_map(|id| format!("crash {id}")),
        1 => machine().prop_map(|id| format!("leave {id}")),
        1 => vec(machine(), 0..3).prop_map(|lost| format!("brake {}", lost.join(" "))),
        1 => Just("unbrake".to_owned()),
        1 => machine().prop_map(|id| format!("cordon {id}")),
        1 => (machine(), select(vec!["disk=ssd", "disk=hdd", "zone=x", "cores=8"]))
            .prop_map(|(id, pair)| format!("set {id} {pair}")),
        1 => unit().prop_map(|unit| format!("destroy {unit}")),

        2 => (unit(), machine()).prop_map(|(unit, id)| format!("assign {unit} {id}")),
        2 => (unit(), machine()).prop_map(|(unit, id)| format!("seen {unit} {id}")),
        1 => (unit(), machine()).prop_map(|(unit, id)| format!("stopped {unit} {id}")),
        2 => (unit(), machine()).prop_map(|(unit, to)| format!("move {unit} {to}")),
        1 => Just("settle".to_owned()),
    ]
}

/// A unit and the options that it is submitted with.
pub fn submission() -> impl Strategy<Value = (String, String)> {
    (unit(), vec(option(), 0..3)).prop_map(|(unit, options)| (unit.to_owned(), options.join(";")))
}

/// What makes a cluster uneven.
pub fn additions() -> impl Strategy<Value = Vec<String>> {
    vec((machine(), metadata()), 0..4).prop_map(|all| {
        let line = |(id, metadata)| format!("machine {id} {metadata}\nuncordon {id}");
        all.into_iter().map(line).collect()
    })
}

/// Steps of commands; a plan is made after each.
pub fn steps() -> impl Strategy<Value = Vec<Vec<String>>> {
    let many = vec(command(), 8..30);
    (many, vec(vec(command(), 0..4), 0..5)).prop_map(|(first, mut others)| {
        others.insert(0, first);
        others
    })
}

/// Many steps of few commands each, after one that makes a cluster.
fn steps_of_few() -> impl Strategy<Value = Vec<Vec<String>>> {
    // Others join later, before, between and behind these.
    let there = MACHINES.iter().skip(1).step_by(2);
    let machines: Vec<String> = there.map(|id| format!("machine {id}")).collect();
    let also = prop_oneof![
        20 => command(),
        1 => unit().prop_map(|unit| format!("restart-if-there {unit}")),
        1 => unit().prop_map(|unit| format!("lose-file-if-there {unit}")),
        1 => unit().prop_map(|unit| format!("damage {unit}")),
        1 => unit().prop_map(|unit| format!("assign {unit} a\ndamage {unit}\ndestroy {unit}")),
    ];
    let few = vec(vec(also, 0..4), 4..24);
    (vec(command(), 8..30), few).prop_map(move |(first, mut others)| {
        others.insert(0, [machines.clone(), first].concat());
        others
    })
}

/// Plans, checks the plan against the oracle, carries it out, and sees that nothing more is asked
/// for.
pub fn step(picture: &mut Picture) -> Result<Vec<Decision>, TestCaseError> {
    let before = picture.records.clone();
    let decisions = schedule(&before);
    prop_assert_eq!(
        &decisions,
        &schedule(&before.clone()),
        "the same records gave another plan"
    );
    picture.apply(&decisions);
    if let Err(broken) = oracle::check(&before, &decisions, &picture.records) {
        return Err(TestCaseError::fail(format!(
            "{broken}\n{}",
            written(&decisions)
        )));
    }
    let again = schedule(&picture.records);
    prop_assert!(
        again.is_empty(),
        "{}then:\n{}",
        written(&decisions),
        written(&again)
    );
    Ok(decisions)
}

/// Lets machines carry out what they are told and plans again, until nothing is left to do.
fn come_to_rest(picture: &mut Picture) -> Result<(), TestCaseError> {
    for _ in 0..ROUNDS_MAX {
        let before = picture.records.statuses.clone();
        picture.settle();
        if step(picture)?.is_empty() && picture.records.statuses == before {
            return Ok(());
        }
    }
    Err(TestCaseError::fail(format!(
        "not at rest after {ROUNDS_MAX} rounds"
    )))
}

/// True if the decision is about what the machine had, or follows from where that goes.
fn touches(decision: &Decision, machine: &MachineId, plan: &[Decision]) -> bool {
    match decision {
        // One that comes may replace another.
        Decision::Unassign {
            reason: UnassignReason::NoLongerFits(Obstacle::Replaced { .. }),
            ..
        } => true,
        // What follows one that is replaced goes with it. That one goes first, so that this ends.
        Decision::Unassign {
            machine: from,
            reason: UnassignReason::NoLongerFits(Obstacle::MachineOf { peer }),
            ..
        } if from != machine => plan.iter().any(|other| {
            matches!(other, Decision::Unassign { unit, machine: there, .. } if unit == peer && there == from)
                && touches(other, machine, plan)
        }),
        Decision::Unassign { machine: from, .. } => from == machine,
        Decision::Assign { .. }
        | Decision::Hold { .. }
        | Decision::Release { .. }
        | Decision::Brake(_) => true,
    }
}

/// A planner that is told every change and nothing else.
struct Follower {
    records: Records,
    planner: Planner,
}

impl Follower {
    fn of(picture: &mut Picture) -> Follower {
        picture.changes.clear();
        Follower {
            records: picture.records.clone(),
            planner: Planner::of(&picture.records),
        }
    }

    /// Takes in what happened to the picture, plans, and compares with a plan made from scratch.
    fn follow(&mut self, picture: &mut Picture) -> Result<Vec<Decision>, TestCaseError> {
        for change in picture.changes.drain(..) {
            self.planner.take_in(&mut self.records, change);
        }
        prop_assert_eq!(&self.records, &picture.records);
        let decisions = self.planner.plan(&self.records);
        let whole = schedule(&picture.records);
        prop_assert!(
            decisions == whole,
            "change by change:\n{}from scratch:\n{}",
            written(&decisions),
            written(&whole)
        );
        Ok(decisions)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn every_plan_obeys_the_rules_and_comes_to_rest(steps in steps()) {
        let mut picture = Picture::default();
        for commands in steps {
            picture.draw(&commands.join("\n"));
            step(&mut picture)?;
        }
        come_to_rest(&mut picture)?;
    }

    #[test]
    fn planning_change_by_change_is_planning_from_scratch(steps in steps_of_few()) {
        let mut picture = Picture::default();
        let mut follower = Follower::of(&mut picture);
        for commands in steps {
            picture.draw(&commands.join("\n"));
            let decisions = follower.follow(&mut picture)?;
            picture.apply(&decisions);
        }
        let again = follower.follow(&mut picture)?;
        prop_assert!(again.is_empty(), "{}", written(&again));
    }

    #[test]
    fn a_lost_machine_moves_only_its_own_units(commands in vec(command(), 8..30), lost in machine()) {
        let mut picture = Picture::default();
        picture.draw(&commands.join("\n"));
        step(&mut picture)?;
        come_to_rest(&mut picture)?;
        picture.draw(&format!("crash {lost}"));
        let decisions = step(&mut picture)?;
        prop_assert!(decisions.iter().all(|decision| touches(decision, &id(lost), &decisions)), "{}", written(&decisions));
    }

    #[test]
    fn the_order_in_which_records_arrive_does_not_matter(
        (commands, shuffled) in vec((machine(), metadata()), 1..6)
            .prop_map(|all| all.into_iter().map(|(id, of)| format!("machine {id} {of}")).collect::<Vec<_>>())
            .prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
        units in vec((unit(), vec(option(), 0..3)), 1..10),
    ) {
        // Each machine once, so that the order decides nothing by itself.
        let once = |all: &[String]| -> Vec<String> {
            let mut sorted = all.to_vec();
            sorted.sort();
            let last = |line: &&String| {
                sorted.iter().rfind(|other| other[..9] == line[..9]) == Some(*line)
            };
            all.iter().filter(last).cloned().collect()
        };
        let mut forward: Vec<String> = Vec::new();
        for (unit, options) in &units {
            let line = format!("unit {unit} : {}", options.join(";"));
            if !forward.iter().any(|known| known.starts_with(&format!("unit {unit} "))) {
                forward.push(line);
            }
        }
        let (mut one, mut other) = (Picture::default(), Picture::default());
        one.draw(&once(&commands).join("\n"));
        one.draw(&forward.join("\n"));
        forward.reverse();
        other.draw(&forward.join("\n"));
        other.draw(&once(&shuffled).join("\n"));
        let without_generations = |picture: &Picture| {
            written(&schedule(&picture.records))
        };
        prop_assert_eq!(without_generations(&one), without_generations(&other));
    }
}

proptest! {
    // Two plans for each change that is said to be idle.
    #![proptest_config(ProptestConfig { cases: cases() / 4, ..ProptestConfig::default() })]

    #[test]
    fn what_is_said_not_to_alter_a_plan_does_not(steps in steps_of_few()) {
        let mut picture = Picture::default();
        for commands in steps {
            let mut records = picture.records.clone();
            picture.changes.clear();
            picture.draw(&commands.join("\n"));
            for change in picture.changes.drain(..) {
                let is_idle = !may_alter_plan(&records, &change);
                let before = is_idle.then(|| schedule(&records));
                let said = format!("{change:?}");
                records.apply(change);
                if let Some(before) = before {
                    prop_assert_eq!(before, schedule(&records), "{}", said);
                }
            }
            let decisions = schedule(&picture.records);
            picture.apply(&decisions);
        }
    }
}

/// How many random clusters each law is tried on; `PROPTEST_CASES` asks for more.
pub fn cases() -> u32 {
    std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(400)
}
