//! How long a model takes to say something.
//!
//! It must not know what is said.

use std::collections::BTreeMap;
use std::time::Duration;

/// How fast answers come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// As fast as they can be written.
    #[default]
    Instant,
    /// As a model would: by base model id, and for all others the default.
    Paced {
        /// For models that are not listed.
        default: Speed,
        /// By base model id.
        models: BTreeMap<String, Speed>,
    },
}

/// The speed of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speed {
    /// Until the first token.
    pub first_token: Duration,
    /// Tokens a second after that; zero is taken for one.
    pub tokens_per_second: u32,
}

impl Pace {
    /// A lifelike pace: small models start sooner and speak faster.
    #[must_use]
    pub fn lifelike() -> Self {
        let speed =
            |first_ms, tokens_per_second| Speed { first_token: Duration::from_millis(first_ms), tokens_per_second };
        let models = [
            ("amazon.nova-micro-v1:0", speed(180, 210)),
            ("amazon.nova-lite-v1:0", speed(220, 170)),
            ("anthropic.claude-haiku-4-5-20251001-v1:0", speed(350, 140)),
            ("anthropic.claude-haiku-5-5", speed(300, 160)),
            ("anthropic.claude-opus-5", speed(1_100, 50)),
            ("anthropic.claude-opus-5-5", speed(1_000, 55)),
            ("meta.llama3-1-8b-instruct-v1:0", speed(200, 180)),
        ];
        Self::Paced { default: speed(500, 80), models: models.map(|(id, speed)| (id.to_owned(), speed)).into() }
    }

    pub(crate) fn of(&self, model: &str) -> Option<Speed> {
        match self {
            Self::Instant => None,
            Self::Paced { default, models } => Some(*models.get(model).unwrap_or(default)),
        }
    }
}

impl Speed {
    /// From the request until so many tokens were said.
    pub(crate) fn until(&self, tokens: u32) -> Duration {
        let micros = u64::from(tokens) * 1_000_000 / u64::from(self.tokens_per_second.max(1));
        self.first_token.saturating_add(Duration::from_micros(micros))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_take_their_time() {
        let speed = Speed { first_token: Duration::from_millis(500), tokens_per_second: 80 };
        assert_eq!(speed.until(0), Duration::from_millis(500));
        assert_eq!(speed.until(40), Duration::from_millis(1_000));
        let stuck = Speed { first_token: Duration::ZERO, tokens_per_second: 0 };
        assert_eq!(stuck.until(3), Duration::from_secs(3));
        assert_eq!(Pace::Instant.of("x"), None);
        assert_eq!(Pace::lifelike().of("amazon.nova-micro-v1:0").unwrap().tokens_per_second, 210);
        assert_eq!(Pace::lifelike().of("other").unwrap().tokens_per_second, 80);
    }
}
