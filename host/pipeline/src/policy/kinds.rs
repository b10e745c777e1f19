//! The words of the contract: what requests are about, what models are.

use serde::{Deserialize, Serialize};

/// What a request is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Task {
    /// Anything else.
    #[default]
    General,
    /// Programming.
    Code,
    /// Complex reasoning.
    Reasoning,
    /// Analysis.
    Analysis,
    /// A decision.
    Decision,
    /// A strategy.
    Strategy,
    /// Resolving a conflict.
    Resolution,
    /// Sorting into classes.
    Classification,
    /// Taking facts out of a text.
    Extraction,
    /// Making a text shorter.
    Summarization,
    /// Another language.
    Translation,
    /// Writing.
    Generation,
    /// Chat.
    Conversation,
    /// A label of the caller's own.
    Other,
}

impl Task {
    /// All tasks, in the contract's order.
    pub const ALL: [Self; 14] = [
        Self::General,
        Self::Code,
        Self::Reasoning,
        Self::Analysis,
        Self::Decision,
        Self::Strategy,
        Self::Resolution,
        Self::Classification,
        Self::Extraction,
        Self::Summarization,
        Self::Translation,
        Self::Generation,
        Self::Conversation,
        Self::Other,
    ];

    /// The label that the header and the contract use.
    pub fn name(self) -> &'static str {
        [
            "general",
            "code",
            "reasoning",
            "analysis",
            "decision",
            "strategy",
            "resolution",
            "classification",
            "extraction",
            "summarization",
            "translation",
            "generation",
            "conversation",
            "other",
        ][self as usize]
    }

    /// The task of a label; a label that is not in the list is `Other`.
    pub fn from_label(label: &str) -> Self {
        Self::ALL.into_iter().find(|task| task.name() == label).unwrap_or(Self::Other)
    }
}

/// How hard a request is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Complexity {
    /// Easy.
    Low,
    /// In between.
    #[default]
    Medium,
    /// Hard.
    High,
}

impl Complexity {
    /// All, in the contract's order.
    pub const ALL: [Self; 3] = [Self::Low, Self::Medium, Self::High];

    /// The name that the header and the contract use.
    pub fn name(self) -> &'static str {
        ["low", "medium", "high"][self as usize]
    }
}

/// How soon a request matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Priority {
    /// It can wait.
    Low,
    /// As usual.
    #[default]
    Normal,
    /// Somebody waits.
    High,
    /// Before all others.
    Critical,
}

impl Priority {
    /// All, in the contract's order.
    pub const ALL: [Self; 4] = [Self::Low, Self::Normal, Self::High, Self::Critical];

    /// The name that the header and the contract use.
    pub fn name(self) -> &'static str {
        ["low", "normal", "high", "critical"][self as usize]
    }
}

/// Who made a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Family {
    Claude,
    Nova,
    Titan,
    Llama,
    Mistral,
    Jamba,
    Jurassic,
    Command,
    Deepseek,
    OpenAi,
    Qwen,
    Other,
}

impl Family {
    /// All, in the contract's order.
    pub const ALL: [Self; 12] = [
        Self::Claude,
        Self::Nova,
        Self::Titan,
        Self::Llama,
        Self::Mistral,
        Self::Jamba,
        Self::Jurassic,
        Self::Command,
        Self::Deepseek,
        Self::OpenAi,
        Self::Qwen,
        Self::Other,
    ];

    /// The contract's name.
    pub fn name(self) -> &'static str {
        [
            "claude", "nova", "titan", "llama", "mistral", "jamba", "jurassic", "command", "deepseek", "openai",
            "qwen", "other",
        ][self as usize]
    }
}

/// Where a call is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Route {
    /// In the gateway's region.
    InRegion,
    /// By a geographic inference profile.
    Geo,
    /// By the global inference profile.
    Global,
    /// By something bought or defined in the account.
    Account,
}

impl Route {
    /// All, in the contract's order.
    pub const ALL: [Self; 4] = [Self::InRegion, Self::Geo, Self::Global, Self::Account];

    /// The contract's name.
    pub fn name(self) -> &'static str {
        ["in-region", "geo", "global", "account"][self as usize]
    }
}

/// What a model is good at: one bit each, in the contract's order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Strengths(pub u32);

impl Strengths {
    /// Reasoning.
    pub const REASONING: Self = Self(1 << 0);
    /// Speed.
    pub const SPEED: Self = Self(1 << 3);

    /// Names of the bits.
    pub const NAMES: [&'static str; 11] = [
        "reasoning",
        "code-analysis",
        "complex-decisions",
        "speed",
        "simple-tasks",
        "classification",
        "summarization",
        "content-generation",
        "long-context",
        "vision",
        "multilingual",
    ];

    /// Whether all of `other` is here.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The names of what is here.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().enumerate().filter(move |(bit, _)| self.0 & (1 << bit) != 0).map(|(_, name)| name)
    }
}
