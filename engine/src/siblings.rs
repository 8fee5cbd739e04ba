//! PURE. How many units of one template each machine has.

use std::collections::BTreeMap;

use crate::bits::Bits;
use crate::cluster::MachineIndex;
use crate::met::{Met, Step};

/// The units of one template by machine, lingering ones too.
#[derive(Clone, Debug, Default)]
pub(crate) struct Siblings {
    /// By count: machines that have more than so many.
    more_than: Vec<Met>,
    /// How many of the units allow how many on a machine (`MaxPerMachine=`).
    limits: BTreeMap<u32, usize>,
}

impl Siblings {
    /// Takes in that one, which allows so many, comes to the machine or goes.
    pub(crate) fn step(
        &mut self,
        step: Step,
        machine: MachineIndex,
        limit: Option<u32>,
        slots: usize,
    ) {
        let count = self.count(machine);
        let level = match step {
            Step::Enter => count,
            Step::Leave => count.saturating_sub(1),
        };
        if level == self.more_than.len() {
            self.more_than.push(Met::default());
        }
        self.more_than[level].step(step, machine, slots);
        if self.more_than.last().is_some_and(Met::is_empty) {
            self.more_than.pop();
        }
        let Some(limit) = limit else { return };
        let units = self.limits.entry(limit).or_insert(0);
        match step {
            Step::Enter => *units += 1,
            Step::Leave => *units = units.saturating_sub(1),
        }
        if *units == 0 {
            self.limits.remove(&limit);
        }
    }

    /// How many the machine has.
    pub(crate) fn count(&self, machine: MachineIndex) -> usize {
        self.more_than
            .iter()
            .take_while(|machines| machines.contains(machine))
            .count()
    }

    /// Machines that have one.
    pub(crate) fn machines(&self) -> impl Iterator<Item = MachineIndex> + '_ {
        self.more_than.iter().take(1).flat_map(Met::machines)
    }

    /// Keeps of these machines those that have the fewest. Returns how many that is.
    pub(crate) fn keep_fewest(&self, machines: &mut Bits) -> usize {
        for (count, more) in self.more_than.iter().enumerate() {
            if !more.covers(machines) {
                more.take_from(machines);
                return count;
            }
        }
        self.more_than.len()
    }

    /// The limit that holds for a unit that allows so many, if it is the same wherever it comes;
    /// none if there is no limit, an error if it depends on who is there.
    pub(crate) fn uniform_limit(&self, limit: Option<u32>) -> Option<Result<usize, ()>> {
        let as_count = |limit: u32| usize::try_from(limit).unwrap_or(usize::MAX);
        let mut limits = self.limits.keys().copied();
        match (limit, limits.next(), limits.next()) {
            (None, None, _) => None,
            (Some(limit), None, _) => Some(Ok(as_count(limit))),
            (Some(limit), Some(only), None) if limit == only => Some(Ok(as_count(limit))),
            (Some(_) | None, Some(_), _) => Some(Err(())),
        }
    }

    /// Takes out of `machines` those that have so many or more.
    pub(crate) fn without_at_least(&self, count: usize, machines: &mut Bits) {
        if let Some(more) = count
            .checked_sub(1)
            .and_then(|count| self.more_than.get(count))
        {
            more.take_from(machines);
        }
    }
}
