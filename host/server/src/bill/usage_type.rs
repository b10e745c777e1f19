//! What a usage type says: `USE1-MP:USE1_InputTokenCount_Global-Units`, `USE1-NovaPro-input-tokens-flex`,
//! `USE1_input_tokens_global_standard`, `USE1-Guardrail-TopicPolicyUnitsConsumed`.
//!
//! Only what is on record is read; anything else is of an unknown kind, and said to be.

use kairos_dialects::usage::Unit;

/// What is priced apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// Input that no cache served.
    Input,
    /// Output.
    Output,
    /// Input read from the prompt cache.
    CacheRead,
    /// Input written to it for five minutes.
    CacheWrite5m,
    /// For an hour.
    CacheWrite1h,
    /// What is not counted in tokens.
    Unit(Unit),
}

impl Kind {
    /// All of them.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let tokens = [Self::Input, Self::Output, Self::CacheRead, Self::CacheWrite5m, Self::CacheWrite1h];
        tokens.into_iter().chain(Unit::ALL.map(Self::Unit))
    }

    /// Its name for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
            Self::CacheRead => "cache read",
            Self::CacheWrite5m => "cache write 5m",
            Self::CacheWrite1h => "cache write 1h",
            Self::Unit(unit) => unit.name(),
        }
    }
}

/// Whose tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Product {
    /// What the Marketplace sells: the usage type does not say which model.
    Marketplace,
    /// A model by AWS's word for it.
    Word(String),
    /// Guardrail units.
    Guardrail,
}

/// A usage type that is understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UsageType {
    /// Whose.
    pub(crate) product: Product,
    /// Which tokens; of guardrail units none.
    pub(crate) kind: Option<Kind>,
}

/// The words of the Marketplace's and the snake form, and of the others, the longest first. Those of what is not
/// counted in tokens follow the pattern of the others, and were not seen on an invoice.
const MARKETPLACE: [(&str, Kind); 14] = [
    ("CacheReadInputTokenCount", Kind::CacheRead),
    ("CacheWrite1hInputTokenCount", Kind::CacheWrite1h),
    ("CacheWriteInputTokenCount", Kind::CacheWrite5m),
    ("InputTokenCount", Kind::Input),
    ("OutputTokenCount", Kind::Output),
    ("cache_read_input_tokens", Kind::CacheRead),
    ("input_tokens", Kind::Input),
    ("output_tokens", Kind::Output),
    ("InputImageCount", Kind::Unit(Unit::Image)),
    ("OutputImageCount", Kind::Unit(Unit::ImageMade)),
    ("QueryCount", Kind::Unit(Unit::Query)),
    ("InputAudioSecondCount", Kind::Unit(Unit::AudioSecond)),
    ("InputVideoSecondCount", Kind::Unit(Unit::VideoSecond)),
    ("OutputVideoSecondCount", Kind::Unit(Unit::VideoSecondMade)),
];
const OWN: [(&str, Kind); 11] = [
    ("-cache-read-input-token-count", Kind::CacheRead),
    ("-cache-write-1h-input-token-count", Kind::CacheWrite1h),
    ("-cache-write-input-token-count", Kind::CacheWrite5m),
    ("-input-tokens", Kind::Input),
    ("-output-tokens", Kind::Output),
    ("-input-images", Kind::Unit(Unit::Image)),
    ("-output-images", Kind::Unit(Unit::ImageMade)),
    ("-queries", Kind::Unit(Unit::Query)),
    ("-input-audio-seconds", Kind::Unit(Unit::AudioSecond)),
    ("-input-video-seconds", Kind::Unit(Unit::VideoSecond)),
    ("-output-video-seconds", Kind::Unit(Unit::VideoSecondMade)),
];
/// What may stand behind.
const MODIFIERS: [&str; 9] =
    ["global", "geo", "longcontext", "long-context", "priority", "flex", "batch", "standard", "default"];

/// Whether it is the prefix of a region: `USE1`, `EUC1`, `APN3`.
fn is_region(text: &str) -> bool {
    text.len() == 4 && text.bytes().all(|sign| sign.is_ascii_uppercase() || sign.is_ascii_digit())
}

