//! The parameters of a request, and what of them a model is sent.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Number;

use crate::bedrock::{DraftParameters, bounded};
use crate::canonical::Inference;
use crate::invalid::Invalid;

/// The output limit of a request that sets none.
pub const MAX_TOKENS: u32 = 4_096;
/// The temperature of a request that sets none.
pub const TEMPERATURE: f64 = 0.7;
/// The nucleus of a request that sets none.
pub const TOP_P: f64 = 0.9;
/// The candidates of a request that sets none.
pub const TOP_K: u32 = 250;

/// A temperature or a nucleus that changes nothing.
const NEUTRAL: f64 = 1.0;

/// The parameters of a request. Those that equal the default count as the default.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameters {
    /// Most output tokens, at least 1.
    pub max_tokens: u32,
    /// In [0, 1].
    pub temperature: f64,
    /// In [0, 1].
    pub top_p: f64,
    /// Among how many candidates each token is chosen, at least 1.
    pub top_k: u32,
    /// Texts that end the answer.
    pub stop_sequences: Vec<String>,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            max_tokens: MAX_TOKENS,
            temperature: TEMPERATURE,
            top_p: TOP_P,
            top_k: TOP_K,
            stop_sequences: Vec::new(),
        }
    }
}

/// What a model takes of the parameters.
#[derive(Clone, Copy, Debug)]
pub struct Accepts {
    /// Of `temperature` and `top_p`.
    pub sampling: Sampling,
    /// Where `top_k` goes; none where the model has no such parameter.
    pub top_k: Option<TopK>,
    /// The most output tokens that the model gives.
    pub max_output_tokens: u32,
}

/// What a model takes of `temperature` and `top_p`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sampling {
    /// Both.
    #[default]
    Both,
    /// One of them at a time.
    One,
    /// Neither, and no `top_k`: the model samples as it does.
    None,
}

/// How a family takes `top_k`, which Converse has no field for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopK {
    /// The field of `additionalModelRequestFields`.
    pub field: TopKField,
    /// The most that the family takes, where there is such a limit.
    pub most: Option<u32>,
}

/// The names of `top_k` in the families' own bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum TopKField {
    /// `top_k`.
    #[serde(rename = "top_k")]
    TopK,
    /// `k`.
    #[serde(rename = "k")]
    K,
    /// `topK` within `inferenceConfig`.
    #[serde(rename = "inferenceConfig.topK")]
    Inference,
}

/// What a model is sent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Chosen {
    /// Most output tokens.
    pub max_tokens: u32,
    /// None where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// None where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// None where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<u32>,
}

impl Parameters {
    /// Those that the request asks for, as a policy reads them.
    pub fn drafted(&self) -> DraftParameters {
        DraftParameters {
            max_output_tokens: Some(self.max_tokens).filter(|_| !self.default_output()),
            temperature: Some(self.temperature).filter(|value| *value != TEMPERATURE),
            top_p: Some(self.top_p).filter(|value| *value != TOP_P),
            stop: bounded(&self.stop_sequences),
        }
    }

    /// Whether the output limit is the default, which models that give less just keep to.
    pub fn default_output(&self) -> bool {
        self.max_tokens == MAX_TOKENS
    }

    /// Bytes that [`Parameters::write`] adds at most.
    pub fn most_bytes(&self) -> usize {
        // A byte of JSON text is at most six when written; the names and numbers are fixed.
        self.stop_sequences.iter().fold(256, |sum, text| sum + text.len() * 6 + 3)
    }

    /// What a model is sent, or which parameter it cannot take. `model` names it.
    pub fn choose(&self, accepts: &Accepts, model: &str) -> Result<Chosen, Invalid> {
        let (temperature, top_p) = self.sampling(accepts.sampling, model)?;
        Ok(Chosen {
            max_tokens: self.max_tokens.min(accepts.max_output_tokens),
            temperature,
            top_p,
            top_k: self.top_k(accepts, model)?,
        })
    }

