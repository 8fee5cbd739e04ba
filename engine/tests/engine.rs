//! The engine from outside: plans as small texts, laws against a brute-force oracle, and engines
//! that lead over the embedded store on virtual time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    reason = "these are tests; clippy.toml allows it in #[test] functions only, not in what they call"
)]

#[path = "engine/damage.rs"]
mod damage;
#[path = "engine/explanations.rs"]
mod explanations;
#[path = "engine/leading.rs"]
mod leading;
#[path = "engine/mass_loss.rs"]
mod mass_loss;
#[path = "engine/no_space.rs"]
mod no_space;
#[path = "engine/oracle/mod.rs"]
mod oracle;
#[path = "engine/picture.rs"]
mod picture;
#[path = "../../registry/tests/store/ports.rs"]
mod ports;
#[path = "engine/properties.rs"]
mod properties;
#[path = "engine/rebalancing.rs"]
mod rebalancing;
#[path = "engine/renewals.rs"]
mod renewals;
#[path = "engine/returning.rs"]
mod returning;
#[path = "engine/scenarios.rs"]
mod scenarios;
#[path = "engine/taking.rs"]
mod taking;
#[path = "engine/trials.rs"]
mod trials;
