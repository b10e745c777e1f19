//! Step 2: one form for every dialect.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use kairos_dialects::bedrock::families::Shape;
use kairos_dialects::bedrock::jobs::{self, JobModel};
use kairos_dialects::bedrock::pieces::{self, Body};
use kairos_dialects::canonical::Request;
use kairos_dialects::generate::parameters::{Chosen, Parameters};
use kairos_dialects::openai::embeddings::Wanted;
use kairos_dialects::outline::{Needs, Outline, ServiceTier};
use kairos_dialects::prompt::{self, Named};
use kairos_dialects::{Failure, Invalid, Kind, bedrock, generate, json, openai};

use crate::exchange::Exchange;
use crate::gateway::{Gateway, Settings};
use crate::models::{Catalogue, Model};
use crate::profile::is_application;
use crate::prompts::{Expanded, Given, expand, wanted};
use crate::record::PromptRecord;
use crate::request::{Hints, Incoming, Operation};
use crate::route::Decision;
use crate::translate::{bodies_of, model_named};
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
    /// Whose body it is, where that of InvokeModel is for a model that is no chat.
    pub(crate) pieces: Option<Body>,
    /// OpenAI's embeddings: how vectors are wanted. The body is all texts, before it is known how many a call
    /// takes.
    pub(crate) embeds: Option<Wanted>,
    /// Kairos's own API: parameters that are not in the body yet, since each model takes others.
    pub(crate) parameters: Option<Arc<Parameters>>,
    /// Those of them that are in it, once the model is known.
    pub(crate) chosen: Option<Chosen>,
    /// The caller's own id of the request, where the body has it.
    pub(crate) client_request_id: Option<String>,
    /// What was adapted.
    pub(crate) warnings: Vec<String>,
    /// The template that it was made with.
    pub(crate) prompt: Option<PromptRecord>,
    /// What is asked for, where it is a job.
    pub(crate) job: Option<Arc<AskedJob>>,
    /// Texts of the body in which the caller had a part, and that stand where the gateway's own do.
    pub(crate) of_caller: Arc<[Arc<str>]>,
}

/// A job that is asked for.
pub(crate) struct AskedJob {
    /// The caller's own token of it.
    pub(crate) token: Option<String>,
    /// A digest of the body as it came, under the gateway's own key, in hexadecimal.
    pub(crate) digest: String,
    /// Where its result goes, as JSON.
    pub(crate) output: String,
}

/// The name by which a caller leaves the choice to the policy.
pub(crate) const AUTO: &str = "auto";

impl Decoded {
    /// The name of the model that the request is for: what the caller named, else the default.
    pub(crate) fn model<'a>(&'a self, settings: &'a Settings) -> &'a str {
        self.asked_model.as_deref().unwrap_or(&settings.default_model)
    }

    /// Whether it is for a model by name.
    pub(crate) fn is_named(&self, settings: &Settings) -> bool {
        self.model(settings) != AUTO
    }

