//! The healer that is built in. `policies/HEALING.md` defines it; the same is written in
//! `policies/backoff.rhai` and as a component in `plugins/`.

mod backoff;

pub use backoff::{Backoff, BackoffBounds};
