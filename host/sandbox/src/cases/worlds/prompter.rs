//! What a test says of a request, and of what a prompter changes of it.

use std::sync::Arc;

use kairos_pipeline::models::Catalogue;
use kairos_pipeline::policy::{
    Draft, DraftMessage, DraftParameters, Edit, Edits, Piece, Place, Shown, Speaker, SystemEdit, TextEdit,
};
use serde_json::{Map, Value as Json, json};

use super::super::expect::{self, Names, Reason};
use super::super::offers::{self, Chosen};
use super::super::table::{Read, Table, Value, wrong};
use crate::question::What;

/// What a test says of a request, not yet read.
pub(in super::super) struct Beside<'a> {
    draft: Option<Value<'a>>,
    first: Option<Value<'a>>,
}

impl<'a> Beside<'a> {
    pub(super) fn take(test: &mut Table<'a>) -> Self {
        Self { draft: test.take("draft"), first: test.take("first") }
    }

    pub(super) fn read(self, at: usize, chosen: &[Chosen], catalogue: &Catalogue) -> Read<What> {
        let Some(draft) = self.draft else { return wrong(at, "a prompter's test needs a `draft`") };
        let first = self.first.map(|name| offers::index(&name, chosen, catalogue)).transpose()?;
        Ok(What::Render { first: first.unwrap_or_default(), draft: Arc::new(self::draft(draft)?) })
    }
}

fn draft(value: Value<'_>) -> Read<Draft> {
    let mut table = value.table()?;
    let texts = |list: Value<'_>| list.list()?.map(|text| text.text().map(str::to_owned)).collect::<Read<Vec<_>>>();
    let system = table
        .read("system", |value| if value.is_text() { Ok(vec![value.text()?.to_owned()]) } else { texts(value) })?;
    let messages = table.read("messages", |list| list.list()?.map(message).collect::<Read<Vec<_>>>())?;
    let draft = Draft {
        system: system.unwrap_or_default().into_iter().map(whole).collect(),
        earlier: 0,
        messages: messages.unwrap_or_default(),
        tools: table.read("tools", texts)?.unwrap_or_default(),
        parameters: DraftParameters {
            max_output_tokens: table.read("max_output_tokens", |value| value.short())?,
            temperature: table.read("temperature", |value| value.fraction())?,
            top_p: table.read("top_p", |value| value.fraction())?,
            stop: table.read("stop", texts)?.unwrap_or_default(),
        },
        template: table.read("template", |value| match value.text()?.split_once('@') {
            Some((name, version)) => Ok((name.to_owned(), version.to_owned())),
            None => value.wrong("NAME@VERSION is needed"),
        })?,
    };
    table.finish()?;
    Ok(draft)
}

fn whole(text: String) -> Shown {
    let bytes = u32::try_from(text.len()).unwrap_or(u32::MAX);
    Shown { text, bytes }
}

/// Reads `{ user = "…" }` or `{ assistant = ["…", { tool-use = "f" }, "image"] }`: texts, and what is none by its
/// name.
fn message(value: Value<'_>) -> Read<DraftMessage> {
    let mut table = value.table()?;
    let at = table.at;
    let mut found = None;
    for role in Speaker::ALL {
        if let Some(pieces) = table.take(role.name()) {
            let pieces = match pieces.is_text() {
                true => vec![Piece::Text(whole(pieces.text()?.to_owned()))],
                false => pieces.list()?.map(piece).collect::<Read<Vec<_>>>()?,
            };
            if found.replace(DraftMessage { role, pieces, more: 0 }).is_some() {
                return wrong(at, "a message is of one role");
            }
        }
    }
    table.finish()?;
    found.map_or_else(|| wrong(at, "a message needs `user`, `assistant` or `system`"), Ok)
}

fn piece(value: Value<'_>) -> Read<Piece> {
    if value.is_text() {
        return Ok(Piece::Text(whole(value.text()?.to_owned())));
    }
    let mut table = value.table()?;
    let at = table.at;
    let call = table.read("tool-use", |value| value.text().map(str::to_owned))?;
    let cut = table.read("cut", |value| value.text().map(str::to_owned))?;
    let kinds = [
        Piece::Image,
        Piece::Document,
        Piece::Video,
        Piece::Audio,
        Piece::ToolResult,
        Piece::Reasoning,
        Piece::CachePoint,
        Piece::Other,
    ];
    let names: Vec<&str> = kinds.iter().map(Piece::name).collect();
    let kind = table.read("is", |value| Ok(kinds[value.one_of(&names)?].clone()))?;
    table.finish()?;
    match (call, cut, kind) {
        (Some(name), None, None) => Ok(Piece::ToolUse(name)),
        (None, Some(text), None) => Ok(Piece::Text(Shown { text, bytes: u32::MAX })),
        (None, None, Some(kind)) => Ok(kind),
        _ => wrong(at, "a piece is a text, or one of `tool-use`, `cut` (a text of which more is not shown) and `is`"),
    }
}

