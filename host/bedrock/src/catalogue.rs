//! The catalogue: which models there are, until when, and what they cost.
//!
//! `catalogue.toml` beside this crate is the source; it says where its figures come from.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::civil::Date;
use kairos_dialects::Needs;
use kairos_dialects::generate::parameters::{Sampling, TopK};
use kairos_dialects::outline::ServiceTier;
use kairos_pipeline::models::{Answering, Catalogue, Model, Named, Target};
use kairos_pipeline::money::Picodollars;
use kairos_pipeline::policy::{Family, Route, Strengths};
use kairos_pipeline::price::{GuardrailPrices, PriceRow, PriceTable, Rates};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// The catalogue that Kairos comes with.
pub const BUILT_IN: &str = include_str!("../catalogue.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    model: Vec<ModelSource>,
    #[serde(default)]
    top_k: HashMap<Family, TopK>,
    guardrail_units: GuardrailSource,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelSource {
    id: String,
    name: String,
    family: Family,
    #[serde(default)]
    aliases: Vec<String>,
    auto: Option<u32>,
    max_input_tokens: u32,
    max_output_tokens: u32,
    capabilities: Vec<String>,
    strengths: Vec<String>,
    latency_ms: u32,
    #[serde(default)]
    sampling: Sampling,
    top_k: Option<TopK>,
    #[serde(default = "yes")]
    on_demand: bool,
    /// Kept for readers of the file, and for the prompt-cache estimates of routers.
    #[serde(rename = "cache_min_tokens")]
    _cache_min_tokens: Option<u32>,
    ends: Option<Date>,
    successor: Option<String>,
    prices: Vec<PriceSource>,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceSource {
    at: String,
    region: Option<String>,
    #[serde(default)]
    tier: ServiceTier,
    #[serde(default)]
    over: u64,
    input: String,
    output: String,
    cache_read: Option<String>,
    cache_write_5m: Option<String>,
    cache_write_1h: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GuardrailSource {
    topic_policy_units: String,
    content_policy_units: String,
    content_policy_image_units: String,
    word_policy_units: String,
    sensitive_information_policy_units: String,
    contextual_grounding_policy_units: String,
    automated_reasoning_policy_units: String,
}

/// Why a catalogue is refused.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// Not TOML of the catalogue's shape.
    #[error("{0}")]
    Form(#[from] toml::de::Error),
    /// A name that is not known.
    #[error("{model}: {what} {name:?} is not known{}", near.as_ref().map_or(String::new(), |near| format!("; did you mean {near:?}?")))]
    UnknownName {
        /// The model.
        model: String,
        /// What the name should be.
        what: &'static str,
        /// The name.
        name: String,
        /// The nearest name that there is.
        near: Option<String>,
    },
    /// An amount that is not exact.
    #[error("{model}: {text:?} is not a decimal number of dollars per million tokens with at most 6 places")]
    Amount {
        /// The model.
        model: String,
        /// What stands there.
        text: String,
    },
    /// A name that two models have.
    #[error("{name:?} names two models")]
    Ambiguous {
        /// The name.
        name: String,
    },
    /// Two price rows for the same thing.
    #[error("{model}: two prices for {at}")]
    TwoPrices {
        /// The model.
        model: String,
        /// Route, region, tier and band.
        at: String,
    },
}

/// What a catalogue depends on.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// The region that is called.
    pub region: &'a str,
    /// Models are active or not on this date.
    pub as_of: Date,
    /// Names that the configuration adds, and what they stand for: application profiles, aliases.
    pub names: &'a [(String, String)],
    /// The models offered for `auto`, instead of those that the catalogue marks.
    pub auto: Option<&'a [String]>,
    /// The models that are tried after a plan's own.
    pub fallback: &'a [String],
}

impl<'a> View<'a> {
    /// The catalogue's own names and choices.
    pub fn plain(region: &'a str, as_of: Date) -> Self {
        Self { region, as_of, names: &[], auto: None, fallback: &[] }
    }
}

/// Reads a catalogue, as seen from a region on a date.
pub fn load(source: &str, view: &View<'_>) -> Result<Catalogue, CatalogueError> {
    let parsed: Source = toml::from_str(source)?;
    let ids: HashMap<&str, usize> =
        parsed.model.iter().enumerate().map(|(index, model)| (model.id.as_str(), index)).collect();
    let mut catalogue = Catalogue {
        region: view.region.into(),
        as_of: view.as_of.to_string(),
        guardrail_prices: guardrail_prices(&parsed.guardrail_units)?,
        version: hex::encode(Sha256::digest(source)).into(),
        ..Catalogue::default()
    };
    for (index, model) in parsed.model.iter().enumerate() {
        let targets = targets(index, model, view.region)?;
        let first = catalogue.targets.len();
        let successor = match &model.successor {
            None => None,
            Some(id) => Some(*ids.get(id.as_str()).ok_or_else(|| unknown(model, "the successor", id))?),
        };
        name(&mut catalogue, &model.id, own_name(model, index, &targets, first))?;
        for (offset, (_, target)) in targets.iter().enumerate() {
            if *target.invocation_id != *model.id {
                name(&mut catalogue, &target.invocation_id, Named::Target(first + offset))?;
            }
        }
        for alias in &model.aliases {
            name(&mut catalogue, alias, Named::Model(index))?;
        }
        catalogue.models.push(Model {
            id: model.id.as_str().into(),
            name: model.name.clone(),
            family: model.family,
            aliases: model.aliases.clone(),
            capabilities: Needs(bits(model, "the capability", &model.capabilities, &Needs::NAMES)?),
            strengths: Strengths(bits(model, "the strength", &model.strengths, &Strengths::NAMES)?),
            max_input_tokens: model.max_input_tokens,
            max_output_tokens: model.max_output_tokens,
            latency_ms: model.latency_ms,
            sampling: model.sampling,
            top_k: model.top_k.or_else(|| parsed.top_k.get(&model.family).copied()),
            ends: model.ends.map(|date| date.to_string()),
            active: model.ends.is_none_or(|ends| view.as_of < ends),
            successor,
            auto: model.auto,
            target: targets.iter().position(|(preferred, _)| *preferred).map(|offset| first + offset),
        });
        catalogue.targets.extend(targets.into_iter().map(|(_, target)| target));
    }
    add_arns(&mut catalogue)?;
    add_names(&mut catalogue, view.names)?;
    catalogue.auto = auto(&catalogue, view.auto)?;
    catalogue.fallback = listed(&catalogue, "models.fallback", view.fallback)?;
    Ok(catalogue)
}

/// A model's own id names its in-region target where Bedrock serves it there: who writes it may
/// mean this region. Where Bedrock does not, it names the model.
fn own_name(model: &ModelSource, index: usize, targets: &[(bool, Target)], first: usize) -> Named {
    let own = targets.iter().position(|(_, target)| *target.invocation_id == *model.id);
    own.map_or(Named::Model(index), |offset| Named::Target(first + offset))
}

fn unknown(model: &ModelSource, what: &'static str, name: &str) -> CatalogueError {
    CatalogueError::UnknownName { model: model.id.clone(), what, name: name.to_owned(), near: None }
}

fn name(catalogue: &mut Catalogue, name: &str, named: Named) -> Result<(), CatalogueError> {
    match catalogue.names.insert(name.to_owned(), named) {
        Some(earlier) if earlier != named => Err(CatalogueError::Ambiguous { name: name.to_owned() }),
        _ => Ok(()),
    }
}

fn bits(model: &ModelSource, what: &'static str, names: &[String], known: &[&str]) -> Result<u32, CatalogueError> {
    names.iter().try_fold(0, |bits, name| {
        let bit = known.iter().position(|known| known == name).ok_or_else(|| unknown(model, what, name))?;
        Ok(bits | 1 << bit)
    })
}

/// The prefix of a region's geographic profiles, best first.
fn geographies(region: &str) -> &'static [&'static str] {
    match region {
        "ap-northeast-1" | "ap-northeast-3" => &["jp", "apac"],
        "ap-southeast-2" | "ap-southeast-4" => &["au", "apac"],
        "ap-south-1" | "ap-south-2" => &["in", "apac"],
        _ if region.starts_with("us-gov-") => &["us-gov"],
        _ if region.starts_with("us-") || region.starts_with("ca-") => &["us"],
        _ if region.starts_with("eu-") => &["eu"],
        _ if region.starts_with("ap-") => &["apac"],
        _ => &[],
    }
}

/// A model's targets from a region, the preferred one marked: in-region, else the geography's
/// profile, else the global one.
fn targets(index: usize, model: &ModelSource, region: &str) -> Result<Vec<(bool, Target)>, CatalogueError> {
    let geographies = geographies(region);
    let mut targets = Vec::new();
    let mut add = |route: Route, invocation_id: String, rows: Vec<&PriceSource>| -> Result<(), CatalogueError> {
        if !rows.is_empty() {
            let preferred = targets.is_empty();
            let prices = price_table(model, &rows)?;
            targets.push((preferred, Target { model: index, invocation_id: invocation_id.into(), route, prices }));
        }
        Ok(())
    };
    if model.on_demand {
        add(Route::InRegion, model.id.clone(), in_region_rows(model, region, geographies))?;
    }
    for geography in geographies {
        let rows = rows(model, geography, None);
        add(Route::Geo, format!("{geography}.{}", model.id), rows)?;
    }
    add(Route::Global, format!("global.{}", model.id), rows(model, "global", None))?;
    Ok(targets)
}

fn rows<'a>(model: &'a ModelSource, at: &str, region: Option<&str>) -> Vec<&'a PriceSource> {
    model.prices.iter().filter(|row| row.at == at && row.region.as_deref() == region).collect()
}

