//! Guardrails: which text they look at, what they block, and how they account for it.
//!
//! It must not know dialects; what a trace looks like is AWS's in all of them.

use serde_json::{Map, Value, json};

use crate::config::Guardrail;
use crate::conversation::{Block, Conversation};
use crate::error::ApiError;
use crate::usage::GuardUnits;

/// Characters in a text unit.
const UNIT: usize = 1_000;

/// What a request says about guardrails.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) id: String,
    pub(crate) trace: bool,
}

/// What one pass over some text found.
#[derive(Debug)]
pub(crate) struct Assessment {
    /// The blocked words that occur, in the order of the guardrail.
    found: Vec<String>,
    characters: usize,
}

/// What came of a guardrail over a whole invocation.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) blocked: bool,
    pub(crate) units: GuardUnits,
    /// For the answer, if the caller wants to see it.
    pub(crate) trace: Option<Value>,
}

impl Ask {
    /// Reads the pair that names a guardrail; both or neither are given.
    pub(crate) fn read(id: Option<&str>, version: Option<&str>, trace: Option<&str>) -> Result<Option<Self>, ApiError> {
        let trace = match trace {
            None => false,
            Some(word) => match word.to_ascii_lowercase().as_str() {
                "disabled" => false,
                "enabled" | "enabled_full" => true,
                _ => {
                    return Err(ApiError::validation(format!(
                        "1 validation error detected: Value '{word}' at 'guardrailConfig.trace' \
                         failed to satisfy constraint: Member must satisfy enum value set: \
                         [enabled, disabled, enabled_full]"
                    )));
                }
            },
        };
        match (id.filter(|id| !id.is_empty()), version.filter(|v| !v.is_empty())) {
            (None, None) => Ok(None),
            (Some(id), Some(version)) => {
                let numbered = version.bytes().all(|b| b.is_ascii_digit()) && version.len() <= 8;
                if version != "DRAFT" && !numbered {
                    return Err(ApiError::validation(format!(
                        "The guardrail version {version} is not valid. Use DRAFT or a number."
                    )));
                }
                // An ARN ends in its id.
                let id = id.rsplit_once(":guardrail/").map_or(id, |(_, id)| id);
                Ok(Some(Self { id: id.to_owned(), trace }))
            }
            _ => {
                Err(ApiError::validation("The guardrail identifier and the guardrail version must be given together."))
            }
        }
    }

    /// The guardrail of that name.
    pub(crate) fn find<'a>(&self, all: &'a [Guardrail]) -> Result<&'a Guardrail, ApiError> {
        all.iter().find(|guardrail| guardrail.id == self.id).ok_or_else(|| {
            ApiError::validation("The guardrail identifier or version provided in the request does not exist.")
        })
    }
}

impl Guardrail {
    fn assess<'a>(&self, texts: impl Iterator<Item = &'a str>) -> Assessment {
        let mut found = vec![false; self.blocked_words.len()];
        let mut characters = 0;
        for text in texts {
            characters += text.chars().count();
            let text = text.to_lowercase();
            for (word, found) in self.blocked_words.iter().zip(&mut found) {
                *found |= !word.is_empty() && text.contains(&word.to_lowercase());
            }
        }
        let words = self.blocked_words.iter().zip(found);
        let found = words.filter(|(_, found)| *found).map(|(word, _)| word.clone()).collect();
        Assessment { found, characters }
    }

    /// Looks at what goes in: the text marked for it, or if nothing is, the text of every message.
    pub(crate) fn assess_input(&self, conversation: &Conversation<'_>) -> Assessment {
        let marked = || {
            let blocks = conversation.system.iter().chain(conversation.blocks());
            blocks.filter_map(|block| match block {
                Block::Guarded(text) => Some(&**text),
                _ => None,
            })
        };
        if marked().next().is_some() {
            return self.assess(marked());
        }
        self.assess(conversation.blocks().filter_map(|block| match block {
            Block::Text(text) => Some(&**text),
            _ => None,
        }))
    }

    /// Looks at what would come out.
    pub(crate) fn assess_output(&self, text: &str) -> Assessment {
        self.assess(std::iter::once(text))
    }

    /// Sums up what was found in the input and, if it came to that, the output.
    pub(crate) fn verdict(&self, ask: &Ask, input: &Assessment, output: Option<(&Assessment, &str)>) -> Verdict {
        let out_blocked = output.is_some_and(|(assessment, _)| assessment.blocks());
        let blocked = input.blocks() || out_blocked;
        let units = output.map_or(input.units(), |(a, _)| input.units().plus(a.units()));
        let trace = ask.trace.then(|| {
            let mut trace = Map::new();
            if let Some((_, text)) = output.filter(|_| out_blocked) {
                trace.insert("modelOutput".into(), json!([text]));
            }
            trace.insert("inputAssessment".into(), json!({&*self.id: input.json()}));
            if let Some((assessment, _)) = output {
                let all = json!({&*self.id: [assessment.json()]});
                trace.insert("outputAssessments".into(), all);
            }
            let reason = if blocked { "Guardrail blocked." } else { "No action." };
            trace.insert("actionReason".into(), json!(reason));
            Value::Object(trace)
        });
        Verdict { blocked, units, trace }
    }
}

