//! Tells what fleet does as a story on three real machines. Not written yet.

fn main() {}
