//! PURE. The options of `[X-Fleet]`: one table of their names, and how their values are cut into pieces.

/// The name of fleet's own section. systemd ignores sections whose names begin with `X-`.
pub const X_FLEET: &str = "X-Fleet";

/// The identity of an option of `[X-Fleet]`, however it was spelt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum XFleetKey {
    /// Only this machine.
    MachineId,
    /// Only where these units are.
    MachineOf,
    /// Only on machines with this metadata.
    MachineMetadata,
    /// Not where these units are.
    Conflicts,
    /// Drives these units away.
    Replaces,
    /// On every machine.
    Global,
    /// Evenly over the values of a metadata key.
    Spread,
    /// Rather on machines with this metadata.
    Prefers,
    /// How much it counts as load.
    Weight,
    /// How much memory it needs.
    Memory,
    /// How much processor time it needs.
    Cpu,
    /// How much it needs of what machines count.
    Resources,
    /// How many of one template a machine may have.
    MaxPerMachine,
    /// Waits for its machine.
    Sticky,
    /// What becomes of it on a machine that is cut off.
    OnDisconnect,
    /// Never runs twice.
    Exclusive,
}

/// One row of [`X_FLEET_OPTIONS`].
#[derive(Debug)]
pub struct XFleetOption {
    /// Which option this is.
    pub key: XFleetKey,
    /// Its name.
    pub name: &'static str,
    /// Older names that mean the same.
    pub legacy: &'static [&'static str],
    /// What it does, in one sentence.
    pub doc: &'static str,
}

/// Every option of `[X-Fleet]`. A new option is a new row here and a new arm in `requirements.rs`.
pub const X_FLEET_OPTIONS: &[XFleetOption] = &[
    XFleetOption {
        key: XFleetKey::MachineId,
        name: "MachineID",
        legacy: &["X-ConditionMachineID", "X-ConditionMachineBootID"],
        doc: "Run only on the machine with this id (32 characters, or the first 8).",
    },
    XFleetOption {
        key: XFleetKey::MachineOf,
        name: "MachineOf",
        legacy: &["X-ConditionMachineOf"],
        doc: "Run only on the machine that runs all of these units.",
    },
    XFleetOption {
        key: XFleetKey::MachineMetadata,
        name: "MachineMetadata",
        legacy: &["X-ConditionMachineMetadata"],
        doc: "Run only on machines with this metadata: key=value, key!=value, key>=8, key~web-*, key in a,b or key?.",
    },
    XFleetOption {
        key: XFleetKey::Conflicts,
        name: "Conflicts",
        legacy: &["X-Conflicts"],
        doc: "Do not run on a machine that runs a unit whose name matches one of these patterns.",
    },
    XFleetOption {
        key: XFleetKey::Replaces,
        name: "Replaces",
        legacy: &[],
        doc: "Make units whose names match one of these patterns move to another machine.",
    },
    XFleetOption {
        key: XFleetKey::Global,
        name: "Global",
        legacy: &[],
        doc: "Run on every machine that fits.",
    },
    XFleetOption {
        key: XFleetKey::Spread,
        name: "Spread",
        legacy: &[],
        doc: "Spread the units of one template evenly over the values of this metadata key.",
    },
    XFleetOption {
        key: XFleetKey::Prefers,
        name: "Prefers",
        legacy: &[],
        doc: "Rather run on machines with this metadata; 10:key=value counts ten times.",
    },
    XFleetOption {
        key: XFleetKey::Weight,
        name: "Weight",
        legacy: &[],
        doc: "Count as this many units when units are spread evenly (1 to 1000).",
    },
    XFleetOption {
        key: XFleetKey::Memory,
        name: "Memory",
        legacy: &[],
        doc: "Run only where so much memory is not yet promised to others, such as 512M.",
    },
    XFleetOption {
        key: XFleetKey::Cpu,
        name: "CPU",
        legacy: &[],
        doc: "Run only where so many processors are not yet promised to others, such as 0.5.",
    },
    XFleetOption {
        key: XFleetKey::Resources,
        name: "Resources",
        legacy: &[],
        doc: "Run only where so much of a counted resource is left, such as gpu=1; machines state it as metadata.",
    },
    XFleetOption {
        key: XFleetKey::MaxPerMachine,
        name: "MaxPerMachine",
        legacy: &[],
        doc: "Do not run on a machine that has so many units of the same template already.",
    },
    XFleetOption {
        key: XFleetKey::Sticky,
        name: "Sticky",
        legacy: &[],
        doc: "Wait for its machine when that is gone, rather than move.",
    },
    XFleetOption {
        key: XFleetKey::OnDisconnect,
        name: "OnDisconnect",
        legacy: &[],
        doc: "What to do on a machine that is cut off from the cluster: keep (run on, the default).",
    },
    XFleetOption {
        key: XFleetKey::Exclusive,
        name: "Exclusive",
        legacy: &[],
        doc: "Never run twice: on a machine that is cut off, stop before the unit can start elsewhere.",
    },
];

impl XFleetKey {
    /// The row of this option.
    pub fn option(self) -> &'static XFleetOption {
        // Every key has a row (a test says so), so the first row is never the answer for another key.
        X_FLEET_OPTIONS
            .iter()
            .find(|option| option.key == self)
            .unwrap_or(&X_FLEET_OPTIONS[0])
    }
}

