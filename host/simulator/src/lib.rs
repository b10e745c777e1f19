//! A Bedrock Runtime that runs here, for people without an AWS account.
//!
//! It speaks Bedrock's wire, verifies signatures, invents replies that say so, goes wrong on demand,
//! and keeps the bill that AWS would have sent. It shares no code with the gateway, so that each can
//! find the other out. It must not know that a gateway exists.
//!
//! A request goes through `serve` (HTTP, body), `auth` (who), `faults` (what goes wrong), `target`
//! (which model), `converse` or `families` (what is said, as a `conversation`), `generation`
//! (what is answered and used), `bill`, and back through the dialect, whole or as a `script` of frames.

mod attachment;
mod auth;
mod bill;
mod capability;
mod catalogue;
mod config;
mod conversation;
mod converse;
mod error;
mod eventstream;
mod families;
mod faults;
mod generation;
mod guardrail;
mod ids;
mod jobs;
mod json;
mod money;
mod pace;
mod prompt_cache;
mod reply;
mod script;
mod serve;
mod target;
mod tokens;
mod usage;
mod wishes;

pub use bill::{Bill, BillRow, BillTotals, GuardrailUnits, UsageLine};
pub use config::{AccessKey, Clock, Config, DEFAULT_API_KEY, Guardrail};
pub use error::Exception;
pub use faults::{BadFault, Fault, FaultKind, Faults, Rate, StreamException};
pub use money::{BadAmount, Usd};
pub use pace::{Pace, Speed};
pub use serve::Simulator;
