//! The rules of placement once more, written as slowly and plainly as possible and sharing nothing
//! with the engine but the reading of unit files: asks every machine about every unit, from the records alone.

mod order;
mod plan;

use std::collections::{BTreeMap, BTreeSet};

use model::{
    Assignment, Decision, MachineId, Obstacle, PerMachine, Records, Schedulable, TargetState,
};
use unitfile::{Comparison, Demand, Glob, MetadataTerm, MetadataTest, Requirements, UnitName};

pub type Schedule = BTreeMap<UnitName, BTreeSet<MachineId>>;

/// What the records say, for the rules as they are here.
pub struct Oracle<'a> {
    before: &'a Records,
    pub requirements: BTreeMap<UnitName, Requirements>,
    /// Units that are to run and whose rules are known.
    wanted: BTreeSet<UnitName>,
}

/// Checks a plan against the records it was made from and the records it leads to. An error says
/// which rule is broken.
pub fn check(before: &Records, decisions: &[Decision], after: &Records) -> Result<(), String> {
    let oracle = Oracle::of(before);
    let scheduled = schedule_of(after);
    let renewed = renewed(before, after);
    oracle.check_legal(&schedule_of(before), &scheduled, &renewed)?;
    oracle.check_complete(&scheduled, after)?;
    oracle.check_removals(decisions, &schedule_of(before), &scheduled)?;
    oracle.check_choices(decisions)
}

/// Units told to run by another file where they are.
fn renewed(before: &Records, after: &Records) -> Schedule {
    let mut renewed = Schedule::new();
    for (unit, entries) in &before.schedule {
        for (machine, entry) in entries {
            let now = after.schedule.get(unit).and_then(|all| all.get(machine));
            if now.is_some_and(|now| now.file != entry.file) {
                let machines = renewed.entry(unit.clone()).or_default();
                machines.insert(machine.clone());
            }
        }
    }
    renewed
}

pub fn schedule_of(records: &Records) -> Schedule {
    let machines = |(unit, entries): (&UnitName, &PerMachine<Assignment>)| {
        (unit.clone(), entries.keys().cloned().collect())
    };
    records.schedule.iter().map(machines).collect()
}

/// Metadata once more, by other means than the engine's.
fn holds(term: &MetadataTerm, value: Option<&str>) -> bool {
    let number = |text: &str| text.parse::<f64>().ok();
    match &term.test {
        MetadataTest::OneOf { values, patterns } => value.is_some_and(|value| {
            values.contains(&value.to_owned())
                || patterns.iter().any(|glob| {
                    let text = glob.as_str();
                    let (head, tail) = text.split_once('*').unwrap_or((text, ""));
                    value.starts_with(head) && value.ends_with(tail)
                })
        }),
        MetadataTest::Not(unwanted) => value.is_none_or(|value| value != unwanted),
        MetadataTest::Exists => value.is_some(),
        MetadataTest::Number(comparison, limit) => {
            let limit = number(&limit.to_string()).unwrap();
            value
                .and_then(number)
                .is_some_and(|value| match comparison {
                    Comparison::Less => value < limit,
                    Comparison::LessOrEqual => value <= limit,
                    Comparison::Greater => value > limit,
                    Comparison::GreaterOrEqual => value >= limit,
                })
        }
    }
}

/// Patterns over names once more.
fn any_matches(patterns: &[Glob], name: &UnitName) -> bool {
    let name: Vec<char> = name.as_str().chars().collect();
    let matches = |glob: &Glob| {
        let pattern: Vec<char> = glob.as_str().chars().collect();
        is_match(&pattern, &name)
    };
    patterns.iter().any(matches)
}

fn is_match(pattern: &[char], name: &[char]) -> bool {
    match pattern {
        [] => name.is_empty(),
        ['*', rest @ ..] => (0..=name.len()).any(|skipped| is_match(rest, &name[skipped..])),
        ['[', from, '-', to, ']', rest @ ..] => {
            let (first, others) = name.split_first().unzip();
            first.is_some_and(|first| from <= first && first <= to)
                && is_match(rest, others.unwrap())
        }
        [literal, rest @ ..] => {
            assert!(
                !"?[\\".contains(*literal),
                "the oracle does not know {literal}"
            );
            name.first() == Some(literal) && is_match(rest, &name[1..])
        }
    }
}

