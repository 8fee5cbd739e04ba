//! The whole of fleet in one thread on virtual time: engines and agents on the embedded store and the fake
//! systemd, with faults drawn from a seed, and the promises checked after every step.
