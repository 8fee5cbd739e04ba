//! PURE. Machines with an occupant that concerns something: a pattern, or a template.

use std::collections::BTreeMap;

use crate::bits::Bits;
use crate::cluster::MachineIndex;

/// From how many machines on a pattern's machines are kept as bits too: clearing as many bits one
/// by one costs about as much as clearing 10,000 machines word by word.
const DENSE_MIN: usize = 64;

/// The machines whose occupants a pattern concerns.
#[derive(Clone, Debug, Default)]
pub(crate) struct Met {
    /// How many occupants, by machine.
    counts: BTreeMap<MachineIndex, usize>,
    /// The same machines; none while they are few.
    dense: Option<Bits>,
}

/// An occupant comes or goes.
#[derive(Clone, Copy)]
pub(crate) enum Step {
    Enter,
    Leave,
}

impl Met {
    /// Takes in that one comes to the machine or goes; there are so many machines.
    pub(crate) fn step(&mut self, step: Step, machine: MachineIndex, live: usize) {
        match step {
            Step::Enter => {
                *self.counts.entry(machine).or_insert(0) += 1;
                if let Some(dense) = &mut self.dense {
                    dense.insert(machine.0);
                } else if self.counts.len() >= DENSE_MIN {
                    let mut dense = Bits::empty(live);
                    self.counts
                        .keys()
                        .for_each(|machine| dense.insert(machine.0));
                    self.dense = Some(dense);
                }
            }
            Step::Leave => match self.counts.get_mut(&machine) {
                Some(count) if *count > 1 => *count -= 1,
                Some(_) | None => {
                    self.counts.remove(&machine);
                    if let Some(dense) = &mut self.dense {
                        dense.remove(machine.0);
                    }
                }
            },
        }
    }

    /// Takes these machines out of `machines`.
    pub(crate) fn take_from(&self, machines: &mut Bits) {
        match &self.dense {
            Some(dense) => machines.subtract(dense),
            None => self
                .counts
                .keys()
                .for_each(|machine| machines.remove(machine.0)),
        }
    }

    /// True if it has all of these machines.
    pub(crate) fn covers(&self, machines: &Bits) -> bool {
        match &self.dense {
            Some(dense) => machines.is_within(dense),
            None => machines
                .iter()
                .all(|machine| self.counts.contains_key(&MachineIndex(machine))),
        }
    }

    pub(crate) fn contains(&self, machine: MachineIndex) -> bool {
        self.counts.contains_key(&machine)
    }

    pub(crate) fn machines(&self) -> impl Iterator<Item = MachineIndex> + '_ {
        self.counts.keys().copied()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}
