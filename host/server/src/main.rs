//! The process: HTTP, command line, telemetry.
fn main() {}