/// In-region prices: the region's own where it has some; rows without a region are those of the US
/// regions. Elsewhere the geography's profile tells the price: AWS charges it by source region. A
/// price of another continent is never taken.
fn in_region_rows<'a>(model: &'a ModelSource, region: &str, geographies: &[&str]) -> Vec<&'a PriceSource> {
    let own = rows(model, "in-region", Some(region));
    if !own.is_empty() {
        return own;
    }
    if region.starts_with("us-") && !region.starts_with("us-gov-") {
        return rows(model, "in-region", None);
    }
    geographies.iter().map(|geography| rows(model, geography, None)).find(|rows| !rows.is_empty()).unwrap_or_default()
}

fn price_table(model: &ModelSource, rows: &[&PriceSource]) -> Result<PriceTable, CatalogueError> {
    let amount = |text: &str| {
        Picodollars::parse_dollars_per_million(text)
            .map(|amount| amount.0)
            .ok_or_else(|| CatalogueError::Amount { model: model.id.clone(), text: text.to_owned() })
    };
    let optional = |text: &Option<String>| text.as_deref().map(amount).transpose();
    let mut seen = HashSet::new();
    let mut table = Vec::new();
    for row in rows {
        if !seen.insert((row.tier, row.over)) {
            let at = format!("{} {:?} {:?} over {}", row.at, row.region, row.tier, row.over);
            return Err(CatalogueError::TwoPrices { model: model.id.clone(), at });
        }
        let rates = Rates {
            input: amount(&row.input)?,
            output: amount(&row.output)?,
            cache_read: optional(&row.cache_read)?,
            cache_write_5m: optional(&row.cache_write_5m)?,
            cache_write_1h: optional(&row.cache_write_1h)?,
        };
        table.push(PriceRow { tier: row.tier, over: row.over, rates });
    }
    Ok(PriceTable::new(table))
}

