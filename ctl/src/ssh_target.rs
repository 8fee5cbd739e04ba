//! PURE. Which machine `fleetctl ssh` means. The words of the errors are fleet 1.0's.

use std::fmt;

use api::types::{MachineRow, Overview, UnitName};

/// What was named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The beginning of a machine's id.
    Machine(String),
    /// A unit.
    Unit(String),
    /// One of both.
    Either(String),
}

/// Why it is not clear which machine is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unclear {
    NoMachine,
    SeveralMachines,
    NoUnit,
    Global,
    Ambiguous(String),
    Nothing,
}

impl fmt::Display for Unclear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unclear::NoMachine => f.write_str("machine does not exist"),
            Unclear::SeveralMachines => f.write_str("found more than one machine"),
            Unclear::NoUnit => f.write_str("unit does not exist"),
            Unclear::Global => f.write_str("global units unsupported"),
            Unclear::Ambiguous(name) => write!(
                f,
                "ambiguous argument, both machine and unit found for `{name}`.\nPlease use flag `-m` or `-u` to refine the search"
            ),
            Unclear::Nothing => f.write_str("could not find matching unit or machine"),
        }
    }
}

/// The machine that is meant. None if a unit is meant that is on no machine that is there.
pub(crate) fn find<'o>(
    overview: &'o Overview,
    wanted: &Wanted,
) -> Result<Option<&'o MachineRow>, Unclear> {
    match wanted {
        Wanted::Machine(id) => machine(overview, id).map(Some),
        Wanted::Unit(name) => of_unit(overview, name),
        Wanted::Either(text) => match (machine(overview, text), of_unit(overview, text)) {
            (Ok(_), Ok(_) | Err(Unclear::Global)) => Err(Unclear::Ambiguous(text.clone())),
            (Ok(machine), Err(_)) => Ok(Some(machine)),
            (Err(_), Ok(machine)) => Ok(machine),
            (Err(Unclear::NoMachine), Err(Unclear::NoUnit)) => Err(Unclear::Nothing),
            (Err(Unclear::NoMachine), Err(unit)) => Err(unit),
            (Err(machine), Err(_)) => Err(machine),
        },
    }
}

fn machine<'o>(overview: &'o Overview, id: &str) -> Result<&'o MachineRow, Unclear> {
    let mut found = overview
        .machines
        .iter()
        .filter(|row| row.id.as_str().starts_with(id));
    match (found.next(), found.next()) {
        (None, _) => Err(Unclear::NoMachine),
        (Some(row), None) => Ok(row),
        (Some(_), Some(_)) => Err(Unclear::SeveralMachines),
    }
}

fn of_unit<'o>(overview: &'o Overview, name: &str) -> Result<Option<&'o MachineRow>, Unclear> {
    let Ok(name) = UnitName::from_user(name) else {
        return Err(Unclear::NoUnit);
    };
    let unit = overview
        .units
        .iter()
        .find(|row| row.name == name)
        .ok_or(Unclear::NoUnit)?;
    if unit.global {
        return Err(Unclear::Global);
    }
    Ok(overview
        .machines
        .iter()
        .find(|row| Some(&row.id) == unit.machine_id.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OVERVIEW: &str = r#"{"machines": [
        {"id": "0123456789abcdef0123456789abcdef", "primaryIP": "10.0.0.1"},
        {"id": "0177777777777777777777777777777f", "primaryIP": "10.0.0.2"},
        {"id": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "primaryIP": "10.0.0.3"}],
      "units": [
        {"name": "web.service", "hash": "HASH", "desiredState": "launched", "currentState": "launched",
         "machineID": "0123456789abcdef0123456789abcdef", "generation": 1},
        {"name": "lost.service", "hash": "HASH", "desiredState": "launched", "currentState": "inactive", "generation": 1},
        {"name": "a.service", "hash": "HASH", "desiredState": "launched", "currentState": "launched",
         "machineID": "0177777777777777777777777777777f", "generation": 1},
        {"name": "g.service", "hash": "HASH", "desiredState": "launched", "currentState": "inactive",
         "global": true, "generation": 1}]}"#;

    fn found(wanted: &Wanted) -> String {
        let hash = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
        let overview: Overview = serde_json::from_str(&OVERVIEW.replace("HASH", hash)).unwrap();
        match find(&overview, wanted) {
            Ok(Some(machine)) => machine.primary_ip.clone(),
            Ok(None) => "nowhere".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn machines_are_found_by_id_or_unit() {
        let machine = |id: &str| found(&Wanted::Machine(id.to_owned()));
        assert_eq!(machine("0123"), "10.0.0.1");
        assert_eq!(machine("01"), "found more than one machine");
        assert_eq!(machine("web"), "machine does not exist");
        let unit = |name: &str| found(&Wanted::Unit(name.to_owned()));
        assert_eq!(unit("web"), "10.0.0.1");
        assert_eq!(unit("lost.service"), "nowhere");
        assert_eq!(unit("0123"), "unit does not exist");
        assert_eq!(unit("g"), "global units unsupported");
        let either = |text: &str| found(&Wanted::Either(text.to_owned()));
        assert_eq!(either("web.service"), "10.0.0.1");
        assert_eq!(either("aaaa"), "10.0.0.3");
        assert_eq!(either("01"), "found more than one machine");
        assert_eq!(either("g"), "global units unsupported");
        assert!(
            either("a").starts_with("ambiguous argument, both machine and unit found for `a`.")
        );
        assert_eq!(either("nothing"), "could not find matching unit or machine");
    }
}
