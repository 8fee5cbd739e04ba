//! PURE. The machines on which the plan has one unit. Nearly every unit has one machine, and a list
//! of its own for each of 100,000 units would cost more than the rest of noting where it is.

use crate::cluster::MachineIndex;

/// Machines, smallest index first.
#[derive(Clone, Debug)]
pub(crate) enum Places {
    /// The only one.
    One(MachineIndex),
    /// None, or more than one.
    Many(Vec<MachineIndex>),
}

impl Places {
    /// No machine.
    pub(crate) const NONE: Places = Places::Many(Vec::new());

    pub(crate) fn as_slice(&self) -> &[MachineIndex] {
        match self {
            Places::One(machine) => std::slice::from_ref(machine),
            Places::Many(machines) => machines,
        }
    }

    pub(crate) fn contains(&self, machine: MachineIndex) -> bool {
        self.as_slice().binary_search(&machine).is_ok()
    }

    pub(crate) fn insert(&mut self, machine: MachineIndex) {
        match self {
            Places::Many(machines) if machines.is_empty() => *self = Places::One(machine),
            Places::Many(machines) => {
                if let Err(at) = machines.binary_search(&machine) {
                    machines.insert(at, machine);
                }
            }
            Places::One(first) => {
                let mut machines = vec![*first, machine];
                machines.sort_unstable();
                machines.dedup();
                *self = Places::Many(machines);
            }
        }
    }

    /// True if it was there.
    pub(crate) fn remove(&mut self, machine: MachineIndex) -> bool {
        match self {
            Places::One(only) if *only == machine => {
                *self = Places::NONE;
                true
            }
            Places::One(_) => false,
            Places::Many(machines) => {
                let at = machines.binary_search(&machine);
                at.map(|at| machines.remove(at)).is_ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_in_order_each_once_however_many() {
        let [one, two, three] = [1, 2, 3].map(MachineIndex);
        let mut places = Places::NONE;
        assert!(!places.remove(one));
        for machine in [two, two, three, one, three] {
            places.insert(machine);
            assert!(places.contains(machine));
        }
        assert_eq!(places.as_slice(), [one, two, three]);
        assert!(places.remove(two) && !places.remove(two));
        assert!(places.remove(one) && places.remove(three) && places.as_slice().is_empty());
        places.insert(one);
        assert!(!places.remove(two) && places.contains(one) && !places.contains(two));
        assert!(places.remove(one) && places.as_slice().is_empty());
    }
}
