//! PURE. Which machine a user means by `--machine`: its address, its id, or the beginning of it.

use std::fmt;

use api::types::MachineRow;

/// Why no machine is meant; in fleet 1.0's words.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoMachine {
    /// None is named so.
    Unknown,
    /// Several are.
    Ambiguous,
}

impl fmt::Display for NoMachine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NoMachine::Unknown => "machine does not exist",
            NoMachine::Ambiguous => "found more than one machine",
        })
    }
}

/// The machine that is meant by `wanted`. A whole id or address wins over the beginning of an id.
///
/// # Errors
/// If that is not exactly one.
pub(crate) fn choose<'m>(
    wanted: &str,
    machines: &'m [MachineRow],
) -> Result<&'m MachineRow, NoMachine> {
    let whole =
        |machine: &&MachineRow| machine.id.as_str() == wanted || machine.primary_ip == wanted;
    let begins = |machine: &&MachineRow| machine.id.as_str().starts_with(wanted);
    if wanted.is_empty() {
        return Err(NoMachine::Unknown);
    }
    let exact: Vec<_> = machines.iter().filter(whole).collect();
    let found = if exact.is_empty() {
        machines.iter().filter(begins).collect()
    } else {
        exact
    };
    match found.as_slice() {
        [one] => Ok(one),
        [] => Err(NoMachine::Unknown),
        [_, _, ..] => Err(NoMachine::Ambiguous),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use api::types::MachineId;

    use super::*;

    #[test]
    fn a_machine_is_meant_by_its_address_its_id_or_how_that_begins() {
        let machine = |id: &str, ip: &str| MachineRow {
            id: MachineId::parse(id).unwrap(),
            primary_ip: ip.to_owned(),
            metadata: BTreeMap::new(),
            version: String::new(),
        };
        let machines = [
            machine("aaaa0001", "10.0.0.1"),
            machine("aaaa0002", "10.0.0.2"),
            machine("aaaa00021", "::1"),
        ];
        let chosen = |wanted: &str| choose(wanted, &machines).map(|machine| machine.id.as_str());
        assert_eq!(chosen("aaaa0001"), Ok("aaaa0001"));
        assert_eq!(chosen("aaaa0002"), Ok("aaaa0002"));
        assert_eq!(chosen("aaaa00021"), Ok("aaaa00021"));
        assert_eq!(chosen("10.0.0.2"), Ok("aaaa0002"));
        assert_eq!(chosen("::1"), Ok("aaaa00021"));
        assert_eq!(chosen("aaaa"), Err(NoMachine::Ambiguous));
        assert_eq!(chosen("10.0.0"), Err(NoMachine::Unknown));
        assert_eq!(chosen(""), Err(NoMachine::Unknown));
    }
}
