//! What the gateway keeps on disk, in SQLite: the ledger.
//!
//! Nothing here knows of HTTP, AWS or policies. The ledger fills the pipeline's `Ledger`.

pub mod ledger;
