//! What a plan must have kept: who is legal where, that nobody waits without need, that nothing is taken without need.

use std::collections::BTreeSet;

use model::{
    Decision, HOLD_OBSTACLES_MAX, HoldReason, MachineId, Obstacle, Records, TargetState,
    UnassignReason,
};
use unitfile::UnitName;

use super::{Oracle, Schedule, on};

/// What is left of a resource changes without being written.
fn whatever_is_left(obstacles: &[(MachineId, Obstacle)]) -> Vec<(MachineId, Obstacle)> {
    let mut obstacles = obstacles.to_vec();
    for (_, obstacle) in &mut obstacles {
        if let Obstacle::NoRoom { left, .. } = obstacle {
            *left = 0;
        }
    }
    obstacles
}

impl Oracle<'_> {
    pub(super) fn check_legal(
        &self,
        before: &Schedule,
        after: &Schedule,
        renewed: &Schedule,
    ) -> Result<(), String> {
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
                        if !is_new
                            && self.fits_beside_scheduled(unit, machine, &others)
                            && (!on(renewed, unit, machine)
                                || self.fits_in_place(unit, machine, &others)) => {}
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

    pub(super) fn check_complete(&self, after: &Schedule, records: &Records) -> Result<(), String> {
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
                    // It gave way to another where it is still seen, and is decided on anew once it has stopped there.
                    None if seen.contains(&machine)
                        && self.replaced(unit, machine, after).is_some() => {}
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
                obstacles.sort_by_key(|(machine, _)| self.nearness(unit, machine, after));
                obstacles.truncate(HOLD_OBSTACLES_MAX);
            } else {
                obstacles.clear();
            }
            if hold.reason != reason
                || whatever_is_left(&hold.obstacles) != whatever_is_left(&obstacles)
            {
                return Err(format!(
                    "{unit} waits: {hold:?}; expected {reason:?} {obstacles:?}"
                ));
            }
        }
        Ok(())
    }

    /// The unit and those that would have to leave the machine with it.
    fn with_followers(
        &self,
        unit: &UnitName,
        machine: &MachineId,
        after: &Schedule,
    ) -> BTreeSet<UnitName> {
        let mut together = BTreeSet::from([unit.clone()]);
        loop {
            let follow = |name: &&UnitName| {
                let peers = &self.requirements[*name].machine_of;
                on(after, name, machine) && peers.iter().any(|peer| together.contains(peer))
            };
            let more: Vec<UnitName> = self.wanted.iter().filter(follow).cloned().collect();
            let before = together.len();
            together.extend(more);
            if together.len() == before {
                return together;
            }
        }
    }

    /// True if all of these could be there instead of where they are.
    fn fit_together(
        &self,
        together: &BTreeSet<UnitName>,
        there: &MachineId,
        after: &Schedule,
    ) -> bool {
        let mut moved = after.clone();
        for unit in together {
            moved.insert(unit.clone(), BTreeSet::from([there.clone()]));
        }
        together.iter().all(|unit| {
            let mut others = moved.clone();
            others.remove(unit);
            self.obstacle(unit, there, &others).is_none()
        })
    }

    /// How far from being right for the unit a machine is: with its peers, right but for those that are there, neither.
    fn nearness(&self, unit: &UnitName, machine: &MachineId, after: &Schedule) -> u32 {
        let peers = &self.requirements[unit].machine_of;
        if !peers.is_empty() && peers.iter().all(|peer| on(after, peer, machine)) {
            return 0;
        }
        match self.unfit(unit, machine) {
            None if !self.is_cordoned(machine) => 1,
            None | Some(_) => 2,
        }
    }

    /// Nobody shares a machine with a unit that replaces it while another could take it and those that follow it there.
    pub(super) fn check_ways(
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
            let together = self.with_followers(unit, machine, after);
            let elsewhere = self.before.machines.keys().find(|other| {
                other != machine
                    && self.is_calm(unit, other, after)
                    && self.fit_together(&together, other, after)
            });
            if let Some(elsewhere) = elsewhere {
                return Err(format!(
                    "{unit} could give way to {by}: {machine} to {elsewhere}"
                ));
            }
        }
        Ok(())
    }

    /// True if the unit, which is replaced where it is, cannot begin there and keeps another that is
    /// replaced there, and stays, from beginning: one of the two has to stop first.
    fn stands_in_the_way(&self, unit: &UnitName, machine: &MachineId, after: &Schedule) -> bool {
        let is_replaced = |name: &UnitName| {
            let entry = self.before.schedule.get(name);
            let entry = entry.and_then(|all| all.get(machine));
            let now = self.before.units.get(name).map(|unit| unit.file);
            self.wanted.contains(name) && entry.is_some_and(|entry| Some(entry.file) != now)
        };
        let without = |name: &UnitName, schedule: &Schedule| {
            let mut others = schedule.clone();
            others.remove(name);
            others
        };
        let mut stayed = after.clone();
        stayed
            .entry(unit.clone())
            .or_default()
            .insert(machine.clone());
        let mut gone = self.before.clone();
        gone.statuses.remove(unit);
        let gone = Oracle::of(&gone);
        let stuck = |name: &UnitName| {
            is_replaced(name) && !self.fits_in_place(name, machine, &without(name, &stayed))
        };
        let others: Vec<&UnitName> = after
            .keys()
            .filter(|other| *other != unit && on(after, other, machine) && stuck(other))
            .collect();
        let is_let_begin = |other: &&UnitName| {
            gone.fits_in_place(other, machine, &without(other, &without(unit, after)))
        };
        // Of three and more several may have to go.
        stuck(unit) && (others.len() > 1 || others.iter().any(is_let_begin))
    }

    /// What went because a peer was not there is told what is in its way since, which may be one that came.
    fn is_tied(&self, unit: &UnitName) -> bool {
        !self.requirements[unit].machine_of.is_empty()
    }

    /// Nothing is taken from a machine without need: for the sake of those that were there, not of one that comes.
    pub(super) fn check_removals(
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
                        && self.is_to_leave(unit, machine)
                        && to != machine
                        && self.before.schedule[unit].contains_key(machine)
                        && match self.obstacle(unit, to, after) {
                            None | Some(Obstacle::Conflict { .. }) => true,
                            Some(Obstacle::NoRoom { .. } | Obstacle::MaxPerMachine { .. }) => true,
                            Some(_) => false,
                        }
                }
                // Not the planner's: the leader adds it (`mend.rs`).
                UnassignReason::Unreadable => false,
                UnassignReason::Duplicate { kept } => on(before, unit, kept) && kept != machine,
                UnassignReason::NoLongerFits(Obstacle::MachineOf { peer }) => {
                    self.requirements[unit].machine_of.contains(peer) && !on(after, peer, machine)
                }
                UnassignReason::NoLongerFits(Obstacle::Conflict { with }) => {
                    self.conflict(unit, with)
                        && (on(before, with, machine)
                            || on(after, with, machine) && self.is_tied(unit)
                            || self.seen(with).contains(&machine))
                }
                // Who stays first is not the oracle's to say: all that were there could not stay.
                UnassignReason::NoLongerFits(
                    Obstacle::NoRoom { .. } | Obstacle::MaxPerMachine { .. },
                ) => {
                    !self.fits_beside_scheduled(unit, machine, before)
                        || self.is_tied(unit) && self.full(unit, machine, after).is_some()
                        || self.stands_in_the_way(unit, machine, after)
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
}
