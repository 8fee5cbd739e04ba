//! What a cluster is: machines, units, schedule, status, decisions, and the ports asked of the world.
