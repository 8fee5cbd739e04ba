//! Machines whose lease has just ended: they are asked whether they are there all the same, before their units move.
//!
//! A lease ends with its machine, but not only then. A leader of etcd that stood still ends leases that others have kept alive since,
//! as soon as it goes on (etcd-io/etcd#15247; mended in etcd 3.4.31 and 3.5.13), and an operator may end one. Such a machine notices
//! with its next keep-alive, and comes back with all its units.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::mutation::{Mutation, is_made};
use model::{MachineId, Records};
use registry::Registry;
use tokio::task::JoinSet;
use tokio::time::Instant;
use unitfile::UnitName;

use crate::run::Loss;

/// How long a machine has to answer. Each unit of a machine that is lost starts later by this, and must start within T + 1 s: etcd looks
/// for leases that have ended twice a second.
const ANSWER_LIMIT: Duration = Duration::from_millis(400);

/// How much longer the store may take for it: a question is three requests.
const STORE_SLACK: Duration = Duration::from_millis(200);

/// How long a machine that is back may take to say what runs there: it looks at all its units first, and says so of all at once. One that
/// has stopped meanwhile is never heard of again.
const REPORT_LIMIT: Duration = Duration::from_secs(1);

/// So many are asked at a time. More that go at once are the brake's, or the store's.
pub(crate) const ASKED_MAX: usize = 100;

/// A machine whose lease has ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Gone {
    pub(crate) machine: MachineId,
    /// What it reported: that may run or stop there still, and starts nowhere else before it has stopped.
    pub(crate) reported: BTreeSet<UnitName>,
}

impl Gone {
    /// A machine that these records still know; none if it has nothing.
    pub(crate) fn of(records: &Records, machine: &MachineId) -> Option<Gone> {
        let reported = records.statuses.iter();
        let reported = reported.filter(|(_, machines)| machines.contains_key(machine));
        let reported: BTreeSet<UnitName> = reported.map(|(unit, _)| unit.clone()).collect();
        let mut entries = records.schedule.values();
        let has_units = !reported.is_empty() || entries.any(|it| it.contains_key(machine));
        has_units.then(|| Gone {
            machine: machine.clone(),
            reported,
        })
    }
}

/// Where a machine is that is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// It is asked, or has answered.
    Away,
    /// It has joined again, and is to say what runs there.
    Back,
}

struct Absence {
    until: Instant,
    stage: Stage,
    /// What it has not said anything of since.
    unheard: BTreeSet<UnitName>,
}

/// What came of asking.
struct Answered {
    asked: Vec<MachineId>,
    there: BTreeSet<MachineId>,
    at: Instant,
}

/// Who is waited for.
pub(crate) struct Absences<'a> {
    registry: &'a Registry,
    loss: Loss,
    /// How long one that answers is waited for: it has joined again by then, or its exclusive units have ended.
    return_max: Duration,
    awaited: BTreeMap<MachineId, Absence>,
    asking: JoinSet<Answered>,
}

impl<'a> Absences<'a> {
    pub(crate) fn new(registry: &'a Registry, loss: Loss, return_max: Duration) -> Absences<'a> {
        Absences {
            registry,
            loss,
            return_max,
            awaited: BTreeMap::new(),
            asking: JoinSet::new(),
        }
    }

    /// These are gone, and have units.
    pub(crate) fn ask(&mut self, gone: Vec<Gone>) {
        match self.loss {
            Loss::Questioned if !gone.is_empty() && gone.len() <= ASKED_MAX => {}
            Loss::Questioned | Loss::Believed => return,
        }
        let (registry, at) = (self.registry.clone(), Instant::now());
        let machines: Vec<MachineId> = gone.iter().map(|it| it.machine.clone()).collect();
        for Gone { machine, reported } in gone {
            let absence = Absence {
                until: at + ANSWER_LIMIT + STORE_SLACK,
                stage: Stage::Away,
                unheard: reported,
            };
            self.awaited.insert(machine, absence);
        }
        self.asking.spawn(async move {
            let there = match registry.answering(machines.clone(), ANSWER_LIMIT).await {
                Ok(there) => there,
                Err(error) => {
                    tracing::warn!(%error, "machines whose lease has ended cannot be asked");
                    BTreeSet::new()
                }
            };
            let asked = machines;
            Answered { asked, there, at }
        });
    }

    /// As [`Absences::ask`] of all that these records have units of.
    pub(crate) fn ask_away(&mut self, records: &Records) {
        let away = away(records).into_iter();
        let away = away.filter_map(|machine| Gone::of(records, machine));
        self.ask(away.take(ASKED_MAX + 1).collect());
    }

    /// It is there again.
    pub(crate) fn is_back(&mut self, machine: &MachineId) {
        if let Some(absence) = self.awaited.get_mut(machine)
            && absence.stage == Stage::Away
        {
            absence.stage = Stage::Back;
            absence.until = Instant::now() + REPORT_LIMIT;
            self.forget_complete(machine);
        }
    }

    /// It says what a unit does there.
    pub(crate) fn reports(&mut self, machine: &MachineId, unit: &UnitName) {
        if let Some(absence) = self.awaited.get_mut(machine) {
            absence.unheard.remove(unit);
            self.forget_complete(machine);
        }
    }

    fn forget_complete(&mut self, machine: &MachineId) {
        let is_complete = |it: &Absence| it.stage == Stage::Back && it.unheard.is_empty();
        if self.awaited.get(machine).is_some_and(is_complete) {
            self.awaited.remove(machine);
        }
    }

    /// Waits until some have answered, or had their time to.
    pub(crate) async fn answered(&mut self) {
        let Some(Ok(Answered { asked, there, at })) = self.asking.join_next().await else {
            return std::future::pending().await;
        };
        for machine in asked {
            let Some(absence) = self.awaited.get_mut(&machine) else {
                continue;
            };
            if absence.stage == Stage::Back {
                continue;
            }
            if !there.contains(&machine) || is_made(Mutation::AnswerIgnored) {
                self.awaited.remove(&machine);
            } else {
                tracing::warn!(
                    %machine,
                    "its lease has ended, but it answers: its units stay while it comes back"
                );
                absence.until = at + self.return_max;
            }
        }
    }

    /// Until when somebody is waited for at least; none if nobody is.
    pub(crate) fn until(&mut self) -> Option<Instant> {
        let now = Instant::now();
        self.awaited.retain(|_, absence| absence.until > now);
        self.awaited.values().map(|absence| absence.until).min()
    }
}

/// The machines that have units and are not there.
pub(crate) fn away(records: &Records) -> BTreeSet<&MachineId> {
    let entries = records.schedule.values().flatten();
    let is_away = |machine: &&MachineId| {
        !records.machines.contains_key(*machine) && !records.quarantined_machines.contains(*machine)
    };
    entries
        .map(|(machine, _)| machine)
        .filter(is_away)
        .collect()
}

pub(crate) fn shown(machines: &BTreeSet<&MachineId>) -> String {
    let ids: Vec<&str> = machines.iter().map(|machine| machine.as_str()).collect();
    ids.join(", ")
}
