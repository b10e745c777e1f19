//! Step 3: what the policy is asked with. Features of the request, and the models that may answer.

use std::sync::Arc;

use kairos_dialects::{Failure, Kind, Needs, Outline};

use crate::decode::{AUTO, Decoded};
use crate::embeddings;
use crate::exchange::Exchange;
use crate::features::{self, Found};
use crate::gateway::Gateway;
use crate::ledger::Budget;
use crate::models::{Answering, Catalogue, Model, is_rented};
use crate::money::Picodollars;
use crate::policy::{Content, Features, MAX_OFFERS, Offer, RequestInfo, Task};
use crate::price::{Day, Limits, PriceError, Worst, worst_case};
use crate::request::Operation;
use crate::thrift;
use crate::translate;

/// What may answer a request.
pub(crate) struct Offers {
    /// Indices of the catalogue's targets.
    pub(crate) targets: Vec<usize>,
    /// The same, as a policy sees them; `names` is filled in for each policy.
    pub(crate) facts: Vec<Offer>,
    /// What the host found in the request.
    pub(crate) features: Features,
    /// What is not a number.
    pub(crate) info: Arc<RequestInfo>,
}

/// What only Bedrock can judge well: a named model is asked in spite of the catalogue.
const HARD_NEEDS: Needs = Needs(Needs::SYSTEM_PROMPT.0 | Needs::TOOLS.0 | Needs::STREAMING.0 | Needs::IMAGES.0);

pub(crate) fn offer(gateway: &Gateway, exchange: &mut Exchange, request: &Decoded) -> Result<Offers, Failure> {
    let found = features::find(&request.outline, &request.hints);
    exchange.record.task = Some(found.task.name());
    exchange.record.complexity = Some(found.complexity.name());
    let catalogue = Arc::clone(&exchange.catalogue);
    let asked = request.model(&gateway.settings);
    if asked == AUTO && request.operation.is_for_one_model() {
        let message = match request.operation {
            Operation::Embeddings => {
                "embeddings need a model's name, as vectors of two models cannot be compared: \
                                      `kairos models` lists those of kind \"embedding\""
            }
            Operation::StartAsync => "StartAsyncInvoke needs a model's id: its body has the shape of one family",
            _ => "InvokeModel needs a model's id: its body has the shape of one family; Converse takes \"auto\"",
        };
        return Err(Failure::new(Kind::InvalidValue, message).with_param("model"));
    }
    let day = exchange.day();
    let budget = gateway.ledger.budget(&exchange.spender(), (gateway.clock)());
    let degraded = budget.as_ref().and_then(|budget| budget.degraded.as_ref());
    if let Some(degraded) = degraded {
        thrift::admit(degraded, request)?;
    }
    let named = if asked == AUTO { None } else { Some(named_target(gateway, exchange, request)?) };
    // What is offered is kept until its record is written.
    let most = MAX_OFFERS.min(catalogue.auto.len() + 1);
    let (mut offers, mut targets) = (Vec::with_capacity(most), Vec::with_capacity(most));
    let mut add = |target: usize, worst: Picodollars| {
        targets.push(target);
        offers.push(facts(gateway, (&catalogue, day), target, worst, found.task, &request.outline));
    };
    if let Some(target) = named {
        add(target, worst(&catalogue, target, request, day).map_err(|error| unpriced(&catalogue, error))?.amount);
    }
    if named.is_none() || (request.hints.any_model && !request.operation.is_for_one_model()) {
        let others = catalogue.auto.iter().copied().filter(|&other| {
            exchange.allows(other)
                && named.is_none_or(|named| catalogue.targets[other].model != catalogue.targets[named].model)
        });
        let fitting = others.filter(|&target| fits(&catalogue, target, request));
        // What stands in for a price is no reason to choose a model: it is called where it is named.
        let priced = fitting.filter_map(|target| {
            let worst = worst(&catalogue, target, request, day).ok().filter(|worst| !worst.unpriced)?;
            Some((target, worst.amount))
        });
        let left = MAX_OFFERS - usize::from(named.is_some());
        match degraded {
            None => priced.take(left).for_each(|(target, worst)| add(target, worst)),
            Some(_) => thrift::cheapest(priced).for_each(|(target, worst)| add(target, worst)),
        }
    }
    if targets.is_empty() {
        return Err(nothing_fits(&catalogue, request));
    }
    if let (Some(degraded), None) = (degraded, named) {
        exchange.warn(&thrift::told(degraded));
    }
    let features = features_of(request, &found, named.is_some(), budget.as_ref());
    let info = info_of(gateway, exchange, request, &targets);
    Ok(Offers { targets, facts: offers, features, info: Arc::new(info) })
}

