//! What there is of one unit on each machine, in the order of the machines' ids. PURE.
//!
//! Nearly every unit is on one machine, and a large cluster has a hundred thousand units: a map with one entry must not
//! take the room of eleven, as a node of a `BTreeMap` does. A unit that runs everywhere costs a binary search.

use crate::MachineId;

/// Values by machine. Has the methods of a `BTreeMap` that are needed, with the same meaning.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PerMachine<V> {
    /// Sorted by id. Boxed, so that an entry in the middle of ten thousand moves little.
    entries: Vec<(MachineId, Box<V>)>,
}

impl<V> Default for PerMachine<V> {
    fn default() -> PerMachine<V> {
        PerMachine {
            entries: Vec::new(),
        }
    }
}

impl<V> PerMachine<V> {
    /// Nothing yet.
    pub fn new() -> PerMachine<V> {
        PerMachine::default()
    }

    /// The value for a machine.
    pub fn get(&self, machine: &MachineId) -> Option<&V> {
        let at = self.find(machine).ok()?;
        self.entries.get(at).map(|(_, value)| &**value)
    }

    /// The value for a machine, to change.
    pub fn get_mut(&mut self, machine: &MachineId) -> Option<&mut V> {
        let at = self.find(machine).ok()?;
        self.entries.get_mut(at).map(|(_, value)| &mut **value)
    }

    /// Whether there is a value for a machine.
    pub fn contains_key(&self, machine: &MachineId) -> bool {
        self.find(machine).is_ok()
    }

    /// Sets the value for a machine; returns the one that was there.
    pub fn insert(&mut self, machine: MachineId, value: V) -> Option<V> {
        match self.find(&machine) {
            Ok(at) => {
                let (_, there) = self.entries.get_mut(at)?;
                Some(std::mem::replace(&mut **there, value))
            }
            Err(at) => {
                // The first entry is nearly always the only one.
                if self.entries.is_empty() {
                    self.entries.reserve_exact(1);
                }
                self.entries.insert(at, (machine, Box::new(value)));
                None
            }
        }
    }

    /// Forgets a machine; returns its value.
    pub fn remove(&mut self, machine: &MachineId) -> Option<V> {
        let at = self.find(machine).ok()?;
        Some(*self.entries.remove(at).1)
    }

    /// How many machines there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Machines and values, in order.
    pub fn iter(&self) -> Iter<'_, V> {
        Iter(self.entries.iter())
    }

    /// Machines, in order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &MachineId> + DoubleEndedIterator + Clone {
        self.entries.iter().map(|(machine, _)| machine)
    }

    /// Values, in the order of their machines.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &V> + DoubleEndedIterator + Clone {
        self.entries.iter().map(|(_, value)| &**value)
    }

    /// Values, to change, in the order of their machines.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.entries.iter_mut().map(|(_, value)| &mut **value)
    }

    /// The first machine and its value.
    pub fn first_key_value(&self) -> Option<(&MachineId, &V)> {
        self.iter().next()
    }

    /// Keeps only what `keep` says.
    pub fn retain(&mut self, mut keep: impl FnMut(&MachineId, &mut V) -> bool) {
        self.entries
            .retain_mut(|(machine, value)| keep(machine, value));
    }

    fn find(&self, machine: &MachineId) -> Result<usize, usize> {
        self.entries
            .binary_search_by(|(there, _)| there.cmp(machine))
    }
}

/// Machines and values, in order.
#[derive(Debug)]
pub struct Iter<'a, V>(std::slice::Iter<'a, (MachineId, Box<V>)>);

impl<V> Clone for Iter<'_, V> {
    fn clone(&self) -> Self {
        Iter(self.0.clone())
    }
}

impl<'a, V> Iterator for Iter<'a, V> {
    type Item = (&'a MachineId, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(machine, value)| (machine, &**value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<V> DoubleEndedIterator for Iter<'_, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0
            .next_back()
            .map(|(machine, value)| (machine, &**value))
    }
}

impl<V> ExactSizeIterator for Iter<'_, V> {}

impl<'a, V> IntoIterator for &'a PerMachine<V> {
    type Item = (&'a MachineId, &'a V);
    type IntoIter = Iter<'a, V>;

    fn into_iter(self) -> Iter<'a, V> {
        self.iter()
    }
}

impl<V> IntoIterator for PerMachine<V> {
    type Item = (MachineId, V);
    type IntoIter = std::iter::Map<
        std::vec::IntoIter<(MachineId, Box<V>)>,
        fn((MachineId, Box<V>)) -> (MachineId, V),
    >;

    fn into_iter(self) -> Self::IntoIter {
        self.entries
            .into_iter()
            .map(|(machine, value)| (machine, *value))
    }
}

impl<V> FromIterator<(MachineId, V)> for PerMachine<V> {
    fn from_iter<I: IntoIterator<Item = (MachineId, V)>>(entries: I) -> PerMachine<V> {
        let mut map = PerMachine::default();
        for (machine, value) in entries {
            map.insert(machine, value);
        }
        map
    }
}

impl<V, const N: usize> From<[(MachineId, V); N]> for PerMachine<V> {
    fn from(entries: [(MachineId, V); N]) -> PerMachine<V> {
        entries.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn id(number: u8) -> MachineId {
        MachineId::parse(&format!("m{number}")).unwrap()
    }

    proptest! {
        #[test]
        fn it_does_what_a_btree_map_does(
            steps in prop::collection::vec((any::<bool>(), 0_u8..12, any::<u32>()), 0..60)
        ) {
            let (mut ours, mut theirs) = (PerMachine::new(), BTreeMap::new());
            for (insert, machine, value) in steps {
                if insert {
                    prop_assert_eq!(ours.insert(id(machine), value), theirs.insert(id(machine), value));
                } else {
                    prop_assert_eq!(ours.remove(&id(machine)), theirs.remove(&id(machine)));
                }
                prop_assert!(ours.iter().eq(theirs.iter()));
                prop_assert!(ours.keys().rev().eq(theirs.keys().rev()));
                prop_assert_eq!(ours.get(&id(machine)), theirs.get(&id(machine)));
                prop_assert_eq!((ours.len(), ours.is_empty()), (theirs.len(), theirs.is_empty()));
            }
            let again: PerMachine<u32> = theirs.clone().into_iter().collect();
            prop_assert_eq!(&again, &ours);
            prop_assert!(ours.into_iter().eq(theirs));
        }
    }
}
