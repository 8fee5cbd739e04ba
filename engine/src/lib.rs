//! Decides where units run: the pure scheduler, leadership and the pass around it.
