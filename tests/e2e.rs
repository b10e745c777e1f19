//! End-to-end tests: the binary, as its users meet it.

mod cases;
