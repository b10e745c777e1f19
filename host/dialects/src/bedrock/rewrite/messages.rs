//! The conversation.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::fields::Fields;
use super::{Place, Rewrite, TextEdit, block, is_cache_point, list, quoted, values, without_idle_cache_points};
use crate::bedrock::edit::beginnings;
use crate::canonical::Role;
use crate::invalid::Invalid;

/// The conversation as it is to be; none: it stays.
pub(super) fn changed(raw: Option<&str>, change: &Rewrite) -> Result<Option<String>, Invalid> {
    let Rewrite { texts, keep_last, lead, .. } = change;
    if texts.is_empty() && keep_last.is_none() && lead.is_empty() {
        return Ok(None);
    }
    let own = match raw.filter(|raw| *raw != "null") {
        Some(raw) => values(raw, "messages")?,
        None => Vec::new(),
    };
    let from = keep_last.map_or(Ok(0), |least| first_kept(&own, least))?;
    let mut lead = joined(lead);
    // What stands in front of a message of the same role becomes a part of it.
    let merged = match (lead.last(), own.get(from)) {
        (Some((role, _)), Some(first)) if role_of(first)? == role_name(*role) => lead.pop().map(|(_, texts)| texts),
        _ => None,
    };
    let mut messages: Vec<Cow<'_, str>> = lead.iter().map(|(role, texts)| message(*role, texts).into()).collect();
    for (index, own) in own.iter().enumerate().skip(from) {
        let front = merged.as_deref().filter(|_| index == from).unwrap_or_default();
        let edits = texts.iter().filter(|(place, _)| place.message as usize == index).collect::<Vec<_>>();
        messages.push(match (front, &edits[..]) {
            ([], []) => own.get().into(),
            (front, edits) => edited(own.get(), front, edits)?.into(),
        });
    }
    Ok(Some(list(&messages)))
}

/// The first message that stays, so that at least so many do.
fn first_kept(messages: &[&RawValue], least: u32) -> Result<usize, Invalid> {
    let latest = messages.len().saturating_sub(least as usize);
    let mut first = 0;
    for begins in beginnings(messages) {
        match begins? {
            index if index > latest => break,
            index => first = index,
        }
    }
    Ok(first)
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::User => "user",
        Role::Assistant => "assistant",
    }
}

fn role_of(message: &RawValue) -> Result<Cow<'_, str>, Invalid> {
    #[derive(serde::Deserialize)]
    struct Spoken<'a> {
        #[serde(borrow)]
        role: Cow<'a, str>,
    }
    Invalid::parse::<Spoken<'_>>(message.get().as_bytes()).map(|spoken| spoken.role)
}

/// Messages, neighbours of one role made one.
fn joined(lead: &[(Role, String)]) -> Vec<(Role, Vec<&str>)> {
    let mut joined: Vec<(Role, Vec<&str>)> = Vec::new();
    for (role, text) in lead {
        match joined.last_mut() {
            Some((last, texts)) if last == role => texts.push(text),
            _ => joined.push((*role, vec![text])),
        }
    }
    joined
}

fn message(role: Role, texts: &[&str]) -> String {
    let blocks: Vec<String> = texts.iter().map(|text| block(text)).collect();
    format!("{{\"role\":\"{}\",\"content\":{}}}", role_name(role), list(&blocks))
}

/// A message with texts in front, and with others of its own.
fn edited(message: &str, front: &[&str], edits: &[&(Place, TextEdit)]) -> Result<String, Invalid> {
    let mut fields: Fields<'_> = Invalid::parse(message.as_bytes())?;
    fields.change("content", |content| {
        let own = values(content.unwrap_or("[]"), "messages.content")?;
        let mut blocks: Vec<Cow<'_, str>> = front.iter().map(|text| block(text).into()).collect();
        for (index, own) in own.into_iter().enumerate() {
            let of_piece = edits.iter().filter(|(place, _)| place.piece as usize == index).map(|(_, edit)| edit);
            push_edited(&mut blocks, own.get(), of_piece)?;
        }
        Ok(Some(list(&without_idle_cache_points(blocks, is_cache_point))))
    })?;
    Ok(fields.written())
}

/// Adds a block, with what its edits make of it.
fn push_edited<'a>(
    blocks: &mut Vec<Cow<'a, str>>,
    own: &'a str,
    edits: impl Iterator<Item = &'a TextEdit>,
) -> Result<(), Invalid> {
    let (mut behind, mut now) = (Vec::new(), Some(Cow::Borrowed(own)));
    for edit in edits {
        match edit {
            TextEdit::Before(text) => blocks.push(block(text).into()),
            TextEdit::After(text) => behind.push(Cow::Owned(block(text))),
            TextEdit::Remove => now = None,
            TextEdit::Replace(text) => {
                let mut fields: Fields<'_> = Invalid::parse(own.as_bytes())?;
                fields.set("text", quoted(text));
                now = Some(fields.written().into());
            }
        }
    }
    blocks.extend(now);
    blocks.append(&mut behind);
    Ok(())
}