fn guardrail_prices(source: &GuardrailSource) -> Result<GuardrailPrices, CatalogueError> {
    let amount = |text: &String| {
        Picodollars::parse_dollars(text)
            .map(|amount| amount.0)
            .ok_or_else(|| CatalogueError::Amount { model: "guardrail_units".to_owned(), text: text.clone() })
    };
    Ok(GuardrailPrices {
        topic: amount(&source.topic_policy_units)?,
        content: amount(&source.content_policy_units)?,
        image: amount(&source.content_policy_image_units)?,
        word: amount(&source.word_policy_units)?,
        sensitive: amount(&source.sensitive_information_policy_units)?,
        grounding: amount(&source.contextual_grounding_policy_units)?,
        reasoning: amount(&source.automated_reasoning_policy_units)?,
    })
}

/// ARNs of foundation models in the region. Those of inference profiles hold an account's number,
/// and are read by the server (see [`strip_arn`]).
fn add_arns(catalogue: &mut Catalogue) -> Result<(), CatalogueError> {
    let region = Arc::clone(&catalogue.region);
    let arns = catalogue.models.iter().filter_map(|model| {
        let named = *catalogue.names.get(&*model.id)?;
        Some((format!("arn:aws:bedrock:{region}::foundation-model/{}", model.id), named))
    });
    let arns: Vec<_> = arns.collect();
    arns.into_iter().try_for_each(|(arn, named)| name(catalogue, &arn, named))
}

