//! A conversation as a model sees it, whichever dialect it was written in.
//!
//! Everything a reply and its price depend on is here, and nothing else: two requests that mean the
//! same have the same [`Measure`]. It must not know HTTP, JSON shapes of requests, or prices.

use std::borrow::Cow;

use serde_json::Value;
use sha2::{Digest, Sha256};

mod measure;

pub(crate) use measure::{Mark, Measure, PER_TOOL_USE, canonical_json};

/// How long a cached prefix is kept after its last use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ttl {
    FiveMinutes,
    OneHour,
}

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    User,
    Assistant,
    System,
}

/// What an attachment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MediaKind {
    Image,
    Document,
    Video,
    Audio,
    /// Thoughts the model encrypted.
    Redacted,
}

/// An attachment, reduced to what matters here.
#[derive(Debug)]
pub(crate) struct Media {
    pub(crate) kind: MediaKind,
    pub(crate) tokens: u32,
    pub(crate) digest: [u8; 32],
}

impl Media {
    pub(crate) fn new(kind: MediaKind, tokens: u32, content: &[u8]) -> Self {
        Self { kind, tokens, digest: Sha256::digest(content).into() }
    }
}

/// A piece of a message.
#[derive(Debug)]
pub(crate) enum Block<'a> {
    Text(Cow<'a, str>),
    /// Text marked for the guardrail.
    Guarded(Cow<'a, str>),
    Media(Media),
    ToolUse {
        id: Cow<'a, str>,
        name: Cow<'a, str>,
        input: Value,
    },
    ToolResult {
        id: Cow<'a, str>,
        parts: Vec<Block<'a>>,
        failed: bool,
    },
    Reasoning(Cow<'a, str>),
    /// A tool added to or taken from the conversation.
    ToolChange(Cow<'a, str>),
    CachePoint(Ttl),
}

/// A message.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    pub(crate) role: Role,
    pub(crate) blocks: Vec<Block<'a>>,
}

/// A tool the model may call, or a mark between tools up to which they are cached.
#[derive(Debug)]
pub(crate) enum Tool<'a> {
    Spec { name: Cow<'a, str>, description: Cow<'a, str>, schema: Value },
    CachePoint(Ttl),
}

/// Whether a tool has to be called.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Choice<'a> {
    #[default]
    Auto,
    Any,
    Named(Cow<'a, str>),
    Never,
}

/// A conversation and what bounds the reply.
#[derive(Debug, Default)]
pub(crate) struct Conversation<'a> {
    pub(crate) tools: Vec<Tool<'a>>,
    pub(crate) system: Vec<Block<'a>>,
    pub(crate) turns: Vec<Turn<'a>>,
    pub(crate) choice: Choice<'a>,
    pub(crate) one_tool_at_most: bool,
    pub(crate) max_tokens: Option<u32>,
    pub(crate) stop: Vec<Cow<'a, str>>,
    /// Temperature or a kin of it is set to other than its default.
    pub(crate) sampling: bool,
    pub(crate) reasoning: bool,
    /// The JSON schema the reply has to satisfy.
    pub(crate) schema: Option<Value>,
    /// The caller asked for the long context window.
    pub(crate) long_context: bool,
    /// It came as one prompt to be continued, which some models answer in another shape.
    pub(crate) prompt: bool,
}

impl<'a> Conversation<'a> {
    /// The names of the tools on offer.
    pub(crate) fn tool_names(&self) -> impl Iterator<Item = &str> {
        self.tools.iter().filter_map(|tool| match tool {
            Tool::Spec { name, .. } => Some(&**name),
            Tool::CachePoint(_) => None,
        })
    }

    /// The last message of the user.
    pub(crate) fn last_user(&self) -> Option<&Turn<'a>> {
        self.turns.iter().rev().find(|turn| turn.role == Role::User)
    }

    /// Every block of every message.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = &Block<'a>> {
        self.turns.iter().flat_map(|turn| &turn.blocks)
    }

    /// Every mark of the caller's, in the order the model reads.
    pub(crate) fn cache_points(&self) -> impl Iterator<Item = Ttl> + '_ {
        let tools = self.tools.iter().filter_map(|tool| match tool {
            Tool::CachePoint(ttl) => Some(*ttl),
            Tool::Spec { .. } => None,
        });
        let blocks = self.system.iter().chain(self.blocks()).filter_map(|block| match block {
            Block::CachePoint(ttl) => Some(*ttl),
            _ => None,
        });
        tools.chain(blocks)
    }
}
