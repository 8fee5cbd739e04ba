//! Machines whose lease has just ended: they are asked whether they are there all the same, before their units move.
//!
//! A lease ends with its machine, but not only then. A leader of etcd that stood still ends leases that others have kept alive since,
//! as soon as it goes on (etcd-io/etcd#15247; mended in etcd 3.4.31 and 3.5.13), and an operator may end one. Such a machine notices
//! with its next keep-alive, and comes back with all its units.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::{MachineId, Records};
use registry::Registry;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::run::Loss;

/// How long a machine has to answer. Each unit of a machine that is lost starts later by this, and must start within T + 1 s: etcd looks
/// for leases that have ended twice a second.
const ANSWER_LIMIT: Duration = Duration::from_millis(400);

/// How much longer the store may take for it: a question is three requests.
const STORE_SLACK: Duration = Duration::from_millis(200);

/// So many are asked at a time. More that go at once are the brake's, or the store's.
const ASKED_MAX: usize = 100;

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
    until: BTreeMap<MachineId, Instant>,
    asking: JoinSet<Answered>,
}

impl<'a> Absences<'a> {
    pub(crate) fn new(registry: &'a Registry, loss: Loss, return_max: Duration) -> Absences<'a> {
        Absences {
            registry,
            loss,
            return_max,
            until: BTreeMap::new(),
            asking: JoinSet::new(),
        }
    }

    /// These are gone, and have units.
    pub(crate) fn ask(&mut self, gone: Vec<MachineId>) {
        match self.loss {
            Loss::Questioned if !gone.is_empty() && gone.len() <= ASKED_MAX => {}
            Loss::Questioned | Loss::Believed => return,
        }
        let (registry, at) = (self.registry.clone(), Instant::now());
        for machine in &gone {
            self.until
                .insert(machine.clone(), at + ANSWER_LIMIT + STORE_SLACK);
        }
        self.asking.spawn(async move {
            let there = match registry.answering(gone.clone(), ANSWER_LIMIT).await {
                Ok(there) => there,
                Err(error) => {
                    tracing::warn!(%error, "machines whose lease has ended cannot be asked");
                    BTreeSet::new()
                }
            };
            let asked = gone;
            Answered { asked, there, at }
        });
    }

    /// It is there again.
    pub(crate) fn is_back(&mut self, machine: &MachineId) {
        self.until.remove(machine);
    }

    /// Waits until some have answered, or had their time to.
    pub(crate) async fn answered(&mut self) {
        let Some(Ok(Answered { asked, there, at })) = self.asking.join_next().await else {
            return std::future::pending().await;
        };
        for machine in asked {
            if !there.contains(&machine) {
                self.until.remove(&machine);
            } else if let Some(until) = self.until.get_mut(&machine) {
                tracing::warn!(
                    %machine,
                    "its lease has ended, but it answers: its units stay while it comes back"
                );
                *until = at + self.return_max;
            }
        }
    }

    /// Until when somebody is waited for at least; none if nobody is.
    pub(crate) fn until(&mut self) -> Option<Instant> {
        let now = Instant::now();
        self.until.retain(|_, until| *until > now);
        self.until.values().min().copied()
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
