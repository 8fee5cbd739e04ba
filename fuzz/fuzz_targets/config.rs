//! Any text as `fleet.conf`: nothing panics, and each complaint names the line it is about.
#![no_main]

#[allow(dead_code, reason = "fleetd asks it for limits")]
#[path = "../../src/bin/fleetd/brake.rs"]
mod brake;
#[allow(dead_code, reason = "fleetd reads fields that are not looked at here")]
#[path = "../../src/bin/fleetd/config.rs"]
mod config;
#[path = "../../src/bin/fleetd/ini.rs"]
mod ini;

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let nothing = BTreeMap::new();
    let lines = text.lines().count();
    match config::load(Some(("fleet.conf", text)), &nothing) {
        Ok(loaded) => {
            assert!(loaded.warnings.len() <= lines);
            // The environment says the same in other words: what a file may say, a variable may.
            let settings = ini::parse(text).expect("was read before");
            let environment: BTreeMap<String, String> = settings
                .into_iter()
                .map(|setting| {
                    (
                        format!("FLEET_{}", setting.key.to_ascii_uppercase()),
                        setting.value,
                    )
                })
                .collect();
            let again = config::load(None, &environment).expect("the same settings");
            assert_eq!(again.config, loaded.config);
        }
        Err(errors) => {
            let said = errors.to_string();
            assert!(!said.is_empty());
            assert!(
                said.len() <= 4096 + text.len() * 8,
                "{} of {}",
                said.len(),
                text.len()
            );
        }
    }
});
