//! PURE. Turns arguments as fleet's users have always written them into the dialect of the argument parser.
//!
//! Go's flag package took long flags with one dash (`-no-block=true`, `-debug`), and documentation and scripts of the
//! years before 1.0 are full of them.

use std::collections::BTreeSet;
use std::ffi::OsString;

/// Whether these are the arguments of `fleetctl --version`: only as the very first one, as in fleet 1.0.
pub(crate) fn asks_for_version(arguments: &[OsString]) -> bool {
    let first = arguments.get(1).and_then(|argument| argument.to_str());
    matches!(first, Some("--version" | "-version" | "-v"))
}

/// Gives long flags written with one dash their second one. What follows `--` is left alone.
pub(crate) fn normalize(arguments: Vec<OsString>, long_flags: &BTreeSet<String>) -> Vec<OsString> {
    let mut after_separator = false;
    let rewrite = |argument: OsString| {
        after_separator |= argument == "--";
        match argument.to_str().and_then(|text| text.strip_prefix('-')) {
            Some(flag) if !after_separator && is_long(flag, long_flags) => {
                format!("--{flag}").into()
            }
            Some(_) | None => argument,
        }
    };
    arguments.into_iter().map(rewrite).collect()
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
        let flags = ["debug", "no-block", "full", "l"].map(str::to_owned).into();
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
            "fleetctl --debug start --no-block=true a -b",
        );
        check(
            "fleetctl list-units -l -l=true --l",
            "fleetctl list-units -l -l=true --l",
        );
        check("fleetctl cat -- -debug", "fleetctl cat -- -debug");
        check("fleetctl cat - -unknown", "fleetctl cat - -unknown");
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
