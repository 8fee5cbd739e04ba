//! The brake on mass loss, watched by an onlooker that remembers who is gone and what was let go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{
    ActiveState, Assignment, BootId, Capacity, Generation, LoadState, Machine, Unit, UnitStatus,
};
use proptest::prelude::*;
use unitfile::UnitFile;

use super::*;

const MACHINES: usize = 24;

fn id(number: usize) -> MachineId {
    MachineId::parse(&format!("m{number:02}")).unwrap()
}

fn came(number: usize) -> Change {
    let machine = Machine {
        id: id(number),
        boot: BootId(String::new()),
        address: String::new(),
        metadata: BTreeMap::new(),
        version: String::new(),
        capacity: Capacity::default(),
    };
    Change::Machine(id(number), Some(machine))
}

/// So many machines, each with one unit of its own.
fn cluster(machines: usize) -> Records {
    let file = Arc::new(UnitFile::parse("[Service]\nExecStart=/bin/true\n").unwrap());
    let mut records = Records::default();
    records.apply(Change::File(file.file_hash(), Some(Arc::clone(&file))));
    for number in 0..machines {
        records.apply(came(number));
        let unit = Unit {
            name: UnitName::parse(&format!("u{number}.service")).unwrap(),
            file: file.file_hash(),
            hash: file.hash(),
            target: TargetState::Launched,
            generation: Generation(1),
            start: Generation(1),
            restart: Generation(0),
            relocation: None,
        };
        let entry = Assignment::of(&unit);
        records.apply(Change::Assignment(
            id(number),
            unit.name.clone(),
            Some(entry),
        ));
        records.apply(Change::Unit(unit.name.clone(), Some(unit)));
    }
    records
}

#[derive(Clone, Debug)]
enum Step {
    Lose(usize),
    Back(usize),
    Wait(u64),
    /// Another leader takes over.
    Elect,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..MACHINES).prop_map(Step::Lose),
        3 => (0..MACHINES).prop_map(Step::Back),
        6 => (0..8_000_u64).prop_map(Step::Wait),
        1 => (0..400_000_u64).prop_map(Step::Wait),
        1 => Just(Step::Elect),
    ]
}

/// The cluster, its leader, and what an onlooker remembers.
struct Story {
    limits: BrakeLimits,
    records: Records,
    lookout: Lookout,
    now_ms: u64,
    /// By machine that is gone: since when.
    gone: BTreeMap<MachineId, u64>,
    given_up_ms: Option<u64>,
}

impl Story {
    fn of(machines: usize) -> Story {
        let limits = BrakeLimits::of_lease(10_000);
        let records = cluster(machines);
        let mut lookout = Lookout::new(limits);
        assert_eq!(lookout.decide(&records, 0), None);
        Story {
            limits,
            records,
            lookout,
            now_ms: 0,
            gone: BTreeMap::new(),
            given_up_ms: None,
        }
    }

    fn happen(&mut self, change: Change) {
        self.lookout.hear(&self.records, &change, |_| Vec::new());
        self.records.apply(change);
    }

    fn held(&self) -> BTreeSet<MachineId> {
        let machines = self.records.brake.iter().flat_map(|it| &it.machines);
        machines.cloned().collect()
    }

    /// The leader decides until it has nothing to write. Units that are not held move.
    fn decide(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..4 {
            let before = self.records.brake.clone();
            let Some(brake) = self.lookout.decide(&self.records, self.now_ms) else {
                break;
            };
            prop_assert_ne!(&brake, &before);
            self.records.apply(Change::Brake(brake));
            let left = self.held();
            let live = |id: &&MachineId| self.records.machines.contains_key(*id);
            let dropped = before.iter().flat_map(|it| &it.machines);
            let dropped = dropped.filter(|id| !left.contains(*id) && !live(id));
            match (dropped.count(), before.map(|it| it.phase)) {
                (0, _) | (_, Some(BrakePhase::Watching)) => {}
                (count, phase) => {
                    prop_assert_eq!(count, 1, "more than one machine given up at once");
                    let last_ms = self.given_up_ms.replace(self.now_ms);
                    let waited = last_ms.map(|last_ms| self.now_ms - last_ms);
                    let long = waited.is_none_or(|it| it >= self.limits.give_up_every_ms);
                    prop_assert!(long || phase == Some(BrakePhase::Holding), "too soon");
                }
            }
        }
        prop_assert_eq!(self.lookout.decide(&self.records, self.now_ms), None);
        let held = self.held();
        prop_assert!(
            held.iter().all(|id| self.gone.contains_key(id)),
            "held and there"
        );
        prop_assert!(
            held.is_empty() || self.lookout.due_ms().is_some(),
            "held for ever"
        );
        self.move_units();
        Ok(())
    }

    /// What the planner does with machines that are gone and not held.
    fn move_units(&mut self) {
        let held = self.held();
        let schedule = std::mem::take(&mut self.records.schedule);
        let kept = schedule.into_iter().filter(|(_, on)| {
            on.keys()
                .all(|id| self.records.machines.contains_key(id) || held.contains(id))
        });
        self.records.schedule = kept.collect();
    }

