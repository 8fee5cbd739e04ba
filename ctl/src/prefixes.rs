//! PURE. Commands may be shortened to any beginning that no other shares. What was unambiguous in fleet 1.0 stays so, however
//! many commands there are by now: scripts have `fleetctl d` and `fleetctl r` in them.

use clap::Command;

/// The commands of fleet 1.0.
const FIRST_COMMANDS: [&str; 17] = [
    "cat",
    "destroy",
    "fd-forward",
    "journal",
    "list-machines",
    "list-unit-files",
    "list-units",
    "load",
    "restart",
    "ssh",
    "start",
    "status",
    "stop",
    "submit",
    "unload",
    "verify",
    "version",
];

/// The definition with those beginnings as hidden names.
pub(crate) fn kept(definition: Command) -> Command {
    definition.mut_subcommands(|command| {
        let shortened = beginnings(command.get_name());
        command.aliases(shortened)
    })
}

/// What fleet 1.0 took for this command and for no other; nothing if it had no such command.
fn beginnings(name: &str) -> Vec<String> {
    if !FIRST_COMMANDS.contains(&name) {
        return Vec::new();
    }
    let alone = |short: &str| {
        let meant = FIRST_COMMANDS
            .iter()
            .filter(|other| other.starts_with(short));
        meant.count() == 1
    };
    (1..name.len())
        .map(|end| &name[..end])
        .filter(|short| alone(short))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_that_two_commands_share_is_none_of_them() {
        assert_eq!(beginnings("stop"), ["sto"]);
        assert_eq!(beginnings("cat"), ["c", "ca"]);
        assert_eq!(
            beginnings("list-unit-files").first().map(String::as_str),
            Some("list-unit-")
        );
        assert!(beginnings("list-units").is_empty());
        assert!(beginnings("doctor").is_empty());
    }
}
