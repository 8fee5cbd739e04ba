//! The configuration of the brake on mass loss. PURE.

use std::time::Duration;

use engine::BrakeLimits;

use crate::config::go_duration;

/// The longest time that lost machines may be waited for: a week without an operator.
const TIME_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// What was set; none is the default.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct BrakeConfig {
    pub(crate) machines_min: Option<usize>,
    pub(crate) lost_percent: Option<u32>,
    pub(crate) hold: Option<Duration>,
    pub(crate) give_up_every: Option<Duration>,
}

impl BrakeConfig {
    /// With the defaults, where machines have such a lease.
    pub(crate) fn limits(&self, agent_ttl: Duration) -> BrakeLimits {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let default = BrakeLimits::of_lease(ms(agent_ttl));
        BrakeLimits {
            machines_min: self.machines_min.unwrap_or(default.machines_min),
            lost_percent: self.lost_percent.unwrap_or(default.lost_percent),
            hold_ms: self.hold.map_or(default.hold_ms, ms),
            give_up_every_ms: self.give_up_every.map_or(default.give_up_every_ms, ms),
            ..default
        }
    }
}

/// 1 to 100.
pub(crate) fn percent(value: &str) -> Result<u32, String> {
    let percent = value.parse().ok().filter(|it| (1..=100).contains(it));
    percent.ok_or_else(|| format!("{value:?} is not a whole number from 1 to 100"))
}

/// A duration, at most [`TIME_MAX`].
pub(crate) fn time(value: &str) -> Result<Duration, String> {
    let time = go_duration(value)
        .ok_or_else(|| format!("{value:?} is not a duration: expected for example 10s or 1m30s"))?;
    if time <= TIME_MAX {
        Ok(time)
    } else {
        Err(format!("{value} is longer than a week (168h)"))
    }
}
