//! How the cluster's store itself is: what `fleetctl doctor` shows beside the cluster's records.

use std::time::Duration;

use crate::MachineId;

/// The store, asked member by member.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StoreHealth {
    /// One for each endpoint that fleetd was given.
    pub members: Vec<StoreMember>,
    /// Alarms that are raised, in etcd's words: `NOSPACE`, `CORRUPT`. And, though etcd itself raises no alarm then, [`DIVERGED`].
    pub alarms: Vec<String>,
    /// The lease of each machine that is there; at most [`MACHINE_LEASES_MAX`].
    pub leases: Vec<MachineLease>,
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
    /// What each keep-alive brings it back to.
    pub granted: Duration,
    /// What is left.
    pub left: Duration,
}