/// Edits, in what the test says of them: each by its name, as JSON.
pub(in super::super) struct EditsLike {
    edits: Map<String, Json>,
    /// Nothing but these is changed.
    only: bool,
    reason: Option<Reason>,
}

/// What can be said of edits, as it is written.
const NAMES: [&str; 10] = [
    "system",
    "system_before",
    "system_after",
    "examples",
    "keep_last",
    "texts",
    "max_output_tokens",
    "temperature",
    "top_p",
    "stop",
];

/// Reads what is expected of edits; nothing: it says nothing of them.
pub(super) fn expected(table: &mut Table<'_>) -> Read<Option<EditsLike>> {
    let mut edits = Map::new();
    for name in NAMES {
        if let Some(value) = table.read(name, Value::json)? {
            edits.insert(name.to_owned(), value);
        }
    }
    let only = table.read("only", |value| match value.flag()? {
        true => Ok(true),
        false => value.wrong("leave it out"),
    })?;
    let reason = table.read("reason", |value| expect::reason(&value))?;
    let is_said = !edits.is_empty() || only.is_some() || reason.is_some();
    Ok(is_said.then(|| EditsLike { edits, only: only.unwrap_or_default(), reason }))
}

/// What is changed, as a test says it.
fn written(edits: &Edits) -> Map<String, Json> {
    let mut all = Map::new();
    let mut say = |name: &str, value: Option<Json>| {
        if let Some(value) = value {
            all.insert(name.to_owned(), value);
        }
    };
    fn parameter<T: Clone + Into<Json>>(edit: &Edit<T>) -> Option<Json> {
        match edit {
            Edit::Keep => None,
            Edit::Unset => Some("unset".into()),
            Edit::Default(value) | Edit::Set(value) => Some(value.clone().into()),
        }
    }
    say(
        "system",
        match &edits.system {
            SystemEdit::Keep => None,
            SystemEdit::Replace(text) => Some(text.as_str().into()),
            SystemEdit::Remove => Some(false.into()),
        },
    );
    say("system_before", edits.system_before.clone().map(Json::from));
    say("system_after", edits.system_after.clone().map(Json::from));
    let examples: Vec<Json> = edits.examples.iter().map(|(user, assistant)| json!([user, assistant])).collect();
    say("examples", (!examples.is_empty()).then(|| examples.into()));
    say("keep_last", edits.keep_last.map(Json::from));
    let texts: Vec<Json> = edits.texts.iter().map(text).collect();
    say("texts", (!texts.is_empty()).then(|| texts.into()));
    say("max_output_tokens", edits.max_output_tokens.map(Json::from));
    say("temperature", parameter(&edits.temperature));
    say("top_p", parameter(&edits.top_p));
    say("stop", parameter(&edits.stop));
    all
}

fn text((Place { message, piece }, edit): &(Place, TextEdit)) -> Json {
    match edit {
        TextEdit::Replace(text) => json!({"message": message, "piece": piece, "replace": text}),
        TextEdit::Before(text) => json!({"message": message, "piece": piece, "before": text}),
        TextEdit::After(text) => json!({"message": message, "piece": piece, "after": text}),
        TextEdit::Remove => json!({"message": message, "piece": piece, "remove": true}),
    }
}

/// The edits, for people.
pub(super) fn in_words(edits: &Edits, names: &Names<'_>) -> String {
    let said: Vec<_> = written(edits).into_iter().map(|(name, value)| format!("{name} = {value}")).collect();
    let said = if said.is_empty() { "nothing".to_owned() } else { said.join("; ") };
    format!("the edits: {said}; reason {}", names.reason(edits.reason))
}

impl EditsLike {
    /// What is not as expected.
    pub(super) fn wrong_with(&self, edits: &Edits, names: &Names<'_>) -> Vec<String> {
        let is = written(edits);
        let mut wrong = Vec::new();
        for (name, expected) in &self.edits {
            let found = is.get(name);
            if !found.is_some_and(|found| same(found, expected)) {
                let found = found.map_or("not changed".to_owned(), Json::to_string);
                wrong.push(format!("{name}: {found}, expected {expected}"));
            }
        }
        if self.only {
            let others = is.iter().filter(|(name, _)| !self.edits.contains_key(*name));
            wrong.extend(others.map(|(name, value)| format!("{name}: {value}, expected not to be changed")));
        }
        wrong.extend(self.reason.as_ref().and_then(|reason| reason.wrong_with(edits.reason, names)));
        wrong
    }
}

/// Whether both are the same, whole numbers and others alike, in whatever order fields stand.
fn same(one: &Json, other: &Json) -> bool {
    match (one, other) {
        (Json::Number(one), Json::Number(other)) => one.as_f64() == other.as_f64(),
        (Json::Array(one), Json::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Json::Object(one), Json::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| other.get(name).is_some_and(|other| same(value, other)))
        }
        _ => one == other,
    }
}
