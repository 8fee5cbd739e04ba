//! The HTTP API: its shapes ([`types`]), the server (feature `server`) and the client that fleetctl uses.

pub mod client;
#[cfg(feature = "server")]
pub mod server;
pub mod types;