/// The first of a hundred characters and more.
fn cut(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    match characters.len() {
        0..=100 => text.to_owned(),
        _ => characters[..99].iter().collect::<String>() + "…",
    }
}

fn are_siblings(one: &UnitName, other: &UnitName) -> bool {
    one != other && one.is_instance() && one.template() == other.template()
}

fn on(schedule: &Schedule, unit: &UnitName, machine: &MachineId) -> bool {
    schedule
        .get(unit)
        .is_some_and(|machines| machines.contains(machine))
}

impl<'a> Oracle<'a> {
    pub fn of(before: &'a Records) -> Oracle<'a> {
        let mut requirements = BTreeMap::new();
        let mut wanted = BTreeSet::new();
        for unit in before.units.values() {
            let Some(file) = before.files.get(&unit.file) else {
                continue;
            };
            let (needs, errors) = Requirements::of_stored(&unit.name, file);
            if errors.is_empty() && unit.target != TargetState::Inactive {
                wanted.insert(unit.name.clone());
            }
            requirements.insert(unit.name.clone(), needs);
        }
        Oracle {
            before,
            requirements,
            wanted,
        }
    }

    fn conflict(&self, one: &UnitName, other: &UnitName) -> bool {
        let refuses = |who: &UnitName, whom: &UnitName| {
            self.requirements
                .get(who)
                .is_some_and(|needs| any_matches(&needs.conflicts, whom))
        };
        one != other && (refuses(one, other) || refuses(other, one))
    }

    /// True if the unit has to leave a machine that it shares with the other, if it can.
    fn gives_way(&self, unit: &UnitName, to: &UnitName) -> bool {
        let names = |who: &UnitName, whom: &UnitName| {
            self.requirements
                .get(who)
                .is_some_and(|needs| any_matches(&needs.replaces, whom))
        };
        let needs = &self.requirements[unit];
        let is_movable = self.wanted.contains(unit) && !needs.global && needs.machine_of.is_empty();
        is_movable && unit != to && names(to, unit) && !names(unit, to) && !self.follows(to, unit)
    }

    /// True if the one must be where the other is, as one that it names must, and so on.
    fn follows(&self, one: &UnitName, other: &UnitName) -> bool {
        let mut led = BTreeSet::from([one.clone()]);
        loop {
            let needs = led.iter().filter_map(|name| self.requirements.get(name));
            let peers: Vec<UnitName> = needs.flat_map(|it| it.machine_of.clone()).collect();
            let before = led.len();
            led.extend(peers);
            if led.len() == before {
                return led.contains(other);
            }
        }
    }

    /// True if on the machine the unit neither is replaced by a unit of the schedule nor replaces
    /// one that is there.
    pub fn is_calm(&self, unit: &UnitName, machine: &MachineId, schedule: &Schedule) -> bool {
        let replaced = |other: &UnitName| {
            let needs = self.requirements.get(other);
            other != unit
                && on(schedule, other, machine)
                && needs.is_some_and(|it| any_matches(&it.replaces, unit))
        };
        let there = self.occupants(unit, machine, schedule);
        let needs = &self.requirements[unit];
        !schedule.keys().any(replaced)
            && !there
                .iter()
                .any(|other| any_matches(&needs.replaces, other))
    }

    /// The first by name on the machine that replaces the unit, which goes where it likes.
    pub fn replaced(
        &self,
        unit: &UnitName,
        machine: &MachineId,
        schedule: &Schedule,
    ) -> Option<Obstacle> {
        let needs = &self.requirements[unit];
        let mut there = schedule
            .keys()
            .filter(|other| on(schedule, other, machine) && *other != unit);
        let by = there.find(|other| {
            let names = self.requirements.get(*other);
            names.is_some_and(|it| any_matches(&it.replaces, unit))
        })?;
        let is_movable = !needs.global && needs.machine_of.is_empty();
        is_movable.then(|| Obstacle::Replaced { by: by.clone() })
    }

    /// Of the machines that can take a unit, those that are asked: where nobody replaces it, if it
    /// is one that somebody replaces and there are such.
    pub fn asked<'m>(
        &self,
        unit: &UnitName,
        able: Vec<&'m MachineId>,
        schedule: &Schedule,
    ) -> Vec<&'m MachineId> {
        let needs = &self.requirements[unit];
        let is_named = schedule.iter().any(|(other, machines)| {
            let names = self.requirements.get(other);
            // One that keeps its place on a lost machine is beside nobody.
            other != unit
                && machines.iter().any(|machine| self.is_live(machine))
                && names.is_some_and(|it| any_matches(&it.replaces, unit))
        });
        if !is_named || needs.global || !needs.machine_of.is_empty() {
            return able;
        }
        let calm: Vec<&MachineId> = able
            .iter()
            .copied()
            .filter(|machine| self.is_calm(unit, machine, schedule))
            .collect();
        if calm.is_empty() { able } else { calm }
    }

    /// The first rule about the machine itself that fails.
    fn unfit(&self, unit: &UnitName, machine: &MachineId) -> Option<Obstacle> {
        let needs = &self.requirements[unit];
        if let Some(wanted) = &needs.machine_id
            && machine.as_str() != wanted
            && !(wanted.len() == 8 && machine.as_str().starts_with(wanted.as_str()))
        {
            return Some(Obstacle::MachineId {
                wanted: wanted.clone(),
            });
        }
        let metadata = self.metadata(machine);
        for term in &needs.metadata {
            let actual = metadata.get(&term.key).cloned();
            if !holds(term, actual.as_deref()) {
                let wanted = cut(&term.to_string());
                return Some(Obstacle::Metadata { wanted, actual });
            }
        }
        None
    }

    /// The first rule by which the machine cannot take the unit, given who is scheduled where.
    pub fn obstacle(
        &self,
        unit: &UnitName,
        machine: &MachineId,
        schedule: &Schedule,
    ) -> Option<Obstacle> {
        if let Some(unfit) = self.unfit(unit, machine) {
            return Some(unfit);
        }
        let needs = &self.requirements[unit];
        for peer in &needs.machine_of {
            if !on(schedule, peer, machine) {
                return Some(Obstacle::MachineOf { peer: peer.clone() });
            }
        }
        let there = |other: &&UnitName| {
            on(schedule, other, machine)
                || self
                    .before
                    .statuses
                    .get(*other)
                    .is_some_and(|seen| seen.contains_key(machine))
        };
        let names: BTreeSet<&UnitName> =
            schedule.keys().chain(self.before.statuses.keys()).collect();
        let refused = |other: &&UnitName| {
            self.conflict(unit, other) || self.old_version_refuses(other, machine, unit)
        };
        if let Some(with) = names.into_iter().filter(there).find(refused) {
            return Some(Obstacle::Conflict { with: with.clone() });
        }
        if let Some(full) = self.full(unit, machine, schedule) {
            return Some(full);
        }
        self.is_cordoned(machine).then_some(Obstacle::Cordoned)
    }

    /// What the machine says of itself, and what operators say of it.
    fn metadata(&self, machine: &MachineId) -> BTreeMap<String, String> {
        let mut metadata = self.before.machines[machine].metadata.clone();
        let spec = self.before.machine_specs.get(machine);
        for (key, value) in spec.into_iter().flat_map(|spec| &spec.metadata) {
            metadata.remove(key);
            metadata.extend(value.clone().map(|value| (key.clone(), value)));
        }
        metadata
    }

    pub fn is_cordoned(&self, machine: &MachineId) -> bool {
        let spec = self.before.machine_specs.get(machine);
        spec.is_some_and(|spec| spec.schedulable == Schedulable::Cordoned)
    }

    /// Units on the machine by the schedule or seen there, without earlier versions.
    fn occupants(
        &self,
        unit: &UnitName,
        machine: &MachineId,
        schedule: &Schedule,
    ) -> BTreeSet<UnitName> {
        let seen = self
            .before
            .statuses
            .iter()
            .filter(|(_, seen)| seen.contains_key(machine));
        let scheduled = schedule
            .iter()
            .filter(|(_, machines)| machines.contains(machine));
        let names = seen
            .map(|(name, _)| name)
            .chain(scheduled.map(|(name, _)| name));
        names.filter(|name| *name != unit).cloned().collect()
    }

    /// Whether resources or places are lacking on the machine.
    pub fn full(
        &self,
        unit: &UnitName,
        machine: &MachineId,
        schedule: &Schedule,
    ) -> Option<Obstacle> {
        let needs = &self.requirements[unit];
        let there = self.occupants(unit, machine, schedule);
        let mut demands: Vec<Demand> = there
            .iter()
            .filter_map(|name| self.requirements.get(name))
            .map(|needs| needs.demand.clone())
            .collect();
        // Earlier versions that are seen hold what their files reserve besides.
        for (name, seen) in &self.before.statuses {
            let Some(status) = seen.get(machine).filter(|_| name != unit) else {
                continue;
            };
            if self
                .before
                .units
                .get(name)
                .is_some_and(|now| now.hash == status.hash)
            {
                continue;
            }
            let file = self
                .before
                .files
                .values()
                .rfind(|file| file.hash() == status.hash);
            demands.extend(file.map(|file| Requirements::of_stored(name, file).0.demand));
        }
        let capacity = self.before.machines[machine].capacity;
        let metadata = self.metadata(machine);
        let short = |resource: &str, has: u64, of: &dyn Fn(&Demand) -> u64| {
            let needed = of(&needs.demand);
            let left = has.saturating_sub(demands.iter().map(of).sum());
            (needed > left).then(|| Obstacle::NoRoom {
                resource: resource.to_owned(),
                needed,
                left,
            })
        };
        let lacking = short("memory", capacity.memory_bytes, &|demand| {
            demand.memory_bytes
        })
        .or_else(|| short("cpu", capacity.cpu_milli, &|demand| demand.cpu_milli))
        .or_else(|| {
            needs.demand.counted.keys().find_map(|name| {
                let has = metadata.get(name).and_then(|count| count.parse().ok());
                short(name, has.unwrap_or(0), &|demand| {
                    demand.counted.get(name).copied().unwrap_or(0)
                })
            })
        });
        lacking.or_else(|| self.crowded(unit, &there))
    }

    fn crowded(&self, unit: &UnitName, there: &BTreeSet<UnitName>) -> Option<Obstacle> {
        let siblings: Vec<&UnitName> = there
            .iter()
            .filter(|other| are_siblings(unit, other))
            .collect();
        let limits = siblings
            .iter()
            .filter_map(|name| self.requirements.get(*name)?.max_per_machine);
        let own = self.requirements[unit].max_per_machine;
        let limit = limits.chain(own).min()? as usize;
        (siblings.len() >= limit).then_some(Obstacle::MaxPerMachine { limit })
    }

    /// What the unit takes there at most: by its present file if it is to be there or is seen by it, and by the one it is seen
    /// by.
    fn most(
        &self,
        unit: &UnitName,
        machine: &MachineId,
        is_there: bool,
        of: &dyn Fn(&Demand) -> u64,
    ) -> u64 {
        let seen = self.before.statuses.get(unit);
        let seen = seen.and_then(|all| all.get(machine)).map(|it| it.hash);
        let files = self.before.files.values();
        let running = files.filter(|file| Some(file.hash()) == seen);
        let running = running.map(|file| of(&Requirements::of_stored(unit, file).0.demand));
        let now = self.requirements.get(unit).filter(|_| is_there);
        running
            .chain(now.map(|needs| of(&needs.demand)))
            .max()
            .unwrap_or(0)
    }

    /// True if a unit that is replaced where it is has room there at once, though others have not stopped there.
    fn fits_in_place(&self, unit: &UnitName, machine: &MachineId, others: &Schedule) -> bool {
        let there = self.occupants(unit, machine, others);
        let capacity = self.before.machines[machine].capacity;
        let metadata = self.metadata(machine);
        let needs = &self.requirements[unit].demand;
        let enough = |has: u64, of: &dyn Fn(&Demand) -> u64| {
            let most = there.iter().map(|it| self.most(it, machine, true, of));
            of(needs) <= self.most(unit, machine, false, of) || of(needs) + most.sum::<u64>() <= has
        };
        enough(capacity.memory_bytes, &|demand| demand.memory_bytes)
            && enough(capacity.cpu_milli, &|demand| demand.cpu_milli)
            && needs.counted.keys().all(|name| {
                let has = metadata.get(name).and_then(|count| count.parse().ok());
                enough(has.unwrap_or(0), &|demand| {
                    demand.counted.get(name).copied().unwrap_or(0)
                })
            })
            && self.crowded(unit, &there).is_none()
    }

    /// True if `other` is seen on the machine by an earlier file that refuses the unit.
    fn old_version_refuses(&self, other: &UnitName, machine: &MachineId, unit: &UnitName) -> bool {
        let status = self
            .before
            .statuses
            .get(other)
            .and_then(|seen| seen.get(machine));
        status.is_some_and(|status| {
            other != unit
                && self
                    .before
                    .units
                    .get(other)
                    .is_none_or(|now| now.hash != status.hash)
                && self.before.files.values().any(|file| {
                    file.hash() == status.hash
                        && any_matches(&Requirements::of_stored(other, file).0.conflicts, unit)
                })
        })
    }

    fn fits_beside_scheduled(
        &self,
        unit: &UnitName,
        machine: &MachineId,
        others: &Schedule,
    ) -> bool {
        let mut quiet = self.before.clone();
        quiet.statuses.clear();
        let oracle = Oracle::of(&quiet);
        oracle.full(unit, machine, others).is_none()
    }

    /// Its record cannot be read.
    fn may_be_alive(&self, machine: &MachineId) -> bool {
        self.before.quarantined_machines.contains(machine)
    }

    fn is_live(&self, machine: &MachineId) -> bool {
        self.before.machines.contains_key(machine)
    }

    fn is_braked(&self, machine: &MachineId) -> bool {
        let brake = self.before.brake.as_ref();
        brake.is_some_and(|brake| brake.machines.contains(machine)) && !self.is_live(machine)
    }

    fn seen(&self, unit: &UnitName) -> Vec<&MachineId> {
        let reported = self.before.statuses.get(unit).into_iter().flatten();
        let unreadable = self.before.quarantined_statuses.get(unit);
        reported
            .map(|(id, _)| id)
            .chain(unreadable.into_iter().flatten())
            .collect()
    }

    /// True if the entry of the schedule is older than the unit's user's wish that it moves.
    fn is_to_leave(&self, unit: &UnitName, machine: &MachineId) -> bool {
        let entry = &self.before.schedule[unit].get(machine);
        let asked = &self.before.units[unit].relocation;
        match (entry, asked) {
            (Some(entry), Some(asked)) => entry.generation < asked.generation,
            (None, _) | (_, None) => false,
        }
    }

    /// True if the unit was asked to move there and still has a machine from before that, or none.
    fn is_to_move(&self, unit: &UnitName, to: &MachineId) -> bool {
        let asked = &self.before.units[unit].relocation;
        let entries = self.before.schedule.get(unit).into_iter().flatten();
        let machines: Vec<&MachineId> = entries.map(|(id, _)| id).collect();
        let is_due = machines.is_empty() || machines.iter().any(|id| self.is_to_leave(unit, id));
        let followed = self
            .requirements
            .values()
            .any(|needs| needs.machine_of.contains(unit));
        asked.as_ref().is_some_and(|asked| asked.to == *to)
            && is_due
            && !followed
            && self.requirements[unit].machine_of.is_empty()
            && self.is_live(to)
    }
}
