//! Step 6 of OpenAI's embeddings: as many calls as the model's texts need, one after the other, each an attempt
//! with a row of its own. One that fails for good fails the request; those before it are paid all the same, and
//! the answer says so.

use std::borrow::Cow;
use std::sync::Arc;

use kairos_dialects::bedrock::pieces::{self, Body, calls};
use kairos_dialects::openai::embeddings::{AnswerWriter, Wanted, canonical_texts};
use kairos_dialects::{Failure, Kind};

use crate::attempt::Answered;
use crate::decode::Decoded;
use crate::exchange::Exchange;
use crate::gateway::Gateway;
use crate::models::Model;
use crate::reply::{self, Outgoing, Reply};
use crate::route::Decision;
use crate::{encode, serve};

/// Whether a model can take such a request, and in no more calls than one may make.
pub(crate) fn admit(gateway: &Gateway, model: &Model, request: &Decoded, wanted: Wanted) -> Result<(), Failure> {
    let most = gateway.settings.embedding_calls;
    let Some(each) = model.body.and_then(calls::texts_a_call) else {
        let message = format!("{} is not asked by /v1/embeddings: use InvokeModel", model.id);
        return Err(Failure::new(Kind::Unsupported, message).with_param("model"));
    };
    calls::gives(&model.id, &model.dimensions, wanted.dimensions)?;
    // One turn a text.
    let texts = request.outline.turns as usize;
    if texts.div_ceil(each) > most {
        let message = format!(
            "{} embeds {each} texts a call, and a request makes at most {most} calls: send at most {} texts at once",
            model.id,
            each.saturating_mul(most)
        );
        return Err(Failure::new(Kind::InvalidValue, message).with_param("input"));
    }
    Ok(())
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
    let target = decision.order.first().map(|&target| (&catalogue.targets[target], catalogue.model_of(target)));
    let way = target.and_then(|(target, model)| Some((target, model.body?)));
    let Some(((target, body), each)) = way.and_then(|way| Some((way, calls::texts_a_call(way.1)?))) else {
        return Err(Failure::new(Kind::Internal, "the plan has no model that embeds"));
    };
    let texts = canonical_texts(&request.body)?;
    let mut writer = AnswerWriter::new(wanted.base64);
    let mut tokens = 0u64;
    for texts in texts.chunks(each) {
        let call = one_call(request, body, texts, wanted)?;
        let answered = match serve(gateway, exchange, &call, decision, reply).await? {
            Answered::Whole(Outgoing { body: reply::Body::Whole(answered), .. }) => answered,
            Answered::Whole(_) | Answered::Streamed => {
                return Err(Failure::new(Kind::Internal, "the model answered by a stream"));
            }
        };
        tokens = tokens.saturating_add(consumed(exchange, &call));
        let written = calls::vectors(body, &answered, texts.len())
            .and_then(|vectors| vectors.into_iter().try_for_each(|vector| writer.push(vector)));
        written.map_err(|invalid| {
            Failure::new(Kind::BrokenStream, format!("Bedrock's answer made no sense: {invalid}")).maybe_billed()
        })?;
    }
    let body = reply::Body::Whole(writer.finish(&target.invocation_id, tokens));
    Ok(Answered::Whole(Outgoing { status: 200, content_type: encode::JSON, headers: Vec::new(), body }))
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
