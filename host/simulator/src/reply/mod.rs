//! What the model says: a pure function of model and conversation.
//!
//! The same conversation gets the same reply in every dialect, streamed or not, at any time. It must
//! not know wires, prices or clocks.
//!
//! Under `auto` a tool is called when the last message of the user names it; under `any` and a named
//! choice one is always called. Text in double quotes in that message is repeated word for word, so
//! that a caller can make the simulator say something.

mod prose;
mod schema;

use crate::catalogue::{Family, Model};
use crate::conversation::{Block, Choice, Conversation, PER_TOOL_USE, Tool, Turn};
use crate::tokens;

/// Tools called in one reply at most.
const MOST_CALLS: usize = 4;

/// Why a reply ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    EndTurn,
    ToolUse,
    MaxTokens,
    /// At one of the caller's stop sequences.
    Sequence,
    Guardrail,
}

impl Stop {
    /// As Converse and Claude's own body say it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::EndTurn => "end_turn",
            Self::ToolUse => "tool_use",
            Self::MaxTokens => "max_tokens",
            Self::Sequence => "stop_sequence",
            Self::Guardrail => "guardrail_intervened",
        }
    }
}

/// A piece of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Reasoning {
        text: String,
        /// By which the model knows them again; DeepSeek's have none.
        signature: Option<String>,
    },
    Text(String),
    Tool {
        /// From which each dialect makes an id of its own.
        serial: u64,
        name: String,
        /// JSON; `{}` if the reply was cut before its end.
        input: String,
    },
}

impl Said {
    pub(crate) fn tokens(&self) -> u32 {
        match self {
            Self::Reasoning { text, .. } | Self::Text(text) => tokens::count(text),
            Self::Tool { name, input, .. } => call_tokens(name, input),
        }
    }
}

fn call_tokens(name: &str, input: &str) -> u32 {
    PER_TOOL_USE + tokens::count(name) + tokens::count(input)
}

/// A whole reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) blocks: Vec<Said>,
    pub(crate) stop: Stop,
    pub(crate) stop_sequence: Option<String>,
    pub(crate) tokens: u32,
}

impl Reply {
    /// A reply that a guardrail put in place of the model's.
    pub(crate) fn blocked(message: &str, tokens: u32) -> Self {
        Self { blocks: vec![Said::Text(message.to_owned())], stop: Stop::Guardrail, stop_sequence: None, tokens }
    }

    /// All its text.
    pub(crate) fn text(&self) -> String {
        let texts = self.blocks.iter().filter_map(|said| match said {
            Said::Text(text) => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    }
}

/// A source of choices that only depends on the conversation (SplitMix64).
pub(crate) struct Draw(u64);

impl Draw {
    fn new(digest: &[u8; 32]) -> Self {
        let mut seed = [0; 8];
        seed.copy_from_slice(&digest[..8]);
        Self(u64::from_le_bytes(seed))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `n`, which is not zero.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        let n = u64::try_from(n.max(1)).unwrap_or(1);
        usize::try_from(self.next() % n).unwrap_or(0)
    }

    pub(crate) fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

/// Replies to a conversation whose digest is `digest`.
pub(crate) fn reply(model: &Model, conversation: &Conversation<'_>, digest: &[u8; 32]) -> Reply {
    let mut draw = Draw::new(digest);
    let heard = Heard::from(conversation);
    let topics = prose::topics(heard.text.as_deref().unwrap_or_default());
    let mut blocks = Vec::with_capacity(2);
    // R1 thinks before every answer, whether asked to or not.
    if conversation.reasoning || model.family == Family::DeepSeekR1 {
        let text = prose::reasoning(&topics, &mut draw);
        let signed = !matches!(model.family, Family::DeepSeekR1 | Family::DeepSeek);
        blocks.push(Said::Reasoning { text, signature: signed.then(|| prose::signature(&mut draw)) });
    }
    let calls = calls(conversation, &heard);
    if let Some(schema) = conversation.schema.as_ref().filter(|_| calls.is_empty()) {
        blocks.push(Said::Text(schema::instance(schema, &topics, &mut draw)));
        return cut(blocks, Stop::EndTurn, conversation, model);
    }
    if calls.is_empty() {
        blocks.push(Said::Text(prose::answer(&model.name, &heard, &topics, &mut draw)));
        return cut(blocks, Stop::EndTurn, conversation, model);
    }
    // A tool that was not asked for by force is announced.
    if conversation.choice == Choice::Auto {
        blocks.push(Said::Text(prose::announcement(&model.name, &calls)));
    }
    for name in calls {
        let schema = conversation.tools.iter().find_map(|tool| match tool {
            Tool::Spec { name: known, schema, .. } if *known == name => Some(schema),
            _ => None,
        });
        let input = schema.map_or_else(|| "{}".into(), |s| schema::arguments(s, &topics, &mut draw));
        blocks.push(Said::Tool { serial: draw.next(), name: name.to_owned(), input });
    }
    cut(blocks, Stop::ToolUse, conversation, model)
}

/// What of a conversation a reply takes up.
pub(crate) struct Heard<'c> {
    /// The last text of the user.
    pub(crate) text: Option<std::borrow::Cow<'c, str>>,
    /// Results of tools in the last message, by name of the tool where that is known.
    pub(crate) results: Vec<(Option<&'c str>, String)>,
    pub(crate) images: usize,
    pub(crate) documents: usize,
}

impl<'c> Heard<'c> {
    fn from(conversation: &'c Conversation<'_>) -> Self {
        use crate::conversation::MediaKind;
        let last = conversation.last_user();
        let texts: Vec<&str> = last.map(texts_of).unwrap_or_default();
        let text = match texts[..] {
            [] => None,
            [one] => Some(one.into()),
            _ => Some(texts.join(" ").into()),
        };
        let count = |kind: MediaKind| {
            let blocks = last.map(|turn| turn.blocks.iter()).into_iter().flatten();
            blocks.filter(|b| matches!(b, Block::Media(m) if m.kind == kind)).count()
        };
        Self {
            text,
            results: last.map(|turn| results_of(conversation, turn)).unwrap_or_default(),
            images: count(MediaKind::Image),
            documents: count(MediaKind::Document),
        }
    }
}

fn texts_of<'c>(turn: &'c Turn<'_>) -> Vec<&'c str> {
    let texts = turn.blocks.iter().filter_map(|block| match block {
        Block::Text(text) | Block::Guarded(text) => Some(&**text),
        _ => None,
    });
    texts.collect()
}

fn results_of<'c>(conversation: &'c Conversation<'_>, turn: &'c Turn<'_>) -> Vec<(Option<&'c str>, String)> {
    let called = |wanted: &str| {
        conversation.blocks().find_map(|block| match block {
            Block::ToolUse { id, name, .. } if *id == wanted => Some(&**name),
            _ => None,
        })
    };
    let results = turn.blocks.iter().filter_map(|block| match block {
        Block::ToolResult { id, parts, .. } => {
            let texts = parts.iter().filter_map(|part| match part {
                Block::Text(text) => Some(&**text),
                _ => None,
            });
            Some((called(id), texts.collect::<Vec<_>>().join(" ")))
        }
        _ => None,
    });
    results.collect()
}

/// The tools to call, by name.
fn calls<'c>(conversation: &'c Conversation<'_>, heard: &Heard<'_>) -> Vec<&'c str> {
    let most = if conversation.one_tool_at_most { 1 } else { MOST_CALLS };
    let named = || -> Vec<&'c str> {
        let Some(text) = &heard.text else {
            return Vec::new();
        };
        let said = text.to_lowercase();
        let mut places: Vec<(usize, &str)> = conversation
            .tool_names()
            .filter_map(|name| mention(&said, &name.to_lowercase()).map(|at| (at, name)))
            .collect();
        places.sort_unstable();
        places.into_iter().map(|(_, name)| name).take(most).collect()
    };
    match &conversation.choice {
        Choice::Never => Vec::new(),
        Choice::Named(wanted) => conversation.tool_names().filter(|n| n == wanted).take(1).collect(),
        // An agent that has its result must not be sent round again.
        Choice::Auto if !heard.results.is_empty() => Vec::new(),
        Choice::Auto => named(),
        Choice::Any => match named() {
            none if none.is_empty() => conversation.tool_names().take(1).collect(),
            some => some,
        },
    }
}

