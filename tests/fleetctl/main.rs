//! The real fleetctl against the real API server, over a store in memory and scripted machines. What a user sees is compared
//! as text: stdout, stderr and exit status, tabs shown as `⇥`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail a test by panicking"
)]

mod cluster;
#[allow(dead_code, reason = "the API's own tests ask more of it")]
#[path = "../../api/tests/api/memory.rs"]
mod memory;
mod terminal;
mod terminator;

mod bad_days;
mod bad_input;
mod constant;
mod creating;
mod doctor;
mod every_command;
mod explaining;
mod formats;
mod help;
mod invocation;
mod lists;
mod looking;
mod lowering;
mod outcomes;
mod person;
mod quarantine;
mod secured;
mod shells;
mod templates;
