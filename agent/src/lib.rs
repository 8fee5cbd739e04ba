//! Makes one machine match its schedule: the pure reconciler, and systemd over D-Bus.
