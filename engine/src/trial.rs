//! PURE. A dry run: carries requests out on a copy of the records, lets every machine do at once
//! what it is told, and compares.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{
    Change, Displaced, Generation, Known, MachineId, Outcome, PerMachine, Place, Records, Refusal,
    Trial, TrialPlan, UnitRequest, UnitWrite, resolve,
};
use unitfile::{Requirements, UnitName};

use crate::planner::Planner;

/// How many rounds of "decide, carry out" a dry run may take. Each ends with fewer units to be
/// stopped elsewhere first: a chain of units that follow each other takes two rounds a link.
const ROUNDS_MAX: usize = 64;

/// Says what would become of the cluster if the requests were carried out.
///
/// What the cluster is about to do anyway is done first, so that it is not laid to the requests.
pub fn trial(records: Records, requests: &[UnitRequest]) -> TrialPlan {
    let mut rehearsal = Rehearsal::of(records);
    rehearsal.come_to_rest();
    let before = Places::of(&rehearsal.records);
    let mut answers: BTreeMap<UnitName, Result<Outcome, Refusal>> = BTreeMap::new();
    for request in requests {
        let answer = rehearsal.request(request);
        // What was refused stays refused, whatever is asked after it.
        answers
            .entry(request.name.clone())
            .and_modify(|known| {
                if known.is_ok() {
                    *known = answer.clone();
                }
            })
            .or_insert(answer);
    }
    rehearsal.come_to_rest();
    let after = Places::of(&rehearsal.records);
    let mut named: BTreeSet<&UnitName> = BTreeSet::new();
    let first = requests
        .iter()
        .filter(|request| named.insert(&request.name));
    let units = first.map(|request| {
        let name = request.name.clone();
        let (after, differs) = match answers.remove(&name) {
            Some(Err(refusal)) => (Err(refusal), false),
            Some(Ok(outcome)) => (Ok(after.of_unit(&name)), outcome.differs),
            None => (Ok(after.of_unit(&name)), false),
        };
        Trial {
            before: before.of_unit(&name),
            after,
            differs,
            name,
        }
    });
    let units = units.collect();
    TrialPlan {
        units,
        others: displaced(&before, &after, &named),
    }
}

fn displaced(before: &Places, after: &Places, named: &BTreeSet<&UnitName>) -> Vec<Displaced> {
    let names: BTreeSet<&UnitName> = before.on.keys().chain(after.on.keys()).collect();
    let moved = names
        .into_iter()
        .filter(|name| !named.contains(*name) && before.on.get(*name) != after.on.get(*name));
    moved
        .map(|name| Displaced {
            name: name.clone(),
            before: before.of_unit(name),
            after: after.of_unit(name),
        })
        .collect()
}

/// Who is where, and who waits.
struct Places {
    on: BTreeMap<UnitName, Vec<MachineId>>,
    holds: BTreeMap<UnitName, model::Hold>,
}

impl Places {
    fn of(records: &Records) -> Places {
        let entries = records.schedule.iter();
        let machines = |(name, machines): (&UnitName, &PerMachine<_>)| {
            (name.clone(), machines.keys().cloned().collect())
        };
        Places {
            on: entries.map(machines).collect(),
            holds: records.holds.clone(),
        }
    }

    fn of_unit(&self, name: &UnitName) -> Place {
        match (self.holds.get(name), self.on.get(name)) {
            (Some(hold), _) => Place::Waits(hold.clone()),
            (None, Some(machines)) => Place::On(machines.clone()),
            (None, None) => Place::Nowhere,
        }
    }
}

/// A cluster that obeys at once.
struct Rehearsal {
    records: Records,
    planner: Planner,
}

impl Rehearsal {
    fn of(records: Records) -> Rehearsal {
        Rehearsal {
            planner: Planner::of(&records),
            records,
        }
    }

    fn take_in(&mut self, change: Change) {
        self.planner.take_in(&mut self.records, change);
    }

    fn come_to_rest(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let decisions = self.planner.plan(&self.records);
            let is_at_rest = decisions.is_empty();
            for decision in decisions {
                self.take_in(decision.into_change());
            }
            let reports = obeyed(&self.records);
            if is_at_rest && reports.is_empty() {
                return;
            }
            for report in reports {
                self.take_in(report);
            }
        }
    }

    /// Carries out one request, as the store would.
    fn request(&mut self, request: &UnitRequest) -> Result<Outcome, Refusal> {
        let records = &self.records;
        let unit = records.units.get(&request.name);
        if unit.is_none() && records.quarantined_units.contains(&request.name) {
            return Err(Refusal::Damaged("it cannot be read".to_owned()));
        }
        let file_of = |unit: &model::Unit| records.files.get(&unit.file).map(Arc::as_ref);
        let template = request
            .name
            .template()
            .filter(|_| request.name.is_instance());
        let template = template.and_then(|name| records.units.get(&name));
        let known = Known {
            unit,
            file: unit.and_then(file_of),
            template: template.and_then(file_of),
        };
        let earlier = unit.map_or(0, |unit| unit.generation.0);
        let generation = Generation(records.revision.0.max(earlier) + 1);
        let (write, outcome) = resolve(request, known, generation)?;
        write.check_ties(|name| {
            let file = records.units.get(name).and_then(file_of)?;
            Some(Requirements::of_stored(name, file).0)
        })?;
        match write {
            UnitWrite::Nothing => {}
            UnitWrite::Put { unit, file } => {
                if let Some(file) = file {
                    self.take_in(Change::File(file.file_hash(), Some(Arc::new(file))));
                }
                self.take_in(Change::Unit(request.name.clone(), Some(unit)));
            }
            UnitWrite::Delete => self.take_in(Change::Unit(request.name.clone(), None)),
        }
        Ok(outcome)
    }
}

/// What live machines report once they have stopped what is not in their schedules and run all
/// else by the files that the units have now.
fn obeyed(records: &Records) -> Vec<Change> {
    let mut changes = Vec::new();
    for (name, reports) in &records.statuses {
        let entries = records.schedule.get(name);
        let now = records.units.get(name).map(|unit| unit.hash);
        for (machine, status) in reports {
            if !records.machines.contains_key(machine) {
                continue;
            }
            let is_there = entries.is_some_and(|entries| entries.contains_key(machine));
            let report = match now {
                _ if !is_there => None,
                Some(now) if status.hash != now => {
                    let mut report = status.clone();
                    report.hash = now;
                    Some(report)
                }
                Some(_) | None => continue,
            };
            changes.push(Change::Status(machine.clone(), name.clone(), report));
        }
    }
    changes
}
