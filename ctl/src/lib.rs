//! fleetctl: one verb per file.
