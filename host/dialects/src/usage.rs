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
    /// What is priced by the piece or by the second; left out where there was nothing of the kind.
    #[serde(default, skip_serializing_if = "Units::is_nothing")]
    pub units: Units,
}

/// What Bedrock prices by the piece or by the second rather than by the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    /// An image that a model is given.
    Image,
    /// An image that it makes.
    ImageMade,
    /// A query.
    Query,
    /// A second of sound that it is given.
    AudioSecond,
    /// A second of video that it is given.
    VideoSecond,
    /// A second of video that it makes.
    VideoSecondMade,
}

impl Unit {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Image, Self::ImageMade, Self::Query, Self::AudioSecond, Self::VideoSecond, Self::VideoSecondMade];

    /// The name in price rows and in exported usage.
    pub const fn name(self) -> &'static str {
        ["image", "image_made", "query", "audio_second", "video_second", "video_second_made"][self as usize]
    }
}

/// How many of each. Four thousand million are more than a request has of anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Units([u32; 6]);

impl Units {
    /// So many of one.
    pub const fn of(unit: Unit, count: u32) -> Self {
        let mut units = [0; 6];
        units[unit as usize] = count;
        Self(units)
    }

    /// How many of one.
    pub const fn count(self, unit: Unit) -> u32 {
        self.0[unit as usize]
    }

    /// Whether there are none.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Those there are, with their number.
    pub fn each(self) -> impl Iterator<Item = (Unit, u32)> {
        Unit::ALL.into_iter().zip(self.0).filter(|(_, count)| *count > 0)
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(std::array::from_fn(|unit| self.0[unit].saturating_add(other.0[unit])))
    }
}

impl serde::Serialize for Units {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.each().map(|(unit, count)| (unit.name(), count)))
    }
}

impl<'de> serde::Deserialize<'de> for Units {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let counts = std::collections::BTreeMap::<String, u32>::deserialize(deserializer)?;
        counts.into_iter().try_fold(Self::default(), |units, (name, count)| {
            let known = Unit::ALL.into_iter().find(|unit| unit.name() == name);
            let unit = known.ok_or_else(|| serde::de::Error::custom(format!("{name:?} is no unit")))?;
            Ok(units.plus(Self::of(unit, count)))
        })
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_written_where_there_are_some_and_read_back() {
        let plain = Usage { input: 1, ..Usage::default() };
        let text = serde_json::to_string(&plain).unwrap();
        assert!(!text.contains("units"), "{text}");
        let units = Units::of(Unit::Query, 2).plus(Units::of(Unit::VideoSecond, 7)).plus(Units::of(Unit::Query, 1));
        let usage = Usage { units, ..plain };
        let text = serde_json::to_string(&usage).unwrap();
        assert!(text.ends_with(r#""units":{"query":3,"video_second":7}}"#), "{text}");
        assert_eq!(serde_json::from_str::<Usage>(&text).unwrap(), usage);
        assert!(serde_json::from_str::<Units>(r#"{"quarry":1}"#).is_err());
        assert!(Unit::ALL.into_iter().enumerate().all(|(place, unit)| unit as usize == place));
    }
}
