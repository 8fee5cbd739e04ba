//! PURE. What a stream of events has said so far about the units that are waited for.

use std::collections::BTreeMap;

use api::types::{Event, EventKind, Hold, MachineId, StateRow, UnitName, UnitRow};

use crate::machine_label::Addresses;

/// What is known of the cluster.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    units: BTreeMap<UnitName, UnitRow>,
    states: BTreeMap<UnitName, BTreeMap<MachineId, StateRow>>,
    /// Addresses of the machines.
    pub(crate) machines: Addresses,
    /// Whether all that was so when the stream began is known. Until then, what is missing means nothing.
    pub(crate) synced: bool,
    /// The revision up to which all is known, from which another stream can go on; none if there is none.
    pub(crate) revision: Option<u64>,
    /// A stream has just been opened, and has not said yet whether it goes on where the last one ended.
    opened: bool,
}

/// Which units an event may have changed the verdict of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Touched {
    /// This one.
    Unit(UnitName),
    /// All of them.
    All,
    /// None.
    Nothing,
}

impl Observed {
    /// What comes next is of a new stream. Unless that resumes, it tells everything, and nothing of before counts.
    pub(crate) fn open(&mut self) {
        self.synced = false;
        self.opened = true;
    }

    /// Takes in one event of a stream.
    pub(crate) fn take_in(&mut self, event: Event) -> Touched {
        let touched = self.apply(event.kind);
        if self.synced && event.revision > 0 {
            self.revision = Some(event.revision);
        }
        touched
    }

    /// Takes in what one event says.
    pub(crate) fn apply(&mut self, event: EventKind) -> Touched {
        if std::mem::take(&mut self.opened) && event != EventKind::Resumed {
            *self = Observed::default();
        }
        match event {
            EventKind::Unit(row) => {
                let name = row.name.clone();
                self.units.insert(name.clone(), *row);
                Touched::Unit(name)
            }
            EventKind::UnitGone(name) => {
                self.units.remove(&name);
                Touched::Unit(name)
            }
            EventKind::State(row) => {
                let name = row.name.clone();
                self.states
                    .entry(name.clone())
                    .or_default()
                    .insert(row.machine_id.clone(), *row);
                Touched::Unit(name)
            }
            EventKind::StateGone(name, machine) => {
                if let Some(of_unit) = self.states.get_mut(&name) {
                    of_unit.remove(&machine);
                }
                Touched::Unit(name)
            }
            EventKind::Hold(name, hold) => self.set_hold(name, Some(hold)),
            EventKind::HoldGone(name) => self.set_hold(name, None),
            EventKind::Machine(machine) => {
                self.machines.insert(&machine);
                Touched::Nothing
            }
            EventKind::MachineGone(id) => {
                self.machines.remove(&id);
                Touched::Nothing
            }
            EventKind::Synced => {
                self.synced = true;
                Touched::All
            }
            // Each unit that is held says so itself.
            EventKind::Brake(_) | EventKind::BrakeGone | EventKind::Resumed => Touched::Nothing,
            // The client makes an error of it, and the stream ends.
            EventKind::Record(_) | EventKind::RecordGone(_) | EventKind::Failed(_) => {
                Touched::Nothing
            }
        }
    }

    /// The unit's record.
    pub(crate) fn unit(&self, name: &UnitName) -> Option<&UnitRow> {
        self.units.get(name)
    }

    /// What the machines report of the unit, in order of their ids.
    pub(crate) fn states(&self, name: &UnitName) -> impl Iterator<Item = &StateRow> {
        self.states.get(name).into_iter().flat_map(BTreeMap::values)
    }

    fn set_hold(&mut self, name: UnitName, hold: Option<Hold>) -> Touched {
        if let Some(unit) = self.units.get_mut(&name) {
            unit.hold = hold;
        }
        Touched::Unit(name)
    }
}
