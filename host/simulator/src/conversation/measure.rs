//! What a conversation comes to: its tokens, its digest, and where cached prefixes can end.
//!
//! It must not know what the digest or the tokens are used for.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Block, Choice, Conversation, Tool, Ttl};
use crate::tokens;

/// What a conversation comes to.
#[derive(Debug)]
pub(crate) struct Measure {
    pub(crate) tokens: u32,
    /// Of everything the reply depends on.
    pub(crate) digest: [u8; 32],
    /// Where a cached prefix can end; empty unless something is to be cached.
    pub(crate) marks: Vec<Mark>,
}

/// The end of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Tokens up to here.
    pub(crate) tokens: u32,
    /// Of everything up to here.
    pub(crate) digest: [u8; 16],
    /// Set where the caller put a cache point.
    pub(crate) ttl: Option<Ttl>,
}

/// Framing, in tokens.
const PER_CONVERSATION: u32 = 3;
const PER_TURN: u32 = 3;
const PER_TOOL: u32 = 6;
const PER_TOOL_RESULT: u32 = 3;
/// A call of a tool, beside its name and arguments; the same in history and in a reply.
pub(crate) const PER_TOOL_USE: u32 = 4;

impl Conversation<'_> {
    /// Reads everything once, in the order a model does: tools, system, messages.
    pub(crate) fn measure(&self, model: &str) -> Measure {
        let mark = self.cache_points().next().is_some();
        let mut walk = Walk { hash: Sha256::new(), tokens: PER_CONVERSATION, marks: Vec::new(), mark };
        walk.put(b'M', model.as_bytes());
        for tool in &self.tools {
            match tool {
                Tool::Spec { name, description, schema } => {
                    walk.tool(name, description, schema);
                    walk.end_block();
                }
                Tool::CachePoint(ttl) => walk.cache_point(*ttl),
            }
        }
        walk.put(b'S', b"");
        for block in &self.system {
            walk.block(block);
            walk.end_block();
        }
        for turn in &self.turns {
            walk.add(PER_TURN);
            walk.put(b'R', &[turn.role as u8]);
            for block in &turn.blocks {
                walk.block(block);
                walk.end_block();
            }
        }
        walk.finish(self)
    }
}

struct Walk {
    hash: Sha256,
    tokens: u32,
    marks: Vec<Mark>,
    mark: bool,
}

impl Walk {
    fn put(&mut self, tag: u8, bytes: &[u8]) {
        let mut head = [tag, 0, 0, 0, 0, 0, 0, 0, 0];
        head[1..].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.hash.update(head);
        self.hash.update(bytes);
    }

    fn add(&mut self, tokens: u32) {
        self.tokens = self.tokens.saturating_add(tokens);
    }

    fn text(&mut self, tag: u8, text: &str) {
        self.put(tag, text.as_bytes());
        self.add(tokens::count(text));
    }

    fn tool(&mut self, name: &str, description: &str, schema: &Value) {
        self.add(PER_TOOL);
        self.text(b'N', name);
        self.text(b'D', description);
        self.text(b'J', &canonical_json(schema));
    }

    fn block(&mut self, block: &Block<'_>) {
        match block {
            // What is guarded reads the same to the model.
            Block::Text(text) | Block::Guarded(text) => self.text(b't', text),
            Block::Media(media) => {
                self.put(b'm', &media.digest);
                self.add(media.tokens);
            }
            // Ids are the dialect's, and say nothing to the model.
            Block::ToolUse { name, input, .. } => {
                self.add(PER_TOOL_USE);
                self.text(b'u', name);
                self.text(b'j', &canonical_json(input));
            }
            Block::ToolResult { parts, failed, .. } => {
                self.add(PER_TOOL_RESULT);
                self.put(b'r', &[u8::from(*failed)]);
                for part in parts {
                    self.block(part);
                }
            }
            Block::Reasoning(text) => self.text(b'g', text),
            Block::ToolChange(name) => self.text(b'c', name),
            Block::CachePoint(ttl) => self.cache_point(*ttl),
        }
    }