    /// Whether a model may answer that was not asked for: the caller named none, or allows others.
    /// A body that has the shape of one family goes to no other.
    pub(crate) fn takes_any_model(&self) -> bool {
        let named = self.asked_model.as_deref().is_some_and(|name| name != AUTO);
        (!named || self.hints.any_model) && !self.operation.is_for_one_model()
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

/// Boxed: it goes from step to step, and would be moved with each.
pub(crate) fn decode(incoming: Incoming, gateway: &Gateway, catalogue: &Catalogue) -> Result<Box<Decoded>, Failure> {
    let decoded = Box::new(by_dialect(incoming, gateway, catalogue)?);
    if decoded.asked_model.as_ref().is_some_and(|name| name.len() > MOST_NAME_BYTES) {
        let message = format!("a model's name has at most {MOST_NAME_BYTES} bytes");
        return Err(Failure::new(Kind::InvalidValue, message).with_param("model"));
    }
    Ok(decoded)
}

fn by_dialect(incoming: Incoming, gateway: &Gateway, catalogue: &Catalogue) -> Result<Decoded, Failure> {
    let hints = Hints::parse(&incoming.hints)?;
    match incoming.operation {
        Operation::ChatCompletions => chat(&incoming.body, hints, gateway),
        Operation::Embeddings => embeddings(&incoming.body, hints),
        Operation::Generate => generate(&incoming.body, hints, gateway),
        Operation::Converse | Operation::ConverseStream => converse(incoming, hints, gateway),
        Operation::Invoke | Operation::InvokeStream => invoke(incoming, hints, catalogue),
        Operation::StartAsync => start(incoming, hints, gateway, catalogue),
    }
}

/// The template that a request names, rendered.
fn template(hints: &Hints, in_body: Option<Named>, gateway: &Gateway) -> Result<Option<Expanded>, Failure> {
    let Some(wanted) = wanted(hints, in_body)? else { return Ok(None) };
    expand(&gateway.prompts.load(), &wanted, gateway.settings.prompts).map(Some)
}

impl Decoded {
    /// A request without anything that only some have.
    fn plain(
        operation: Operation,
        upstream: UpstreamOperation,
        body: Bytes,
        outline: Outline,
        hints: Hints,
        template: Option<&Expanded>,
    ) -> Self {
        Self {
            operation,
            upstream,
            body,
            headers: Arc::default(),
            asked_model: None,
            outline,
            hints,
            streams: matches!(upstream, UpstreamOperation::ConverseStream | UpstreamOperation::InvokeStream),
            include_usage: false,
            shape: None,
            pieces: None,
            embeds: None,
            parameters: None,
            chosen: None,
            client_request_id: None,
            warnings: Vec::new(),
            job: None,
            prompt: template.map(|template| template.record.clone()),
            of_caller: template.map_or_else(Arc::default, |template| template.of_caller().into()),
        }
    }
}

/// Bedrock's own bodies, of Converse.
fn converse(incoming: Incoming, mut hints: Hints, gateway: &Gateway) -> Result<Decoded, Failure> {
    let Incoming { operation, path_model, mut body, .. } = incoming;
    let streams = operation == Operation::ConverseStream;
    if hints.prompt.is_some() {
        let (rest, variables) = bedrock::without_prompt_variables(&body)?;
        if let (Some(_), Some(given)) = (&variables, &hints.prompt_variables) {
            let message = format!("promptVariables and {} both give values; send them once", given.param);
            return Err(Failure::new(Kind::InvalidValue, message).with_param("promptVariables"));
        }
        if let Some(variables) = variables {
            let (values, param) = (prompt::of_converse(&variables)?, "promptVariables".to_owned());
            hints.prompt_variables = Some(Given { values, param });
        }
        body = rest;
    }
    let template = template(&hints, None, gateway)?;
    if let Some(template) = &template {
        body = template.put_into(&body, true)?;
    }
    let outline = bedrock::outline(&body, streams)?;
    let upstream = if streams { UpstreamOperation::ConverseStream } else { UpstreamOperation::Converse };
    let plain = Decoded::plain(operation, upstream, body, outline, hints, template.as_ref());
    Ok(Decoded { asked_model: path_model, ..plain })
}

/// Bedrock's own bodies, of InvokeModel.
fn invoke(incoming: Incoming, hints: Hints, catalogue: &Catalogue) -> Result<Decoded, Failure> {
    without_template(&hints, "InvokeModel, whose bodies have the shape of one family: use Converse")?;
    let operation = incoming.operation;
    let upstream =
        if operation == Operation::InvokeStream { UpstreamOperation::InvokeStream } else { UpstreamOperation::Invoke };
    let model = incoming.path_model.as_deref().and_then(|name| model_named(catalogue, name));
    let streams = upstream == UpstreamOperation::InvokeStream;
    let pieces = model.and_then(|model| model.body).filter(|_| !streams);
    let mut outline = match pieces {
        Some(body) => pieces::outline(body, &incoming.body)?,
        None => bedrock::invoke::outline(&incoming.body, streams, model.and_then(|model| bodies_of(model.family)))?,
    };
    read_invoke_headers(&incoming.passed_headers, &mut outline)?;
    let plain = Decoded::plain(operation, upstream, incoming.body, outline, hints, None);
    Ok(Decoded { headers: incoming.passed_headers.into(), asked_model: incoming.path_model, pieces, ..plain })
}

/// Refuses a template where there is no prompt that it could stand before.
fn without_template(hints: &Hints, what: &str) -> Result<(), Failure> {
    let of_variables = hints.prompt_variables.as_ref().map(|given| &given.param);
    match hints.prompt.as_ref().map(|asked| &asked.param).or(of_variables) {
        None => Ok(()),
        Some(param) => {
            let message = format!("{param} is not for {what}");
            Err(Failure::new(Kind::Unsupported, message).with_param(param.clone()))
        }
    }
}

fn embeddings(body: &Bytes, hints: Hints) -> Result<Decoded, Failure> {
    without_template(&hints, "embeddings, which have no prompt")?;
    let request = openai::embeddings::parse(body)?;
    let body = openai::embeddings::canonical(&request.texts);
    let outline = pieces::outline(Body::CohereEmbed, &body)?;
    let plain = Decoded::plain(Operation::Embeddings, UpstreamOperation::Invoke, body, outline, hints, None);
    let labels = (!request.labels.is_empty()).then(|| serde_json::to_string(&request.labels).unwrap_or_default());
    let headers: Vec<_> = labels.map(|labels| ("x-amzn-bedrock-request-metadata", labels)).into_iter().collect();
    Ok(Decoded {
        // The default of chats embeds nothing.
        asked_model: Some(request.model.map_or_else(|| AUTO.to_owned(), Cow::into_owned)),
        headers: headers.into(),
        pieces: Some(Body::CohereEmbed),
        embeds: Some(request.wanted),
        ..plain
    })
}

/// A job, of StartAsyncInvoke.
fn start(incoming: Incoming, hints: Hints, gateway: &Gateway, catalogue: &Catalogue) -> Result<Decoded, Failure> {
    without_template(&hints, "StartAsyncInvoke, whose bodies have the shape of one family: use Converse")?;
    let start = jobs::read(&incoming.body)?;
    if let Some(places) = &gateway.settings.job_places {
        jobs::within(&incoming.body, places)?;
    }
    if is_application(&start.model) {
        // Bedrock takes none here, and what it stands for may not be known yet.
        let message = "a job goes to a model itself, not to an application inference profile: name the model";
        return Err(Failure::new(Kind::InvalidValue, message).with_param("modelId"));
    }
    let name = catalogue_name(&start.model);
    let outline = match model_named(catalogue, name) {
        // What a model is that is not known, is said where it is looked for.
        None => Outline::default(),
        Some(model) if !incoming.operation.takes(model.kind) => Outline::default(),
        Some(model) => {
            let known = JobModel::of(&model.id).ok_or_else(|| {
                let message = format!("what a job of {} can cost at most is not known: it is not started", model.id);
                Failure::new(Kind::Unsupported, message).with_param("modelId")
            })?;
            jobs::outline(&incoming.body, known)?
        }
    };
    let digest = crate::jobs::digest(&gateway.settings.draw_salt, &incoming.body);
    let job = Some(Arc::new(AskedJob { token: start.token, digest, output: start.output }));
    let (operation, upstream) = (incoming.operation, UpstreamOperation::StartAsync);
    let asked_model = Some(name.to_owned());
    let plain = Decoded::plain(operation, upstream, incoming.body, outline, hints, None);
    Ok(Decoded { job, asked_model, ..plain })
}

/// What the catalogue knows a model by that a body names by the ARN that AWS gives it.
fn catalogue_name(name: &str) -> &str {
    let parts = [":foundation-model/", ":inference-profile/"];
    let id = parts.into_iter().find_map(|part| Some(name.strip_prefix("arn:aws")?.split_once(part)?.1));
    id.unwrap_or(name)
}

fn chat(body: &Bytes, hints: Hints, gateway: &Gateway) -> Result<Decoded, Failure> {
    let is_named = hints.prompt.is_some() || hints.prompt_variables.is_some();
    let request = openai::request::parse(body, is_named)?;
    let template = template(&hints, request.prompt, gateway)?;
    let mut body = written(&request.canonical, body)?;
    let outline = match &template {
        None => request.canonical.outline(request.stream),
        Some(template) => {
            if !template.has_messages() {
                request.canonical.begins()?;
            }
            body = template.put_into(&body, true)?;
            bedrock::outline(&body, request.stream)?
        }
    };
    let upstream = if request.stream { UpstreamOperation::ConverseStream } else { UpstreamOperation::Converse };
    let plain = Decoded::plain(Operation::ChatCompletions, upstream, body, outline, hints, template.as_ref());
    Ok(Decoded {
        asked_model: request.model.map(Cow::into_owned),
        include_usage: request.include_usage,
        warnings: request.warnings,
        ..plain
    })
}

fn generate(body: &Bytes, mut hints: Hints, gateway: &Gateway) -> Result<Decoded, Failure> {
    let mut request = generate::request::parse(body)?;
    hints.read_context(&request.hints)?;
    let template = template(&hints, None, gateway)?;
    let mut body = written(&request.canonical, body)?;
    let mut outline = request.canonical.outline(false);
    if let Some(template) = &template {
        body = template.put_into(&body, false)?;
        outline = bedrock::outline(&body, false)?;
        template.choose(&mut request.parameters);
    }
    outline.max_output_tokens = Some(request.parameters.max_tokens);
    let plain =
        Decoded::plain(Operation::Generate, UpstreamOperation::Converse, body, outline, hints, template.as_ref());
    Ok(Decoded {
        asked_model: request.model.map(Cow::into_owned),
        parameters: Some(Arc::new(request.parameters)),
        client_request_id: request.client_request_id,
        warnings: request.warnings,
        ..plain
    })
}

/// The request as Converse takes it, which is about as long as the caller's body.
fn written(request: &Request<'_>, callers: &Bytes) -> Result<Bytes, Failure> {
    let body = json(request, callers.len());
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
/// lowered where the plan says so. None: as it is.
pub(crate) fn limited(
    request: &Decoded,
    decision: &Decision,
    target: usize,
    exchange: &mut Exchange,
) -> Result<Option<Box<Decoded>>, Failure> {
    if let Some(parameters) = &request.parameters {
        return with_parameters(request, parameters, decision, target, exchange).map(Some);
    }
    let model_limit = exchange.output_limit(target);
    let asked = request.outline.max_output_tokens.unwrap_or(model_limit);
    let Some(limit) = decision.max_output_tokens.filter(|limit| *limit < asked) else { return Ok(None) };
    if request.upstream.has_own_body() {
        exchange.warn("the policy's output limit is not applied to InvokeModel bodies");
        return Ok(None);
    }
    let mut request = Box::new(request.clone());
    request.body = bedrock::lower_output_limit(&request.body, limit)?;
    request.outline.max_output_tokens = Some(limit);
    Ok(Some(request))
}

fn with_parameters(
    request: &Decoded,
    parameters: &Parameters,
    decision: &Decision,
    target: usize,
    exchange: &mut Exchange,
) -> Result<Box<Decoded>, Failure> {
    let catalogue = Arc::clone(&exchange.catalogue);
    let model = &catalogue.models[catalogue.targets[target].model];
    let accepts = model.accepts();
    let mut chosen = parameters.choose(&accepts, &model.id)?;
    if chosen.max_tokens < parameters.max_tokens && !parameters.default_output() {
        exchange.warn(&format!("max_tokens: lowered to {}, the most that {} gives", chosen.max_tokens, model.id));
    }
    chosen.max_tokens = decision.max_output_tokens.map_or(chosen.max_tokens, |limit| limit.min(chosen.max_tokens));
    let mut request = Box::new(request.clone());
    request.body = parameters.write(&chosen, &accepts, &request.body);
    request.outline.max_output_tokens = Some(chosen.max_tokens);
    request.chosen = Some(chosen);
    Ok(request)
}
