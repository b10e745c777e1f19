//! InvokeModel's families from the other side: a body for a model that has ended becomes a Converse
//! request to the model that answers in its place, and that model's answer becomes one of the
//! family's own shape, whole or in chunks.
//!
//! One file a family; each names the source of its shapes. What cannot be carried over without loss
//! is refused by the field's name, before it costs money. Nothing here knows which model ended.

mod chat;
mod claude;
mod command;
mod deepseek;
mod fields;
mod jurassic;
mod llama;
mod mistral;
mod nova;
mod request;
mod shape;
mod stream;
mod templates;
mod titan;

pub use request::{Target, Translated, translate};
pub use shape::{Head, Shape};
pub use stream::{ChunkWriter, Timing};

/// Whose body it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Anthropic's Messages.
    Claude,
    /// Amazon's Nova.
    Nova,
    /// Amazon's Titan Text.
    Titan,
    /// Meta's Llama.
    Llama,
    /// Mistral's, text completion and chat.
    Mistral,
    /// AI21's Jamba.
    Jamba,
    /// AI21's Jurassic-2.
    Jurassic,
    /// Cohere's Command R and R+.
    Command,
    /// DeepSeek's, text completion and chat.
    Deepseek,
}

impl Family {
    /// Whether all models of the family take the same body, so that one for an ended model can go to
    /// its successor byte for byte. Prompts of the others hold a model's own template.
    pub fn has_one_body(self) -> bool {
        match self {
            Self::Claude | Self::Nova | Self::Titan | Self::Jamba | Self::Jurassic | Self::Command => true,
            Self::Llama | Self::Mistral | Self::Deepseek => false,
        }
    }

    /// Where its body says how long the answer may be, as JSON pointers.
    pub(super) fn output_limits(self) -> &'static [&'static str] {
        match self {
            Self::Claude | Self::Mistral | Self::Jamba | Self::Command | Self::Deepseek => &["/max_tokens"],
            Self::Nova => &["/inferenceConfig/maxTokens", "/inferenceConfig/max_new_tokens"],
            Self::Titan => &["/textGenerationConfig/maxTokenCount"],
            Self::Llama => &["/max_gen_len"],
            Self::Jurassic => &["/maxTokens"],
        }
    }

    /// Where its body says how many answers are wanted, where it can.
    pub(super) fn completions(self) -> &'static [&'static str] {
        match self {
            Self::Jamba | Self::Mistral | Self::Deepseek => &["n"],
            Self::Jurassic => &["numResults"],
            Self::Command => &["num_generations"],
            Self::Claude | Self::Nova | Self::Titan | Self::Llama => &[],
        }
    }
}

#[cfg(test)]
mod tests;
