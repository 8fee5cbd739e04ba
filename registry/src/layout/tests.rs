//! Records survive being written down, and nothing that anyone writes there is a crash.
