//! fleetd: the daemon on every machine.
fn main() {}
