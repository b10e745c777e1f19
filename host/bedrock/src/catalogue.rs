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
mod tests {
    use super::*;

    fn on(region: &str, as_of: &str) -> Catalogue {
        let view = View { region, as_of: as_of.parse().unwrap(), names: &[], auto: None, fallback: &[] };
        load(BUILT_IN, &view).unwrap()
    }

    fn called(catalogue: &Catalogue, name: &str) -> String {
        match catalogue.answering(name) {
            Answering::Target { target, ended } => {
                let target = &catalogue.targets[target];
                let ended = ended.map_or(String::new(), |model| format!(" for {}", catalogue.models[model].id));
                format!("{} {}{ended}", target.invocation_id, target.route.name())
            }
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn successor_chains_end_at_the_first_active_model_of_the_date() {
        for (date, titan, claude, jurassic) in [
            (
                "2024-06-01",
                "amazon.titan-text-express-v1 in-region",
                "anthropic.claude-3-5-sonnet-20241022-v2:0 in-region",
                "ai21.j2-ultra-v1 in-region",
            ),
            (
                "2025-03-13",
                "amazon.titan-text-express-v1 in-region",
                "anthropic.claude-3-5-sonnet-20241022-v2:0 in-region",
                "ai21.jamba-1-5-large-v1:0 in-region for ai21.j2-ultra-v1",
            ),
            (
                "2026-11-25",
                "amazon.nova-lite-v1:0 in-region for amazon.titan-text-express-v1",
                "us.anthropic.claude-sonnet-4-6 geo for anthropic.claude-3-5-sonnet-20241022-v2:0",
                "ai21.jamba-1-5-large-v1:0 in-region for ai21.j2-ultra-v1",
            ),
            (
                "2026-11-26",
                "amazon.nova-lite-v1:0 in-region for amazon.titan-text-express-v1",
                "us.anthropic.claude-sonnet-4-6 geo for anthropic.claude-3-5-sonnet-20241022-v2:0",
                "amazon.nova-pro-v1:0 in-region for ai21.j2-ultra-v1",
            ),
        ] {
            let catalogue = on("us-east-1", date);
            assert_eq!(
                [called(&catalogue, "titan"), called(&catalogue, "claude"), called(&catalogue, "jurassic")],
                [titan, claude, jurassic],
                "{date}"
            );
        }
    }

    #[test]
    fn names_of_every_kind() {
        let catalogue = on("us-east-1", "2026-11-23");
        for (name, expected) in [
            ("amazon.nova-lite-v1:0", "amazon.nova-lite-v1:0 in-region"),
            ("us.amazon.nova-lite-v1:0", "us.amazon.nova-lite-v1:0 geo"),
            ("nova-lite", "amazon.nova-lite-v1:0 in-region"),
            (
                "anthropic.claude-3-5-sonnet",
                "us.anthropic.claude-sonnet-4-6 geo for anthropic.claude-3-5-sonnet-20241022-v2:0",
            ),
            (
                "us.anthropic.claude-3-5-sonnet-20241022-v2:0",
                "us.anthropic.claude-sonnet-4-6 geo for anthropic.claude-3-5-sonnet-20241022-v2:0",
            ),
            ("global.anthropic.claude-sonnet-4-6", "global.anthropic.claude-sonnet-4-6 global"),
            ("anthropic.claude-sonnet-4-6", "us.anthropic.claude-sonnet-4-6 geo"),
            ("arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0", "amazon.nova-lite-v1:0 in-region"),
            ("ai21.j2-ultra", "ai21.jamba-1-5-large-v1:0 in-region for ai21.j2-ultra-v1"),
            ("eu.amazon.nova-lite-v1:0", "Unknown(Some(\"us.amazon.nova-lite-v1:0\"))"),
            ("xyz", "Unknown(None)"),
        ] {
            assert_eq!(called(&catalogue, name), expected, "{name}");
        }
        assert_eq!(
            strip_arn("arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-lite-v1:0"),
            "us.amazon.nova-lite-v1:0"
        );
        assert_eq!(
            strip_arn("arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/x"),
            "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/x"
        );
    }

    #[test]
    fn prices_are_those_of_the_region_and_never_another_continents() {
        let rates = |region: &str, name: &str| {
            let catalogue = on(region, "2026-11-23");
            match catalogue.answering(name) {
                Answering::Target { target, .. } => catalogue.targets[target]
                    .prices
                    .rates(ServiceTier::Standard, 1)
                    .map(|rates| (rates.input, rates.output)),
                _ => None,
            }
        };
        assert_eq!(rates("us-east-1", "nova-lite"), Some((60_000, 240_000)));
        assert_eq!(rates("eu-west-1", "nova-lite"), Some((78_000, 312_000)));
        assert_eq!(rates("us-gov-west-1", "nova-lite"), Some((72_000, 288_000)));
        assert_eq!(rates("us-east-1", "claude-sonnet-4-6"), Some((3_300_000, 16_500_000)));
        assert_eq!(rates("us-east-1", "global.anthropic.claude-sonnet-4-6"), Some((3_000_000, 15_000_000)));
        assert_eq!(rates("eu-west-1", "mistral-large-3"), None);
        assert_eq!(rates("eu-west-2", "llama3-8b"), Some((390_000, 780_000)));
    }

    #[test]
    fn auto_offers_active_models_in_order_and_every_one_is_priced() {
        let catalogue = on("us-east-1", "2026-11-23");
        let ids: Vec<_> = catalogue.auto.iter().map(|&target| &*catalogue.targets[target].invocation_id).collect();
        assert_eq!(
            ids,
            [
                "amazon.nova-lite-v1:0",
                "us.anthropic.claude-sonnet-4-6",
                "ai21.jamba-1-5-large-v1:0",
                "us.anthropic.claude-haiku-4-5-20251001-v1:0",
                "amazon.nova-pro-v1:0",
                "amazon.nova-micro-v1:0",
                "us.amazon.nova-2-lite-v1:0",
                "us.meta.llama4-maverick-17b-instruct-v1:0",
                "mistral.mistral-large-3-675b-instruct"
            ]
        );
        assert!(on("us-east-1", "2026-12-01").auto.len() == ids.len() - 1);
        assert!(catalogue.targets.iter().all(|target| !target.prices.is_empty()));
    }

    #[test]
    fn what_families_and_models_take_of_the_parameters() {
        let catalogue = on("us-east-1", "2026-11-23");
        let says = |name: &str| match catalogue.answering(name) {
            Answering::Target { target, .. } => {
                let model = &catalogue.models[catalogue.targets[target].model];
                let top_k = model.top_k.map(|top_k| format!("{:?} {:?}", top_k.field, top_k.most));
                format!("{:?}, {}", model.sampling, top_k.unwrap_or("none".to_owned()))
            }
            other => format!("{other:?}"),
        };
        for (name, expected) in [
            ("nova-lite", "Both, Inference None"),
            ("claude-sonnet-4-6", "One, TopK Some(500)"),
            ("us.anthropic.claude-opus-5", "None, TopK Some(500)"),
            ("ai21.jamba-1-5-large-v1:0", "Both, none"),
            ("mistral.mistral-7b-instruct-v0:2", "Both, TopK Some(200)"),
            ("mistral.mistral-large-3-675b-instruct", "Both, none"),
        ] {
            assert_eq!(says(name), expected, "{name}");
        }
    }

    #[test]
    fn the_configuration_adds_names() {
        let arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc";
        let names = [
            ("cheap".to_owned(), "nova-micro".to_owned()),
            (arn.to_owned(), "us.anthropic.claude-sonnet-4-6".to_owned()),
        ];
        let auto = ["cheap".to_owned(), "titan".to_owned(), "nova-lite".to_owned()];
        let fallback = ["claude".to_owned(), "cheap".to_owned(), "anthropic.claude-3-5-sonnet".to_owned()];
        let as_of = "2026-11-23".parse().unwrap();
        let view = View { region: "us-east-1", as_of, names: &names, auto: Some(&auto), fallback: &fallback };
        let catalogue = load(BUILT_IN, &view).unwrap();
        assert_eq!(called(&catalogue, "cheap"), "amazon.nova-micro-v1:0 in-region");
        assert_eq!(called(&catalogue, arn), format!("{arn} account"));
        assert_eq!(catalogue.auto.len(), 2);
        let fallback: Vec<_> = catalogue.fallback.iter().map(|&target| &*catalogue.model_of(target).id).collect();
        assert_eq!(fallback, ["anthropic.claude-sonnet-4-6", "amazon.nova-micro-v1:0"]);
        let refusal = |view: View<'_>| load(BUILT_IN, &view).unwrap_err().to_string();
        let bad = View { names: &[("x".to_owned(), "y".to_owned())], ..view.clone() };
        assert_eq!(refusal(bad), "x: the model \"y\" is not known");
        let bad = View { fallback: &["nova-lte".to_owned()], ..view };
        assert_eq!(refusal(bad), "models.fallback: the model \"nova-lte\" is not known; did you mean \"nova-lite\"?");
    }

    #[test]
    fn a_bad_catalogue_is_refused_with_what_and_where() {
        let view =
            View { region: "us-east-1", as_of: "2026-11-23".parse().unwrap(), names: &[], auto: None, fallback: &[] };
        for (from, to, says) in [
            ("input = \"0.2\"", "input = \"0.2000001\"", "\"0.2000001\" is not a decimal number"),
            ("input = \"0.2\"", "inptu = \"0.2\"", "unknown field `inptu`"),
            ("sampling = \"one\"", "sampling = \"two\"", "unknown variant `two`"),
            ("field = \"k\"", "field = \"q\"", "unknown variant `q`"),
            ("\"titan\", ", "\"claude\", ", "\"claude\" names two models"),
            ("successor = \"amazon.nova-lite-v1:0\"", "successor = \"nova\"", "the successor \"nova\" is not known"),
            ("[\"streaming\", \"guardrails\"]", "[\"steaming\"]", "the capability \"steaming\" is not known"),
            ("2025-08-31", "2025-02-31", "2025-02-31"),
        ] {
            let source = BUILT_IN.replacen(from, to, 1);
            let error = load(&source, &view).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
