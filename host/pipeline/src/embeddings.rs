//! Step 6 of OpenAI's embeddings: as many calls as the model's texts need, one after the other, each an attempt
//! with a row of its own. One that fails for good fails the request; those before it are paid all the same, and
//! the answer says so.

use std::borrow::Cow;
use std::sync::Arc;

use kairos_dialects::bedrock::pieces::{self, Body, calls};
use kairos_dialects::openai::embeddings::{AnswerWriter, Wanted, canonical_texts};
use kairos_dialects::{Failure, Invalid, Kind};
use tokio::time::Instant;

use crate::attempt::Answered;
use crate::decode::Decoded;
use crate::exchange::Exchange;
use crate::gateway::Gateway;
use crate::models::{Catalogue, Model};
use crate::reply::{self, Outgoing, Reply};
use crate::route::Decision;
use crate::{encode, serve};

/// Whether a model can take such a request, in no more calls than one may make, and with no more numbers than
/// one answer holds.
pub(crate) fn admit(gateway: &Gateway, model: &Model, request: &Decoded, wanted: Wanted) -> Result<(), Failure> {
    let most = gateway.settings.embedding_calls;
    let Some(each) = model.body.and_then(calls::texts_a_call) else {
        let message = format!("{} is not asked by /v1/embeddings: use InvokeModel", model.id);
        return Err(Failure::new(Kind::Unsupported, message).with_param("model"));
    };
    let each_has = calls::gives(&model.id, &model.dimensions, wanted.dimensions)?;
    // One turn a text.
    let texts = request.outline.turns as usize;
    if texts.div_ceil(each) > most {
        let a_call = if each == 1 { "one text".to_owned() } else { format!("{each} texts") };
        let message = format!(
            "{} embeds {a_call} a call, and a request makes at most {most} calls: send at most {} texts at once",
            model.id,
            each.saturating_mul(most)
        );
        return Err(Failure::new(Kind::InvalidValue, message).with_param("input"));
    }
    let (numbers, most) = ((texts as u64).saturating_mul(each_has.into()), gateway.settings.embedding_numbers as u64);
    if numbers > most {
        let fit = most / u64::from(each_has.max(1));
        let help =
            if fit == 0 { "ask for shorter vectors".to_owned() } else { format!("send at most {fit} texts at once") };
        let message =
            format!("{texts} vectors of {each_has} numbers are {numbers}, and an answer holds at most {most}: {help}");
        return Err(Failure::new(Kind::InvalidValue, message).with_param("input"));
    }
    Ok(())
}

/// Takes the vectors of an answer in, where they were asked for; the attempt fails where they cannot be read.
pub(crate) fn take(exchange: &mut Exchange, request: &Decoded, answer: &[u8]) -> Result<(), Invalid> {
    let (Some(body), Some(vectors)) = (request.pieces, &mut exchange.vectors) else { return Ok(()) };
    // One turn a text.
    vectors.push_all(&calls::vectors(body, answer, request.outline.turns as usize)?)
}

/// Asks for all vectors, and writes the answer.
pub(crate) async fn answer(
    gateway: &Gateway,
    exchange: &mut Exchange,
    request: &Decoded,
    decision: &mut Decision,
    wanted: Wanted,
    reply: &mut Reply,
) -> Result<Answered, Failure> {
    let catalogue = Arc::clone(&exchange.catalogue);
    let Some((name, body, each, wanted)) = way(&catalogue, decision, wanted) else {
        return Err(Failure::new(Kind::Internal, "the plan has no model that embeds"));
    };
    let texts = canonical_texts(&request.body)?;
    exchange.vectors = Some(Box::new(AnswerWriter::new(wanted.base64)));
    let mut tokens = 0u64;
    for texts in texts.chunks(each) {
        exchange.patient_since = Instant::now();
        let call = one_call(request, body, texts, wanted)?;
        if let Answered::Streamed = serve(gateway, exchange, &call, decision, reply).await? {
            return Err(Failure::new(Kind::Internal, "the model answered by a stream"));
        }
        tokens = tokens.saturating_add(consumed(exchange, &call));
    }
    let written = exchange.vectors.take().map(|vectors| vectors.finish(name, tokens)).unwrap_or_default();
    let body = reply::Body::Whole(written);
    Ok(Answered::Whole(Outgoing { status: 200, content_type: encode::JSON, headers: Vec::new(), body }))
}

/// What is called, by its name, whose bodies it takes, how many texts a call, and what it is asked for.
fn way<'a>(catalogue: &'a Catalogue, decision: &Decision, wanted: Wanted) -> Option<(&'a str, Body, usize, Wanted)> {
    let &target = decision.order.first()?;
    let model = catalogue.model_of(target);
    let body = model.body?;
    // A model whose vectors are of one length takes no word of it.
    let dimensions = wanted.dimensions.filter(|_| model.dimensions.len() > 1);
    let name = &*catalogue.targets[target].invocation_id;
    Some((name, body, calls::texts_a_call(body)?, Wanted { dimensions, ..wanted }))
}

/// A part of the request, as the model takes it.
fn one_call(request: &Decoded, body: Body, texts: &[Cow<'_, str>], wanted: Wanted) -> Result<Decoded, Failure> {
    let bytes = calls::call(body, texts, wanted)?;
    let outline = pieces::outline(body, &bytes)?;
    Ok(Decoded { body: bytes.into(), outline, pieces: Some(body), ..request.clone() })
}

/// Tokens of the last attempt: as it says, else as they are estimated.
fn consumed(exchange: &Exchange, call: &Decoded) -> u64 {
    let usage = exchange.record.attempts.last().and_then(|attempt| attempt.usage);
    usage.map_or_else(|| u64::from(call.outline.estimated_tokens()), |usage| usage.input)
}
