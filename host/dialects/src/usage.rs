//! What a call consumed.

/// Tokens (and guardrail units) of one call, by the kinds that Bedrock prices apart.
///
/// `input` excludes what was read from or written to the prompt cache, as Bedrock counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Usage {
    /// Input tokens that no cache served.
    pub input: u64,
    /// Output tokens, reasoning included.
    pub output: u64,
    /// Input tokens read from the prompt cache.
    pub cache_read: u64,
    /// Input tokens written to the prompt cache for five minutes.
    pub cache_write_5m: u64,
    /// Input tokens written to the prompt cache for an hour.
    pub cache_write_1h: u64,
    /// Input tokens written to the prompt cache for a time that the answer does not say.
    pub cache_write_unknown: u64,
    /// What guardrails processed; left out where there were none, as for nearly every row of the ledger.
    #[serde(default, skip_serializing_if = "GuardrailUnits::is_nothing")]
    pub guardrail: GuardrailUnits,
}

/// Units that a guardrail's policies processed, by the kinds that Bedrock prices apart. Those that
/// are free are not here. A text unit is up to 1,000 characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GuardrailUnits {
    /// Text units of denied topics.
    pub topic_policy_units: u64,
    /// Text units of content filters.
    pub content_policy_units: u64,
    /// Images of content filters.
    pub content_policy_image_units: u64,
    /// Text units of word filters.
    pub word_policy_units: u64,
    /// Text units of filters for personal data.
    pub sensitive_information_policy_units: u64,
    /// Text units of grounding checks.
    pub contextual_grounding_policy_units: u64,
    /// Units of automated reasoning.
    pub automated_reasoning_policy_units: u64,
}

impl GuardrailUnits {
    /// Whether no guardrail processed anything.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            topic_policy_units: self.topic_policy_units.saturating_add(other.topic_policy_units),
            content_policy_units: self.content_policy_units.saturating_add(other.content_policy_units),
            content_policy_image_units: self
                .content_policy_image_units
                .saturating_add(other.content_policy_image_units),
            word_policy_units: self.word_policy_units.saturating_add(other.word_policy_units),
            sensitive_information_policy_units: self
                .sensitive_information_policy_units
                .saturating_add(other.sensitive_information_policy_units),
            contextual_grounding_policy_units: self
                .contextual_grounding_policy_units
                .saturating_add(other.contextual_grounding_policy_units),
            automated_reasoning_policy_units: self
                .automated_reasoning_policy_units
                .saturating_add(other.automated_reasoning_policy_units),
        }
    }
}

impl Usage {
    /// All input, cached or not: what decides the context band, and what OpenAI calls prompt tokens.
    pub fn all_input(&self) -> u64 {
        self.input.saturating_add(self.cache_read).saturating_add(self.cache_write())
    }

    /// All cache writes.
    pub fn cache_write(&self) -> u64 {
        self.cache_write_5m.saturating_add(self.cache_write_1h).saturating_add(self.cache_write_unknown)
    }

    /// Input and output together.
    pub fn total(&self) -> u64 {
        self.all_input().saturating_add(self.output)
    }
}
