//! Any text as `[X-Fleet]` of a unit of any name: what a submission accepts, a stored record gives too.
#![no_main]

use libfuzzer_sys::fuzz_target;
use unitfile::{Requirements, UnitFile, UnitName};

fuzz_target!(|input: &str| {
    let (first, rest) = input.split_once('\n').unwrap_or(("web@1.service", input));
    let name = UnitName::from_user(first)
        .or_else(|_| UnitName::parse("web@1.service"))
        .expect("valid");
    let Ok(file) = UnitFile::parse(format!("[X-Fleet]\n{rest}")) else {
        return;
    };
    let (stored, warnings) = Requirements::of_stored(&name, &file);
    match Requirements::of(&name, &file) {
        Ok(submitted) => {
            assert_eq!(submitted, stored);
            assert!(warnings.is_empty() || name.is_template());
            for peer in &submitted.machine_of {
                assert!(
                    !submitted.conflict_with(peer) && !submitted.replace(peer)
                        || name.is_template()
                );
            }
        }
        Err(errors) => {
            assert!(!errors.as_slice().is_empty());
            assert!(!warnings.is_empty() || name.is_template());
            assert!(errors.to_string().lines().count() >= errors.as_slice().len());
        }
    }
});