/// The same targets as they are now. Whether the request is for one by name does not change.
pub(crate) fn afresh(
    gateway: &Gateway,
    exchange: &Exchange,
    request: &Decoded,
    targets: Vec<usize>,
) -> Result<Offers, Failure> {
    let found = features::find(&request.outline, &request.hints);
    let catalogue = &exchange.catalogue;
    let day = exchange.day();
    let one = |&target: &usize| {
        let worst = worst(catalogue, target, request, day).map_err(|error| unpriced(catalogue, error))?.amount;
        Ok(facts(gateway, (catalogue, day), target, worst, found.task, &request.outline))
    };
    let facts = targets.iter().map(one).collect::<Result<_, Failure>>()?;
    let budget = gateway.ledger.budget(&exchange.spender(), (gateway.clock)());
    let features = features_of(request, &found, request.is_named(&gateway.settings), budget.as_ref());
    let info = Arc::new(info_of(gateway, exchange, request, &targets));
    Ok(Offers { targets, facts, features, info })
}

fn features_of(request: &Decoded, found: &Found, named: bool, budget: Option<&Budget>) -> Features {
    let Decoded { outline, hints, .. } = request;
    Features {
        task: found.task,
        task_hinted: hints.task.is_some(),
        complexity: found.complexity,
        complexity_hinted: hints.complexity.is_some(),
        estimated_tokens: hints.estimated_tokens.unwrap_or_else(|| outline.estimated_tokens()),
        max_output_tokens: outline.max_output_tokens,
        max_latency_ms: hints.max_latency_ms,
        accuracy: hints.accuracy.unwrap_or(0.5),
        cost_sensitivity: hints.cost_sensitivity.unwrap_or(0.5),
        priority: hints.priority.unwrap_or_default(),
        needs: outline.needs,
        streaming: request.streams,
        turns: outline.turns,
        text_bytes: u32::try_from(outline.text_bytes).unwrap_or(u32::MAX),
        named: named.then_some(0),
        budget_remaining: budget.map(|budget| budget.remaining.0),
        budget_used: budget.map_or(0.0, |budget| budget.used),
        budget_level: budget.map_or(0, |budget| budget.level),
    }
}

fn info_of(gateway: &Gateway, exchange: &Exchange, request: &Decoded, targets: &[usize]) -> RequestInfo {
    let catalogue = &exchange.catalogue;
    RequestInfo {
        content: Content::new(request.outline.prompt.clone(), request.outline.system.clone()),
        tags: Arc::clone(&request.hints.tags),
        task_label: request.hints.task_label.clone(),
        asked_model: request.model(&gateway.settings).to_owned(),
        model_ids: targets.iter().map(|&target| Arc::clone(&catalogue.model_of(target).id)).collect(),
        regions: vec![Arc::clone(&catalogue.region)],
        names: Arc::clone(catalogue) as _,
        learned: Arc::clone(&exchange.learned),
    }
}

/// The most that the request can cost at a target on a day.
pub(crate) fn worst(catalogue: &Catalogue, target: usize, request: &Decoded, day: Day) -> Result<Worst, PriceError> {
    let model = catalogue.model_of(target);
    let limits = Limits { input: model.max_input_tokens, output: model.max_output_tokens };
    let prices = catalogue.prices(&catalogue.targets[target], day);
    worst_case(&request.outline, request.most_bytes(), &prices, limits)
}

/// Why what a request can cost is not known, and what helps.
fn unpriced(catalogue: &Catalogue, error: PriceError) -> Failure {
    let says = match error {
        PriceError::Overflow => "ask for less at once",
        _ if catalogue.stand_ins.is_empty() => {
            "a call without a known price is not made, unless `models.unpriced` is \"allow\""
        }
        _ => "no other model has one that could stand in for it: write it in the file that `models.prices` names",
    };
    Failure::new(Kind::Unpriced, format!("{error}; {says}"))
}

/// Whether a model that was not named can take the request.
pub(crate) fn fits(catalogue: &Catalogue, target: usize, request: &Decoded) -> bool {
    let model = catalogue.model_of(target);
    request.outline.needs.missing_from(model.capabilities).is_empty()
        && request.outline.estimated_tokens() <= model.max_input_tokens
        && request.needed_output().is_none_or(|limit| limit <= model.max_output_tokens)
        && request.is_taken_by(model).is_ok()
}

fn nothing_fits(catalogue: &Catalogue, request: &Decoded) -> Failure {
    let needs: Vec<_> = request.outline.needs.names().collect();
    let message = format!(
        "no model of the {} on offer for \"auto\" takes this request (needs: {}; about {} input tokens; output limit: {}{}); name a model",
        catalogue.auto.len(),
        if needs.is_empty() { "nothing special".to_owned() } else { needs.join(", ") },
        request.outline.estimated_tokens(),
        request.outline.max_output_tokens.map_or("none".to_owned(), |limit| limit.to_string()),
        if request.parameters.is_some() { "; temperature, top_p and top_k as asked for" } else { "" },
    );
    Failure::new(Kind::Unsupported, message).with_param("model")
}

