//! PURE. Turns arguments as fleet's users have always written them into the dialect of the argument parser.
//!
//! Go's flag package took long flags with one dash (`-no-block=true`, `-debug`), and documentation and scripts of the
//! years before 1.0 are full of them. The command that `fleetctl ssh` runs elsewhere is nobody's arguments but its own.

use std::collections::BTreeSet;
use std::ffi::OsString;

/// The one verb that is followed by another, and by no flags.
const HELP: &str = "help";

/// Whether these are the arguments of `fleetctl --version`: only as the very first one, as in fleet 1.0.
pub(crate) fn asks_for_version(arguments: &[OsString]) -> bool {
    let first = arguments.get(1).and_then(|argument| argument.to_str());
    matches!(first, Some("--version" | "-version" | "-v"))
}

/// The flags that there are, by name without dashes.
#[derive(Debug, Default)]
pub(crate) struct Flags {
    /// Long ones, of all verbs.
    pub(crate) long: BTreeSet<String>,
    /// Long ones and letters whose value may be the next argument.
    pub(crate) with_value: BTreeSet<String>,
}

/// Gives long flags written with one dash their second one. What follows `--` is left alone, and so is what follows the first
/// word behind `ssh`, a machine or already a command.
///
/// A `--` that comes first of all separates nothing. Flags before the verb are put behind it, where the verb's own may stand.
pub(crate) fn normalize(mut arguments: Vec<OsString>, flags: &Flags) -> Vec<OsString> {
    if arguments.get(1).is_some_and(|first| first == "--") {
        arguments.remove(1);
    }
    let mut reading = Reading::default();
    let rewrite = |(index, argument): (usize, OsString)| {
        // The first is the program's own name.
        if index == 0 || reading.verbatim {
            return argument;
        }
        if std::mem::take(&mut reading.value_follows) {
            return argument;
        }
        let text = argument.to_str().unwrap_or_default();
        reading.verbatim = text == "--";
        match text.strip_prefix('-').filter(|flag| !flag.is_empty()) {
            None => {
                reading.word(text, index);
                argument
            }
            Some(flag) => {
                let bare = flag.strip_prefix('-').unwrap_or(flag);
                reading.value_follows = flags.with_value.contains(bare);
                match is_long(flag, &flags.long) {
                    true => format!("--{flag}").into(),
                    false => argument,
                }
            }
        }
    };
    let mut arguments: Vec<OsString> = arguments.into_iter().enumerate().map(rewrite).collect();
    if let Some(verb) = reading.verb_at
        && arguments[verb] != HELP
    {
        arguments[1..=verb].rotate_right(1);
    }
    arguments
}

/// How far the arguments are read.
#[derive(Debug, Default)]
struct Reading {
    /// Whether a verb was there, and whether it was `ssh`.
    verb: Option<Verb>,
    /// Which argument the verb is.
    verb_at: Option<usize>,
    /// The next argument is a flag's value.
    value_follows: bool,
    /// All others are left as they are.
    verbatim: bool,
}

#[derive(Debug, Clone, Copy)]
enum Verb {
    Ssh,
    Other,
}

impl Reading {
    /// Takes a word that is neither a flag nor one's value.
    fn word(&mut self, word: &str, index: usize) {
        self.verb_at.get_or_insert(index);
        match self.verb {
            None if "ssh".starts_with(word) => self.verb = Some(Verb::Ssh),
            None => self.verb = Some(Verb::Other),
            Some(Verb::Ssh) => self.verbatim = true,
            Some(Verb::Other) => {}
        }
    }
}

/// A single letter is a short flag, whatever long flags there are.
fn is_long(flag: &str, long_flags: &BTreeSet<String>) -> bool {
    let name = flag.split_once('=').map_or(flag, |(name, _)| name);
    name.len() > 1 && long_flags.contains(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: &str) {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let flags = Flags {
            long: set(&[
                "debug", "no-block", "full", "l", "machine", "version", "tunnel",
            ]),
            with_value: set(&["machine", "m", "tunnel"]),
        };
        let words = line.split(' ').map(OsString::from).collect();
        let words: Vec<_> = normalize(words, &flags)
            .into_iter()
            .map(|word| word.into_string().unwrap())
            .collect();
        assert_eq!(words.join(" "), expected);
    }

    #[test]
    fn long_flags_with_one_dash_get_another() {
        check(
            "fleetctl -debug start -no-block=true a -b",
            "fleetctl start --debug --no-block=true a -b",
        );
        check(
            "fleetctl list-units -l -l=true --l",
            "fleetctl list-units -l -l=true --l",
        );
        check("fleetctl cat -- -debug", "fleetctl cat -- -debug");
        check("fleetctl -- start -debug", "fleetctl start --debug");
        check("fleetctl cat - -unknown", "fleetctl cat - -unknown");
    }

    #[test]
    fn the_command_of_ssh_is_left_alone() {
        for (line, expected) in [
            (
                "fleetctl -debug ssh -full M echo -version -full",
                "fleetctl ssh --debug --full M echo -version -full",
            ),
            (
                "fleetctl -tunnel ssh ss -machine M -debug echo -version",
                "fleetctl ss --tunnel ssh --machine M --debug echo -version",
            ),
            (
                "fleetctl ssh -m M uname -full",
                "fleetctl ssh -m M uname -full",
            ),
            (
                "fleetctl ssh -machine=M -debug uname -full",
                "fleetctl ssh --machine=M --debug uname -full",
            ),
            // Another verb's words may be called so, too.
            (
                "fleetctl cat ssh -debug x -full",
                "fleetctl cat ssh --debug x --full",
            ),
            (
                "fleetctl -tunnel -debug list-units -full",
                "fleetctl list-units --tunnel -debug --full",
            ),
        ] {
            check(line, expected);
        }
    }

    #[test]
    fn flags_of_a_verb_may_stand_before_it() {
        check(
            "fleetctl -full --tunnel t list-units x",
            "fleetctl list-units --full --tunnel t x",
        );
        check(
            "fleetctl --machine ssh --debug",
            "fleetctl --machine ssh --debug",
        );
        check("fleetctl --debug help ssh", "fleetctl --debug help ssh");
        check("fleetctl --debug -- ssh", "fleetctl --debug -- ssh");
    }

    #[test]
    fn the_version_is_asked_for_by_the_first_argument_only() {
        let asks =
            |line: &str| asks_for_version(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert!(asks("fleetctl --version"));
        assert!(asks("fleetctl -v start"));
        assert!(!asks("fleetctl start --version"));
        assert!(!asks("fleetctl"));
    }
}