/// The profile id in the ARN of a system-defined inference profile; other names as they are.
pub fn strip_arn(name: &str) -> &str {
    let profile = name.strip_prefix("arn:aws").and_then(|rest| rest.split_once(":inference-profile/"));
    profile.map_or(name, |(_, id)| id)
}

/// Names of the configuration's own: an ARN is called as it is, at the price of what it stands for;
/// any other name is an alias.
fn add_names(catalogue: &mut Catalogue, names: &[(String, String)]) -> Result<(), CatalogueError> {
    for (alias, stands_for) in names {
        let named = catalogue.names.get(stands_for).copied().ok_or_else(|| CatalogueError::UnknownName {
            model: alias.clone(),
            what: "the model",
            name: stands_for.clone(),
            near: catalogue.nearest(stands_for),
        })?;
        let named = if alias.starts_with("arn:") {
            let (model, prices) = match named {
                Named::Target(target) => (catalogue.targets[target].model, Some(target)),
                Named::Model(model) => (model, catalogue.models[model].target),
            };
            let prices = prices.map(|target| catalogue.targets[target].prices.clone()).unwrap_or_default();
            let target = Target { model, invocation_id: alias.as_str().into(), route: Route::Account, prices };
            catalogue.targets.push(target);
            Named::Target(catalogue.targets.len() - 1)
        } else {
            named
        };
        name(catalogue, alias, named)?;
    }
    Ok(())
}

/// The targets offered for `auto`: those of active models, in order, each model once.
fn auto(catalogue: &Catalogue, configured: Option<&[String]>) -> Result<Vec<usize>, CatalogueError> {
    if let Some(names) = configured {
        return listed(catalogue, "models.auto", names);
    }
    let mut marked: Vec<&Model> =
        catalogue.models.iter().filter(|model| model.active && model.auto.is_some()).collect();
    marked.sort_by_key(|model| model.auto);
    Ok(marked.into_iter().filter_map(|model| model.target).collect())
}

/// The targets that a list of the configuration names, each model once. What has ended and has no
/// successor is left out: the list is written once, and models end.
fn listed(catalogue: &Catalogue, setting: &str, names: &[String]) -> Result<Vec<usize>, CatalogueError> {
    let mut listed: Vec<usize> = Vec::new();
    for name in names {
        let target = match catalogue.answering(name) {
            Answering::Target { target, .. } => target,
            Answering::Ended(_) | Answering::NotHere(_) => continue,
            Answering::Unknown(near) => {
                let (model, name) = (setting.to_owned(), name.clone());
                return Err(CatalogueError::UnknownName { model, what: "the model", name, near });
            }
        };
        let model = catalogue.targets[target].model;
        if !listed.iter().any(|&other| catalogue.targets[other].model == model) {
            listed.push(target);
        }
    }
    Ok(listed)
}

#[cfg(test)]
mod tests;
