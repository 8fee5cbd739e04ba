//! The stated order of machines, and that each choice followed it.

use std::collections::BTreeSet;

use model::{AssignReason, Decision, MachineId, Obstacle, UnassignReason};
use unitfile::UnitName;

use super::{Oracle, Schedule, any_matches, are_siblings, holds, on, schedule_of};

impl Oracle<'_> {
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
    pub(super) fn able(&self, unit: &UnitName, schedule: &Schedule) -> Vec<&MachineId> {
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
            self.metadata(id).get(key).cloned()
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
        let metadata = self.metadata(machine);
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
    pub(super) fn check_choices(&self, decisions: &[Decision]) -> Result<(), String> {
        let makes_way = |decision: &Decision| match decision {
            Decision::Unassign { reason, .. } => matches!(
                reason,
                UnassignReason::NoLongerFits(Obstacle::Replaced { .. })
            ),
            // It may have been put beside one that was put there before it, and then went elsewhere.
            Decision::Assign { unit, .. } => {
                let replaces = &self.requirements[unit].replaces;
                let is_put = |other: &Decision| {
                    matches!(other, Decision::Assign { unit: other, .. }
                        if any_matches(replaces, other))
                };
                // Or it was to stay where it is still seen.
                let is_seen = |other: &&UnitName| {
                    !self.seen(other).is_empty() && any_matches(replaces, other)
                };
                decisions.iter().any(is_put) || self.wanted.iter().any(|other| is_seen(&other))
            }
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
        // When in a plan an entry whose peer has yet to come is counted is not stated.
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
