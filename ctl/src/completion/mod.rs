//! PURE. Scripts that complete fleetctl's command line in shells. Commands and flags come from the definitions of the command
//! line; names of units and machines are asked from the cluster, by `fleetctl complete`, while the user types.

use clap::{Arg, Command, ValueHint};
use clap_complete::aot::{Bash, Fish, Generator, Zsh};

/// What is said to a shell of an argument is found by the name of its value.
const UNIT: &str = "UNIT";

/// Likewise of a machine.
const MACHINE: &str = "MACHINE";

/// Asks the cluster for names, in bash. Appended to the script that knows commands and flags.
const BASH_NAMES: &str = include_str!("names.bash");

/// Asks the cluster for names, in zsh. Put before the script that knows commands and flags.
const ZSH_NAMES: &str = include_str!("names.zsh");

/// Asks the cluster for names, in fish.
const FISH_NAMES: &str = include_str!("names.fish");

/// A shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Shell {
    /// GNU's
    Bash,
    /// Z shell
    Zsh,
    /// Friendly interactive shell
    Fish,
}

/// What an argument can be completed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Names {
    units: bool,
    machines: bool,
    files: bool,
}

/// The script for `shell`.
pub(crate) fn script(shell: Shell, definition: &Command) -> String {
    match shell {
        Shell::Bash => {
            let flags = generated(Bash, visible(definition, Positionals::Dropped));
            // Ours registers a function that calls theirs.
            let kept = flags.split("\nif [[ \"${BASH_VERSINFO[0]}\" -eq 4").next();
            let cases = |wanted: fn(Names) -> bool| {
                let verbs = verbs(definition, wanted);
                if verbs.is_empty() {
                    "-".to_owned()
                } else {
                    verbs.join("|")
                }
            };
            let names = BASH_NAMES
                .replace("@UNIT_VERBS@", &cases(|names| names.units))
                .replace("@MACHINE_VERBS@", &cases(|names| names.machines))
                .replace("@FILE_VERBS@", &cases(|names| names.files))
                .replace("@VERBS@", &all_verbs(definition).join("|"))
                .replace("@UNIT_FLAGS@", &flags_of(definition, UNIT))
                .replace("@MACHINE_FLAGS@", &flags_of(definition, MACHINE));
            format!("{}\n{names}", kept.unwrap_or(&flags))
        }
        Shell::Zsh => zsh(definition),
        Shell::Fish => {
            let flags = generated(Fish, visible(definition, Positionals::Kept));
            let mut script = format!("{flags}\n{FISH_NAMES}");
            for command in shown(definition) {
                script.push_str(&fish_names(command));
            }
            script
        }
    }
}

/// Whether positional arguments are told to the generator. bash's offers their names as if they were words, unless it
/// knows the words there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Positionals {
    Kept,
    Dropped,
}

/// The definition without what is hidden, which a user is not to be offered.
fn visible(of: &Command, positionals: Positionals) -> Command {
    let shown_arguments = of
        .get_arguments()
        .filter(|argument| !argument.is_hide_set())
        .filter(|argument| {
            positionals == Positionals::Kept
                || !argument.is_positional()
                || !argument.get_possible_values().is_empty()
        });
    let mut command = Command::new(of.get_name().to_owned())
        .disable_help_flag(of.is_disable_help_flag_set())
        .args(shown_arguments.cloned())
        .subcommands(shown(of).map(|inner| visible(inner, positionals)));
    if let Some(about) = of.get_about() {
        command = command.about(about.clone());
    }
    command
}

fn shown(of: &Command) -> impl Iterator<Item = &Command> {
    of.get_subcommands()
        .filter(|command| !command.is_hide_set())
}

