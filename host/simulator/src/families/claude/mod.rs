//! Claude's own body: the Messages API as Bedrock's InvokeModel takes it.
//!
//! Sources: fixtures `im_claude` and `is_claude`, and AWS's page "Anthropic Claude Messages API".
//! It must not know HTTP, nor other dialects but for the fields they share.

mod answer;
mod blocks;
mod events;
mod read;

pub(super) use answer::answer;
pub(super) use events::events;
pub(super) use read::read;

#[cfg(test)]
mod tests;
