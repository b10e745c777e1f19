//! The catalogue: which models there are, until when, and what they cost.
//!
//! `catalogue.toml` beside this crate is the source; it says where its figures come from.

mod own;
mod prices;
mod profile;

use std::collections::HashMap;
use std::sync::Arc;

use jiff::civil::Date;
use kairos_dialects::Needs;
use kairos_dialects::bedrock::pieces::Body;
use kairos_dialects::generate::parameters::{Sampling, TopK};
use kairos_pipeline::models::{Answering, Catalogue, Model, ModelKind, Named, Target, is_rented};
use kairos_pipeline::policy::{Family, Route, Strengths};
use kairos_pipeline::price::{GuardrailPrices, PriceTable};
use kairos_pipeline::profile::is_application;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

pub use self::own::OwnError;
pub use self::prices::AmountError;
use self::prices::{GuardrailSource, PriceSource, Rows};
pub use self::profile::{Unusable, usable};

/// The catalogue that Kairos comes with.
pub const BUILT_IN: &str = include_str!("../catalogue.toml");

/// What stands between the catalogue and the operator's own prices in a sheet.
const OWN_FOLLOW: &str = "\n# ---- the operator's own prices ----\n";

/// All prices as one text: its SHA-256 is their version.
pub fn sheet(source: &str, own: &str) -> String {
    if own.is_empty() { source.to_owned() } else { [source, OWN_FOLLOW, own].concat() }
}

/// The catalogue and the operator's own prices of a sheet.
pub fn parts(sheet: &str) -> (&str, &str) {
    sheet.split_once(OWN_FOLLOW).unwrap_or((sheet, ""))
}

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
    #[serde(default)]
    kind: ModelKind,
    /// Whose body of InvokeModel it takes, where it is no chat.
    body: Option<Body>,
    /// Numbers of its vectors, where they can be chosen.
    #[serde(default)]
    dimensions: Vec<u32>,
    family: Family,
    #[serde(default)]
    aliases: Vec<String>,
    auto: Option<u32>,
    max_input_tokens: u32,
    max_output_tokens: u32,
    capabilities: Vec<String>,
    strengths: Vec<String>,
    latency_ms: u32,
    #[serde(default = "once")]
    burndown: u32,
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

/// Routes as rows name them; the others are those of geographic profiles.
const IN_REGION: &str = "in-region";
const GLOBAL: &str = "global";

fn once() -> u32 {
    1
}

fn yes() -> bool {
    true
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
    /// The operator's own prices.
    #[error(transparent)]
    Own(#[from] OwnError),
    /// A price of a guardrail's unit that is not exact.
    #[error("{text:?} is not a decimal number of dollars per guardrail unit with at most 12 places")]
    Unit {
        /// What stands there.
        text: String,
    },
    /// An ARN whose price is not by the token.
    #[error(
        "{arn:?} is priced by the time for which it is rented, not by the token: what a call costs is not known. \
         Set `unpriced = \"allow\"` under [models] to have it called and its rows marked, or leave the name out"
    )]
    ByTheHour {
        /// It.
        arn: String,
    },
    /// A row that says no price.
    #[error("{model}: {why}")]
    Amount {
        /// The model.
        model: String,
        /// Why.
        why: AmountError,
    },
    /// A model that cannot take the place that a setting gives it.
    #[error("{setting} names {name:?}, which is no chat model but one of kind {:?}: {}", kind.name(), kind.asked_by())]
    NotChat {
        /// The setting.
        setting: String,
        /// The name.
        name: String,
        /// What the model is.
        kind: ModelKind,
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
    /// Whether prices are those of that date, too, whatever the clock says.
    pub is_day_set: bool,
    /// The operator's own prices, as written; empty: none.
    pub own_prices: &'a str,
    /// Whether what has no price may be called.
    pub allow_unpriced: bool,
    /// Names that the configuration adds, and what they stand for: application profiles, aliases.
    pub names: &'a [(String, String)],
    /// ARNs of application inference profiles, and what Bedrock said that they stand for. What is not known, or has
    /// no price, is left out: it was known once. Lists and figures of the configuration may name one that is not here;
    /// it takes part once it is.
    pub profiles: &'a [(String, String)],
    /// How often a written token of a model counts against its quota, where the catalogue says something else.
    pub burndown: &'a [(String, u32)],
    /// The models offered for `auto`, instead of those that the catalogue marks.
    pub auto: Option<&'a [String]>,
    /// The models that are tried after a plan's own.
    pub fallback: &'a [String],
}

impl<'a> View<'a> {
    /// The catalogue's own names and choices.
    pub fn plain(region: &'a str, as_of: Date) -> Self {
        Self {
            region,
            as_of,
            is_day_set: true,
            own_prices: "",
            allow_unpriced: false,
            names: &[],
            profiles: &[],
            burndown: &[],
            auto: None,
            fallback: &[],
        }
    }
}

