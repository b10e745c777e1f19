//! Between the route and the guard: a policy may change how the request is put to a model. What follows of
//! that is worked out anew, and models that cannot take the request then are left out.

use std::sync::Arc;

use kairos_dialects::bedrock::{self, Edit, Rewrite};
use kairos_dialects::generate::parameters::{self, Parameters};
use kairos_dialects::outline::Outline;
use kairos_dialects::{Failure, Kind};

use crate::decode::Decoded;
use crate::exchange::Exchange;
use crate::gateway::Gateway;
use crate::judgements::Judgement;
use crate::offer;
use crate::policy::{Draft, Edits, Fault, FaultKind, PolicyError, PromptInput, Prompter, Undecided, World};
use crate::prompts::Role;
use crate::record::PromptedRecord;
use crate::route::{self, Decision};

/// What becomes of a request whose prompter fails, and how far one may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PromptingBounds {
    /// The request is refused; else it goes on as it was.
    pub blocks: bool,
    /// Bytes that a request may grow by.
    pub added_bytes: usize,
}

impl Default for PromptingBounds {
    fn default() -> Self {
        Self { blocks: false, added_bytes: 262_144 }
    }
}

/// Asks the prompter that serves, and does what it says.
pub(crate) fn prompt(
    gateway: &Gateway,
    exchange: &mut Exchange,
    request: Box<Decoded>,
    decision: &mut Decision,
) -> Result<Box<Decoded>, Failure> {
    let Some(prompter) = gateway.policies.prompter() else { return Ok(request) };
    let bounds = gateway.settings.prompting;
    if request.pieces.is_some() {
        // No prompt: what is embedded, ranked or drawn is what it is.
        return Ok(request);
    }
    if request.upstream.has_own_body() {
        if bounds.blocks {
            let message = "this gateway has a policy change what models are sent, which it cannot do for bodies of \
                           InvokeModel; use Converse";
            return Err(Failure::new(Kind::Unsupported, message));
        }
        return Ok(request);
    }
    let asked = ask(gateway, exchange, &*prompter, &request, decision)?;
    let mut record = PromptedRecord::by(prompter.identity());
    let changed = asked.and_then(|edits| {
        record.says(prompter.identity(), edits.reason);
        record.changed = edits.names();
        changed(&request, &edits, bounds.added_bytes).map(|changed| (changed, edits))
    });
    let error = match changed {
        Ok((changed, edits)) => {
            let kept = keep_fitting(gateway, exchange, &changed, decision, &mut record, &*prompter);
            if let Some(limit) = edits.max_output_tokens {
                let lowest = decision.max_output_tokens.map_or(limit, |earlier| earlier.min(limit));
                decision.max_output_tokens = Some(lowest);
            }
            exchange.record.prompted = Some(record);
            return kept.map(|()| Box::new(changed));
        }
        Err(error) => error,
    };
    record.changed.clear();
    if let PolicyError::Refused(reason) = error {
        record.says(prompter.identity(), reason);
        record.refused = true;
        exchange.record.prompted = Some(record);
        return Err(route::refused(prompter.identity(), reason));
    }
    let outcome = Undecided::of(&error);
    record.instead = Some(outcome);
    exchange.record.prompted = Some(record);
    failed(gateway, exchange, &*prompter, &error, outcome).map(|()| request)
}

/// What follows where the prompter has nothing to say, or failed.
fn failed(
    gateway: &Gateway,
    exchange: &mut Exchange,
    prompter: &dyn Prompter,
    error: &PolicyError,
    outcome: Undecided,
) -> Result<(), Failure> {
    if let PolicyError::Fault(fault) = error {
        gateway.policies.failed(World::Prompter, prompter.identity(), fault);
    }
    if matches!(error, PolicyError::Declined | PolicyError::Unavailable(_)) {
        return Ok(());
    }
    let (name, why) = (&prompter.identity().name, outcome.name());
    if gateway.settings.prompting.blocks {
        let message = format!("the prompter {name} did not say how the request is to be put: {why}");
        return Err(Failure::new(Kind::RefusedByPolicy, message));
    }
    exchange.warn(&format!("the prompter {name} failed, the request was sent as it was: {why}"));
    Ok(())
}

/// What the prompter says.
fn ask(
    gateway: &Gateway,
    exchange: &mut Exchange,
    prompter: &dyn Prompter,
    request: &Decoded,
    decision: &Decision,
) -> Result<Result<Edits, PolicyError>, Failure> {
    let draft = Arc::new(draft(request)?);
    let mut offers = offer::afresh(gateway, exchange, request, decision.targets.clone())?;
    route::mark(prompter.identity(), exchange, &offers.targets, &mut offers.facts);
    let first = decision.order.first().and_then(|first| offers.targets.iter().position(|target| target == first));
    let first = first.and_then(|first| u32::try_from(first).ok()).unwrap_or_default();
    let (request, features, models) = (&offers.info, &offers.features, &offers.facts[..]);
    let input = PromptInput { request, features, models, first, draft: &draft };
    let given = prompter.render(input).and_then(|edits| edits.checked(input, prompter.identity()));
    // What it reads is what the caller wrote.
    if gateway.recorder.as_ref().is_some_and(|recorder| recorder.keeps_content()) {
        exchange.judgements.push(|| Judgement::of_prompter(prompter.identity(), input, &given));
    }
    Ok(given)
}

