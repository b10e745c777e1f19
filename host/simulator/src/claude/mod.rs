//! Claude's own body: the Messages API as Bedrock's InvokeModel takes it.
//!
//! It must not know HTTP, nor other dialects but for the fields they share.

mod answer;
mod blocks;
mod events;
mod read;

pub(crate) use answer::answer;
pub(crate) use events::events;
pub(crate) use read::read;

#[cfg(test)]
mod tests;
