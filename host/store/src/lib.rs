//! What the gateway keeps on disk, in SQLite: the ledger, and the versions of policies.
//!
//! Nothing here knows of HTTP, AWS or what a policy is. The ledger fills the pipeline's `Ledger`.

mod database;
pub mod ledger;
pub mod policies;
