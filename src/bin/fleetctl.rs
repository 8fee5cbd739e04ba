//! fleetctl: the command line client.
fn main() {}