/// The target of a model that was asked for by name, or its successor's.
fn named_target(gateway: &Gateway, exchange: &mut Exchange, request: &Decoded) -> Result<usize, Failure> {
    let catalogue = Arc::clone(&exchange.catalogue);
    let asked = request.model(&gateway.settings);
    if asked.is_empty() {
        return Err(Failure::new(Kind::InvalidValue, "a model's name, or \"auto\", is needed").with_param("model"));
    }
    let failed = |kind, message: String| Err(Failure::new(kind, message).with_param("model"));
    let (target, ended) = match catalogue.answering(asked) {
        Answering::Target { target, ended } => (target, ended),
        Answering::Ended(model) => {
            let model = &catalogue.models[model];
            return failed(Kind::ModelEnded, format!("{} ended on {} and has no successor", model.id, ends(model)));
        }
        Answering::NotHere(model) => {
            let (model, region) = (&catalogue.models[model].id, &catalogue.region);
            return failed(
                Kind::UnknownModel,
                format!(
                    "{model} has no route with a known price from {region}; the operator can give one, by `prices` under \
                 [models]"
                ),
            );
        }
        Answering::Unknown(nearest) => return Err(unknown(asked, nearest)),
    };
    if let Some(scope) = exchange.scope.as_ref().filter(|_| !exchange.allows(target)) {
        return Err(scope.refuse_model(asked));
    }
    let model = catalogue.model_of(target);
    must_be_asked_so(model, request.operation)?;
    if let Some(wanted) = request.embeds {
        embeddings::admit(gateway, model, request, wanted)?;
    }
    if let Some(ended) = ended {
        let ended = &catalogue.models[ended];
        let says = format!("{} ended on {}", ended.id, ends(ended));
        let successor = &catalogue.targets[target].invocation_id;
        if !gateway.settings.resolve_ended_models {
            return failed(Kind::ModelEnded, format!("{says}; its successor is {successor}"));
        }
        let body_fits = request.shape.is_some() || translate::has_same_body(ended.family, model.family);
        if request.operation.has_own_body() && !body_fits {
            return failed(
                Kind::ModelEnded,
                format!("{says}; its successor is {successor}, which takes another body: call that, or use Converse"),
            );
        }
        exchange.record.warnings.push(format!("{says}; {successor} answers in its place"));
    }
    must_take(&catalogue, target, request)?;
    Ok(target)
}

/// Refuses a model of another kind than the operation is for, and says how it is asked.
fn must_be_asked_so(model: &Model, operation: Operation) -> Result<(), Failure> {
    let kind = model.kind;
    if operation.takes(kind) {
        return Ok(());
    }
    let message = format!(
        "{} is of kind {:?}, which {} does not take: {}",
        model.id,
        kind.name(),
        operation.name(),
        kind.asked_by()
    );
    Err(Failure::new(Kind::Unsupported, message).with_param("model"))
}

/// Refuses a request that the model it names cannot take; what only Bedrock can judge is left to it.
pub(crate) fn must_take(catalogue: &Catalogue, target: usize, request: &Decoded) -> Result<(), Failure> {
    let model = catalogue.model_of(target);
    let missing = Needs(request.outline.needs.missing_from(model.capabilities).0 & HARD_NEEDS.0);
    if !missing.is_empty() {
        let missing: Vec<_> = missing.names().collect();
        let message = format!("{} does not take: {}", model.id, missing.join(", "));
        return Err(Failure::new(Kind::Unsupported, message).with_param("model"));
    }
    Ok(request.is_taken_by(model)?)
}

fn ends(model: &Model) -> &str {
    model.ends.as_deref().unwrap_or("a day that is not known")
}

fn unknown(asked: &str, nearest: Option<String>) -> Failure {
    let shown = &asked[..asked.floor_char_boundary(100)];
    let hint = match nearest {
        _ if is_rented(asked) => "it is paid by the time for which it is rented, so that what a call costs is not known: \
                                  with `unpriced = \"allow\"` under [models] in kairos.toml, and what model it is under \
                                  [models.names], it is called, and its rows are marked"
            .to_owned(),
        _ if asked.starts_with("arn:") => {
            "under [models.names] in kairos.toml the gateway is told what model an ARN stands for".to_owned()
        }
        Some(nearest) => format!("did you mean {nearest:?}?"),
        None => "GET /v1/models lists what there is".to_owned(),
    };
    Failure::new(Kind::UnknownModel, format!("there is no model {shown:?}; {hint}")).with_param("model")
}

/// A model as policies see it.
fn facts(
    gateway: &Gateway,
    (catalogue, day): (&Catalogue, Day),
    target: usize,
    worst: Picodollars,
    task: Task,
    outline: &Outline,
) -> Offer {
    let model = catalogue.targets[target].model;
    let (successes, failures) = gateway.history.counts(model, task);
    // There are rates: a target without a price in the tier that is asked for is not offered.
    let fixed = catalogue.fixed_offer(target, outline.service_tier, u64::from(outline.estimated_tokens()), day);
    Offer { worst_case_cost: worst.0, successes, failures, in_flight: gateway.load.attempts(model), ..fixed }
}
