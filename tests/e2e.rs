//! End-to-end tests: the binary, as its users meet it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cases;
