//! Step 2: one form for every dialect.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use kairos_dialects::bedrock::families::Shape;
use kairos_dialects::canonical::Request;
use kairos_dialects::generate::parameters::{Chosen, Parameters};
use kairos_dialects::outline::{Needs, Outline, ServiceTier};
use kairos_dialects::{Failure, Invalid, Kind, bedrock, generate, openai};

use crate::exchange::Exchange;
use crate::gateway::Settings;
use crate::models::{Catalogue, Model};
use crate::request::{Hints, Incoming, Operation};
use crate::route::Decision;
use crate::translate::family_named;
use crate::upstream::UpstreamOperation;

/// A request, understood.
#[derive(Clone)]
pub(crate) struct Decoded {
    /// What was asked for.
    pub(crate) operation: Operation,
    /// What is called upstream.
    pub(crate) upstream: UpstreamOperation,
    /// The body that goes upstream. A native caller's is the one that came.
    pub(crate) body: Bytes,
    /// Headers that go upstream with InvokeModel.
    pub(crate) headers: Arc<[(&'static str, String)]>,
    /// The model as the caller wrote it; none where none was named.
    pub(crate) asked_model: Option<String>,
    /// What routing and pricing need to know.
    pub(crate) outline: Outline,
    /// What the caller says in headers.
    pub(crate) hints: Hints,
    /// Whether the answer is streamed.
    pub(crate) streams: bool,
    /// OpenAI: whether the stream ends with usage.
    pub(crate) include_usage: bool,
    /// How the answer is given, where that is neither Bedrock's bytes nor OpenAI's shape.
    pub(crate) shape: Option<Arc<Shape>>,
    /// Kairos's own API: parameters that are not in the body yet, since each model takes others.
    pub(crate) parameters: Option<Arc<Parameters>>,
    /// Those of them that are in it, once the model is known.
    pub(crate) chosen: Option<Chosen>,
    /// The caller's own id of the request, where the body has it.
    pub(crate) client_request_id: Option<String>,
    /// What was adapted.
    pub(crate) warnings: Vec<String>,
}

/// The name by which a caller leaves the choice to the policy.
pub(crate) const AUTO: &str = "auto";

impl Decoded {
    /// The name of the model that the request is for: what the caller named, else the default.
    pub(crate) fn model<'a>(&'a self, settings: &'a Settings) -> &'a str {
        self.asked_model.as_deref().unwrap_or(&settings.default_model)
    }

    /// Whether a model may answer that was not asked for: the caller named none, or allows others.
    /// The body of InvokeModel has the shape of one family, and goes to no other.
    pub(crate) fn takes_any_model(&self) -> bool {
        let named = self.asked_model.as_deref().is_some_and(|name| name != AUTO);
        (!named || self.hints.any_model) && !matches!(self.operation, Operation::Invoke | Operation::InvokeStream)
    }

    /// Bytes of the body, at most: parameters that are still to come included.
    pub(crate) fn most_bytes(&self) -> usize {
        self.body.len() + self.parameters.as_ref().map_or(0, |parameters| parameters.most_bytes())
    }

    /// Whether a model can take what the request asks for. Where it cannot, says which parameter.
    pub(crate) fn is_taken_by(&self, model: &Model) -> Result<(), Invalid> {
        match &self.parameters {
            Some(parameters) => parameters.choose(&model.accepts(), &model.id).map(|_| ()),
            None => Ok(()),
        }
    }

    /// The output limit that a model must have room for. None is also a default that gives way.
    pub(crate) fn needed_output(&self) -> Option<u32> {
        let gives_way = self.parameters.as_ref().is_some_and(|parameters| parameters.default_output());
        self.outline.max_output_tokens.filter(|_| !gives_way)
    }
}

/// Bytes of a model's name: as many as Bedrock takes.
const MOST_NAME_BYTES: usize = 2_048;

pub(crate) fn decode(incoming: Incoming, catalogue: &Catalogue) -> Result<Decoded, Failure> {
    let decoded = by_dialect(incoming, catalogue)?;
    if decoded.asked_model.as_ref().is_some_and(|name| name.len() > MOST_NAME_BYTES) {
        let message = format!("a model's name has at most {MOST_NAME_BYTES} bytes");
        return Err(Failure::new(Kind::InvalidValue, message).with_param("model"));
    }
    Ok(decoded)
}

fn by_dialect(incoming: Incoming, catalogue: &Catalogue) -> Result<Decoded, Failure> {
    let hints = Hints::parse(&incoming.hints)?;
    let operation = incoming.operation;
    match operation {
        Operation::ChatCompletions => chat(&incoming.body, hints),
        Operation::Generate => generate(&incoming.body, hints),
        _ => native(incoming, hints, catalogue),
    }
}

/// Bedrock's own bodies.
fn native(incoming: Incoming, hints: Hints, catalogue: &Catalogue) -> Result<Decoded, Failure> {
    let operation = incoming.operation;
    let streams = matches!(operation, Operation::ConverseStream | Operation::InvokeStream);
    let invoked = |streaming| {
        let family = incoming.path_model.as_deref().and_then(|name| family_named(catalogue, name));
        bedrock::invoke::outline(&incoming.body, streaming, family)
    };
    let (upstream, mut outline) = match operation {
        Operation::Converse | Operation::ChatCompletions | Operation::Generate => {
            (UpstreamOperation::Converse, bedrock::outline(&incoming.body, false)?)
        }
        Operation::ConverseStream => (UpstreamOperation::ConverseStream, bedrock::outline(&incoming.body, true)?),
        Operation::Invoke => (UpstreamOperation::Invoke, invoked(false)?),
        Operation::InvokeStream => (UpstreamOperation::InvokeStream, invoked(true)?),
    };
    read_invoke_headers(&incoming.passed_headers, &mut outline)?;
    Ok(Decoded {
        operation,
        upstream,
        body: incoming.body,
        headers: incoming.passed_headers.into(),
        asked_model: incoming.path_model,
        outline,
        hints,
        streams,
        include_usage: false,
        shape: None,
        parameters: None,
        chosen: None,
        client_request_id: None,
        warnings: Vec::new(),
    })
}

fn chat(body: &Bytes, hints: Hints) -> Result<Decoded, Failure> {
    let request = openai::request::parse(body)?;
    let outline = request.canonical.outline(request.stream);
    let body = written(&request.canonical)?;
    Ok(Decoded {
        operation: Operation::ChatCompletions,
        upstream: if request.stream { UpstreamOperation::ConverseStream } else { UpstreamOperation::Converse },
        body,
        headers: Arc::default(),
        asked_model: request.model.map(Cow::into_owned),
        outline,
        hints,
        streams: request.stream,
        include_usage: request.include_usage,
        shape: None,
        parameters: None,
        chosen: None,
        client_request_id: None,
        warnings: request.warnings,
    })
}

fn generate(body: &Bytes, mut hints: Hints) -> Result<Decoded, Failure> {
    let request = generate::request::parse(body)?;
    hints.read_context(&request.hints)?;
    let mut outline = request.canonical.outline(false);
    outline.max_output_tokens = Some(request.parameters.max_tokens);
    Ok(Decoded {
        operation: Operation::Generate,
        upstream: UpstreamOperation::Converse,
        body: written(&request.canonical)?,
        headers: Arc::default(),
        asked_model: request.model.map(Cow::into_owned),
        outline,
        hints,
        streams: false,
        include_usage: false,
        shape: None,
        parameters: Some(Arc::new(request.parameters)),
        chosen: None,
        client_request_id: request.client_request_id,
        warnings: request.warnings,
    })
}

fn written(request: &Request<'_>) -> Result<Bytes, Failure> {
    let body = serde_json::to_vec(request);
    let body =
        body.map_err(|error| Failure::new(Kind::Internal, format!("the request could not be written: {error}")))?;
    Ok(body.into())
}

/// What InvokeModel says in headers about price.
fn read_invoke_headers(headers: &[(&'static str, String)], outline: &mut Outline) -> Result<(), Failure> {
    for (name, value) in headers {
        match *name {
            "x-amzn-bedrock-service-tier" => {
                outline.service_tier = ServiceTier::from_bedrock(value).ok_or_else(|| {
                    let message = "the header X-Amzn-Bedrock-Service-Tier needs default, priority, flex or reserved";
                    Failure::new(Kind::InvalidValue, message).with_param("X-Amzn-Bedrock-Service-Tier")
                })?;
            }
            "x-amzn-bedrock-performanceconfig-latency" => outline.optimized_latency = value == "optimized",
            "x-amzn-bedrock-guardrailidentifier" => outline.needs.add(Needs::GUARDRAILS),
            _ => {}
        }
    }
    Ok(())
}

/// The request as a target's model is asked: with the parameters that it takes, and its output limit
/// lowered where the plan says so.
pub(crate) fn limited<'a>(
    request: &'a Decoded,
    decision: &Decision,
    target: usize,
    exchange: &mut Exchange,
) -> Result<Cow<'a, Decoded>, Failure> {
    if let Some(parameters) = &request.parameters {
        return with_parameters(request, parameters, decision, target, exchange).map(Cow::Owned);
    }
    let model_limit = exchange.output_limit(target);
    let asked = request.outline.max_output_tokens.unwrap_or(model_limit);
    let Some(limit) = decision.max_output_tokens.filter(|limit| *limit < asked) else {
        return Ok(Cow::Borrowed(request));
    };
    if matches!(request.upstream, UpstreamOperation::Invoke | UpstreamOperation::InvokeStream) {
        exchange.warn("the policy's output limit is not applied to InvokeModel bodies");
        return Ok(Cow::Borrowed(request));
    }
    let mut request = request.clone();
    request.body = bedrock::lower_output_limit(&request.body, limit)?;
    request.outline.max_output_tokens = Some(limit);
    Ok(Cow::Owned(request))
}

fn with_parameters(
    request: &Decoded,
    parameters: &Parameters,
    decision: &Decision,
    target: usize,
    exchange: &mut Exchange,
) -> Result<Decoded, Failure> {
    let catalogue = Arc::clone(&exchange.catalogue);
    let model = &catalogue.models[catalogue.targets[target].model];
    let accepts = model.accepts();
    let mut chosen = parameters.choose(&accepts, &model.id)?;
    if chosen.max_tokens < parameters.max_tokens && !parameters.default_output() {
        exchange.warn(&format!("max_tokens: lowered to {}, the most that {} gives", chosen.max_tokens, model.id));
    }
    chosen.max_tokens = decision.max_output_tokens.map_or(chosen.max_tokens, |limit| limit.min(chosen.max_tokens));
    let mut request = request.clone();
    request.body = parameters.write(&chosen, &accepts, &request.body);
    request.outline.max_output_tokens = Some(chosen.max_tokens);
    request.chosen = Some(chosen);
    Ok(request)
}