    fn sampling(&self, takes: Sampling, model: &str) -> Result<(Option<f64>, Option<f64>), Invalid> {
        let matters = |value: f64, default: f64| value != default && value != NEUTRAL;
        let wants = (matters(self.temperature, TEMPERATURE), matters(self.top_p, TOP_P));
        let refuse = |name: &str, why: &str| Err(Invalid::unsupported(name, format!("{model} {why}")));
        match (takes, wants) {
            (Sampling::Both, _) => Ok((Some(self.temperature), Some(self.top_p))),
            (Sampling::One, (true, true)) => {
                refuse("top_p", "takes temperature or top_p, not both; leave one of them out, or name another model")
            }
            (Sampling::One, (false, true)) => Ok((None, Some(self.top_p))),
            (Sampling::One, (_, false)) => Ok((Some(self.temperature), None)),
            (Sampling::None, (true, _)) => {
                refuse("temperature", "does not take it; leave it out, or name another model")
            }
            (Sampling::None, (_, true)) => refuse("top_p", "does not take it; leave it out, or name another model"),
            (Sampling::None, (false, false)) => Ok((None, None)),
        }
    }

    fn top_k(&self, accepts: &Accepts, model: &str) -> Result<Option<u32>, Invalid> {
        let takes = accepts.top_k.filter(|_| accepts.sampling != Sampling::None);
        let most = takes.map(|takes| takes.most.unwrap_or(u32::MAX));
        match most {
            Some(most) if self.top_k <= most => Ok(Some(self.top_k)),
            _ if self.top_k == TOP_K => Ok(None),
            Some(most) => Err(Invalid::value("top_k", format!("{model} takes at most {most}"))),
            None => Err(Invalid::unsupported(
                "top_k",
                format!("{model} does not take it; leave it out, or name another model"),
            )),
        }
    }

