//! From a family's body to a Converse body.

use std::borrow::Cow;

use serde_json::{Map, Number, Value, json};

use super::fields::{Fields, not_carried};
use super::shape::{Codec, Shape};
use super::templates::Turns;
use super::{Family, chat, claude, command, deepseek, jurassic, llama, mistral, nova, titan};
use crate::bedrock::outline;
use crate::canonical::{Block, Inference, Message, Request, Role, SystemBlock};
use crate::invalid::Invalid;
use crate::outline::Outline;

/// The model that answers.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its family, where that is one of these.
    pub family: Option<Family>,
    /// The most output tokens it gives.
    pub max_output_tokens: u32,
}

/// A request as the model that answers is asked.
#[derive(Debug)]
pub struct Translated {
    /// A Converse body.
    pub body: Vec<u8>,
    /// What routing and pricing need to know of it.
    pub outline: Outline,
    /// How the answer is to be given.
    pub shape: Shape,
    /// What was adapted, for the caller to know.
    pub warnings: Vec<String>,
}

/// What a family's reader makes of a body.
pub(super) struct Asked {
    /// The Converse body.
    pub(super) converse: Value,
    /// How the answer is to be given.
    pub(super) codec: Codec,
    /// The field that limits sampling to so many tokens, and its value: Converse has none.
    pub(super) top_k: Option<(&'static str, u32)>,
    /// What was adapted.
    pub(super) warnings: Vec<String>,
}

impl Asked {
    pub(super) fn new(request: &Request<'_>, codec: Codec) -> Self {
        // Serialising plain structs cannot fail.
        let converse = serde_json::to_value(request).unwrap_or_default();
        Self { converse, codec, top_k: None, warnings: Vec::new() }
    }

    /// A conversation of texts.
    pub(super) fn texts(turns: Turns, inference: Inference<'static>, codec: Codec) -> Self {
        let message = |(role, text)| Message { role, content: vec![Block::Text(Cow::Owned(text))] };
        let system = Some(turns.system).filter(|text| !text.is_empty());
        let request = Request {
            messages: turns.turns.into_iter().map(message).collect(),
            system: system.map(|text| SystemBlock::Text(text.into())).into_iter().collect(),
            inference_config: inference,
            ..Request::default()
        };
        Self::new(&request, codec)
    }
}

/// One turn of the user.
pub(super) fn one_turn(text: String) -> Turns {
    Turns { system: String::new(), turns: vec![(Role::User, text)] }
}

/// Limits and sampling. A `top_p` of 1 cuts nothing off, and some models refuse it beside a
/// temperature: it is left out.
pub(super) fn inference(
    max_tokens: Option<u32>,
    temperature: Option<Number>,
    top_p: Option<Number>,
    stop: Vec<String>,
) -> Inference<'static> {
    let top_p = top_p.filter(|value| value.as_f64() != Some(1.0));
    Inference { max_tokens, temperature, top_p, stop_sequences: stop.into_iter().map(Cow::Owned).collect() }
}

/// Reads a body of `family` for `target`. `headers` are those that InvokeModel passes on.
pub fn translate(
    family: Family,
    body: &[u8],
    headers: &[(&'static str, String)],
    streaming: bool,
    target: Target,
) -> Result<Translated, Invalid> {
    let fields = Fields::body(body)?;
    let asked = match family {
        Family::Claude => claude::read(fields),
        Family::Nova => nova::read(fields),
        Family::Titan => titan::read(fields),
        Family::Llama => llama::read(fields),
        Family::Mistral => mistral::read(fields),
        Family::Jamba => chat::read_jamba(fields),
        Family::Jurassic => jurassic::read(fields, streaming),
        Family::Command => command::read(fields),
        Family::Deepseek => deepseek::read(fields),
    }?;
    let Asked { mut converse, codec, top_k, mut warnings } = asked;
    let Value::Object(object) = &mut converse else { return Err(Invalid::value("", "an object is needed")) };
    lower_limit(object, target.max_output_tokens, &mut warnings);
    if let Some((name, top_k)) = top_k {
        let fields = top_k_fields(target.family, top_k).ok_or_else(|| not_carried(name))?;
        object.insert("additionalModelRequestFields".to_owned(), fields);
    }
    let guarded = carry_headers(headers, object)?;
    let body = serde_json::to_vec(object).unwrap_or_default();
    let outline = outline(&body, streaming)?;
    Ok(Translated { body, outline, shape: Shape { codec, guarded }, warnings })
}

/// Lowers the output limit to what the model that answers can give: an answer that it cuts says so.
fn lower_limit(converse: &mut Map<String, Value>, most: u32, warnings: &mut Vec<String>) {
    let limit = converse.get_mut("inferenceConfig").and_then(|config| config.get_mut("maxTokens"));
    if let Some(limit) = limit
        && limit.as_u64().is_some_and(|asked| asked > u64::from(most))
    {
        *limit = json!(most);
        warnings.push(format!("the output limit was lowered to {most}, the most that the answering model gives"));
    }
}

/// How a model is told to sample among so many tokens; none where it cannot be.
fn top_k_fields(family: Option<Family>, top_k: u32) -> Option<Value> {
    match family? {
        Family::Claude | Family::Mistral => Some(json!({"top_k": top_k})),
        Family::Nova => Some(json!({"inferenceConfig": {"topK": top_k}})),
        Family::Command => Some(json!({"k": top_k})),
        Family::Titan | Family::Llama | Family::Jamba | Family::Jurassic | Family::Deepseek => None,
    }
}

/// Puts what InvokeModel says in headers where Converse has it. Whether a guardrail is asked for.
fn carry_headers(headers: &[(&'static str, String)], converse: &mut Map<String, Value>) -> Result<bool, Invalid> {
    let named = |wanted: &str| headers.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.as_str());
    if let Some(tier) = named("x-amzn-bedrock-service-tier") {
        converse.insert("serviceTier".to_owned(), json!({"type": tier}));
    }
    if let Some(latency) = named("x-amzn-bedrock-performanceconfig-latency") {
        converse.insert("performanceConfig".to_owned(), json!({"latency": latency}));
    }
    if let Some(metadata) = named("x-amzn-bedrock-request-metadata") {
        let metadata: Map<String, Value> = serde_json::from_str(metadata)
            .map_err(|_| Invalid::value("X-Amzn-Bedrock-Request-Metadata", "a JSON object is needed"))?;
        converse.insert("requestMetadata".to_owned(), Value::Object(metadata));
    }
    if named("x-amzn-bedrock-trace").is_some_and(|trace| !trace.eq_ignore_ascii_case("disabled")) {
        return Err(not_carried("X-Amzn-Bedrock-Trace"));
    }
    let identifier = named("x-amzn-bedrock-guardrailidentifier");
    if let Some(identifier) = identifier {
        let version = named("x-amzn-bedrock-guardrailversion").ok_or_else(|| {
            Invalid::value("X-Amzn-Bedrock-GuardrailVersion", "a guardrail's identifier needs its version")
        })?;
        // The trace states the units that the guardrail is billed by.
        let config = json!({"guardrailIdentifier": identifier, "guardrailVersion": version, "trace": "enabled"});
        converse.insert("guardrailConfig".to_owned(), config);
    }
    Ok(identifier.is_some())
}
