//! Any bytes as a body of the API and as a page token: what is read is the same when written and read again, and following tokens
//! goes forward and ends.
#![no_main]

use std::num::NonZeroU16;

use api::server::fuzzing::{batch, page, patch, put};
use api::types::{UnitOption, UnitPut};
use libfuzzer_sys::fuzz_target;

/// More entries than any page has.
const TOTAL: usize = 70_000;

fuzz_target!(|input: &[u8]| {
    if let Some(file) = put(input) {
        let options = file.options().iter().map(|option| UnitOption {
            section: option.section.clone(),
            name: option.name.clone(),
            value: option.value.clone(),
        });
        let again = UnitPut {
            options: options.collect(),
            ..UnitPut::default()
        };
        let again = put(&serde_json::to_vec(&again).unwrap());
        assert_eq!(again.map(|file| file.hash()), Some(file.hash()));
    }
    if let Some(read) = batch(input) {
        let again = batch(&serde_json::to_vec(&read).unwrap());
        assert_eq!(again, Some(read));
    }
    let _ = patch(input);
    let Ok(token) = std::str::from_utf8(input) else {
        return;
    };
    let limit = NonZeroU16::new(100).unwrap();
    if let Some((entries, next)) = page(token, limit, TOTAL) {
        assert!(entries.end <= TOTAL);
        if let Some(next) = next {
            let (after, _) = page(&next, limit, TOTAL).unwrap();
            assert_eq!(after.start, entries.end);
        }
    }
});
