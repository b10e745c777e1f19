//! Converse and ConverseStream: the dialect that all models share.
//!
//! Reading turns a request into a conversation, writing turns a generation into an answer or the
//! frames of a stream. It must not know models beyond what it is handed.

mod additional_fields;
mod answer;
mod blocks;
pub(crate) mod complaint;
mod events;
mod read;
mod tools;
mod turns;
mod wire;

pub(crate) use additional_fields::read as read_additional;
pub(crate) use answer::{answer, tool_use_id};
pub(crate) use events::{PIECE, arguments, events};
pub(crate) use read::{from_wire, read};
pub(crate) use wire::{CountTokens, Request};

#[cfg(test)]
mod tests;
