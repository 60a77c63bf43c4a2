//! Placeholder until the header generator lands.

fn main() {}
