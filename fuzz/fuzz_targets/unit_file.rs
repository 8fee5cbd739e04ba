//! Any bytes as a unit file: nothing panics, and what is accepted obeys the laws of `unitfile`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use unitfile::{MAX_FILE_BYTES, UnitFile};

fuzz_target!(|raw: &[u8]| {
    let Ok(file) = UnitFile::from_bytes(raw) else {
        return;
    };
    assert_eq!(file.raw().as_bytes(), raw);

    let canonical = file.canonical();
    // Each line has one option there, and its section before it: a file near the limit may be written longer than it.
    if canonical.len() > MAX_FILE_BYTES {
        assert!(UnitFile::parse(canonical.as_str()).is_err());
        return;
    }
    let again = UnitFile::parse(canonical.as_str()).expect("the canonical form is a unit file");
    assert_eq!(again.canonical(), canonical);
    assert_eq!(again.hash(), file.hash());

    let options: Vec<(&str, &str, &str)> = file
        .options()
        .iter()
        .map(|o| (o.section.as_str(), o.name.as_str(), o.value.as_str()))
        .collect();
    let written = UnitFile::from_options(&options).expect("own options can be written");
    assert_eq!(written.raw(), canonical);
});
