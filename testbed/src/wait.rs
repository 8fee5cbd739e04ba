//! Waits for a state that can only be asked for, never for a time.

use std::time::{Duration, Instant};

use crate::Error;

/// How often the state is asked for. Most answers cost a process on a machine: more often would load
/// the very machines that are waited for.
const INTERVAL: Duration = Duration::from_millis(25);

/// Asks `probe` until it returns a value, and returns that; `Err` says what is still missing.
///
/// # Errors
/// [`Error::Late`] with the last thing that was missing, after `limit`.
pub fn until<T, E: std::fmt::Display>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Result<T, E>,
) -> Result<T, Error> {
    let start = Instant::now();
    loop {
        let missing = match probe() {
            Ok(value) => return Ok(value),
            Err(missing) => missing,
        };
        if start.elapsed() >= limit {
            let last = format!("last seen: {missing}");
            return Err(Error::Late {
                what: what.to_owned(),
                limit_s: limit.as_secs(),
                last,
            });
        }
        pace();
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the pace of a poll, in a thread of its own; nothing is assumed to have happened meanwhile"
)]
fn pace() {
    std::thread::sleep(INTERVAL);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_is_returned_as_soon_as_it_is_there() {
        let mut asked = 0;
        let value = until("a third answer", Duration::from_secs(60), || {
            asked += 1;
            if asked == 3 {
                Ok(asked)
            } else {
                Err("not yet")
            }
        });
        assert_eq!(value.unwrap(), 3);
    }

    #[test]
    fn what_never_comes_is_an_error_that_says_what_was_missing() {
        let never = until("peace", Duration::ZERO, || Err::<(), _>("still at war"));
        let text = never.unwrap_err().to_string();
        assert!(
            text.contains("peace") && text.contains("still at war"),
            "{text}"
        );
    }
}
