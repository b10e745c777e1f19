//! Between steps 2 and 3: InvokeModel on a model that has ended. Its body has the shape of its family,
//! so that the model which answers in its place is asked by Converse, and its answer is given in the
//! shape of the model that was asked for. Which model that is, and whether it is asked, is `offer`'s
//! to say.

use std::sync::Arc;

use kairos_dialects::Failure;
use kairos_dialects::bedrock::families::{self, Target, Translated};

use crate::decode::Decoded;
use crate::exchange::Exchange;
use crate::gateway::Gateway;
use crate::models::{Answering, Catalogue, Model, Named};
use crate::policy::Family;
use crate::upstream::UpstreamOperation;

/// The family of bodies that models of a family take; none where it is not known.
pub(crate) fn bodies_of(family: Family) -> Option<families::Family> {
    Some(match family {
        Family::Claude => families::Family::Claude,
        Family::Nova => families::Family::Nova,
        Family::Titan => families::Family::Titan,
        Family::Llama => families::Family::Llama,
        Family::Mistral => families::Family::Mistral,
        Family::Jamba => families::Family::Jamba,
        Family::Jurassic => families::Family::Jurassic,
        Family::Command => families::Family::Command,
        Family::Deepseek => families::Family::Deepseek,
        Family::OpenAi | Family::Qwen | Family::Other => return None,
    })
}

/// The model of this name, itself ended or not.
pub(crate) fn model_named<'a>(catalogue: &'a Catalogue, name: &str) -> Option<&'a Model> {
    let model = match *catalogue.names.get(name)? {
        Named::Model(model) => model,
        Named::Target(target) => catalogue.targets[target].model,
    };
    Some(&catalogue.models[model])
}

/// Whether a body for models of one family goes to those of another byte for byte.
pub(crate) fn has_same_body(one: Family, other: Family) -> bool {
    one == other && bodies_of(one).is_some_and(families::Family::has_one_body)
}

/// The request as the successor of the model asked for takes it, where that takes another body; any
/// other request as it is.
pub(crate) fn translate(
    gateway: &Gateway,
    exchange: &mut Exchange,
    request: Box<Decoded>,
) -> Result<Box<Decoded>, Failure> {
    let streams = match request.upstream {
        UpstreamOperation::Invoke => false,
        UpstreamOperation::InvokeStream => true,
        UpstreamOperation::Converse | UpstreamOperation::ConverseStream | UpstreamOperation::StartAsync => {
            return Ok(request);
        }
    };
    let catalogue = Arc::clone(&exchange.catalogue);
    let Answering::Target { target, ended: Some(ended) } = catalogue.answering(request.model(&gateway.settings)) else {
        return Ok(request);
    };
    let (ended, successor) = (&catalogue.models[ended], &catalogue.models[catalogue.targets[target].model]);
    if !gateway.settings.resolve_ended_models || has_same_body(ended.family, successor.family) {
        return Ok(request);
    }
    let Some(family) = bodies_of(ended.family) else { return Ok(request) };
    let answering = Target { family: bodies_of(successor.family), max_output_tokens: successor.max_output_tokens };
    let translated = families::translate(family, &request.body, &request.headers, streams, answering)?;
    let Translated { body, outline, shape, warnings } = translated;
    exchange.record.warnings.extend(warnings);
    let upstream = if streams { UpstreamOperation::ConverseStream } else { UpstreamOperation::Converse };
    let shape = Some(Arc::new(shape));
    Ok(Box::new(Decoded { upstream, body: body.into(), headers: Arc::default(), outline, shape, ..*request }))
}
