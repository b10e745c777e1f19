//! What the gateway keeps on disk, in SQLite: the ledger, alerts, records of requests, the versions of policies, what
//! observers have learned.
//!
//! Nothing here knows of HTTP, AWS or what a policy is. The ledger fills the pipeline's `Ledger`, records
//! its `Recorder`.

pub mod alerts;
mod database;
pub mod jobs;
pub mod learned;
pub mod ledger;
pub mod policies;
pub mod records;