    fn go(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Lose(number) if self.records.machines.contains_key(&id(*number)) => {
                self.happen(Change::Machine(id(*number), None));
                self.gone.insert(id(*number), self.now_ms);
            }
            Step::Back(number) if self.gone.remove(&id(*number)).is_some() => {
                self.happen(came(*number));
            }
            Step::Lose(_) | Step::Back(_) => {}
            Step::Wait(ms) => {
                let end_ms = self.now_ms + ms;
                while let Some(due_ms) = self.lookout.due_ms().filter(|it| *it <= end_ms) {
                    self.now_ms = self.now_ms.max(due_ms);
                    self.decide()?;
                }
                self.now_ms = end_ms;
            }
            Step::Elect => self.lookout = Lookout::new(self.limits),
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn what_is_held_is_gone_and_ends_and_moves_one_by_one(steps in prop::collection::vec(step(), 0..60)) {
        let mut story = Story::of(MACHINES);
        for step in &steps {
            story.go(step)?;
            story.decide()?;
        }
        for _ in 0..2 * MACHINES {
            story.go(&Step::Wait(story.limits.hold_ms))?;
            story.decide()?;
        }
        prop_assert_eq!(&story.records.brake, &None);
    }

    #[test]
    fn what_is_lost_at_one_moment_is_held_if_it_is_over_the_limit(machines in 1..MACHINES, lost in 0..MACHINES) {
        prop_assume!(lost < machines);
        let mut story = Story::of(machines);
        for number in 0..lost {
            story.go(&Step::Lose(number))?;
        }
        story.decide()?;
        let is_many = machines >= 10 && lost * 10 > machines * 3;
        let is_suspicious = machines >= 10 && lost > 2 && lost * 10 > machines;
        let expected = if is_suspicious { lost } else { 0 };
        prop_assert_eq!(story.held().len(), expected);
        let holds = story.records.brake.as_ref().is_some_and(|it| it.phase == BrakePhase::Holding);
        prop_assert_eq!(holds, is_many);
        story.go(&Step::Wait(story.limits.together_ms))?;
        let expected = if is_many { lost } else { 0 };
        prop_assert_eq!(story.held().len(), expected);
    }

    #[test]
    fn few_are_moved_before_many_that_go_one_after_another_are_held(gaps in prop::collection::vec(0..400_u64, 12)) {
        let mut story = Story::of(MACHINES);
        for (number, gap) in gaps.iter().enumerate() {
            story.go(&Step::Wait(*gap))?;
            story.go(&Step::Lose(number))?;
            story.decide()?;
        }
        prop_assert!(story.held().len() >= 12 - 3, "{:?}", story.records.brake);
        let phase = story.records.brake.map(|it| it.phase);
        prop_assert_eq!(phase, Some(BrakePhase::Holding));
    }

    #[test]
    fn another_leader_lets_go_of_nothing(lost in 9..MACHINES, later in 0..9_000_u64) {
        let mut story = Story::of(MACHINES);
        for number in 0..lost {
            story.go(&Step::Lose(number))?;
        }
        story.decide()?;
        let held = story.held();
        for _ in 0..5 {
            story.go(&Step::Wait(later))?;
            story.go(&Step::Elect)?;
            story.decide()?;
        }
        prop_assert_eq!(story.held(), held);
    }
}

#[test]
fn a_machine_that_still_reports_leaves_in_order() {
    let mut story = Story::of(MACHINES);
    let unit = |number: usize| UnitName::parse(&format!("u{number}.service")).unwrap();
    for number in 0..12 {
        let status = UnitStatus {
            load: LoadState::Loaded,
            active: ActiveState::Active,
            sub: String::new(),
            hash: story.records.units[&unit(number)].hash,
            state: TargetState::Launched,
            generation: Generation(1),
            job: None,
            invocation: None,
            since_unix_ms: 0,
        };
        let change = Change::Status(id(number), unit(number), Some(status));
        story.records.apply(change);
        let gone = Change::Machine(id(number), None);
        let units = |_: &MachineId| vec![unit(number)];
        story.lookout.hear(&story.records, &gone, units);
        story.records.apply(gone);
    }
    assert_eq!(story.lookout.decide(&story.records, 0), None);
}

#[test]
fn machines_that_leave_in_order_and_stop_at_once_are_not_lost() {
    let mut records = cluster(12);
    let mut lookout = Lookout::new(BrakeLimits::of_lease(30_000));
    let unit_of = |number: usize| UnitName::parse(&format!("u{number}.service")).unwrap();
    let file = records.files.values().next().unwrap().hash();
    for number in 0..12 {
        let report = UnitStatus {
            load: LoadState::Loaded,
            active: ActiveState::Active,
            sub: "running".into(),
            hash: file,
            state: TargetState::Launched,
            generation: Generation(1),
            job: None,
            invocation: None,
            since_unix_ms: 0,
        };
        records.apply(Change::Status(id(number), unit_of(number), Some(report)));
    }
    assert_eq!(lookout.decide(&records, 0), None);
    let hear = |lookout: &mut Lookout, records: &mut Records, revision: &[Change]| {
        for change in revision {
            lookout.hear(records, change, |_| (0..12).map(unit_of).collect());
            records.apply(change.clone());
        }
        lookout.heard_all(records);
    };
    // The leader is told, revision by revision, while it waits for its own writes.
    let gone = |number| Change::Machine(id(number), None);
    let stopped = |number| Change::Status(id(number), unit_of(number), None);
    for number in 0..8 {
        hear(&mut lookout, &mut records, &[gone(number)]);
        hear(&mut lookout, &mut records, &[stopped(number)]);
    }
    assert_eq!(lookout.decide(&records, 1), None);
    // Lost ones take their reports with them.
    for number in 8..11 {
        hear(&mut lookout, &mut records, &[gone(number), stopped(number)]);
    }
    assert!(lookout.take_in_losses(&records, 2));
    assert_eq!(lookout.losses.len(), 3);
}