    fn end_block(&mut self) {
        if self.mark {
            let mut digest = [0; 16];
            digest.copy_from_slice(&self.hash.clone().finalize()[..16]);
            // A cache point ends nothing of its own: the mark before it is the same place.
            if self.marks.last().is_none_or(|last| last.digest != digest) {
                self.marks.push(Mark { tokens: self.tokens, digest, ttl: None });
            }
        }
    }

    fn cache_point(&mut self, ttl: Ttl) {
        if let Some(last) = self.marks.last_mut() {
            last.ttl = Some(ttl);
        }
    }

    fn finish(mut self, conversation: &Conversation<'_>) -> Measure {
        match &conversation.choice {
            Choice::Auto => self.put(b'A', b"auto"),
            Choice::Any => self.put(b'A', b"any"),
            Choice::Never => self.put(b'A', b"never"),
            Choice::Named(name) => self.put(b'T', name.as_bytes()),
        }
        let flags = [conversation.reasoning, conversation.one_tool_at_most].map(u8::from);
        self.put(b'F', &flags);
        if let Some(schema) = &conversation.schema {
            self.text(b'O', &canonical_json(schema));
        }
        Measure { tokens: self.tokens, digest: self.hash.finalize().into(), marks: self.marks }
    }
}

/// JSON without spaces and with sorted keys, so that equal values are equal texts.
pub(crate) fn canonical_json(value: &Value) -> String {
    let mut out = String::new();
    write_canonical(value, &mut out);
    out
}

fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| key.as_str());
            out.push('{');
            for (at, (key, value)) in entries.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                out.push_str(&Value::String(key.clone()).to_string());
                out.push(':');
                write_canonical(value, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_canonical(item, out);
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::conversation::{Role, Turn};

    fn said<'a>(blocks: Vec<Block<'a>>) -> Conversation<'a> {
        Conversation { turns: vec![Turn { role: Role::User, blocks }], ..Default::default() }
    }

    #[test]
    fn tokens_are_framing_and_words() {
        // 3 for the conversation, 3 for the turn, "hi" is one.
        assert_eq!(said(vec![Block::Text("hi".into())]).measure("m").tokens, 7);
        // A result: 3, and "cold" is one.
        let parts = vec![Block::Text("cold".into())];
        let result = Block::ToolResult { id: "x".into(), parts, failed: false };
        assert_eq!(said(vec![result]).measure("m").tokens, 10);
    }

    #[test]
    fn meaning_counts_and_wording_of_the_wire_does_not() {
        let call = |id: &'static str, input| {
            let input: Value = input;
            said(vec![Block::ToolUse { id: id.into(), name: "f".into(), input }]).measure("m")
        };
        let one = call("a", json!({"x": 1, "y": [true, null]}));
        let other = call("b", json!({"y": [true, null], "x": 1}));
        assert_eq!((one.tokens, one.digest), (other.tokens, other.digest));
        assert_ne!(one.digest, call("a", json!({"x": 2, "y": [true, null]})).digest);

        let plain = said(vec![Block::Text("ab".into())]).measure("m");
        assert_ne!(plain.digest, said(vec![Block::Text("ab".into())]).measure("n").digest);
        let split = said(vec![Block::Text("a".into()), Block::Text("b".into())]).measure("m");
        assert_ne!(plain.digest, split.digest);
    }

    #[test]
    fn marks_only_where_something_is_cached() {
        let text = || Block::Text("words".into());
        assert!(said(vec![text(), text()]).measure("m").marks.is_empty());
        let marked = said(vec![text(), Block::CachePoint(Ttl::OneHour), text()]).measure("m");
        let ttls: Vec<_> = marked.marks.iter().map(|m| (m.tokens, m.ttl)).collect();
        assert_eq!(ttls, [(7, Some(Ttl::OneHour)), (8, None)]);
        // The cache point itself leaves no trace in what the model sees.
        assert_eq!(marked.digest, said(vec![text(), text()]).measure("m").digest);
    }

    #[test]
    fn canonical_json_sorts_at_every_depth() {
        let value = json!({"b": [{"z": 1, "a": "é\""}], "a": null});
        assert_eq!(canonical_json(&value), r#"{"a":null,"b":[{"a":"é\"","z":1}]}"#);
    }
}
