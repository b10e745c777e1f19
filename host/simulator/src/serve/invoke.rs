//! An operation carried out: read, generate, book, answer.
//!
//! Nothing here waits, so that a client that goes away changes nothing: what was generated is booked
//! before the first byte is sent, as AWS bills it whether or not anybody listens.

use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Response};
use serde_json::Value;

use super::operation::Operation;
use super::respond;
use super::service::{Call, Service};
use super::stream::Payload;
use crate::bill::Charge;
use crate::catalogue::{Family, Model, Pieces};
use crate::conversation::Conversation;
use crate::error::{ApiError, Exception};
use crate::families::Answered;
use crate::generation::Generation;
use crate::guardrail::Ask;
use crate::script::{Billed, Frame, Script};
use crate::target::{Target, Way};
use crate::wishes::Wishes;
use crate::{attachment, converse, families};

/// An answer, and how long it takes to come.
pub(super) struct Answer {
    pub(super) response: Response<Payload>,
    pub(super) wait: Option<Duration>,
}

/// What joins a call with what others know of it.
const INVOCATION_ID: &str = "amz-sdk-invocation-id";

pub(super) fn invoke(
    service: &Service,
    head: &Parts,
    body: &[u8],
    call: &Call,
    request_id: &str,
) -> Result<Answer, ApiError> {
    let target = service.generator.resolver.resolve(&call.model)?;
    let at = At { service, head, call, request_id, target: &target };
    if let Some(pieces) = at.asked_pieces() {
        return match call.operation {
            Operation::Invoke => at.pieces(pieces, body),
            _ => Err(families::no_chat()),
        };
    }
    match call.operation {
        Operation::Converse | Operation::ConverseStream => {
            let (conversation, wishes) = converse::read(body)?;
            at.converse(&conversation, wishes)
        }
        Operation::Invoke | Operation::InvokeStream => {
            let body = native_json(body)?;
            let conversation = families::read(at.asked_model()?, &body)?;
            at.native(&conversation)
        }
        Operation::CountTokens => at.count_tokens(body),
    }
}

fn native_json(body: &[u8]) -> Result<Value, ApiError> {
    // The body is a blob to Bedrock: what is wrong with it is the model's complaint.
    serde_json::from_slice(body)
        .map_err(|_| ApiError::validation("Malformed input request, please reformat your input and try again."))
}

/// A call in the middle of being carried out.
struct At<'c> {
    service: &'c Service,
    head: &'c Parts,
    call: &'c Call,
    request_id: &'c str,
    target: &'c Target,
}

