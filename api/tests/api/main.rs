//! The real router on real sockets, over a store in memory: asked in raw bytes, as other people's clients do, and by our
//! own client.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail a test by panicking"
)]

mod advice;
mod harness;
mod memory;

mod client;
mod documents;
mod endpoints;
mod events;
mod lifecycle;
mod lists;
mod monitors;
mod placement;
mod questions;
mod resume;
mod units;
mod wire;