/// The request as a prompter reads it.
fn draft(request: &Decoded) -> Result<Draft, Failure> {
    let mut draft = bedrock::draft(&request.body)?;
    draft.template = request.prompt.as_ref().map(|prompt| (prompt.name.to_string(), prompt.version.to_string()));
    if let Some(chosen) = &request.parameters {
        draft.parameters = chosen.drafted();
    }
    Ok(draft)
}

/// The request with the edits.
fn changed(request: &Decoded, edits: &Edits, most: usize) -> Result<Decoded, PolicyError> {
    let fault = |message: String| PolicyError::Fault(Fault::new(FaultKind::InvalidAnswer, message));
    let of_body = request.parameters.is_none();
    let mut rewrite = Rewrite {
        system: edits.system.clone(),
        system_before: edits.system_before.clone(),
        system_after: edits.system_after.clone(),
        texts: edits.texts.clone(),
        keep_last: edits.keep_last,
        ..Rewrite::default()
    };
    for (user, assistant) in &edits.examples {
        rewrite.lead.extend([(Role::User, user.clone()), (Role::Assistant, assistant.clone())]);
    }
    if of_body {
        (rewrite.temperature, rewrite.top_p) = (edits.temperature.clone(), edits.top_p.clone());
        rewrite.stop = edits.stop.clone();
    }
    let mut changed = request.clone();
    if rewrite != Rewrite::default() {
        // It was read before, and is one that Bedrock may take: what is wrong now came of the edits.
        let body = bedrock::rewrite(&request.body, &rewrite).map_err(|invalid| fault(invalid.text()))?;
        let grown = body.len().saturating_sub(request.body.len());
        if grown > most {
            return Err(fault(format!("the request grows by {grown} bytes; [prompter] added_bytes allows {most}")));
        }
        let read = bedrock::outline(&body, request.streams).map_err(|invalid| fault(invalid.text()))?;
        let max_output_tokens = if of_body { read.max_output_tokens } else { request.outline.max_output_tokens };
        changed.outline = Outline { max_output_tokens, ..read };
        changed.body = body;
    }
    if let Some(parameters) = &request.parameters {
        changed.parameters = Some(Arc::new(chosen(parameters, edits)));
    }
    let written = edits.written().map(Arc::from);
    changed.of_caller = request.of_caller.iter().cloned().chain(written).collect();
    Ok(changed)
}

/// Parameters of Kairos's own API; what is unset is at its default.
fn chosen(parameters: &Parameters, edits: &Edits) -> Parameters {
    fn or<T: Clone>(edit: &Edit<T>, known: T, default: T) -> T {
        match edit {
            Edit::Keep => known,
            Edit::Unset => default,
            Edit::Default(value) | Edit::Set(value) => value.clone(),
        }
    }
    Parameters {
        temperature: or(&edits.temperature, parameters.temperature, parameters::TEMPERATURE),
        top_p: or(&edits.top_p, parameters.top_p, parameters::TOP_P),
        stop_sequences: or(&edits.stop, parameters.stop_sequences.clone(), Vec::new()),
        ..parameters.clone()
    }
}

/// Leaves out the models that cannot take the request as it is now, or that it costs more on than the plan
/// allows. A model that the caller named takes it, or nobody does.
fn keep_fitting(
    gateway: &Gateway,
    exchange: &Exchange,
    request: &Decoded,
    decision: &mut Decision,
    record: &mut PromptedRecord,
    prompter: &dyn Prompter,
) -> Result<(), Failure> {
    let catalogue = &exchange.catalogue;
    let named = request.is_named(&gateway.settings).then(|| decision.targets.first().copied()).flatten();
    if let Some(named) = named {
        offer::must_take(catalogue, named, request)?;
    }
    let max_cost = decision.max_cost;
    let fits = |target: usize| Some(target) == named || offer::fits(catalogue, target, request);
    let affordable = |target: usize| {
        let worst = offer::worst(catalogue, target, request, exchange.day());
        Some(target) == named || worst.is_ok_and(|worst| max_cost.is_none_or(|most| worst.amount.0 <= most))
    };
    let first = decision.order.first().copied();
    let (order, left_out): (Vec<_>, Vec<_>) =
        decision.order.iter().partition(|target| fits(**target) && affordable(**target));
    record.left_out = left_out.iter().map(|&target: &usize| Arc::clone(&catalogue.model_of(target).id)).collect();
    record.first_left_out = first.is_some() && order.first().copied() != first;
    decision.order = order;
    decision.targets.retain(|target| fits(*target));
    if decision.order.is_empty() {
        let name = &prompter.identity().name;
        let message = format!("no model of the plan takes the request as the prompter {name} puts it");
        return Err(Failure::new(Kind::Unsupported, message).with_param("model"));
    }
    Ok(())
}
