//! Decisions that were recorded, decided again: by the policy that decided them (`kairos explain`), or by
//! another (`kairos replay`). Reads the data folder only, beside the gateway that writes it.

mod again;
mod past;

pub(crate) use self::again::{Again, again};
pub(crate) use self::past::Past;
