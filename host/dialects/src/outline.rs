//! What the gateway needs to know of a request, whatever dialect it came in.

use crate::usage::Units;

/// What a request needs of a model. One bit each, in the order of `capabilities` in the contract.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Needs(pub u32);

impl Needs {
    /// A system prompt.
    pub const SYSTEM_PROMPT: Self = Self(1 << 0);
    /// Function tools.
    pub const TOOLS: Self = Self(1 << 1);
    /// A streamed answer.
    pub const STREAMING: Self = Self(1 << 2);
    /// Images as input.
    pub const IMAGES: Self = Self(1 << 3);
    /// Documents as input.
    pub const DOCUMENTS: Self = Self(1 << 4);
    /// Video as input.
    pub const VIDEO: Self = Self(1 << 5);
    /// Audio as input.
    pub const AUDIO: Self = Self(1 << 6);
    /// Reasoning content.
    pub const REASONING: Self = Self(1 << 7);
    /// Answers held to a JSON schema.
    pub const STRUCTURED_OUTPUT: Self = Self(1 << 8);
    /// Cache points.
    pub const PROMPT_CACHING: Self = Self(1 << 9);
    /// A guardrail.
    pub const GUARDRAILS: Self = Self(1 << 10);
    /// Embeddings.
    pub const EMBEDDINGS: Self = Self(1 << 11);
    /// Citations.
    pub const CITATIONS: Self = Self(1 << 12);
    /// Tools that the provider runs.
    pub const SERVER_TOOLS: Self = Self(1 << 13);
    /// Images as output.
    pub const IMAGE_OUTPUT: Self = Self(1 << 15);
    /// Documents put in the order of their relevance.
    pub const RERANK: Self = Self(1 << 18);

    /// Names of the bits, as in the contract and the catalogue.
    pub const NAMES: [&'static str; 19] = [
        "system-prompt",
        "tools",
        "streaming",
        "images",
        "documents",
        "video",
        "audio",
        "reasoning",
        "structured-output",
        "prompt-caching",
        "guardrails",
        "embeddings",
        "citations",
        "server-tools",
        "batch",
        "image-output",
        "video-output",
        "audio-output",
        "rerank",
    ];

    /// Adds what `other` needs.
    pub fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Whether all of `other` is here too.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// What of this is not in `offered`.
    pub fn missing_from(self, offered: Self) -> Self {
        Self(self.0 & !offered.0)
    }

    /// Whether nothing is needed.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The names of what is needed.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().enumerate().filter(move |(bit, _)| self.0 & (1 << bit) != 0).map(|(_, name)| name)
    }
}

/// What routing, pricing and admission read of a request.
#[derive(Clone, Debug)]
pub struct Outline {
    /// Text of the last user message that has text, its blocks joined by line feeds, cut to
    /// [`Outline::TEXT_LIMIT`].
    pub prompt: String,
    /// Text of the system prompt, likewise.
    pub system: String,
    /// Bytes of all text, whether cut above or not.
    pub text_bytes: u64,
    /// Messages, the system prompt apart.
    pub turns: u32,
    /// The output limit that the request sets.
    pub max_output_tokens: Option<u32>,
    /// What a model must be able to do.
    pub needs: Needs,
    /// Images, each of which a guardrail may charge for.
    pub images: u32,
    /// Whether the body's length bounds the input tokens. It does not where content is media or is
    /// referred to: an image of 200 bytes can be 1,600 tokens.
    pub unbounded_input: bool,
    /// Whether beta switches may widen the model's context beyond what the catalogue says.
    pub wide_context: bool,
    /// Whether `max_output_tokens` bounds the output. It does not where the body may raise it in a
    /// field that is not read.
    pub unbounded_output: bool,
    /// How many answers are asked for at once; each may be as long as the output limit.
    pub completions: u32,
    /// Whether latency-optimised inference is asked for, which has a price of its own.
    pub optimized_latency: bool,
    /// The service tier that the request asks for.
    pub service_tier: ServiceTier,
    /// Whether its texts are all that is input in tokens, so that their length bounds it, and nothing else
    /// does: what is too long may be cut, and count all the same. Where `units` has none, there are no media,
    /// and the body's length bounds it; with `unbounded_input` its images are tokens beside them, each of no
    /// more than the model takes.
    pub texts_only: bool,
    /// What the request has of what is priced by the piece or by the second, at most.
    pub units: Units,
    /// The same, at least.
    pub least_units: Units,
}

impl Default for Outline {
    fn default() -> Self {
        Self {
            prompt: String::new(),
            system: String::new(),
            text_bytes: 0,
            turns: 0,
            max_output_tokens: None,
            needs: Needs::default(),
            images: 0,
            unbounded_input: false,
            wide_context: false,
            unbounded_output: false,
            completions: 1,
            optimized_latency: false,
            service_tier: ServiceTier::default(),
            texts_only: false,
            units: Units::default(),
            least_units: Units::default(),
        }
    }
}

/// Service tiers of Bedrock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceTier {
    /// On demand, as usual. Bedrock calls it `default`.
    #[default]
    #[serde(alias = "default")]
    Standard,
    /// Served first, at a higher price.
    Priority,
    /// Served when there is room, at a lower price.
    Flex,
    /// Bought in advance.
    Reserved,
}

impl ServiceTier {
    /// Reads Bedrock's name of a tier.
    pub fn from_bedrock(name: &str) -> Option<Self> {
        Some(match name {
            "default" => Self::Standard,
            "priority" => Self::Priority,
            "flex" => Self::Flex,
            "reserved" => Self::Reserved,
            _ => return None,
        })
    }

    /// Our name of the tier.
    pub fn name(self) -> &'static str {
        if self == Self::Standard { "standard" } else { self.as_bedrock() }
    }

    /// Bedrock's name of the tier.
    pub fn as_bedrock(self) -> &'static str {
        match self {
            Self::Standard => "default",
            Self::Priority => "priority",
            Self::Flex => "flex",
            Self::Reserved => "reserved",
        }
    }
}

impl Outline {
    /// Bytes of prompt and system text that are kept for policies to read.
    pub const TEXT_LIMIT: usize = 65_536;

    /// Appends a block of text to `kept`, as far as there is room, and counts it. Empty blocks leave
    /// no separator.
    pub(crate) fn push_text(kept: &mut String, count: &mut u64, text: &str) {
        *count = count.saturating_add(text.len() as u64);
        if text.is_empty() {
            return;
        }
        if !kept.is_empty() && kept.len() < Self::TEXT_LIMIT {
            kept.push('\n');
        }
        let room = Self::TEXT_LIMIT.saturating_sub(kept.len());
        kept.push_str(&text[..text.floor_char_boundary(room)]);
    }

    /// Estimate of input tokens: bytes of text divided by four, rounded up.
    pub fn estimated_tokens(&self) -> u32 {
        u32::try_from(self.text_bytes.div_ceil(4)).unwrap_or(u32::MAX)
    }
}