/// The option with this name, and the rank of the spelling: 0 for the name itself, then its legacy names in order.
pub(crate) fn find_option(name: &str) -> Option<(XFleetKey, usize)> {
    X_FLEET_OPTIONS.iter().find_map(|option| {
        let mut spellings = std::iter::once(&option.name).chain(option.legacy);
        spellings
            .position(|spelling| *spelling == name)
            .map(|rank| (option.key, rank))
    })
}

/// The known name that is nearest to `name`, if it is near enough to be what was meant.
pub(crate) fn nearest_option(name: &str) -> Option<&'static str> {
    let wanted = bare(name);
    X_FLEET_OPTIONS
        .iter()
        .flat_map(|option| {
            std::iter::once(&option.name)
                .chain(option.legacy)
                .map(|s| (*s, option.name))
        })
        .map(|(spelling, known)| (edit_distance(&wanted, &bare(spelling)), known))
        .min_by_key(|(distance, _)| *distance)
        // A third of the letters may be wrong: more, and the suggestion would be a guess.
        .filter(|(distance, known)| *distance <= 1 + known.len() / 3)
        .map(|(_, known)| known)
}

/// Whether someone who wrote `[section]` meant `[X-Fleet]`.
pub(crate) fn is_misspelt_section(section: &str) -> bool {
    let bare = section.trim().to_lowercase();
    section != X_FLEET && (bare == "fleet" || edit_distance(&bare, "x-fleet") <= 1)
}

/// Cuts a value into the values it holds.
///
/// If it begins and ends with a quote, blanks outside of quotes separate and quotes vanish; there are no
/// escapes. Any other value is one value, unchanged.
pub(crate) fn split_quoted(value: &str) -> Vec<String> {
    if !(value.starts_with('"') && value.ends_with('"')) {
        return vec![value.to_owned()];
    }
    let mut values = Vec::new();
    let mut current: Option<String> = None;
    let mut quoted = false;
    for character in value.chars() {
        if character == '"' {
            quoted = !quoted;
            current.get_or_insert_default();
        } else if character.is_whitespace() && !quoted {
            values.extend(current.take());
        } else {
            current.get_or_insert_default().push(character);
        }
    }
    values.extend(current);
    values
}

/// Whether a word means true or false; `None` if it means neither.
pub(crate) fn parse_truth(word: &str) -> Option<bool> {
    match word.to_lowercase().as_str() {
        "true" | "yes" | "1" | "on" | "t" => Some(true),
        "false" | "no" | "0" | "off" | "f" | "" => Some(false),
        _ => None,
    }
}

/// A name without case and without the prefixes of legacy names, for comparison.
fn bare(name: &str) -> String {
    let name = name.to_lowercase();
    let name = name.strip_prefix("x-").unwrap_or(&name);
    name.strip_prefix("condition").unwrap_or(name).to_owned()
}

/// Fewest insertions, deletions and replacements of one character that turn `a` into `b`.
fn edit_distance(a: &str, b: &str) -> usize {
    // Far longer than any known name, so that a line of 64 KiB costs nothing.
    const MAX_COMPARED_CHARS: usize = 64;
    let b: Vec<char> = b.chars().take(MAX_COMPARED_CHARS).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().take(MAX_COMPARED_CHARS).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_one_row() {
        for option in X_FLEET_OPTIONS {
            assert_eq!(option.key.option().name, option.name);
            assert_eq!(find_option(option.name), Some((option.key, 0)));
        }
    }

    #[test]
    fn quoted_values_are_cut() {
        #[track_caller]
        fn check(value: &str, expected: &[&str]) {
            assert_eq!(split_quoted(value), expected);
        }
        check(r#""bar" "ping" "pong""#, &["bar", "ping", "pong"]);
        check(r#""bar"#, &[r#""bar"#]);
        check(r#"bar""#, &[r#"bar""#]);
        check(r#"foo\"bar"#, &[r#"foo\"bar"#]);
        check("", &[""]);
        check(r#""""#, &[""]);
        check(r#""bar" ""#, &["bar", ""]);
        check(r#""foo\"bar""#, &[r"foo\bar"]);
        check(r#""a b"   "c""#, &["a b", "c"]);
    }

    #[test]
    fn the_nearest_name_is_suggested() {
        for (written, meant) in [
            ("MachineOff", Some("MachineOf")),
            ("Machineof", Some("MachineOf")),
            ("machine-id", Some("MachineID")),
            ("X-Global", Some("Global")),
            ("X-MachineMetadata", Some("MachineMetadata")),
            ("X-ConditionConflicts", Some("Conflicts")),
            ("Conflict", Some("Conflicts")),
            ("Replace", Some("Replaces")),
            ("ExecStart", None),
            ("", None),
        ] {
            assert_eq!(nearest_option(written), meant, "{written}");
        }
    }

    #[test]
    fn sections_that_were_meant_to_be_x_fleet() {
        for section in [
            "X-fleet", "x-fleet", "X-FLEET", " X-Fleet", "X-Fleet ", "XFleet", "X_Fleet", "Fleet",
        ] {
            assert!(is_misspelt_section(section), "{section}");
        }
        for section in ["X-Fleet", "Service", "X-Other", "X-Fleets-Data"] {
            assert!(!is_misspelt_section(section), "{section}");
        }
    }
}