/// Where a text names a tool, as a word of its own.
fn mention(text: &str, name: &str) -> Option<usize> {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    text.match_indices(name).map(|(at, _)| at).find(|at| {
        let before = text[..*at].chars().next_back();
        let after = text[at + name.len()..].chars().next();
        !before.is_some_and(part_of_word) && !after.is_some_and(part_of_word)
    })
}

/// Ends a reply where it has to: at a stop sequence or at the limit of tokens.
fn cut(blocks: Vec<Said>, end: Stop, conversation: &Conversation<'_>, model: &Model) -> Reply {
    let mut left = conversation.max_tokens.unwrap_or(model.max_out).min(model.max_out);
    let mut reply = Reply { blocks: Vec::with_capacity(blocks.len()), stop: end, stop_sequence: None, tokens: 0 };
    for said in blocks {
        let before_stop = match &said {
            Said::Text(text) => first_stop(text, conversation),
            _ => None,
        };
        let (said, ended) = match (said, before_stop) {
            (Said::Text(mut text), Some((at, sequence))) => {
                text.truncate(at);
                (Said::Text(text), Some(sequence))
            }
            (other, _) => (other, None),
        };
        let whole = said.tokens();
        if whole > left {
            reply.stop = Stop::MaxTokens;
            reply.tokens += left;
            reply.blocks.extend(shorten(said, left));
            return reply;
        }
        left -= whole;
        reply.tokens += whole;
        if !matches!(&said, Said::Text(text) if text.is_empty()) {
            reply.blocks.push(said);
        }
        if let Some(sequence) = ended {
            reply.stop = Stop::Sequence;
            // Titan's own body has no place to say which.
            reply.stop_sequence = (model.family != Family::Titan).then_some(sequence);
            return reply;
        }
    }
    reply
}

fn first_stop(text: &str, conversation: &Conversation<'_>) -> Option<(usize, String)> {
    let found = conversation.stop.iter().filter(|stop| !stop.is_empty());
    found.filter_map(|stop| text.find(&**stop).map(|at| (at, stop.to_string()))).min()
}

/// What of a block fits into so many tokens.
fn shorten(said: Said, left: u32) -> Option<Said> {
    if left == 0 {
        return None;
    }
    Some(match said {
        Said::Reasoning { text, signature } => {
            Said::Reasoning { text: tokens::first(&text, left).to_owned(), signature }
        }
        Said::Text(text) => Said::Text(tokens::first(&text, left).to_owned()),
        Said::Tool { serial, name, .. } => Said::Tool { serial, name, input: "{}".into() },
    })
}

#[cfg(test)]
mod tests;
