//! What a machine that comes back must not stop yet: what it has is its own until that is known to be otherwise.

use std::time::Duration;

use tokio::time::Instant;

use crate::catalog::Rule;
use crate::checker::{Activation, Checker, Place, STALE, State};
use crate::mirror::{Timeline, Wanted};

/// How long a machine that has come back leaves alone what is not in its schedule. It counts from later on than the checker does.
const KEPT: Duration = Duration::from_secs(3);

impl Checker {
    /// I2, I6: soon after a machine has come back, it stops only what nobody wants, or what is up elsewhere.
    pub(crate) fn check_kept(&self, state: &State, place: &Place, activation: &Activation) {
        let (machine, unit) = place;
        let mirror = &state.mirror;
        let now = Instant::now();
        let back = mirror
            .machines
            .get(machine)
            .and_then(Timeline::present_since);
        let lost = state.lost_at.get(machine).copied();
        let (Some(back), Some(lost)) = (back, lost) else {
            return;
        };
        let is_just_back = activation.began < lost && lost <= back && now < back + KEPT;
        let entry = mirror.entries.get(place);
        let has_been_scheduled =
            entry.is_some_and(|entry| entry.since(back).iter().any(Option::is_some));
        if !is_just_back || has_been_scheduled {
            return;
        }
        let recent = now.checked_sub(STALE).unwrap_or(now);
        let is_wanted = mirror
            .units
            .get(unit)
            .is_some_and(|it| it.steady_since(recent).is_some_and(Wanted::is_launched));
        let elsewhere = mirror.statuses.iter().any(|(at, status)| {
            let is_other = at.1 == *unit && at.0 != *machine;
            let entry = mirror.entries.get(at).and_then(Timeline::now);
            is_other
                && status.since(recent).iter().flatten().any(|status| {
                    let is_up = matches!(status.active.as_str(), "active" | "failed");
                    let is_begun = matches!(status.active.as_str(), "activating" | "deactivating");
                    // Or was, and somebody has stopped it.
                    let is_done = entry.is_some_and(|it| status.generation >= it.generation);
                    is_up || !status.job_result.is_empty() || (is_done && !is_begun)
                })
        });
        if is_wanted && (!elsewhere || self.catalog.rule(&activation.file) == Rule::Everywhere) {
            let what = format!(
                "{unit} is stopped on {machine} {} ms after that has come back, and is not up elsewhere",
                (now - back).as_millis()
            );
            self.history.violation("I2 keep", what);
        }
    }
}