impl At<'_> {
    /// The model whose body is to be read; all models of a router have the same.
    fn asked_model(&self) -> Result<&Model, ApiError> {
        let catalogue = &self.service.generator.catalogue;
        match self.target.way {
            Way::Model(model, _) => Ok(catalogue.model(model)),
            Way::Router(router) => Ok(catalogue.model(router.pick(catalogue, 0, self.call.region)?.0)),
        }
    }

    /// Whose body it takes, where the model is no chat; no router leads to one.
    fn asked_pieces(&self) -> Option<Pieces> {
        let Way::Model(model, _) = self.target.way else { return None };
        match self.service.generator.catalogue.model(model).family {
            Family::Pieces(pieces) => Some(pieces),
            _ => None,
        }
    }

    /// A model that is no chat.
    fn pieces(&self, pieces: Pieces, body: &[u8]) -> Result<Answer, ApiError> {
        let Way::Model(which, route) = self.target.way else { return Err(families::no_chat()) };
        let (generator, region) = (&self.service.generator, self.call.region);
        generator.resolver.check_offered(&self.target.asked, which, route, region)?;
        let model = generator.catalogue.model(which);
        let done = families::answer_pieces(pieces, model, &native_json(body)?)?;
        let tier = wishes(&self.head.headers)?.tier;
        self.book_charge(generator.charge((which, route, region), tier, done.usage)?);
        let mut response = respond::json(done.body.to_string());
        if done.counts {
            let name = HeaderName::from_static("x-amzn-bedrock-input-token-count");
            response.headers_mut().insert(name, done.usage.input.into());
        }
        response.headers_mut().insert(HeaderName::from_static("x-amzn-bedrock-invocation-latency"), 1.into());
        Ok(Answer { response, wait: None })
    }

    fn generate(&self, conversation: &Conversation<'_>, wishes: Wishes) -> Result<Generation, ApiError> {
        let streamed = self.call.operation.is_streamed();
        let region = self.call.region;
        self.service.generator.generate(self.target, region, conversation, wishes, streamed)
    }

    fn answered<'a>(&'a self, generation: &'a Generation, conversation: &'a Conversation<'a>) -> Answered<'a> {
        let model = self.service.generator.catalogue.model(generation.charge.model);
        Answered { generation, model, conversation, request_id: self.request_id }
    }

    fn converse(&self, conversation: &Conversation<'_>, wishes: Wishes) -> Result<Answer, ApiError> {
        let generation = self.generate(conversation, wishes)?;
        let asked = !generation.wishes.paths.is_empty();
        let own = asked.then(|| families::answer(&self.answered(&generation, conversation)));
        if self.call.operation.is_streamed() {
            let frames = converse::events(&generation, own.as_ref());
            let response = respond::event_stream(self.play(&generation, frames)?);
            return Ok(Answer { response, wait: None });
        }
        self.book(&generation, Billed::Everything)?;
        let response = respond::json(converse::answer(&generation, own.as_ref()));
        Ok(Answer { response, wait: wait(&generation) })
    }

    fn native(&self, conversation: &Conversation<'_>) -> Result<Answer, ApiError> {
        let generation = self.generate(conversation, wishes(&self.head.headers)?)?;
        let answered = self.answered(&generation, conversation);
        let mut answer = if self.call.operation.is_streamed() {
            let frames = families::events(&answered);
            let mut response = respond::event_stream(self.play(&generation, frames)?);
            response.headers_mut().insert(HeaderName::from_static("x-amzn-bedrock-content-type"), respond::JSON);
            Answer { response, wait: None }
        } else {
            self.book(&generation, Billed::Everything)?;
            let mut response = respond::json(families::answer(&answered).to_string());
            for (name, count) in families::header_counts(&answered) {
                response.headers_mut().insert(HeaderName::from_static(name), count.into());
            }
            Answer { response, wait: wait(&generation) }
        };
        granted(&generation, answer.response.headers_mut());
        Ok(answer)
    }

    /// Books a stream and makes it ready to be played.
    fn play(&self, generation: &Generation, frames: Vec<Frame>) -> Result<Payload, ApiError> {
        let script = Script::new(frames, self.call.fault.as_ref(), &self.call.model);
        self.book(generation, script.billed)?;
        Ok(Payload::played(script, generation.speed, self.service.stopped.clone()))
    }

    fn book(&self, generation: &Generation, billed: Billed) -> Result<(), ApiError> {
        let catalogue = &self.service.generator.catalogue;
        let charge = match billed {
            Billed::Nothing => return Ok(()),
            Billed::Everything => generation.charge,
            Billed::Until(output) => generation
                .charge
                .stopped_after(catalogue, output)
                .ok_or_else(|| ApiError::new(Exception::InternalServer, "The simulator lost a price."))?,
        };
        self.book_charge(charge);
        Ok(())
    }

    fn book_charge(&self, charge: Charge) {
        let id = self.head.headers.get(INVOCATION_ID).and_then(|id| id.to_str().ok());
        let id = id.filter(|id| !id.is_empty()).unwrap_or(self.request_id);
        self.service.bill.book(id, self.target.asked.clone(), charge);
    }

    /// Counts, for nothing, what would be charged as input.
    fn count_tokens(&self, body: &[u8]) -> Result<Answer, ApiError> {
        let generator = &self.service.generator;
        let Way::Model(which, _) = self.target.way else {
            return Err(ApiError::validation("The provided model identifier is invalid."));
        };
        let model = generator.catalogue.model(which);
        if model.family != Family::Claude {
            return Err(ApiError::validation("The provided model doesn't support counting tokens."));
        }
        let request: converse::CountTokens<'_> = serde_json::from_slice(body).map_err(ApiError::serialization)?;
        let input = request.input.unwrap_or_default();
        let tokens = match (input.converse, input.invoke_model) {
            (Some(request), None) => {
                let (conversation, _) = converse::from_wire(*request)?;
                generator.measure(model, &conversation, false)?.tokens
            }
            (None, Some(request)) => {
                let text = request.body.as_deref().unwrap_or_default();
                let body = native_json(&attachment::decode(text)?)?;
                let conversation = families::read(model, &body)?;
                generator.measure(model, &conversation, false)?.tokens
            }
            _ => {
                return Err(ApiError::validation(
                    "The CountTokensInput object at input must set one of the following keys: \
                     converse, invokeModel.",
                ));
            }
        };
        let response = respond::json(format!(r#"{{"inputTokens":{tokens}}}"#));
        Ok(Answer { response, wait: None })
    }
}

fn wait(generation: &Generation) -> Option<Duration> {
    generation.speed.map(|speed| speed.until(generation.usage().output))
}

/// What the headers of InvokeModel ask for.
fn wishes(headers: &HeaderMap) -> Result<Wishes, ApiError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    Ok(Wishes {
        guardrail: Ask::read(
            text("x-amzn-bedrock-guardrailidentifier"),
            text("x-amzn-bedrock-guardrailversion"),
            text("x-amzn-bedrock-trace"),
        )?,
        tier: Wishes::tier(text("x-amzn-bedrock-service-tier"))?,
        latency: Wishes::latency(text("x-amzn-bedrock-performanceconfig-latency"))?,
        paths: Vec::new(),
    })
}

/// What was granted of what was asked for.
fn granted(generation: &Generation, headers: &mut HeaderMap) {
    if let Some(tier) = generation.tier_served() {
        let name = HeaderName::from_static("x-amzn-bedrock-service-tier");
        headers.insert(name, HeaderValue::from_static(tier));
    }
    if generation.wishes.latency {
        let name = HeaderName::from_static("x-amzn-bedrock-performanceconfig-latency");
        headers.insert(name, HeaderValue::from_static("standard"));
    }
}
