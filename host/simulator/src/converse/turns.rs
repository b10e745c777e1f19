//! How messages may follow each other, and how calls of tools and their results pair up.
//!
//! It must not know models.

use std::collections::HashSet;

use crate::conversation::{Block, Conversation, Role, Turn};
use crate::error::ApiError;

pub(super) fn check(conversation: &Conversation<'_>, has_tools: bool) -> Result<(), ApiError> {
    // System messages may stand between the others, and change nothing of their order.
    let talk: Vec<(usize, &Turn<'_>)> =
        conversation.turns.iter().enumerate().filter(|(_, turn)| turn.role != Role::System).collect();
    if talk.first().is_none_or(|(_, turn)| turn.role != Role::User) {
        return Err(ApiError::validation(
            "A conversation must start with a user message. Try again with a conversation that \
             starts with a user message.",
        ));
    }
    if talk.windows(2).any(|pair| pair[0].1.role == pair[1].1.role) {
        return Err(ApiError::validation(
            "A conversation must alternate between user and assistant roles. Make sure the \
             conversation alternates between user and assistant roles and try again.",
        ));
    }
    let uses_tools =
        conversation.blocks().any(|block| matches!(block, Block::ToolUse { .. } | Block::ToolResult { .. }));
    if !uses_tools {
        return Ok(());
    }
    if !has_tools {
        return Err(ApiError::validation(
            "The toolConfig field must be defined when using toolUse and toolResult content blocks.",
        ));
    }
    let mut open: Vec<&str> = Vec::new();
    for (at, turn) in talk {
        open = pair_up(at, turn, &open)?;
    }
    Ok(())
}

/// Checks the results of one message against the calls of the one before, and gives its own calls.
fn pair_up<'t>(at: usize, turn: &'t Turn<'_>, open: &[&str]) -> Result<Vec<&'t str>, ApiError> {
    let (mut calls, mut results) = (Vec::new(), Vec::new());
    for block in &turn.blocks {
        match block {
            Block::ToolUse { id, .. } if turn.role == Role::Assistant => calls.push(&**id),
            Block::ToolResult { id, .. } if turn.role == Role::User => results.push(&**id),
            Block::ToolUse { .. } => {
                return Err(ApiError::validation(format!(
                    "The toolUse blocks at messages.{at}.content are not allowed in a message of \
                     the user role."
                )));
            }
            Block::ToolResult { .. } => {
                return Err(ApiError::validation(format!(
                    "The toolResult blocks at messages.{at}.content are not allowed in a message \
                     of the assistant role."
                )));
            }
            _ => {}
        }
    }
    for (what, ids) in [("toolUse", &calls), ("toolResult", &results)] {
        if let Some(twice) = repeated(ids) {
            return Err(ApiError::validation(format!(
                "The {what} blocks at messages.{at}.content contain duplicate Ids: {twice}"
            )));
        }
    }
    if results.len() > open.len() {
        return Err(ApiError::validation(format!(
            "The number of toolResult blocks at messages.{at}.content exceeds the number of toolUse \
             blocks of previous turn."
        )));
    }
    let missing: Vec<&str> = open.iter().copied().filter(|id| !results.contains(id)).collect();
    if !missing.is_empty() {
        return Err(ApiError::validation(format!(
            "Expected toolResult blocks at messages.{at}.content for the following Ids: {}",
            missing.join(", ")
        )));
    }
    Ok(calls)
}

fn repeated<'a>(ids: &[&'a str]) -> Option<&'a str> {
    let mut seen = HashSet::new();
    ids.iter().copied().find(|id| !seen.insert(*id))
}
