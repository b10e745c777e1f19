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
    /// How many of its kind are billed as one: some are sold by the thousand or the million.
    pub(crate) each: i128,
}

/// The words of the Marketplace's and the snake form, and of the others, the longest first. Of what is not counted
/// in tokens public price lists have those in the singular, search units and `ImageOutput`; the rest follow the
/// pattern of tokens, and were not seen on an invoice.
const MARKETPLACE: [(&str, Kind); 17] = [
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
    ("SearchUnits", Kind::Unit(Unit::Query)),
    ("SearchUnit", Kind::Unit(Unit::Query)),
    ("ImageOutput", Kind::Unit(Unit::ImageMade)),
    ("InputAudioSecondCount", Kind::Unit(Unit::AudioSecond)),
    ("InputVideoSecondCount", Kind::Unit(Unit::VideoSecond)),
    ("OutputVideoSecondCount", Kind::Unit(Unit::VideoSecondMade)),
];
/// Those of the Marketplace that stand for many.
const MARKETPLACE_BY_MANY: [(&str, Kind, i128); 2] =
    [("KSearchUnits", Kind::Unit(Unit::Query), 1_000), ("MillionImages", Kind::Unit(Unit::Image), 1_000_000)];
const OWN: [(&str, Kind); 16] = [
    ("-cache-read-input-token-count", Kind::CacheRead),
    ("-cache-write-1h-input-token-count", Kind::CacheWrite1h),
    ("-cache-write-input-token-count", Kind::CacheWrite5m),
    ("-input-tokens", Kind::Input),
    ("-output-tokens", Kind::Output),
    ("-input-images", Kind::Unit(Unit::Image)),
    ("-input-standard-image", Kind::Unit(Unit::Image)),
    ("-input-image", Kind::Unit(Unit::Image)),
    ("-output-images", Kind::Unit(Unit::ImageMade)),
    ("-searchunits", Kind::Unit(Unit::Query)),
    ("-queries", Kind::Unit(Unit::Query)),
    ("-input-audio-seconds", Kind::Unit(Unit::AudioSecond)),
    ("-input-audio-second", Kind::Unit(Unit::AudioSecond)),
    ("-input-video-second", Kind::Unit(Unit::VideoSecond)),
    ("-input-video-seconds", Kind::Unit(Unit::VideoSecond)),
    ("-output-video-seconds", Kind::Unit(Unit::VideoSecondMade)),
];
/// What may stand behind.
const MODIFIERS: [&str; 9] =
    ["global", "geo", "longcontext", "long-context", "priority", "flex", "batch", "standard", "default"];

/// What a second of video is made from, and how it looks: the words of Nova Reel.
const VIDEO_FROM: [&str; 2] = ["-T2V", "-I2V"];
const VIDEO_LOOKS: [&str; 3] = ["", "-Lowfps-SDRes", "-Medfps-HDRes"];

/// Whether it is the prefix of a region: `USE1`, `EUC1`, `APN3`; Ireland's is older than the others.
fn is_region(text: &str) -> bool {
    let is_plain = text.bytes().all(|sign| sign.is_ascii_uppercase() || sign.is_ascii_digit());
    text == "EU" || (text.len() == 4 && is_plain)
}

