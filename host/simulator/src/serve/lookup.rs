//! What Bedrock's control plane says of models and inference profiles: ListFoundationModels,
//! GetFoundationModel, GetFoundationModelAvailability, ListInferenceProfiles and GetInferenceProfile.
//!
//! Shapes: the service model of `bedrock`, and fixtures `cp_*`. It must not know requests to models.

use std::borrow::Cow;

use http::Response;
use jiff::ToSpan as _;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::respond;
use super::service::Service;
use super::stream::Payload;
use crate::catalogue::{Family, Features, Model, ModelRef, Pieces, Region, Route};
use crate::converse::complaint::{constraint, one_of};
use crate::error::{ApiError, Exception};
use crate::target::{Resolver, Way, profile_arn};

/// Profiles in an answer when nobody says how many, and at most.
const USUAL_RESULTS: usize = 100;
const MOST_RESULTS: usize = 1_000;
/// How long a model is `LEGACY` before its end, by AWS's policy for those launched before
/// September 2026.
const LEGACY_MONTHS: i32 = 6;

/// What is looked up; ids are still encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lookup<'p> {
    Models,
    Model(&'p str),
    Availability(&'p str),
    Profiles,
    Profile(&'p str),
}

impl<'p> Lookup<'p> {
    pub(super) fn find(path: &'p str) -> Option<Self> {
        let id = |prefix| path.strip_prefix(prefix).filter(|id: &&str| !id.is_empty());
        match path {
            "/foundation-models" => Some(Self::Models),
            "/inference-profiles" => Some(Self::Profiles),
            _ => id("/foundation-models/")
                .map(Self::Model)
                .or_else(|| id("/inference-profiles/").map(Self::Profile))
                .or_else(|| id("/foundation-model-availability/").map(Self::Availability)),
        }
    }
}

type Result<T> = std::result::Result<T, ApiError>;

pub(super) fn answer(
    service: &Service,
    lookup: Lookup<'_>,
    query: Option<&str>,
    region: Region,
) -> Result<Response<Payload>> {
    let at = At { service, region };
    let body = match lookup {
        Lookup::Models => at.models(&Query::read(query)?)?,
        Lookup::Model(id) => json!({"modelDetails": at.details(at.find(id)?)}),
        Lookup::Availability(id) => at.availability(at.find(id)?),
        Lookup::Profiles => at.profiles(&Query::read(query)?)?,
        Lookup::Profile(id) => at.one_profile(id)?,
    };
    Ok(respond::json(body.to_string()))
}

/// The parameters of a query, decoded.
struct Query<'q>(Vec<(Cow<'q, str>, Cow<'q, str>)>);

impl<'q> Query<'q> {
    fn read(query: Option<&'q str>) -> Result<Self> {
        let decode = |text: &'q str| {
            percent_decode_str(text).decode_utf8().map_err(|_| ApiError::validation("The query is not UTF-8."))
        };
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.map(|(name, value)| Ok((decode(name)?, decode(value)?))).collect::<Result<_>>().map(Self)
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    fn word(&self, name: &str, allowed: &[&str]) -> Result<Option<&str>> {
        match self.get(name) {
            Some(word) if !allowed.contains(&word) => Err(one_of(word, name, allowed)),
            word => Ok(word),
        }
    }
}

/// What a model answers with.
fn gives(model: &Model) -> &'static str {
    match model.family {
        Family::Pieces(Pieces::Titan | Pieces::Nova | Pieces::Cohere | Pieces::Marengo) => "EMBEDDING",
        Family::Pieces(Pieces::Canvas | Pieces::Stability) => "IMAGE",
        Family::Pieces(Pieces::Reel) => "VIDEO",
        _ => "TEXT",
    }
}

fn provider(model: &Model) -> &'static str {
    match model.id.split('.').next() {
        Some("amazon") => "Amazon",
        Some("anthropic") => "Anthropic",
        Some("ai21") => "AI21 Labs",
        Some("cohere") => "Cohere",
        Some("deepseek") => "DeepSeek",
        Some("meta") => "Meta",
        Some("google") => "Google",
        Some("minimax") => "MiniMax",
        Some("mistral") => "Mistral AI",
        Some("moonshot" | "moonshotai") => "Moonshot AI",
        Some("nvidia") => "NVIDIA",
        Some("openai") => "OpenAI",
        Some("qwen") => "Qwen",
        Some("stability") => "Stability AI",
        Some("twelvelabs") => "TwelveLabs",
        Some("writer") => "Writer",
        Some("xai") => "xAI",
        Some("zai") => "Z.AI",
        _ => "Other",
    }
}

