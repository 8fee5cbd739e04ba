//! How the cluster's store itself is: what `fleetctl doctor` shows beside the cluster's records.

use std::time::Duration;

use crate::MachineId;

/// The store, asked member by member.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StoreHealth {
    /// One for each endpoint that fleetd was given.
    pub members: Vec<StoreMember>,
    /// Members of the store that none of these endpoints is, by what clients are to ask them at: how they are is not known.
    pub unasked: Vec<String>,
    /// Alarms that are raised, in etcd's words: `NOSPACE`, `CORRUPT`. And, though etcd itself raises no alarm then, [`DIVERGED`].
    pub alarms: Vec<String>,
    /// Why etcd could not be asked for its alarms; none if it was.
    pub alarms_unknown: Option<String>,
    /// The lease of each machine that is there; at most [`MACHINE_LEASES_MAX`].
    pub leases: Vec<MachineLease>,
    /// Why the leases could not be asked for; none if they were.
    pub leases_unknown: Option<String>,
}

/// Members hold different data.
pub const DIVERGED: &str = "DIVERGED";

/// How many machines' leases are asked for: each costs the store a request.
pub const MACHINE_LEASES_MAX: usize = 200;

/// One endpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoreMember {
    /// As fleetd was given it.
    pub endpoint: String,
    /// What it said, or why it did not.
    pub answer: Result<MemberStatus, String>,
}

/// What a member says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberStatus {
    /// Its version.
    pub version: String,
    /// The size of its database in bytes, free pages included.
    pub database_bytes: u64,
    /// What the members say their leader is; 0 if this one knows none.
    pub leader: u64,
    /// Its own id.
    pub id: u64,
    /// How long its answer took.
    pub latency: Duration,
}

/// What a machine's wall clock says, compared with that of the machine that asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClockReading {
    /// How far it is ahead, in milliseconds; negative if it is behind.
    pub ahead_ms: i64,
    /// How wrong that may be, in milliseconds: half of the time that the answer took.
    pub within_ms: u64,
}

impl ClockReading {
    /// From what the asker's clock said when it asked, what the machine answered, and how long that took, in milliseconds.
    pub fn of(asked_unix_ms: u64, told_unix_ms: u64, took_ms: u64) -> ClockReading {
        let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        // The machine looked at its clock at some time in between.
        let then = signed(asked_unix_ms).saturating_add(signed(took_ms / 2));
        ClockReading {
            ahead_ms: signed(told_unix_ms).saturating_sub(then),
            within_ms: took_ms.div_ceil(2),
        }
    }

    /// How far it is ahead for certain, in milliseconds; negative if it is behind.
    pub fn certain_ms(self) -> i64 {
        let within = i64::try_from(self.within_ms).unwrap_or(i64::MAX);
        match self.ahead_ms {
            ahead if ahead > within => ahead - within,
            ahead if ahead < -within => ahead + within,
            _ => 0,
        }
    }
}

/// A machine's lease.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MachineLease {
    /// Whose.
    pub machine: MachineId,
    /// What it was granted for and what is left of it; none if the machine's record is under no lease, so that it never goes away.
    pub time: Option<LeaseTime>,
}

/// The times of a lease, which the store counts in seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeaseTime {
    /// What each keep-alive brings it back to; nothing if the lease has just ended, and the machine's record with it.
    pub granted: Duration,
    /// What is left.
    pub left: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_way_is_no_difference() {
        // Right, and it looked at its clock at once, in the middle, or just before we heard.
        for told in [1_000, 1_050, 1_100] {
            let reading = ClockReading::of(1_000, told, 100);
            assert_eq!((reading.within_ms, reading.certain_ms()), (50, 0));
        }
        assert_eq!(ClockReading::of(1_000, 61_000, 100).certain_ms(), 59_900);
        assert_eq!(ClockReading::of(61_000, 1_000, 100).certain_ms(), -60_000);
        assert_eq!(ClockReading::of(0, u64::MAX, 0).ahead_ms, i64::MAX);
        assert_eq!(ClockReading::of(u64::MAX, 0, u64::MAX).certain_ms(), 0);
    }
}
