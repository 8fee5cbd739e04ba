//! PURE. Where the units are that a user asks about: each on one machine, or a global one on several.

use api::types::{Hold, MachineId, Overview, StateRow, TargetState, UnitName};

/// A unit on one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// The unit.
    pub(crate) unit: UnitName,
    /// The machine.
    pub(crate) machine: MachineId,
    /// What the machine reports of it, if it does.
    pub(crate) state: Option<StateRow>,
    /// Whether the unit can be on other machines as well.
    pub(crate) global: bool,
}

/// Where a unit is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    /// The cluster has no such unit.
    Unknown,
    /// On no machine, and why if the engine says so.
    Nowhere(Option<Hold>),
    /// Not on the machine that was asked for.
    NotThere,
    /// On these, by id. A global unit may be on none.
    On(Vec<Target>),
}

/// Where `name` is, on `only` this machine if there is one.
pub(crate) fn locate(
    overview: &Overview,
    name: &UnitName,
    only: Option<&MachineId>,
) -> Whereabouts {
    let Some(unit) = overview.units.iter().find(|unit| unit.name == *name) else {
        return Whereabouts::Unknown;
    };
    let asked_for = |id: &MachineId| only.is_none_or(|only| only == id);
    let states = overview.states.iter().filter(|state| state.name == *name);
    let target = |machine: &MachineId, state: Option<&StateRow>| Target {
        unit: name.clone(),
        machine: machine.clone(),
        state: state.cloned(),
        global: unit.global,
    };
    let targets: Vec<Target> = if unit.global {
        states
            .filter(|state| asked_for(&state.machine_id))
            .map(|state| target(&state.machine_id, Some(state)))
            .collect()
    } else {
        let placed = unit
            .machine_id
            .as_ref()
            .filter(|_| unit.current_state != TargetState::Inactive);
        let Some(machine) = placed else {
            return Whereabouts::Nowhere(unit.hold.clone());
        };
        let state = states.clone().find(|state| state.machine_id == *machine);
        let found = asked_for(machine).then(|| target(machine, state));
        found.into_iter().collect()
    };
    if targets.is_empty() && only.is_some() {
        return Whereabouts::NotThere;
    }
    Whereabouts::On(targets)
}

#[cfg(test)]
mod tests {
    use api::types::Overview;
    use serde_json::json;

    use super::*;

    fn overview() -> Overview {
        let unit = |name: &str, current: &str, machine: Option<&str>, global: bool| {
            json!({"name": name, "hash": "0".repeat(40), "desiredState": "launched", "currentState": current,
                   "machineID": machine, "global": global, "generation": 1})
        };
        let state = |name: &str, machine: &str| {
            json!({"name": name, "machineID": machine, "hash": "0".repeat(40), "systemdLoadState": "loaded",
                   "systemdActiveState": "active", "systemdSubState": "running", "targetState": "launched", "generation": 1})
        };
        let held = {
            let mut unit = unit("held.service", "inactive", None, false);
            unit["hold"] = json!({"reason": "nothing fits"});
            unit
        };
        let value = json!({
            "units": [unit("web.service", "launched", Some("m1"), false), unit("log.service", "inactive", None, true),
                      unit("new.service", "inactive", Some("m2"), false), held],
            "states": [state("log.service", "m1"), state("log.service", "m2"), state("web.service", "m1"), state("web.service", "m2")],
        });
        serde_json::from_value(value).unwrap()
    }

    fn located(name: &str, only: Option<&str>) -> Result<Vec<String>, Whereabouts> {
        let only = only.map(|id| MachineId::parse(id).unwrap());
        let name = UnitName::parse(name).unwrap();
        match locate(&overview(), &name, only.as_ref()) {
            Whereabouts::On(targets) => {
                let id = |target: Target| {
                    assert!(target.state.is_some());
                    target.machine.to_string()
                };
                Ok(targets.into_iter().map(id).collect())
            }
            other => Err(other),
        }
    }

    #[test]
    fn a_unit_is_where_it_was_placed_and_a_global_one_where_it_is_reported() {
        // m2 still reports what it had before.
        assert_eq!(located("web.service", None).unwrap(), ["m1"]);
        assert_eq!(located("web.service", Some("m1")).unwrap(), ["m1"]);
        assert_eq!(
            located("web.service", Some("m2")),
            Err(Whereabouts::NotThere)
        );
        assert_eq!(located("log.service", None).unwrap(), ["m1", "m2"]);
        assert_eq!(located("log.service", Some("m2")).unwrap(), ["m2"]);
        assert_eq!(
            located("log.service", Some("m3")),
            Err(Whereabouts::NotThere)
        );
    }

    #[test]
    fn a_unit_may_be_nowhere_and_there_may_be_a_reason() {
        assert_eq!(located("x.service", None), Err(Whereabouts::Unknown));
        assert_eq!(
            located("new.service", None),
            Err(Whereabouts::Nowhere(None))
        );
        let held = located("held.service", Some("m1")).unwrap_err();
        assert!(matches!(held, Whereabouts::Nowhere(Some(hold)) if hold.reason == "nothing fits"));
    }
}