/// Where the requests of a profile go.
fn destinations(route: Route, from: Region) -> Vec<&'static str> {
    match route {
        Route::InRegion => vec![from.name()],
        Route::Us => vec!["us-east-1", "us-east-2", "us-west-2"],
        Route::Eu => vec!["eu-central-1", "eu-north-1", "eu-west-1", "eu-west-3"],
        Route::Apac => vec!["ap-northeast-1", "ap-south-1", "ap-southeast-1", "ap-southeast-2"],
        Route::Jp => vec!["ap-northeast-1", "ap-northeast-3"],
        Route::Au => vec!["ap-southeast-2", "ap-southeast-4"],
        Route::In => vec!["ap-south-1", "ap-south-2"],
        Route::UsGov => vec!["us-gov-east-1", "us-gov-west-1"],
        // Global ARNs have no region.
        Route::Global => vec!["", from.name()],
    }
}

/// Whether a profile is there for callers in a region: those of its geography, and the global ones.
fn reaches(route: Route, region: Region) -> bool {
    match route {
        Route::InRegion => false,
        Route::Global => true,
        Route::Jp | Route::Au | Route::In => destinations(route, region).contains(&region.name()),
        _ => route.name() == region.geography(),
    }
}

fn model_arn(region: &str, id: &str) -> String {
    let partition = if region.starts_with("us-gov-") { "aws-us-gov" } else { "aws" };
    format!("arn:{partition}:bedrock:{region}::foundation-model/{id}")
}

struct At<'s> {
    service: &'s Service,
    region: Region,
}