    /// Adds what was chosen to a Converse body, an object that has messages and no parameters.
    pub fn write(&self, chosen: &Chosen, accepts: &Accepts, body: &Bytes) -> Bytes {
        let inference = Inference {
            max_tokens: Some(chosen.max_tokens),
            temperature: chosen.temperature.and_then(Number::from_f64),
            top_p: chosen.top_p.and_then(Number::from_f64),
            stop_sequences: self.stop_sequences.iter().map(|text| Cow::Borrowed(text.as_str())).collect(),
        };
        let mut written = Vec::with_capacity(body.len() + self.most_bytes());
        written.extend_from_slice(b"{\"inferenceConfig\":");
        // Writing numbers and texts to memory cannot fail.
        let _ = serde_json::to_writer(&mut written, &inference);
        if let (Some(k), Some(takes)) = (chosen.top_k, accepts.top_k) {
            let fields = match takes.field {
                TopKField::TopK => format!("{{\"top_k\":{k}}}"),
                TopKField::K => format!("{{\"k\":{k}}}"),
                TopKField::Inference => format!("{{\"inferenceConfig\":{{\"topK\":{k}}}}}"),
            };
            written.extend_from_slice(b",\"additionalModelRequestFields\":");
            written.extend_from_slice(fields.as_bytes());
        }
        written.push(b',');
        written.extend_from_slice(body.get(1..).unwrap_or_default());
        written.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLAUDE: TopK = TopK { field: TopKField::TopK, most: Some(500) };

    fn accepts(sampling: Sampling, top_k: Option<TopK>) -> Accepts {
        Accepts { sampling, top_k, max_output_tokens: 10_000 }
    }

    fn sent(parameters: &Parameters, accepts: &Accepts) -> String {
        match parameters.choose(accepts, "the model") {
            Ok(chosen) => {
                let body = parameters.write(&chosen, accepts, &Bytes::from_static(b"{\"messages\":[]}"));
                assert!(body.len() <= parameters.most_bytes() + 15, "{body:?}");
                String::from_utf8(body.to_vec()).unwrap()
            }
            Err(invalid) => invalid.text(),
        }
    }

    #[test]
    fn defaults_go_where_they_are_taken() {
        let default = Parameters::default();
        insta::assert_snapshot!(sent(&default, &accepts(Sampling::Both, None)), @r#"{"inferenceConfig":{"maxTokens":4096,"temperature":0.7,"topP":0.9},"messages":[]}"#);
        insta::assert_snapshot!(sent(&default, &accepts(Sampling::One, Some(CLAUDE))), @r#"{"inferenceConfig":{"maxTokens":4096,"temperature":0.7},"additionalModelRequestFields":{"top_k":250},"messages":[]}"#);
        insta::assert_snapshot!(sent(&default, &accepts(Sampling::None, Some(CLAUDE))), @r#"{"inferenceConfig":{"maxTokens":4096},"messages":[]}"#);
        let nova = TopK { field: TopKField::Inference, most: None };
        insta::assert_snapshot!(sent(&default, &accepts(Sampling::Both, Some(nova))), @r#"{"inferenceConfig":{"maxTokens":4096,"temperature":0.7,"topP":0.9},"additionalModelRequestFields":{"inferenceConfig":{"topK":250}},"messages":[]}"#);
        let command = TopK { field: TopKField::K, most: Some(500) };
        insta::assert_snapshot!(sent(&default, &accepts(Sampling::Both, Some(command))), @r#"{"inferenceConfig":{"maxTokens":4096,"temperature":0.7,"topP":0.9},"additionalModelRequestFields":{"k":250},"messages":[]}"#);
        // The default is above what this family takes.
        let mistral = TopK { field: TopKField::TopK, most: Some(200) };
        insta::assert_snapshot!(sent(&default, &accepts(Sampling::Both, Some(mistral))), @r#"{"inferenceConfig":{"maxTokens":4096,"temperature":0.7,"topP":0.9},"messages":[]}"#);
        let small = Accepts { max_output_tokens: 100, ..accepts(Sampling::Both, None) };
        insta::assert_snapshot!(sent(&default, &small), @r#"{"inferenceConfig":{"maxTokens":100,"temperature":0.7,"topP":0.9},"messages":[]}"#);
    }

    #[test]
    fn what_is_asked_for_is_sent_adapted_or_refused() {
        let with = |temperature, top_p| Parameters { temperature, top_p, ..Parameters::default() };
        let chosen = |parameters: &Parameters, takes| match parameters.sampling(takes, "the model") {
            Ok((temperature, top_p)) => format!("{temperature:?} {top_p:?}"),
            Err(invalid) => invalid.path.unwrap(),
        };
        for (temperature, top_p, takes, expected) in [
            (0.2, 0.9, Sampling::One, "Some(0.2) None"),
            (0.7, 0.5, Sampling::One, "None Some(0.5)"),
            (1.0, 0.5, Sampling::One, "None Some(0.5)"),
            (0.2, 1.0, Sampling::One, "Some(0.2) None"),
            (1.0, 0.9, Sampling::One, "Some(1.0) None"),
            (0.2, 0.5, Sampling::One, "top_p"),
            (0.2, 0.5, Sampling::Both, "Some(0.2) Some(0.5)"),
            (1.0, 1.0, Sampling::None, "None None"),
            (0.2, 1.0, Sampling::None, "temperature"),
            (0.7, 0.5, Sampling::None, "top_p"),
            (0.0, 0.9, Sampling::None, "temperature"),
        ] {
            assert_eq!(chosen(&with(temperature, top_p), takes), expected, "{temperature} {top_p} {takes:?}");
        }
        let top_k = |top_k| Parameters { top_k, ..Parameters::default() };
        insta::assert_snapshot!(sent(&top_k(40), &accepts(Sampling::Both, None)), @"top_k: the model does not take it; leave it out, or name another model");
        insta::assert_snapshot!(sent(&top_k(40), &accepts(Sampling::None, Some(CLAUDE))), @"top_k: the model does not take it; leave it out, or name another model");
        let mistral = TopK { field: TopKField::TopK, most: Some(200) };
        insta::assert_snapshot!(sent(&top_k(201), &accepts(Sampling::Both, Some(mistral))), @"top_k: the model takes at most 200");
        insta::assert_snapshot!(sent(&top_k(200), &accepts(Sampling::Both, Some(mistral))), @r#"{"inferenceConfig":{"maxTokens":4096,"temperature":0.7,"topP":0.9},"additionalModelRequestFields":{"top_k":200},"messages":[]}"#);
        let stopping = Parameters { stop_sequences: vec!["\"\n".to_owned(), "\u{1}".repeat(9)], ..top_k(250) };
        insta::assert_snapshot!(sent(&stopping, &accepts(Sampling::None, None)), @r#"{"inferenceConfig":{"maxTokens":4096,"stopSequences":["\"\n","\u0001\u0001\u0001\u0001\u0001\u0001\u0001\u0001\u0001"]},"messages":[]}"#);
    }
}
