//! Any key and value as a record of the cluster: what can be read is the same when written and read again; what cannot is
//! quarantined with a short reason, and a record that goes away is never taken for one that is damaged.
#![no_main]

use libfuzzer_sys::fuzz_target;
use model::Change;
use registry::fuzzing::{read, written};

const PREFIX: &str = "/_coreos.com/fleet/";

/// A reason is shown in lists and logs.
const REASON_BYTES_MAX: usize = 1024;

fuzz_target!(|input: &[u8]| {
    let line = input.iter().position(|byte| *byte == b'\n');
    let (key, value) = input.split_at(line.unwrap_or(input.len()));
    let value = value.strip_prefix(b"\n").unwrap_or(value);
    let key = [PREFIX.as_bytes(), key].concat();
    let Some(change) = read(PREFIX, &key, Some(value)) else {
        return;
    };
    if let Change::Quarantined { record, problem } = &change {
        assert!(
            problem.reason.len() <= REASON_BYTES_MAX + key.len(),
            "{}",
            problem.reason
        );
        let gone = read(PREFIX, &key, None);
        assert_eq!(
            matches!(gone, Some(Change::Quarantined { .. })),
            record.is_none()
        );
        return;
    }
    let again = written(&change).expect("what was read is there");
    assert_eq!(read(PREFIX, &key, Some(&again)), Some(change));
});