fn generated(generator: impl Generator, mut definition: Command) -> String {
    let mut script = Vec::new();
    clap_complete::generate(generator, &mut definition, "fleetctl", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

fn has_value(argument: &Arg, wanted: &str) -> bool {
    let names = argument.get_value_names().unwrap_or_default();
    names
        .iter()
        .any(|name| name.split('|').any(|part| part == wanted))
}

fn names_of(argument: &Arg) -> Names {
    Names {
        units: has_value(argument, UNIT),
        machines: has_value(argument, MACHINE),
        files: matches!(
            argument.get_value_hint(),
            ValueHint::AnyPath | ValueHint::FilePath | ValueHint::DirPath
        ),
    }
}

fn positional(command: &Command) -> Option<(&Arg, Names)> {
    let argument = command
        .get_positionals()
        .find(|argument| !argument.is_hide_set())?;
    Some((argument, names_of(argument)))
}

fn all_verbs(definition: &Command) -> Vec<&str> {
    shown(definition).map(Command::get_name).collect()
}

fn verbs(definition: &Command, wanted: fn(Names) -> bool) -> Vec<&str> {
    shown(definition)
        .filter(|command| positional(command).is_some_and(|(_, names)| wanted(names)))
        .map(Command::get_name)
        .collect()
}

/// The flags whose value is one of `wanted`, as a pattern of bash; one that matches nothing if there are none.
fn flags_of(definition: &Command, wanted: &str) -> String {
    let mut flags: Vec<_> = shown(definition)
        .flat_map(Command::get_opts)
        .filter(|argument| has_value(argument, wanted))
        .filter_map(|argument| argument.get_long().map(|long| format!("--{long}")))
        .collect();
    flags.sort();
    flags.dedup();
    if flags.is_empty() {
        "-".to_owned()
    } else {
        flags.join("|")
    }
}

/// The generator's script, in which arguments that are units or machines are completed by our functions.
fn zsh(definition: &Command) -> String {
    let mut script = String::new();
    let generated = generated(Zsh, visible(definition, Positionals::Kept));
    for line in generated.lines() {
        let ours = ["_default", "_files"].iter().find_map(|theirs| {
            let head = line.strip_suffix(&format!(":{theirs}' \\"))?;
            let (function, _) = zsh_function(definition, head, theirs)?;
            Some(format!("{head}:{function}' \\"))
        });
        script.push_str(ours.as_deref().unwrap_or(line));
        script.push('\n');
        if line.starts_with("autoload") {
            script.push_str(ZSH_NAMES);
        }
    }
    script
}

/// The function for the argument that a line of the generator is about.
fn zsh_function(definition: &Command, head: &str, theirs: &str) -> Option<(&'static str, Names)> {
    let of_positional = shown(definition)
        .filter_map(positional)
        .find(|(argument, names)| {
            let marker = format!(":{} -- ", argument.get_id());
            let hinted = names.files == (theirs == "_files");
            head.contains(&marker) && hinted && (names.units || names.machines)
        })
        .map(|(_, names)| names);
    let of_flag = || {
        let value = |wanted: &str| head.ends_with(&format!(":{wanted}"));
        let names = Names {
            units: value(UNIT),
            machines: value(MACHINE),
            files: false,
        };
        (names != Names::default()).then_some(names)
    };
    let names = of_positional.or_else(of_flag)?;
    let function = match (names.units, names.machines, names.files) {
        (true, _, true) => "_fleetctl_units_and_files",
        (true, true, false) => "_fleetctl_units_and_machines",
        (true, false, false) => "_fleetctl_units",
        (false, true, _) => "_fleetctl_machines",
        (false, false, _) => return None,
    };
    Some((function, names))
}

fn fish_names(command: &Command) -> String {
    let mut lines = String::new();
    let name = command.get_name();
    let mut line = |rest: &str| {
        let condition = format!("__fish_fleetctl_using_subcommand {name}");
        lines.push_str(&format!("complete -c fleetctl -n \"{condition}\" {rest}\n"));
    };
    if let Some((_, names)) = positional(command) {
        if !names.files && (names.units || names.machines) {
            line("-f");
        }
        if names.units {
            line("-a \"(__fleetctl_names units)\"");
        }
        if names.machines {
            line("-a \"(__fleetctl_names machines)\"");
        }
    }
    for argument in command.get_opts() {
        let names = names_of(argument);
        let Some(long) = argument.get_long() else {
            continue;
        };
        if names.units {
            line(&format!("-l {long} -r -f -a \"(__fleetctl_names units)\""));
        }
        if names.machines {
            line(&format!(
                "-l {long} -r -f -a \"(__fleetctl_names machines)\""
            ));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn every_verb_that_takes_units_completes_them_in_every_shell() {
        let definition = Cli::command();
        let takers = verbs(&definition, |names| names.units);
        for verb in ["start", "stop", "cat", "destroy"] {
            assert!(takers.contains(&verb), "{takers:?}");
        }
        let files = verbs(&definition, |names| names.files);
        assert_eq!(files, ["load", "plan", "start", "submit"]);
        let bash = script(Shell::Bash, &definition);
        assert!(
            bash.contains(&format!("        {})", takers.join("|"))),
            "{bash}"
        );
        assert!(!bash.contains("@UNIT"), "{bash}");
        let zsh = script(Shell::Zsh, &definition);
        let count = |of: &str| zsh.matches(of).count();
        assert_eq!(count(":_fleetctl_units_and_files'"), files.len());
        assert_eq!(
            count(":_fleetctl_units'") + count(":_fleetctl_units_and_machines'") + files.len(),
            takers.len()
                + shown(&definition)
                    .flat_map(Command::get_opts)
                    .filter(|flag| has_value(flag, UNIT))
                    // A flag with a letter has two lines.
                    .map(|flag| 1 + usize::from(flag.get_short().is_some()))
                    .sum::<usize>(),
            "{zsh}"
        );
        let fish = script(Shell::Fish, &definition);
        for verb in takers {
            let line = format!(
                "complete -c fleetctl -n \"__fish_fleetctl_using_subcommand {verb}\" -a \"(__fleetctl_names units)\"\n"
            );
            assert!(fish.contains(&line), "{fish}");
        }
    }

    #[test]
    fn what_is_hidden_is_not_offered() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let text = script(shell, &Cli::command());
            for hidden in ["etcd-keyfile", "experimental-api", "[UNIT]"] {
                assert!(!text.contains(hidden), "{shell:?}: {hidden}");
            }
        }
    }
}