/// Whether it has the form of what Bedrock sells by the Marketplace, understood or not.
pub(crate) fn is_of_the_marketplace(text: &str) -> bool {
    let Some((region, rest)) = text.split_once("-MP:") else { return false };
    is_region(region) && rest.split_once('_').is_some_and(|(again, _)| is_region(again))
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
        let (region, rest) = text.split_at(text.find(['-', '_'])?);
        if !is_region(region) {
            return None;
        }
        if let Some(snake) = rest.strip_prefix('_') {
            return Self::tokens(snake);
        }
        let rest = rest.strip_prefix('-')?;
        if let Some(units) = rest.strip_prefix("Guardrail-") {
            let known = units.ends_with("UnitsConsumed") || units.ends_with("UnitsProcessed");
            return known.then_some(Self { product: Product::Guardrail, kind: None, each: 1 });
        }
        let own = OWN.iter().find_map(|(word, kind)| {
            let (name, behind) = rest.split_once(word)?;
            (!name.is_empty() && are_modifiers(behind, '-')).then_some((name, *kind))
        });
        let (name, kind) = own.or_else(|| Some((video(rest)?, Kind::Unit(Unit::VideoSecondMade))))?;
        Some(Self { product: Product::Word(name.to_owned()), kind: Some(kind), each: 1 })
    }

    fn tokens(text: &str) -> Option<Self> {
        let one = MARKETPLACE.iter().map(|(word, kind)| (*word, *kind, 1));
        one.chain(MARKETPLACE_BY_MANY).find_map(|(word, kind, each)| {
            let known = are_modifiers(text.strip_prefix(word)?, '_');
            known.then_some(Self { product: Product::Marketplace, kind: Some(kind), each })
        })
    }
}

/// Whose seconds of video: what stands before the words that say how it was made.
fn video(rest: &str) -> Option<&str> {
    let (name, behind) = VIDEO_FROM.iter().find_map(|from| rest.split_once(from))?;
    let looks = behind.strip_suffix("-seconds").unwrap_or(behind);
    (!name.is_empty() && VIDEO_LOOKS.contains(&looks)).then_some(name)
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
            ("EU-MP:EU_InputTokenCount_Global-Units", market(), Some(Kind::Input)),
            ("EU-TitanEmbeddingV2-Text-input-tokens", own("TitanEmbeddingV2-Text"), Some(Kind::Input)),
            ("EUW1-NovaPro-input-tokens", own("NovaPro"), Some(Kind::Input)),
            ("EU_output_tokens", market(), Some(Kind::Output)),
            ("USE1-TitanEmbeddingsG1-Image-input-image", own("TitanEmbeddingsG1-Image"), Some(Kind::Unit(Unit::Image))),
            (
                "USE1-NovaMultiModalEmbeddings-input-standard-image",
                own("NovaMultiModalEmbeddings"),
                Some(Kind::Unit(Unit::Image)),
            ),
            (
                "USE1-NovaMultiModalEmbeddings-input-audio-second",
                own("NovaMultiModalEmbeddings"),
                Some(Kind::Unit(Unit::AudioSecond)),
            ),
            ("APN1-AmazonRerank-v1-searchunits", own("AmazonRerank-v1"), Some(Kind::Unit(Unit::Query))),
            ("USE1-NovaReel-T2V-Medfps-HDRes", own("NovaReel"), Some(Kind::Unit(Unit::VideoSecondMade))),
            ("USE1-NovaReel1.1-I2V-seconds", own("NovaReel1.1"), Some(Kind::Unit(Unit::VideoSecondMade))),
            ("USE1-MP:USE1_SearchUnit-Units", market(), Some(Kind::Unit(Unit::Query))),
            ("USE1-MP:USE1_ImageOutput-Units", market(), Some(Kind::Unit(Unit::ImageMade))),
        ] {
            assert_eq!(UsageType::parse(text), Some(UsageType { product, kind, each: 1 }), "{text}");
        }
        let each = |text| UsageType::parse(text).map(|parsed| (parsed.kind, parsed.each));
        let (query, image) = (Kind::Unit(Unit::Query), Kind::Unit(Unit::Image));
        assert_eq!(each("USE1-MP:USE1_KSearchUnits-Units"), Some((Some(query), 1_000)));
        assert_eq!(each("USE1-MP:USE1_MillionImages-Units"), Some((Some(image), 1_000_000)));
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
            "USE1-NovaReel-T2V-Moonlit",
            "USE1-T2V-seconds",
            "EU1-NovaPro-input-tokens",
            "EUNovaPro-input-tokens",
            "BoxUsage:t3.micro",
            "USE1-Guardrail-Tea",
            "é1E1-NovaPro-input-tokens",
        ] {
            assert_eq!(UsageType::parse(text), None, "{text}");
        }
    }
}
