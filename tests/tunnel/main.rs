//! fleetctl from outside: through a bastion with a real sshd and a real ssh-agent, to machines that only the bastion reaches.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail a test by panicking"
)]

mod outside;

mod addresses;
mod cuts;
mod login;
mod secured;
mod trust;
mod units;
mod ways;

#[allow(dead_code, reason = "the stories of tests/cluster ask more of it")]
#[path = "../cluster/lab.rs"]
mod lab;
#[allow(dead_code, reason = "the tests of fleetctl ask more of it")]
#[path = "../fleetctl/terminal.rs"]
mod terminal;
#[allow(
    dead_code,
    reason = "the tests of fleetctl have one in the same process"
)]
#[path = "../fleetctl/terminator.rs"]
mod terminator;
