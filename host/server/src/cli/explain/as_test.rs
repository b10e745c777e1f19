//! A recorded decision as a test of its policy: what was so once stays so.

use kairos_pipeline::policy::{CacheDirective, Offer, Plan};
use kairos_pipeline::record::Given;
use kairos_store::records::{Question, Row};
use serde_json::{Map, Value, json};

/// The file of tests, or why there can be none.
pub(super) fn text(row: &Row) -> Result<String, String> {
    let question = match &row.asked {
        None => return Err("no policy was asked: the request ended before".to_owned()),
        Some(Err(why)) => return Err(why.clone()),
        Some(Ok(question)) => question,
    };
    let test = json!({
        "name": format!("request {} is decided as on {}", row.id, crate::admin::moment(row.at_ms)),
        "models": question.request.model_ids.iter().zip(&question.models).map(|(id, offer)| model(id, offer)).collect::<Vec<_>>(),
        "features": features(question),
        "request": request(question),
        "kv": learned(question),
        "config": serde_json::from_str::<Value>(&question.setting).unwrap_or_default()["config"],
        "expect": expected(question),
    });
    let file = json!({"as_of": question.as_of, "region": question.region, "test": [without_nulls(test)]});
    let file = toml::Value::try_from(file).map_err(|error| error.to_string())?;
    let withheld = match question.withheld {
        true if question.redacted => {
            "# What was said is kept redacted: a policy that reads it may need another `prompt` under `request`.\n"
        }
        true => "# What was said is not kept: a policy that reads it needs `prompt` under `request`.\n",
        false => "",
    };
    let policy = &question.policy;
    let text = toml::to_string(&file).map_err(|error| error.to_string())?;
    Ok(format!("# Decided by {policy}.\n{withheld}{text}"))
}

/// TOML has no null: what is not there is left out.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, without_nulls(value)))
            .collect(),
        Value::Array(list) => list.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

/// A model, by its name, with the numbers of then.
fn model(id: &str, offer: &Offer) -> Value {
    let Value::Object(mut facts) = json!(offer) else { return Value::Null };
    // What follows from the name.
    for of_the_catalogue in ["names", "family", "route", "region"] {
        facts.remove(of_the_catalogue);
    }
    facts.insert("strengths".to_owned(), offer.strengths.names().collect());
    facts.insert("capabilities".to_owned(), offer.capabilities.names().collect());
    facts.insert("id".to_owned(), id.into());
    Value::Object(facts)
}

fn features(question: &Question) -> Value {
    let Value::Object(mut features) = json!(question.features) else { return Value::Null };
    let known = &question.features;
    // They are recorded as text, so that they come back as they were.
    for (name, number) in
        [("accuracy", known.accuracy), ("cost_sensitivity", known.cost_sensitivity), ("budget_used", known.budget_used)]
    {
        features.insert(name.to_owned(), number.into());
    }
    features.insert("needs".to_owned(), known.needs.names().collect());
    features.insert("named".to_owned(), json!(known.named.map(|named| &question.request.model_ids[named as usize])));
    Value::Object(features)
}

fn request(question: &Question) -> Value {
    let request = &question.request;
    let (prompt, system) = request.content.texts();
    let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    json!({
        "prompt": said(prompt),
        "system": said(system),
        "tags": request.tags.iter().cloned().map(|(name, value)| (name, value.into())).collect::<Map<_, _>>(),
        "task_label": request.task_label,
        "asked_model": request.asked_model,
    })
}

/// What was learned, as far as it is text: a test says nothing else.
fn learned(question: &Question) -> Option<Map<String, Value>> {
    let text =
        |(_, key, value): (_, &str, Option<&[u8]>)| Some((key.to_owned(), std::str::from_utf8(value?).ok()?.into()));
    let known: Map<String, Value> = question.reads.values().filter_map(text).collect();
    (!known.is_empty()).then_some(known)
}

fn expected(question: &Question) -> Value {
    let plan = match &question.given {
        Given::Refused(reason) => return json!({"refused": reason}),
        Given::Plan(plan) => plan,
    };
    let Plan { candidates, max_output_tokens, max_cost, cache, reason, .. } = plan;
    let id = |model: u32| question.request.model_ids[model as usize].to_string();
    let chances = candidates.iter().map(|one| (id(one.model), Value::from(one.probability)));
    json!({
        "order": candidates.iter().map(|one| id(one.model)).collect::<Vec<_>>(),
        "probability": chances.collect::<Map<_, _>>(),
        "reason": reason,
        "max_output_tokens": max_output_tokens,
        "max_cost": max_cost,
        "cache": match cache {
            CacheDirective::Default => None,
            CacheDirective::Bypass => Some(json!("bypass")),
            CacheDirective::TtlSeconds(seconds) => Some(json!(seconds)),
        },
    })
}
