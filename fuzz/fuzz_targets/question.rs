//! Any value as a question to a machine and as a piece of its answer: what can be read is the same when written and read again, and what
//! cannot is refused with a short reason.
#![no_main]

use libfuzzer_sys::fuzz_target;
use registry::fuzzing::{piece, question};

/// Beside the value, of which a reason may quote as much as it likes.
const REASON_BYTES_MAX: usize = 1024;

fuzz_target!(|input: &[u8]| {
    let short = |reason: &str| assert!(reason.len() <= REASON_BYTES_MAX + 4 * input.len(), "{reason}");
    match question(input) {
        Ok((read, written)) => {
            let again = question(&written).expect("what was written");
            assert_eq!(again, (read, written));
        }
        Err(reason) => short(&reason),
    }
    match piece(input) {
        Ok(written) => assert_eq!(piece(&written).expect("what was written"), written),
        Err(reason) => short(&reason),
    }
});
