//! Everything on the model's side: the wire, signing, credentials, the catalogue and its prices.
//!
//! [`client::Client`] fills the pipeline's `Upstream`. It makes each call once: repeating is the
//! pipeline's business. Nothing here knows of callers, policies or ledgers.

pub mod access;
pub mod aws;
pub mod catalogue;
pub mod client;
pub mod connect;
pub mod credentials;
pub mod endpoint;
mod frames;
pub mod pool;
pub mod probe;
pub mod profile;
mod sent;
pub mod sigv4;
