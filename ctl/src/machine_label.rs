//! How a machine is written in lists and messages: `1234abcd.../10.0.0.1`.

use std::collections::BTreeMap;

use api::types::{MachineId, MachineRow};

/// Whether ids are shortened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdForm {
    /// The first eight characters and three dots.
    Short,
    /// The whole id.
    Full,
}

impl IdForm {
    /// The form that `--full` asks for.
    pub(crate) fn of_flag(full: bool) -> IdForm {
        if full { IdForm::Full } else { IdForm::Short }
    }

    /// The id in this form.
    pub(crate) fn show(self, id: &MachineId) -> String {
        match self {
            IdForm::Full => id.to_string(),
            IdForm::Short if id.short() == id.as_str() => id.to_string(),
            IdForm::Short => format!("{}...", id.short()),
        }
    }
}

/// The addresses of the machines that are there.
#[derive(Debug, Default)]
pub(crate) struct Addresses(BTreeMap<MachineId, String>);

impl Addresses {
    /// Takes note of a machine.
    pub(crate) fn insert(&mut self, machine: &MachineRow) {
        self.0
            .insert(machine.id.clone(), machine.primary_ip.clone());
    }

    /// Forgets a machine.
    pub(crate) fn remove(&mut self, id: &MachineId) {
        self.0.remove(id);
    }

    /// The machine's address, if it has one that is known.
    pub(crate) fn address(&self, id: &MachineId) -> Option<&str> {
        let address = self.0.get(id).map(String::as_str);
        address.filter(|address| !address.is_empty())
    }

    /// The machine with its address, if it has one that is known.
    pub(crate) fn label(&self, id: &MachineId, form: IdForm) -> String {
        match self.address(id) {
            Some(address) => format!("{}/{address}", form.show(id)),
            None => form.show(id),
        }
    }
}

impl<'a> FromIterator<&'a MachineRow> for Addresses {
    fn from_iter<I: IntoIterator<Item = &'a MachineRow>>(machines: I) -> Addresses {
        let mut addresses = Addresses::default();
        machines
            .into_iter()
            .for_each(|machine| addresses.insert(machine));
        addresses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_its_id_and_its_address() {
        let machine = |id: &str, ip: &str| MachineRow {
            id: MachineId::parse(id).unwrap(),
            primary_ip: ip.to_owned(),
            metadata: BTreeMap::new(),
            version: String::new(),
        };
        let machines = [
            machine("1234567890abcdef", "10.0.0.1"),
            machine("12345678", ""),
            machine("abc", "::1"),
        ];
        let addresses: Addresses = machines.iter().collect();
        let label = |id: &str, form| addresses.label(&MachineId::parse(id).unwrap(), form);
        assert_eq!(
            label("1234567890abcdef", IdForm::Short),
            "12345678.../10.0.0.1"
        );
        assert_eq!(
            label("1234567890abcdef", IdForm::Full),
            "1234567890abcdef/10.0.0.1"
        );
        assert_eq!(label("12345678", IdForm::Short), "12345678");
        assert_eq!(label("abc", IdForm::Short), "abc/::1");
        assert_eq!(label("gone567890", IdForm::Short), "gone5678...");
    }
}
