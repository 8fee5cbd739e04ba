//! The client side against a real etcd and against the embedded one: the connection, following, leases, places in the
//! cluster, leading, and the API's view.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "these are tests; clippy.toml allows it in #[test] functions only, not in what they call"
)]

#[path = "store/clocks.rs"]
mod clocks;
#[path = "store/endpoints.rs"]
mod endpoints;
#[path = "store/etcd.rs"]
mod etcd;
#[path = "store/following.rs"]
mod following;
#[path = "store/health.rs"]
mod health;
#[path = "store/leading.rs"]
mod leading;
#[path = "store/leases.rs"]
mod leases;
#[path = "store/missing.rs"]
mod missing;
#[path = "store/places.rs"]
mod places;
#[path = "store/ports.rs"]
mod ports;
#[path = "store/proxy.rs"]
mod proxy;
#[path = "store/quarantine.rs"]
mod quarantine;
#[path = "store/questions.rs"]
mod questions;
#[path = "store/sample.rs"]
mod sample;
#[path = "store/taking.rs"]
mod taking;
#[path = "store/ties.rs"]
mod ties;
#[path = "store/viewing.rs"]
mod viewing;
