//! Where the cluster's units are: as fleet lists them, and as each machine's own systemd sees them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::{Error, Machine, Output, Testbed, UnitState, until};

/// A unit on a machine, as `fleetctl list-units` shows it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Placement {
    /// The unit's name.
    pub unit: String,
    /// The machine's name in the testbed; its id if the testbed has no such machine.
    pub machine: String,
    /// systemd's active state, as published.
    pub active: String,
}

/// All units of the cluster at one moment, as fleet lists them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Placements(pub BTreeSet<Placement>);

impl Placements {
    /// Returns the machines on which `unit` is active.
    #[must_use]
    pub fn homes(&self, unit: &str) -> BTreeSet<&str> {
        let active = self
            .0
            .iter()
            .filter(|placement| placement.unit == unit && placement.active == "active");
        active.map(|placement| placement.machine.as_str()).collect()
    }

    /// Returns the one machine on which `unit` is active; `Err` says what is wrong with it.
    pub fn home(&self, unit: &str) -> Result<&str, String> {
        let homes = self.homes(unit);
        match (homes.len(), homes.first()) {
            (1, Some(home)) => Ok(home),
            _ => Err(format!("{unit} is active on {homes:?}, not on one machine")),
        }
    }

    /// Returns the units listed on a machine, whatever their state.
    #[must_use]
    pub fn on(&self, machine: &str) -> BTreeSet<&str> {
        let here = self
            .0
            .iter()
            .filter(|placement| placement.machine == machine);
        here.map(|placement| placement.unit.as_str()).collect()
    }

    /// Returns the placements on all machines but one.
    #[must_use]
    pub fn without(&self, machine: &str) -> Self {
        Self(
            self.0
                .iter()
                .filter(|placement| placement.machine != machine)
                .cloned()
                .collect(),
        )
    }
}

/// What systemd says of units, by machine and unit name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Witness(pub BTreeMap<(String, String), UnitState>);

impl Witness {
    /// Returns, in words, every unit seen here that is no longer in the same run in `later`.
    #[must_use]
    pub fn disturbed(&self, later: &Self) -> Vec<String> {
        let differs = |(place, state): (&(String, String), &UnitState)| {
            let now = later.0.get(place);
            let same = now.is_some_and(|now| {
                now.invocation_id == state.invocation_id && now.active_state == state.active_state
            });
            let (machine, unit) = place;
            (!same).then(|| format!("{unit} on {machine}: {state:?}, then {now:?}"))
        };
        self.0.iter().filter_map(differs).collect()
    }
}

impl Testbed {
    /// Asks fleet, by `fleetctl` on `through`, where all units are.
    pub fn placements(&self, through: &Machine) -> Result<Placements, Error> {
        let listed = through
            .run(&[
                "fleetctl",
                "list-units",
                "--full",
                "--no-legend",
                "--fields=unit,machine,active",
            ])?
            .success()?;
        let placement = |line: &str| {
            let words: Vec<_> = line.split_whitespace().collect();
            let [unit, place, active] = words[..] else {
                let what = format!("a line of unit, machine and active state, but {line:?}");
                return Err(Error::Unexpected {
                    command: listed.command.clone(),
                    what,
                });
            };
            let id = place.split('/').next().unwrap_or(place);
            let machine = self
                .machines()
                .iter()
                .find(|machine| machine.machine_id() == id);
            let machine = machine.map_or(id, Machine::name).to_owned();
            Ok(Placement {
                unit: unit.to_owned(),
                machine,
                active: active.to_owned(),
            })
        };
        listed
            .stdout
            .lines()
            .map(placement)
            .collect::<Result<_, _>>()
            .map(Placements)
    }

    /// Waits until units are placed as `wanted` wants it, and returns where they are. `wanted` says what is missing.
    pub fn settle(
        &self,
        through: &Machine,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&Placements) -> Result<(), String>,
    ) -> Result<Placements, Error> {
        until(what, limit, || {
            let found = self
                .placements(through)
                .map_err(|error| error.to_string())?;
            match wanted(&found) {
                Ok(()) => Ok(found),
                Err(missing) => Err(format!("{missing}; fleet lists {found:#?}")),
            }
        })
    }

    /// Waits until `fleetctl list-machines` on `through` shows exactly `count` machines.
    pub fn wait_for_machines(
        &self,
        through: &Machine,
        count: usize,
        limit: Duration,
    ) -> Result<(), Error> {
        until(&format!("a cluster of {count} machines"), limit, || {
            let listed = through
                .run(&["fleetctl", "list-machines", "--no-legend"])
                .and_then(Output::success);
            let listed = listed.map_err(|error| error.to_string())?.stdout;
            if listed.lines().count() == count {
                Ok(())
            } else {
                Err(listed)
            }
        })
    }

    /// Asks the systemd of each machine that is on for the units that `placements` lists there.
    pub fn witness(&self, placements: &Placements) -> Result<Witness, Error> {
        let mut seen = BTreeMap::new();
        for machine in self.machines().iter().filter(|machine| machine.is_on()) {
            let units: Vec<_> = placements.on(machine.name()).into_iter().collect();
            if units.is_empty() {
                continue;
            }
            for (unit, state) in machine.unit_states(&units)? {
                seen.insert((machine.name().to_owned(), unit), state);
            }
        }
        Ok(Witness(seen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(invocation_id: &str, active_state: &str) -> UnitState {
        let (invocation_id, active_state) = (invocation_id.to_owned(), active_state.to_owned());
        UnitState {
            invocation_id,
            active_state,
            ..UnitState::default()
        }
    }

    fn witness(state: UnitState) -> Witness {
        Witness(BTreeMap::from([(
            ("m1".to_owned(), "a.service".to_owned()),
            state,
        )]))
    }

    #[test]
    fn another_run_a_stop_and_a_loss_are_disturbances() {
        let before = witness(state("1", "active"));
        assert!(before.disturbed(&before).is_empty());
        assert_eq!(before.disturbed(&witness(state("2", "active"))).len(), 1);
        assert_eq!(before.disturbed(&witness(state("1", "inactive"))).len(), 1);
        assert_eq!(before.disturbed(&Witness::default()).len(), 1);
    }

    #[test]
    fn a_home_is_where_a_unit_is_active_and_nowhere_else() {
        let at = |machine: &str, active: &str| Placement {
            unit: "a.service".to_owned(),
            machine: machine.to_owned(),
            active: active.to_owned(),
        };
        let found = Placements([at("m1", "active"), at("m2", "failed")].into());
        assert_eq!(found.home("a.service"), Ok("m1"));
        assert!(found.without("m1").home("a.service").is_err());
        assert!(
            Placements([at("m1", "active"), at("m2", "active")].into())
                .home("a.service")
                .is_err()
        );
    }
}
