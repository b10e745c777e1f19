//! The system prompt.

use std::borrow::Cow;

use super::fields::Fields;
use super::{Rewrite, SystemEdit, block, is_cache_point, list, values, without_idle_cache_points};
use crate::invalid::Invalid;

/// The system prompt as it is to be; none: it stays.
pub(super) fn changed(raw: Option<&str>, change: &Rewrite) -> Result<Option<String>, Invalid> {
    let Rewrite { system, system_before, system_after, .. } = change;
    if *system == SystemEdit::Keep && system_before.is_none() && system_after.is_none() {
        return Ok(None);
    }
    let own = match raw.filter(|raw| *raw != "null") {
        Some(raw) => values(raw, "system")?,
        None => Vec::new(),
    };
    let own: Vec<&str> = own.into_iter().map(serde_json::value::RawValue::get).collect();
    let mut blocks: Vec<Cow<'_, str>> = Vec::with_capacity(own.len() + 2);
    blocks.extend(system_before.as_deref().map(|text| Cow::Owned(block(text))));
    match system {
        SystemEdit::Keep => blocks.extend(own.into_iter().map(Cow::Borrowed)),
        SystemEdit::Remove => blocks.extend(own.into_iter().filter(|block| !is_text(block)).map(Cow::Borrowed)),
        SystemEdit::Replace(text) => {
            let first = own.iter().position(|block| is_text(block)).unwrap_or(0);
            let (front, behind) = own.split_at(first);
            blocks.extend(front.iter().copied().map(Cow::Borrowed));
            blocks.push(Cow::Owned(block(text)));
            blocks.extend(behind.iter().copied().filter(|block| !is_text(block)).map(Cow::Borrowed));
        }
    }
    blocks.extend(system_after.as_deref().map(|text| Cow::Owned(block(text))));
    Ok(Some(list(&without_idle_cache_points(blocks, is_cache_point))))
}

fn is_text(block: &str) -> bool {
    serde_json::from_str::<Fields<'_>>(block).is_ok_and(|fields| fields.has("text"))
}
