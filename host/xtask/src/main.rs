//! Development tasks: demo, test, prove.
fn main() {}