impl At<'_> {
    fn model(&self, which: ModelRef) -> &Model {
        self.service.generator.catalogue.model(which)
    }

    /// Whether a way to a model is there today, for callers in the region.
    fn offered(&self, which: ModelRef, route: Route) -> bool {
        let catalogue = &self.service.generator.catalogue;
        let priced = catalogue.sheet(which, route, self.region).is_some();
        priced && !self.model(which).ended(route, catalogue.today())
    }

    /// Whether the region has the model, by any way.
    fn listed(&self, which: ModelRef) -> bool {
        Route::all().any(|route| self.offered(which, route))
    }

    /// The model of an id or an ARN. One that has ended is gone, as one that never was.
    fn find(&self, id: &str) -> Result<ModelRef> {
        let id = Resolver::decode(id)?;
        let bare = match id.split_once(":foundation-model/") {
            Some((arn, bare)) if arn.starts_with("arn:") => bare,
            _ => &id,
        };
        let catalogue = &self.service.generator.catalogue;
        let alive = |which: &ModelRef| {
            Route::all()
                .any(|way| catalogue.has_route(*which, way) && !self.model(*which).ended(way, catalogue.today()))
        };
        catalogue.find(bare).filter(alive).ok_or_else(|| {
            let message = format!("Could not resolve the foundation model from the model identifier: {id}");
            ApiError::new(Exception::ResourceNotFound, message)
        })
    }

    fn details(&self, which: ModelRef) -> Value {
        let model = self.model(which);
        let mut takes = vec!["TEXT"];
        if model.has(Features::IMAGES) {
            takes.push("IMAGE");
        }
        json!({
            "modelArn": model_arn(self.region.name(), &model.id),
            "modelId": model.id,
            "modelName": model.name,
            "providerName": provider(model),
            "inputModalities": takes,
            "outputModalities": [gives(model)],
            "responseStreamingSupported": model.has(Features::STREAM),
            "customizationsSupported": [],
            "inferenceTypesSupported": [inference_type(model)],
            "modelLifecycle": self.lifecycle(model),
        })
    }

    fn lifecycle(&self, model: &Model) -> Value {
        let Some(end) = model.end() else {
            return json!({"status": "ACTIVE"});
        };
        let legacy = end.saturating_sub(LEGACY_MONTHS.months());
        let is_legacy = self.service.generator.catalogue.today() >= legacy;
        json!({
            "status": if is_legacy { "LEGACY" } else { "ACTIVE" },
            "legacyTime": format!("{legacy}T00:00:00Z"),
            "endOfLifeTime": format!("{end}T00:00:00Z"),
        })
    }

    fn models(&self, query: &Query<'_>) -> Result<Value> {
        let customization =
            query.word("byCustomizationType", &["FINE_TUNING", "CONTINUED_PRE_TRAINING", "DISTILLATION"])?;
        let output = query.word("byOutputModality", &["TEXT", "IMAGE", "EMBEDDING"])?;
        let inference = query.word("byInferenceType", &["ON_DEMAND", "PROVISIONED", "INFERENCE_PROFILE"])?;
        let wanted = |which: &ModelRef| {
            let model = self.model(*which);
            customization.is_none()
                && output.is_none_or(|output| output == "TEXT")
                && inference.is_none_or(|inference| inference == inference_type(model))
                && query.get("byProvider").is_none_or(|name| name.eq_ignore_ascii_case(provider(model)))
                && self.listed(*which)
        };
        let found = self.service.generator.catalogue.all().filter(wanted);
        Ok(json!({"modelSummaries": found.map(|which| self.details(which)).collect::<Vec<_>>()}))
    }

    fn availability(&self, which: ModelRef) -> Value {
        let region = if self.listed(which) { "AVAILABLE" } else { "NOT_AVAILABLE" };
        json!({
            "modelId": self.model(which).id,
            "agreementAvailability": {"status": "AVAILABLE"},
            "authorizationStatus": "AUTHORIZED",
            "entitlementAvailability": "AVAILABLE",
            "regionAvailability": region,
        })
    }

    fn profiles(&self, query: &Query<'_>) -> Result<Value> {
        let kind = query.word("type", &["SYSTEM_DEFINED", "APPLICATION"])?;
        let most = match query.get("maxResults") {
            None => USUAL_RESULTS,
            Some(text) => text.parse().ok().filter(|n| (1..=MOST_RESULTS).contains(n)).ok_or_else(|| {
                constraint(&format!("'{text}'"), "maxResults", "Member must have value between 1 and 1000")
            })?,
        };
        let from: usize = match query.get("nextToken") {
            None => 0,
            Some(token) => token.parse().map_err(|_| ApiError::validation("The provided nextToken is invalid."))?,
        };
        let mut all = Vec::new();
        if kind != Some("APPLICATION") {
            all.extend(self.system_profiles());
        }
        if kind != Some("SYSTEM_DEFINED") {
            all.extend(self.application_profiles());
        }
        let page: Vec<&Value> = all.iter().skip(from).take(most).collect();
        let next = from.saturating_add(page.len());
        let mut body = json!({"inferenceProfileSummaries": page});
        if next < all.len() {
            body["nextToken"] = json!(next.to_string());
        }
        Ok(body)
    }

    /// The profile of an id or an ARN.
    fn one_profile(&self, id: &str) -> Result<Value> {
        let id = Resolver::decode(id)?;
        let is_it = |profile: &Value| profile["inferenceProfileArn"] == *id || profile["inferenceProfileId"] == *id;
        self.system_profiles().chain(self.application_profiles()).find(is_it).ok_or_else(|| {
            let message = format!("The specified resource ARN was not found: {id}");
            ApiError::new(Exception::ResourceNotFound, message)
        })
    }

    fn system_profiles(&self) -> impl Iterator<Item = Value> + '_ {
        let models = self.service.generator.catalogue.all();
        let ways = models.flat_map(|which| Route::all().map(move |route| (which, route)));
        let there = ways.filter(|(which, route)| reaches(*route, self.region) && self.offered(*which, *route));
        there.map(|(which, route)| {
            let model = self.model(which);
            let name = format!("{} {} {}", route.name().to_uppercase(), provider(model), model.name);
            let id = format!("{}.{}", route.name(), model.id);
            let arn = profile_arn(self.region, route, &model.id);
            self.profile(&name, &id, &arn, "SYSTEM_DEFINED", (which, route))
        })
    }

    fn application_profiles(&self) -> impl Iterator<Item = Value> + '_ {
        let resolver = &self.service.generator.resolver;
        let here = format!(":bedrock:{}:", self.region.name());
        resolver.application_profiles().filter_map(move |arn| {
            let Ok(Way::Model(model, route)) = resolver.resolve(arn).map(|target| target.way) else {
                return None;
            };
            let (_, id) = arn.rsplit_once('/').filter(|_| arn.contains(&here))?;
            Some(self.profile(id, id, arn, "APPLICATION", (model, route)))
        })
    }

    fn profile(&self, name: &str, id: &str, arn: &str, kind: &str, (which, route): (ModelRef, Route)) -> Value {
        let model = self.model(which);
        let arns = destinations(route, self.region).into_iter().map(|region| model_arn(region, &model.id));
        // Nobody knows when they were made: the simulator's day has to do.
        let day = format!("{}T00:00:00Z", self.service.generator.catalogue.today());
        json!({
            "inferenceProfileName": name,
            "description": format!("Routes requests to {} by way of {}.", model.name, route.label()),
            "createdAt": day,
            "updatedAt": day,
            "inferenceProfileArn": arn,
            "models": arns.map(|arn| json!({"modelArn": arn})).collect::<Vec<_>>(),
            "inferenceProfileId": id,
            "status": "ACTIVE",
            "type": kind,
        })
    }
}