/// Reads a catalogue, as seen from a region on a date.
pub fn load(source: &str, view: &View<'_>) -> Result<Catalogue, CatalogueError> {
    let parsed: Source = toml::from_str(source)?;
    let ids: HashMap<&str, usize> =
        parsed.model.iter().enumerate().map(|(index, model)| (model.id.as_str(), index)).collect();
    let own = own::read(view.own_prices, &parsed.model)?;
    let mut guardrail_prices = GuardrailPrices::default();
    parsed.guardrail_units.write(&mut guardrail_prices)?;
    own.guardrail_units.write(&mut guardrail_prices)?;
    let mut catalogue = Catalogue {
        region: view.region.into(),
        as_of: view.as_of.to_string(),
        day: prices::day(view.as_of),
        is_day_set: view.is_day_set,
        guardrail_prices,
        stand_ins: if view.allow_unpriced { prices::stand_ins(&parsed.model, &own)? } else { Vec::new() },
        version: hex::encode(Sha256::digest(sheet(source, view.own_prices))).into(),
        ..Catalogue::default()
    };
    for (index, model) in parsed.model.iter().enumerate() {
        let targets = targets(index, model, &own.of(index, model), view)?;
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
            kind: model.kind,
            body: model.body,
            dimensions: model.dimensions.clone(),
            name: model.name.clone(),
            family: model.family,
            aliases: model.aliases.clone(),
            capabilities: Needs(bits(model, "the capability", &model.capabilities, &Needs::NAMES)?),
            strengths: Strengths(bits(model, "the strength", &model.strengths, &Strengths::NAMES)?),
            max_input_tokens: model.max_input_tokens,
            max_output_tokens: model.max_output_tokens,
            latency_ms: model.latency_ms,
            burndown: model.burndown,
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
    add_names(&mut catalogue, view)?;
    profile::add(&mut catalogue, view.profiles);
    set_burndown(&mut catalogue, view.burndown)?;
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
fn targets(
    index: usize,
    model: &ModelSource,
    rows: &Rows<'_>,
    view: &View<'_>,
) -> Result<Vec<(bool, Target)>, CatalogueError> {
    let region = view.region;
    let geographies = geographies(region);
    let profile = |prefix: &str| format!("{prefix}.{}", model.id);
    let mut ways = Vec::new();
    if model.on_demand {
        ways.push((Route::InRegion, IN_REGION, model.id.clone()));
    }
    ways.extend(geographies.iter().map(|geography| (Route::Geo, *geography, profile(geography))));
    ways.push((Route::Global, GLOBAL, profile(GLOBAL)));
    let mut targets = Vec::new();
    for (route, at, id) in &ways {
        if let Some(prices) = rows.table(at, region)? {
            let target = Target { model: index, invocation_id: id.as_str().into(), route: *route, prices };
            targets.push((targets.is_empty(), target));
        }
    }
    // The way that it would have if its price were known.
    if let ([], Some((route, _, id)), true) = (&targets[..], ways.into_iter().next(), view.allow_unpriced) {
        let prices = PriceTable::default();
        targets.push((true, Target { model: index, invocation_id: id.into(), route, prices }));
    }
    Ok(targets)
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
fn add_names(catalogue: &mut Catalogue, view: &View<'_>) -> Result<(), CatalogueError> {
    for (alias, stands_for) in view.names {
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
            let prices = match is_rented(alias) {
                true if !view.allow_unpriced => return Err(CatalogueError::ByTheHour { arn: alias.clone() }),
                true => PriceTable::default(),
                false => prices.map(|target| catalogue.targets[target].prices.clone()).unwrap_or_default(),
            };
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

/// The operator's figures: AWS may have another for an account, or for a model that is new. One of an application
/// profile that is not known waits until it is.
fn set_burndown(catalogue: &mut Catalogue, figures: &[(String, u32)]) -> Result<(), CatalogueError> {
    for (name, burndown) in figures {
        let model = match catalogue.names.get(name).copied() {
            Some(Named::Model(model)) => model,
            Some(Named::Target(target)) => catalogue.targets[target].model,
            None if is_application(name) => continue,
            None => {
                let near = catalogue.nearest(name);
                let (model, name) = ("limits.burndown".to_owned(), name.clone());
                return Err(CatalogueError::UnknownName { model, what: "the model", name, near });
            }
        };
        catalogue.models[model].burndown = *burndown;
    }
    Ok(())
}

/// The targets offered for `auto`: those of active models, in order, each model once.
fn auto(catalogue: &Catalogue, configured: Option<&[String]>) -> Result<Vec<usize>, CatalogueError> {
    if let Some(names) = configured {
        return listed(catalogue, "models.auto", names);
    }
    let is_offered = |model: &&Model| model.active && model.auto.is_some() && model.kind == ModelKind::Chat;
    let mut marked: Vec<&Model> = catalogue.models.iter().filter(is_offered).collect();
    marked.sort_by_key(|model| model.auto);
    Ok(marked.into_iter().filter_map(|model| model.target).collect())
}

/// The targets that a list of the configuration names, each model once. What has ended and has no
/// successor is left out: the list is written once, and models end. So is an application profile that is not known,
/// or stands for no chat model: what it stands for is Bedrock's to say, and must not keep a catalogue from serving.
fn listed(catalogue: &Catalogue, setting: &str, names: &[String]) -> Result<Vec<usize>, CatalogueError> {
    let mut listed: Vec<usize> = Vec::new();
    for name in names {
        let target = match catalogue.answering(name) {
            Answering::Target { target, .. } => target,
            Answering::Ended(_) | Answering::NotHere(_) => continue,
            Answering::Unknown(_) if is_application(name) => continue,
            Answering::Unknown(near) => {
                let (model, name) = (setting.to_owned(), name.clone());
                return Err(CatalogueError::UnknownName { model, what: "the model", name, near });
            }
        };
        let (model, kind) = (catalogue.targets[target].model, catalogue.model_of(target).kind);
        if kind != ModelKind::Chat && is_application(name) {
            continue;
        }
        if kind != ModelKind::Chat {
            return Err(CatalogueError::NotChat { setting: setting.to_owned(), name: name.clone(), kind });
        }
        if !listed.iter().any(|&other| catalogue.targets[other].model == model) {
            listed.push(target);
        }
    }
    Ok(listed)
}

#[cfg(test)]
mod tests;
