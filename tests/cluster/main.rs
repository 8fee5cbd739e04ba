//! Stories on three real machines: real systemd, real D-Bus, real etcd. Few, named by behaviour.
//!
//! Each says which units were disturbed, by systemd's InvocationID, and that nothing was lost.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed"
)]

mod lab;

mod bad_days;
mod cut_off;
mod faults;
mod hands_off;
mod leaving;
mod looking;
mod main_job;
mod power_cut;
mod renewing;
mod replacing;
mod scenarios;
mod standalone;