/// How a model is called, in AWS's word; `INFERENCE_PROFILE` is not in the service model, but what AWS
/// answers.
fn inference_type(model: &Model) -> &'static str {
    if model.profile_only { "INFERENCE_PROFILE" } else { "ON_DEMAND" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_lookups() {
        for (path, expected) in [
            ("/foundation-models", Some(Lookup::Models)),
            ("/foundation-models/acme.model-v1%3A0", Some(Lookup::Model("acme.model-v1%3A0"))),
            ("/foundation-model-availability/x", Some(Lookup::Availability("x"))),
            ("/inference-profiles", Some(Lookup::Profiles)),
            ("/foundation-models/", None),
            ("/foundation-model-availability/", None),
            ("/inference-profiles/x", Some(Lookup::Profile("x"))),
            ("/inference-profiles/", None),
            ("/guardrails", None),
        ] {
            assert_eq!(Lookup::find(path), expected, "{path}");
        }
    }

    #[test]
    fn profiles_belong_to_the_geography_of_the_caller() {
        for (region, expected) in [
            ("us-west-2", vec![Route::Us, Route::Global]),
            ("eu-west-1", vec![Route::Eu, Route::Global]),
            ("ap-south-1", vec![Route::Apac, Route::In, Route::Global]),
            ("ap-northeast-1", vec![Route::Apac, Route::Jp, Route::Global]),
            ("ap-southeast-2", vec![Route::Apac, Route::Au, Route::Global]),
            ("us-gov-west-1", vec![Route::UsGov, Route::Global]),
        ] {
            let region = Region::find(region).unwrap();
            let found: Vec<Route> = Route::all().filter(|route| reaches(*route, region)).collect();
            assert_eq!(found, expected, "{}", region.name());
        }
    }
}
