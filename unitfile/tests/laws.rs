//! What holds for every text: nothing panics, the text is kept, the canonical form is a fixed point.

use proptest::prelude::*;
use unitfile::{Requirements, UnitFile, UnitName, check_submission};

/// Texts that are nearly unit files: every character that means something, and lines that occur.
fn nearly_unit_file() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec![
            "\n", "\r\n", "\\\n", "\\\\\n", "\\ \n", "\\\r\n", "\\", " ", "\t", "#", ";", "=", "[", "]", "\"",
            "\u{feff}", "\u{a0}", "\u{85}", "\r",
        ])
        .prop_map(str::to_owned),
        2 => prop::sample::select(vec![
            "[Unit]\n", "[Service]\n", "[X-Fleet]\n", "\n[Install]\n", "A=b\n", "A=\n", "# c\n", "# c \\\n",
            "ExecStart=/bin/a \\\n  b\n", "Global=true\n", "Conflicts=%p@*.service\n", "MachineOf=a.service\n",
            "MachineMetadata=\"a=b\" \"c=d\"\n", "X-Conflicts=a\n",
        ])
        .prop_map(str::to_owned),
        1 => "[a-c%@*]{1,3}",
    ];
    (any::<bool>(), prop::collection::vec(piece, 0..24)).prop_map(|(with_section, pieces)| {
        let start = if with_section { "[S]\n" } else { "" };
        format!("{start}{}", pieces.concat())
    })
}

/// Unit files made of parts whose meaning is known, so that the parser is not its own judge.
fn known_unit_file() -> impl Strategy<Value = Vec<(String, String, String)>> {
    let line = "[A-Za-z0-9/%\"=#;\\[]([A-Za-z0-9/%\"=#;\\[ ]{0,6}[A-Za-z0-9/%\"=#;\\[])?";
    let value = prop_oneof![
        1 => Just(String::new()),
        6 => line,
        3 => (line, "[ \t]{0,2}", line).prop_filter_map("a comment does not end a value", |(a, blank, b)| {
            (!b.starts_with(['#', ';'])).then(|| format!("{a} \\\n{blank}{b}"))
        }),
        1 => line.prop_map(|a| format!("{a}\\\n")),
        1 => line.prop_map(|a| format!("{a}\\\\")),
        1 => line.prop_map(|a| format!("{a}\\")),
    ];
    let name = "[A-Z][A-Za-z-]{0,5}";
    let section = prop::sample::select(vec!["Unit", "Service", "Install", "X-Other", ""]);
    prop::collection::vec((section.prop_map(str::to_owned), name, value), 0..12)
}

/// The options as (section, name, value), sections in the order in which they first occur.
fn grouped(options: &[(String, String, String)]) -> Vec<(String, String, String)> {
    let mut sections: Vec<&str> = Vec::new();
    for (section, _, _) in options {
        if !sections.contains(&section.as_str()) {
            sections.push(section);
        }
    }
    sections
        .iter()
        .flat_map(|s| options.iter().filter(move |option| option.0 == *s))
        .cloned()
        .collect()
}

fn triples(file: &UnitFile) -> Vec<(String, String, String)> {
    file.options()
        .iter()
        .map(|o| (o.section.clone(), o.name.clone(), o.value.clone()))
        .collect()
}

fn check_laws(raw: &str) -> Result<(), TestCaseError> {
    let Ok(file) = UnitFile::parse(raw) else {
        return Ok(());
    };
    prop_assert_eq!(file.raw(), raw);

    let canonical = file.canonical();
    let again = UnitFile::parse(canonical.as_str());
    prop_assert!(
        again.is_ok(),
        "canonical form is refused: {canonical:?} {again:?}"
    );
    if let Ok(again) = again {
        prop_assert_eq!(again.canonical(), canonical);
        prop_assert_eq!(again.hash(), file.hash());
        prop_assert_eq!(triples(&again), grouped(&triples(&file)));
    }

    let from_options = UnitFile::from_options(&triples(&file));
    prop_assert!(
        from_options.is_ok(),
        "own options are refused: {from_options:?}"
    );
    if let Ok(from_options) = from_options {
        prop_assert_eq!(from_options.raw(), file.canonical());
        prop_assert_eq!(from_options.hash(), file.hash());
    }

    for name in ["web@1.service", "web@.service", "web.service"]
        .map(UnitName::parse)
        .into_iter()
        .flatten()
    {
        let (stored, warnings) = Requirements::of_stored(&name, &file);
        match Requirements::of(&name, &file) {
            Ok(submitted) => prop_assert_eq!(submitted, stored),
            Err(_) => prop_assert!(name.is_template() || !warnings.is_empty()),
        }
        prop_assert_eq!(
            check_submission(&name, &file).is_ok(),
            !file.is_empty() && Requirements::of(&name, &file).is_ok()
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn texts_that_are_nearly_unit_files_obey_the_laws(raw in nearly_unit_file()) {
        check_laws(&raw)?;
    }

    #[test]
    fn any_text_obeys_the_laws(raw in any::<String>()) {
        check_laws(&raw)?;
        check_laws(&format!("[S]\nA={raw}"))?;
    }

    #[test]
    fn any_bytes_are_read_or_refused(raw in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(file) = UnitFile::from_bytes(&raw) {
            prop_assert_eq!(file.raw().as_bytes(), &raw[..]);
        }
    }

    #[test]
    fn options_survive_being_written(options in known_unit_file()) {
        let file = UnitFile::from_options(&options);
        prop_assert!(file.is_ok(), "{file:?}");
        if let Ok(file) = file {
            prop_assert_eq!(triples(&file), grouped(&options));
            check_laws(file.raw())?;
        }
    }

    #[test]
    fn the_hash_ignores_comments_blank_lines_and_line_ends(
        options in known_unit_file(),
        noise in prop::collection::vec(
            prop::sample::select(vec!["", "\n", "\n \t\n", "# c\n", "  ; c \\\n", "#A=b\n\n"]), 64),
        windows in any::<bool>(),
    ) {
        let mut noisy = String::new();
        let mut noise = noise.into_iter().cycle();
        for (section, name, value) in grouped(&options) {
            // Every option below a header of its own: sections of one name merge.
            let end = if value.ends_with('\\') && !value.ends_with("\\\\") { " " } else { "" };
            let before = noise.next().unwrap_or("");
            let between = noise.next().unwrap_or("");
            noisy.push_str(&format!("{before}  [{section}] \n{between} {name} = {value}{end}\n"));
        }
        if windows {
            noisy = noisy.replace('\n', "\r\n");
        }
        let plain = UnitFile::from_options(&options).map(|file| file.hash());
        prop_assert_eq!(UnitFile::parse(noisy).map(|file| file.hash()), plain);
    }

    #[test]
    fn a_changed_value_changes_the_hash(options in known_unit_file(), index in any::<prop::sample::Index>()) {
        prop_assume!(!options.is_empty());
        let mut changed = options.clone();
        let index = index.index(options.len());
        changed[index].2.insert(0, 'x');
        let hash = |options: &[(String, String, String)]| UnitFile::from_options(options).map(|file| file.hash());
        prop_assert_ne!(hash(&changed), hash(&options));
    }
}
