//! The rules of placement once more, written as slowly and plainly as possible and sharing nothing
//! with the engine: asks every machine about every unit, from the records alone.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    AssignReason, Assignment, Decision, HOLD_OBSTACLES_MAX, HoldReason, MachineId, Obstacle,
    PerMachine, Records, Schedulable, TargetState, UnassignReason,
};
use unitfile::{Comparison, Demand, MetadataTerm, MetadataTest, Requirements, UnitName};

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
    oracle.check_legal(&schedule_of(before), &scheduled)?;
    oracle.check_complete(&scheduled, after)?;
    oracle.check_removals(decisions, &schedule_of(before), &scheduled)?;
    oracle.check_choices(decisions)
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
                .is_some_and(|needs| needs.conflict_with(whom))
        };
        one != other && (refuses(one, other) || refuses(other, one))
    }

    /// True if the unit has to leave a machine that it shares with the other, if it can.
    fn gives_way(&self, unit: &UnitName, to: &UnitName) -> bool {
        let names = |who: &UnitName, whom: &UnitName| {
            self.requirements
                .get(who)
                .is_some_and(|needs| needs.replace(whom))
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
    fn is_calm(&self, unit: &UnitName, machine: &MachineId, schedule: &Schedule) -> bool {
        let replaced = |other: &UnitName| {
            let needs = self.requirements.get(other);
            other != unit
                && on(schedule, other, machine)
                && needs.is_some_and(|it| it.replace(unit))
        };
        let there = self.occupants(unit, machine, schedule);
        let needs = &self.requirements[unit];
        !schedule.keys().any(replaced) && !there.iter().any(|other| needs.replace(other))
    }

    /// Of the machines that can take a unit, those that are asked: where nobody replaces it, if it
    /// is one that somebody replaces and there are such.
    fn asked<'m>(
        &self,
        unit: &UnitName,
        able: Vec<&'m MachineId>,
        schedule: &Schedule,
    ) -> Vec<&'m MachineId> {
        let needs = &self.requirements[unit];
        let is_named = schedule.iter().any(|(other, machines)| {
            let names = self.requirements.get(other);
            other != unit && !machines.is_empty() && names.is_some_and(|it| it.replace(unit))
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

    /// The first rule by which the machine cannot take the unit, given who is scheduled where.
    pub fn obstacle(
        &self,
        unit: &UnitName,
        machine: &MachineId,
        schedule: &Schedule,
    ) -> Option<Obstacle> {
        let needs = &self.requirements[unit];
        if let Some(wanted) = &needs.machine_id
            && !machine.is_named(wanted)
        {
            return Some(Obstacle::MachineId {
                wanted: wanted.clone(),
            });
        }
        let metadata = self.before.metadata(machine).unwrap();
        for term in &needs.metadata {
            let actual = metadata.get(&term.key).cloned();
            if !holds(term, actual.as_deref()) {
                let wanted = term.to_string();
                return Some(Obstacle::Metadata { wanted, actual });
            }
        }
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
        let metadata = self.before.metadata(machine).unwrap();
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
        lacking.or_else(|| {
            let siblings: Vec<&UnitName> = there
                .iter()
                .filter(|other| are_siblings(unit, other))
                .collect();
            let limits = siblings
                .iter()
                .filter_map(|name| self.requirements.get(*name)?.max_per_machine);
            let limit = limits.chain(needs.max_per_machine).min()? as usize;
            (siblings.len() >= limit).then_some(Obstacle::MaxPerMachine { limit })
        })
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
                        && Requirements::of_stored(other, file).0.conflict_with(unit)
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

    fn check_legal(&self, before: &Schedule, after: &Schedule) -> Result<(), String> {
        for (unit, machines) in after {
            if !self.wanted.contains(unit) {
                continue;
            }
            let needs = &self.requirements[unit];
            if !needs.global && machines.len() > 1 {
                return Err(format!("{unit} is on {machines:?}"));
            }
            for machine in machines {
                let awaited = needs.sticky || self.is_braked(machine) || self.may_be_alive(machine);
                if awaited && on(before, unit, machine) && !self.is_live(machine) {
                    continue;
                }
                if !self.is_live(machine) {
                    return Err(format!("{unit} is on {machine}, which is gone"));
                }
                let others: Schedule = after
                    .iter()
                    .filter(|(name, _)| *name != unit)
                    .map(|(k, v)| (k.clone(), v.clone()))
                    .collect();
                let is_new = !on(before, unit, machine);
                match self.obstacle(unit, machine, &others) {
                    None => {}
                    // Those that were there already need not leave a cordoned machine, nor for one
                    // that only stops.
                    Some(Obstacle::Cordoned) if !is_new => {}
                    Some(Obstacle::Conflict { with })
                        if !(is_new || on(after, &with, machine) && self.conflict(unit, &with)) => {
                    }
                    // The same of resources: those that only stop there count for new units only.
                    Some(Obstacle::NoRoom { .. } | Obstacle::MaxPerMachine { .. })
                        if !is_new && self.fits_beside_scheduled(unit, machine, &others) => {}
                    Some(obstacle) => return Err(format!("{unit} on {machine}, which {obstacle}")),
                }
                if is_new
                    && !needs.global
                    && self.seen(unit).into_iter().any(|seen| seen != machine)
                {
                    return Err(format!(
                        "{unit} is put on {machine}, seen on {:?}",
                        self.seen(unit)
                    ));
                }
            }
        }
        Ok(())
    }

    fn check_complete(&self, after: &Schedule, records: &Records) -> Result<(), String> {
        for unit in &self.wanted {
            let needs = &self.requirements[unit];
            let seen = self.seen(unit);
            let machines = after.get(unit).into_iter().flatten();
            let (live, gone): (Vec<_>, Vec<_>) = machines.partition(|id| self.is_live(id));
            let has_one = !live.is_empty();
            if let Some(machine) = gone.first().filter(|_| !has_one && !needs.global) {
                if self.may_be_alive(machine) {
                    continue;
                }
                let machine = (*machine).clone();
                let reason = records.holds.get(unit).map(|hold| &hold.reason);
                let expected = match needs.sticky {
                    true => HoldReason::AwaitsMachine { machine },
                    false => HoldReason::MassLoss { machine },
                };
                if reason != Some(&expected) {
                    return Err(format!("{unit} waits for its machine: {reason:?}"));
                }
                continue;
            }
            if let Some(HoldReason::Moving { to, .. }) =
                records.holds.get(unit).map(|hold| &hold.reason)
                && !has_one
                && self.is_to_move(unit, to)
                && self.obstacle(unit, to, after).is_none()
            {
                continue;
            }
            let mut obstacles = Vec::new();
            for machine in self.before.machines.keys() {
                if on(after, unit, machine) || (has_one && !needs.global) {
                    continue;
                }
                match self.obstacle(unit, machine, after) {
                    Some(obstacle) => obstacles.push((machine.clone(), obstacle)),
                    None if !needs.global && seen.iter().any(|seen| *seen != machine) => {}
                    // It gave way to another, and is to be where it need not.
                    None if !self.able(unit, after).contains(&machine) => {}
                    None => return Err(format!("{unit} could be on {machine}")),
                }
            }
            self.check_ways(unit, &live, after)?;
            let hold = records.holds.get(unit);
            if has_one {
                if let Some(hold) = hold {
                    return Err(format!("{unit} has a machine and waits: {hold:?}"));
                }
                continue;
            }
            let stopping = seen.into_iter().min().filter(|_| !needs.global);
            let reason = match (stopping, hold.map(|it| &it.reason)) {
                (Some(on), Some(HoldReason::Moving { to, .. })) if self.is_to_move(unit, to) => {
                    HoldReason::Moving {
                        from: on.clone(),
                        to: to.clone(),
                    }
                }
                (Some(on), _) => HoldReason::Stopping { on: on.clone() },
                (None, _) if self.before.machines.is_empty() => HoldReason::NoMachines,
                (None, _) => HoldReason::NothingFits,
            };
            let Some(hold) = hold else {
                return Err(format!("{unit} has no machine and no reason"));
            };
            if hold.reason == HoldReason::NothingFits {
                obstacles.truncate(HOLD_OBSTACLES_MAX);
            } else {
                obstacles.clear();
            }
            if hold.reason != reason || hold.obstacles != obstacles {
                return Err(format!(
                    "{unit} waits: {hold:?}; expected {reason:?} {obstacles:?}"
                ));
            }
        }
        Ok(())
    }

    /// True if the unit was asked to move there and has not been given a machine since.
    fn is_to_move(&self, unit: &UnitName, to: &MachineId) -> bool {
        let asked = &self.before.units[unit].relocation;
        let entries = self.before.schedule.get(unit).into_iter().flatten();
        let mut numbers = entries.map(|(_, entry)| entry.generation);
        let followed = self
            .requirements
            .values()
            .any(|needs| needs.machine_of.contains(unit));
        asked
            .as_ref()
            .is_some_and(|asked| asked.to == *to && numbers.all(|number| number < asked.generation))
            && !followed
            && self.requirements[unit].machine_of.is_empty()
            && self.is_live(to)
    }

    /// Nobody shares a machine with a unit that replaces it while another could take it.
    fn check_ways(
        &self,
        unit: &UnitName,
        live: &[&MachineId],
        after: &Schedule,
    ) -> Result<(), String> {
        for machine in live {
            let Some(by) = after
                .keys()
                .find(|other| on(after, other, machine) && self.gives_way(unit, other))
            else {
                continue;
            };
            let elsewhere = self.before.machines.keys().find(|other| {
                other != machine
                    && self.is_calm(unit, other, after)
                    && self.obstacle(unit, other, after).is_none()
            });
            if let Some(elsewhere) = elsewhere {
                return Err(format!(
                    "{unit} could give way to {by}: {machine} to {elsewhere}"
                ));
            }
        }
        Ok(())
    }

    /// Nothing is taken from a machine without need.
    fn check_removals(
        &self,
        decisions: &[Decision],
        before: &Schedule,
        after: &Schedule,
    ) -> Result<(), String> {
        for decision in decisions {
            let Decision::Unassign {
                unit,
                machine,
                reason,
            } = decision
            else {
                continue;
            };
            let holds = match reason {
                UnassignReason::Inactive => self.before.units[unit].target == TargetState::Inactive,
                UnassignReason::Destroyed => {
                    !self.before.units.contains_key(unit)
                        && !self.before.quarantined_units.contains(unit)
                }
                UnassignReason::MachineGone => {
                    let needs = self.requirements.get(unit);
                    let sticky = needs.is_some_and(|needs| needs.sticky && !needs.global);
                    let others = before[unit].len() > 1;
                    let is_global = needs.is_some_and(|needs| needs.global);
                    let braked = self.is_braked(machine) && (is_global || !others);
                    let stays = sticky && self.wanted.contains(unit) && !others || braked;
                    !self.is_live(machine) && !stays
                }
                UnassignReason::Moved { to } => {
                    self.is_to_move(unit, to)
                        && to != machine
                        && self.before.schedule[unit].contains_key(machine)
                        && match self.obstacle(unit, to, after) {
                            None | Some(Obstacle::Conflict { .. }) => true,
                            Some(Obstacle::NoRoom { .. } | Obstacle::MaxPerMachine { .. }) => true,
                            Some(_) => false,
                        }
                }
                UnassignReason::Duplicate { kept } => on(before, unit, kept) && kept != machine,
                UnassignReason::NoLongerFits(Obstacle::MachineOf { peer }) => {
                    self.requirements[unit].machine_of.contains(peer) && !on(after, peer, machine)
                }
                UnassignReason::NoLongerFits(Obstacle::Conflict { with }) => {
                    self.conflict(unit, with)
                        && (on(before, with, machine)
                            || on(after, with, machine)
                            || self.seen(with).contains(&machine))
                }
                // Who stays first is not the oracle's to say: all that were there could not stay.
                UnassignReason::NoLongerFits(
                    Obstacle::NoRoom { .. } | Obstacle::MaxPerMachine { .. },
                ) => {
                    !self.fits_beside_scheduled(unit, machine, before)
                        || self.full(unit, machine, after).is_some()
                }
                UnassignReason::NoLongerFits(Obstacle::Replaced { by }) => {
                    self.gives_way(unit, by)
                        && (on(before, by, machine) || on(after, by, machine))
                        && self.before.machines.len() > 1
                }
                UnassignReason::NoLongerFits(obstacle) => {
                    self.obstacle(unit, machine, &Schedule::new()).as_ref() == Some(obstacle)
                }
            };
            if !holds {
                return Err(format!("{unit} leaves {machine} without need: {reason:?}"));
            }
        }
        Ok(())
    }

    fn load(&self, machine: &MachineId, schedule: &Schedule) -> usize {
        let there = schedule.iter().filter(|(_, on)| on.contains(machine));
        there
            .map(|(unit, _)| {
                self.requirements
                    .get(unit)
                    .map_or(1, |needs| needs.weight.0 as usize)
            })
            .sum()
    }

    /// The machines of which the best is chosen.
    fn able(&self, unit: &UnitName, schedule: &Schedule) -> Vec<&MachineId> {
        let machines = self.before.machines.keys();
        let able = machines.filter(|id| self.obstacle(unit, id, schedule).is_none());
        self.asked(unit, able.collect(), schedule)
    }

    /// The stated order: the smallest is the best.
    pub fn merit<'m>(
        &self,
        unit: &UnitName,
        machine: &'m MachineId,
        schedule: &Schedule,
    ) -> (usize, usize, u64, usize, &'m MachineId) {
        let needs = &self.requirements[unit];
        let siblings = |id: &MachineId| {
            let there = self.occupants(unit, id, schedule);
            there
                .iter()
                .filter(|other| are_siblings(unit, other))
                .count()
        };
        let domain = |id: &MachineId| {
            let key = needs.spread.as_ref()?;
            self.before.metadata(id).unwrap().get(key).cloned()
        };
        let in_domain = match needs.spread {
            None => 0,
            Some(_) => self
                .before
                .machines
                .keys()
                .filter(|other| domain(other) == domain(machine))
                .map(siblings)
                .sum(),
        };
        let metadata = self.before.metadata(machine).unwrap();
        let preference: u64 = needs
            .prefers
            .iter()
            .filter(|it| holds(&it.term, metadata.get(&it.term.key).map(String::as_str)))
            .map(|it| u64::from(it.weight))
            .sum();
        let load = self.load(machine, schedule);
        (
            in_domain,
            siblings(machine),
            u64::MAX - preference,
            load,
            machine,
        )
    }

    /// Units that nothing ties are on the machine with the fewest units, then the smallest id.
    fn check_choices(&self, decisions: &[Decision]) -> Result<(), String> {
        let makes_way = |decision: &Decision| match decision {
            Decision::Unassign { reason, .. } => matches!(
                reason,
                UnassignReason::NoLongerFits(Obstacle::Replaced { .. })
            ),
            Decision::Assign { unit, .. } => !self.requirements[unit].replaces.is_empty(),
            Decision::Hold { .. } | Decision::Release { .. } | Decision::Brake(_) => false,
        };
        // Who gave way was there, or was put there, when others were placed.
        if decisions.iter().any(makes_way) {
            return Ok(());
        }
        let mut schedule = schedule_of(self.before);
        for decision in decisions {
            if let Decision::Unassign { unit, machine, .. } = decision {
                schedule.get_mut(unit).unwrap().remove(machine);
            }
        }
        let followed: BTreeSet<&UnitName> = self
            .requirements
            .values()
            .flat_map(|needs| &needs.machine_of)
            .collect();
        // An entry whose peer has yet to come is counted only once that is there.
        let awaits_peer = |(unit, machines): (&UnitName, &BTreeSet<MachineId>)| {
            let peers = self
                .requirements
                .get(unit)
                .map_or(&[][..], |needs| &needs.machine_of[..]);
            peers
                .iter()
                .any(|peer| machines.iter().any(|machine| !on(&schedule, peer, machine)))
        };
        if schedule.iter().any(awaits_peer) {
            return Ok(());
        }
        for decision in decisions {
            let Decision::Assign {
                unit,
                machine,
                reason,
                ..
            } = decision
            else {
                continue;
            };
            if let AssignReason::Spread {
                in_domain,
                siblings,
                preference,
                load,
                candidates,
            } = reason
                && !followed.contains(unit)
                && self.requirements[unit].machine_of.is_empty()
            {
                let came = (
                    in_domain.unwrap_or(0),
                    *siblings,
                    u64::MAX - preference,
                    *load,
                    machine,
                );
                let can: Vec<_> = self
                    .able(unit, &schedule)
                    .into_iter()
                    .map(|id| self.merit(unit, id, &schedule))
                    .collect();
                if can.iter().min() != Some(&came) || can.len() != *candidates {
                    return Err(format!("{unit} is on {machine} ({reason:?}), of {can:?}"));
                }
            }
            let tied = followed.contains(unit) || !self.requirements[unit].machine_of.is_empty();
            if let AssignReason::LeastLoaded { load, candidates } = reason
                && !tied
            {
                let can: Vec<(usize, &MachineId)> = self
                    .able(unit, &schedule)
                    .into_iter()
                    .map(|id| (self.load(id, &schedule), id))
                    .collect();
                if can.iter().min() != Some(&(*load, machine)) || can.len() != *candidates {
                    return Err(format!("{unit} is on {machine} ({reason:?}), of {can:?}"));
                }
            }
            schedule
                .entry(unit.clone())
                .or_default()
                .insert(machine.clone());
        }
        Ok(())
    }
}
