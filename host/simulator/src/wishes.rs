//! What a request asks beyond its conversation: guardrail, tier, latency, fields of the answer.
//!
//! It must not know what is granted.

use crate::catalogue::Tier;
use crate::converse::complaint::one_of;
use crate::error::ApiError;
use crate::guardrail::Ask;

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    pub(crate) guardrail: Option<Ask>,
    /// The tier asked for; nothing is said about tiers to those who do not ask.
    pub(crate) tier: Option<Tier>,
    /// Whether the caller asked for a latency, whatever it was.
    pub(crate) latency: bool,
    /// JSON pointers into the model's own answer.
    pub(crate) paths: Vec<String>,
}

impl Wishes {
    pub(crate) fn tier(word: Option<&str>) -> Result<Option<Tier>, ApiError> {
        match word {
            None => Ok(None),
            Some("priority") => Ok(Some(Tier::Priority)),
            Some("flex") => Ok(Some(Tier::Flex)),
            // Nobody here has reserved anything.
            Some("default" | "reserved") => Ok(Some(Tier::Standard)),
            Some(other) => {
                let allowed = ["priority", "default", "flex", "reserved"];
                Err(one_of(other, "serviceTier.type", &allowed))
            }
        }
    }

    pub(crate) fn latency(word: Option<&str>) -> Result<bool, ApiError> {
        match word {
            None => Ok(false),
            Some("standard" | "optimized") => Ok(true),
            Some(other) => Err(one_of(other, "performanceConfig.latency", &["standard", "optimized"])),
        }
    }
}