impl Assessment {
    pub(crate) fn blocks(&self) -> bool {
        !self.found.is_empty()
    }

    /// Each policy takes a unit for every thousand characters begun.
    fn units(&self) -> GuardUnits {
        let units = u32::try_from(self.characters.div_ceil(UNIT)).unwrap_or(u32::MAX);
        GuardUnits { topic: units, content: units, sensitive: units }
    }

    fn json(&self) -> Value {
        let GuardUnits { topic, content, sensitive } = self.units();
        let mut out = Map::new();
        if self.blocks() {
            let topics: Vec<Value> = self
                .found
                .iter()
                .map(|word| json!({"name": word, "type": "DENY", "action": "BLOCKED", "detected": true}))
                .collect();
            out.insert("topicPolicy".into(), json!({"topics": topics}));
        }
        out.insert(
            "invocationMetrics".into(),
            json!({
                "guardrailProcessingLatency": 1,
                "usage": {
                    "topicPolicyUnits": topic,
                    "contentPolicyUnits": content,
                    "wordPolicyUnits": 0,
                    "sensitiveInformationPolicyUnits": sensitive,
                    "sensitiveInformationPolicyFreeUnits": 0,
                    "contextualGroundingPolicyUnits": 0,
                },
                "guardrailCoverage": {
                    "textCharacters": {"guarded": self.characters, "total": self.characters},
                },
            }),
        );
        Value::Object(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::{Role, Turn};

    fn said(blocks: Vec<Block<'static>>) -> Conversation<'static> {
        Conversation { turns: vec![Turn { role: Role::User, blocks }], ..Default::default() }
    }

    #[test]
    fn looks_at_what_is_marked_or_at_everything() {
        let guardrail = Guardrail::default();
        let bad = || Block::Text("a Forbidden-Topic!".into());
        assert!(guardrail.assess_input(&said(vec![bad()])).blocks());
        let marked = vec![Block::Guarded("fine".into()), bad()];
        assert!(!guardrail.assess_input(&said(marked)).blocks());
        let marked = vec![Block::Guarded("forbidden-topic".into())];
        assert!(guardrail.assess_input(&said(marked)).blocks());
    }

    #[test]
    fn units_are_thousands_begun() {
        let guardrail = Guardrail::default();
        for (length, units) in [(0, 0), (1, 1), (1_000, 1), (1_001, 2)] {
            let found = guardrail.assess_output(&"x".repeat(length)).units();
            assert_eq!(found, GuardUnits { topic: units, content: units, sensitive: units });
        }
    }

    #[test]
    fn names_are_checked() {
        let read = |id, version| Ask::read(id, version, None);
        assert_eq!(read(None, None), Ok(None));
        assert!(read(Some("g"), None).is_err() && read(None, Some("1")).is_err());
        assert!(read(Some("g"), Some("latest")).is_err());
        assert!(Ask::read(Some("g"), Some("1"), Some("loud")).is_err());
        let arn = "arn:aws:bedrock:us-east-1:1:guardrail/sim-guardrail";
        let ask = Ask::read(Some(arn), Some("DRAFT"), Some("ENABLED")).unwrap().unwrap();
        assert!(ask.trace && ask.find(&[Guardrail::default()]).is_ok() && ask.find(&[]).is_err());
    }
}