/// Whether nothing but modifiers stands behind a word: they say of the price, not of what is counted.
fn are_modifiers(rest: &str, between: char) -> bool {
    let rest = rest.to_ascii_lowercase();
    let mut rest = rest.as_str();
    while !rest.is_empty() {
        let after = rest.strip_prefix(between).and_then(|rest| {
            let mut after = MODIFIERS.iter().filter_map(|word| rest.strip_prefix(*word));
            after.find(|after| after.is_empty() || after.starts_with(between))
        });
        match after {
            Some(after) => rest = after,
            None => return false,
        }
    }
    true
}

impl UsageType {
    /// Reads one; none where it is not understood as a whole.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Some((region, rest)) = text.split_once("-MP:") {
            let rest = rest.strip_suffix("-Units").unwrap_or(rest);
            let own = rest.strip_prefix(region)?;
            return is_region(region).then(|| Self::tokens(own.strip_prefix('_')?)).flatten();
        }
        let (region, rest) = (text.get(..4)?, text.get(4..)?);
        if !is_region(region) {
            return None;
        }
        if let Some(snake) = rest.strip_prefix('_') {
            return Self::tokens(snake);
        }
        let rest = rest.strip_prefix('-')?;
        if let Some(units) = rest.strip_prefix("Guardrail-") {
            let known = units.ends_with("UnitsConsumed") || units.ends_with("UnitsProcessed");
            return known.then_some(Self { product: Product::Guardrail, kind: None });
        }
        OWN.iter().find_map(|(word, kind)| {
            let (name, behind) = rest.split_once(word)?;
            let known = !name.is_empty() && are_modifiers(behind, '-');
            known.then(|| Self { product: Product::Word(name.to_owned()), kind: Some(*kind) })
        })
    }

    fn tokens(text: &str) -> Option<Self> {
        MARKETPLACE.iter().find_map(|(word, kind)| {
            let known = are_modifiers(text.strip_prefix(word)?, '_');
            known.then_some(Self { product: Product::Marketplace, kind: Some(*kind) })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_record_is_read() {
        let own = |word: &str| Product::Word(word.to_owned());
        let market = || Product::Marketplace;
        for (text, product, kind) in [
            ("USE1-MP:USE1_InputTokenCount-Units", market(), Some(Kind::Input)),
            ("USE1-MP:USE1_OutputTokenCount_Global-Units", market(), Some(Kind::Output)),
            ("USE1-MP:USE1_InputTokenCount_Global_Batch-Units", market(), Some(Kind::Input)),
            ("EUC1-MP:EUC1_InputTokenCount_LongContext_Global_Priority-Units", market(), Some(Kind::Input)),
            ("USE1-MP:USE1_CacheWrite1hInputTokenCount-Units", market(), Some(Kind::CacheWrite1h)),
            ("USE1_input_tokens_global_standard", market(), Some(Kind::Input)),
            ("USE1-NovaPro-input-tokens", own("NovaPro"), Some(Kind::Input)),
            ("USE1-Nova2.0Lite-cache-read-input-token-count-global", own("Nova2.0Lite"), Some(Kind::CacheRead)),
            ("USW2-Llama3-1-70B-output-tokens-long-context-flex", own("Llama3-1-70B"), Some(Kind::Output)),
            ("USE1-NovaCanvas-output-images", own("NovaCanvas"), Some(Kind::Unit(Unit::ImageMade))),
            ("USW2-MP:USW2_QueryCount-Units", market(), Some(Kind::Unit(Unit::Query))),
            ("USE1-Guardrail-TopicPolicyUnitsConsumed", Product::Guardrail, None),
        ] {
            assert_eq!(UsageType::parse(text), Some(UsageType { product, kind }), "{text}");
        }
    }

    /// A piece that is not understood may change the price, or the meaning: then nothing is.
    #[test]
    fn anything_else_is_unknown() {
        for text in [
            "",
            "USE1",
            "USE1-MP:USE2_InputTokenCount-Units",
            "USE1-MP:USE1_Reserved_1Month_InputTPM_Geo-Units",
            "USE1-MP:USE1_InputTokenCount_Moonlit-Units",
            "USE1--input-tokens",
            "USE1-NovaPro-input-tokens-moonlit",
            "USE1-NovaCanvas-T2I-1024-Standard",
            "BoxUsage:t3.micro",
            "USE1-Guardrail-Tea",
            "é1E1-NovaPro-input-tokens",
        ] {
            assert_eq!(UsageType::parse(text), None, "{text}");
        }
    }
}
