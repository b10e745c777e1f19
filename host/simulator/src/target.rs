//! From the id in a path to a model and the way to it.
//!
//! It must not know requests, nor what a model can take.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use percent_encoding::percent_decode_str;

use crate::catalogue::{Catalogue, ModelRef, Region, Route};
use crate::error::{ApiError, Exception};

/// Ids whose meaning is remembered; past that they are worked out each time.
const REMEMBERED: usize = 1_024;
/// What the service model allows.
const LONGEST_ID: usize = 2_048;

/// What is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The id as asked for, percent-decoded.
    pub(crate) asked: Arc<str>,
    pub(crate) way: Way,
}

/// How a target leads to a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Model(ModelRef, Route),
    Router(&'static Router),
}

/// A default prompt router: it sends prompts of up to [`Router::SHORT`] tokens to the small model and
/// longer ones to the large one, both by the profile of the caller's geography.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Router {
    id: &'static str,
    small: &'static str,
    large: &'static str,
}

const ROUTERS: &[Router] = &[
    Router {
        id: "anthropic.claude:1",
        small: "anthropic.claude-haiku-4-5-20251001-v1:0",
        large: "anthropic.claude-sonnet-4-6",
    },
    Router { id: "amazon.nova:1", small: "amazon.nova-lite-v1:0", large: "amazon.nova-pro-v1:0" },
    Router { id: "meta.llama:1", small: "meta.llama3-1-8b-instruct-v1:0", large: "meta.llama3-3-70b-instruct-v1:0" },
];

impl Router {
    /// Tokens up to which the last message of the user is a short one.
    pub(crate) const SHORT: u32 = 40;

    /// The model for a prompt of so many tokens, and how to reach it.
    pub(crate) fn pick(
        &self,
        catalogue: &Catalogue,
        tokens: u32,
        region: Region,
    ) -> Result<(ModelRef, Route), ApiError> {
        let id = if tokens <= Self::SHORT { self.small } else { self.large };
        let route = Route::of_prefix(region.geography());
        let found = catalogue.find(id).zip(route).filter(|(model, route)| {
            catalogue.has_route(*model, *route) && !catalogue.model(*model).ended(*route, catalogue.today())
        });
        found.ok_or_else(not_found)
    }
}

/// The ARN of the inference profile by which a model was reached.
pub(crate) fn profile_arn(region: Region, route: Route, model: &str) -> String {
    format!("arn:aws:bedrock:{}:000000000000:inference-profile/{}.{model}", region.name(), route.name())
}

/// Works out ids, remembering the ones it has seen.
pub(crate) struct Resolver {
    catalogue: Arc<Catalogue>,
    application_profiles: BTreeMap<String, String>,
    require_profiles: bool,
    seen: RwLock<HashMap<Box<str>, Target>>,
}

impl Resolver {
    pub(crate) fn new(
        catalogue: Arc<Catalogue>,
        application_profiles: BTreeMap<String, String>,
        require_profiles: bool,
    ) -> Self {
        Self { catalogue, application_profiles, require_profiles, seen: RwLock::default() }
    }

    /// The ARNs of the application inference profiles there are.
    pub(crate) fn application_profiles(&self) -> impl Iterator<Item = &str> {
        self.application_profiles.keys().map(String::as_str)
    }

    /// The id in a path, decoded once.
    pub(crate) fn decode(raw: &str) -> Result<Cow<'_, str>, ApiError> {
        let id = percent_decode_str(raw).decode_utf8().map_err(|_| invalid())?;
        if id.is_empty() || id.len() > LONGEST_ID { Err(invalid()) } else { Ok(id) }
    }

    pub(crate) fn resolve(&self, id: &str) -> Result<Target, ApiError> {
        let seen = self.seen.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(target) = seen.get(id) {
            return Ok(target.clone());
        }
        drop(seen);
        let target = Target { asked: id.into(), way: self.work_out(id, true)? };
        let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        if seen.len() < REMEMBERED {
            seen.insert(id.into(), target.clone());
        }
        Ok(target)
    }

    fn work_out(&self, id: &str, follow: bool) -> Result<Way, ApiError> {
        if let Some(rest) = id.strip_prefix("arn:") {
            return self.arn(id, rest, follow);
        }
        let (model, route) = match self.catalogue.find(id) {
            Some(model) => (model, Route::InRegion),
            None => {
                let (prefix, base) = id.split_once('.').ok_or_else(invalid)?;
                let route = Route::of_prefix(prefix).ok_or_else(invalid)?;
                (self.catalogue.find(base).ok_or_else(invalid)?, route)
            }
        };
        if route != Route::InRegion && !self.catalogue.has_route(model, route) {
            return Err(invalid());
        }
        if self.catalogue.model(model).ended(route, self.catalogue.today()) {
            return Err(ApiError::new(
                Exception::ResourceNotFound,
                "This model version has reached the end of its life. Please refer to the AWS \
                 documentation for more details.",
            ));
        }
        Ok(Way::Model(model, route))
    }

    /// `arn:PARTITION:bedrock:REGION:ACCOUNT:TYPE/ID`
    fn arn(&self, whole: &str, rest: &str, follow: bool) -> Result<Way, ApiError> {
        let parts: Vec<&str> = rest.splitn(5, ':').collect();
        let [partition, "bedrock", _, _, resource] = parts[..] else {
            return Err(invalid());
        };
        let (kind, id) = resource.split_once('/').ok_or_else(invalid)?;
        if !matches!(partition, "aws" | "aws-us-gov" | "aws-cn") || id.is_empty() {
            return Err(invalid());
        }
        match kind {
            "foundation-model" if self.catalogue.find(id).is_some() => self.work_out(id, false),
            "inference-profile" if self.catalogue.find(id).is_none() => self.work_out(id, false),
            "foundation-model" | "inference-profile" => Err(invalid()),
            "application-inference-profile" => {
                let stands_for = self.application_profiles.get(whole).filter(|_| follow);
                self.work_out(stands_for.ok_or_else(not_found)?, false)
            }
            "default-prompt-router" => ROUTERS.iter().find(|r| r.id == id).map(Way::Router).ok_or_else(not_found),
            _ => Err(not_found()),
        }
    }

    /// Refuses what AWS does not offer on demand in a region.
    pub(crate) fn check_offered(
        &self,
        asked: &str,
        model: ModelRef,
        route: Route,
        region: Region,
    ) -> Result<(), ApiError> {
        let sheet = self.catalogue.sheet(model, route, region);
        let needs_profile = self.catalogue.model(model).profile_only
            && route == Route::InRegion
            && !sheet.is_some_and(crate::catalogue::Sheet::is_for_one_gov_region);
        if needs_profile && self.require_profiles {
            return Err(ApiError::validation(format!(
                "Invocation of model ID {asked} with on-demand throughput isn't supported. Retry \
                 your request with the ID or ARN of an inference profile that contains this model."
            )));
        }
        if sheet.is_none() { Err(invalid()) } else { Ok(()) }
    }
}

fn invalid() -> ApiError {
    ApiError::validation("The provided model identifier is invalid.")
}

fn not_found() -> ApiError {
    ApiError::new(Exception::ResourceNotFound, Exception::ResourceNotFound.usual_message())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    const APP: &str = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc";

    fn resolver() -> Resolver {
        let catalogue = Arc::new(Catalogue::load(date(2026, 11, 23)).unwrap());
        let profiles = [(APP.to_owned(), "eu.amazon.nova-lite-v1:0".to_owned())];
        Resolver::new(catalogue, profiles.into(), true)
    }

    fn found(id: &str) -> Result<String, String> {
        let resolver = resolver();
        let id = Resolver::decode(id).map_err(|e| e.message.into_owned())?;
        let target = resolver.resolve(&id).map_err(|e| format!("{} {}", e.status, e.message))?;
        Ok(match target.way {
            Way::Model(model, route) => {
                format!("{} {}", resolver.catalogue.model(model).id, route.label())
            }
            Way::Router(router) => router.id.to_owned(),
        })
    }

    #[test]
    fn ids_lead_to_models() {
        let nova = "amazon.nova-lite-v1:0";
        for (id, expected) in [
            ("amazon.nova-lite-v1:0", format!("{nova} in-region")),
            ("amazon.nova-lite-v1%3A0", format!("{nova} in-region")),
            ("us.amazon.nova-lite-v1:0", format!("{nova} geo:us")),
            ("arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0", format!("{nova} in-region")),
            (
                "arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Feu.amazon.nova-lite-v1%3A0",
                format!("{nova} geo:eu"),
            ),
            (APP, format!("{nova} geo:eu")),
            ("global.anthropic.claude-sonnet-5-5", "anthropic.claude-sonnet-5-5 global".into()),
            ("us-gov.anthropic.claude-opus-5", "anthropic.claude-opus-5 geo:us-gov".into()),
            ("arn:aws:bedrock:us-east-1:1:default-prompt-router/amazon.nova:1", "amazon.nova:1".into()),
        ] {
            assert_eq!(found(id), Ok(expected), "{id}");
        }
    }

    #[test]
    fn ids_that_lead_nowhere() {
        let unknown = "400 The provided model identifier is invalid.";
        let missing = "404 The specified resource ARN was not found.";
        let ended = "404 This model version has reached the end of its life. Please refer to the \
                     AWS documentation for more details.";
        for (id, expected) in [
            ("no-such-model", unknown),
            ("us.no-such.model", unknown),
            ("moon.amazon.nova-lite-v1:0", unknown),
            ("global.amazon.nova-lite-v1:0", unknown),
            ("us.us.amazon.nova-lite-v1:0", unknown),
            ("arn:aws:s3:::bucket", unknown),
            ("arn:aws:bedrock:us-east-1:1:inference-profile/amazon.nova-lite-v1:0", unknown),
            ("arn:aws:bedrock:us-east-1::foundation-model/us.amazon.nova-lite-v1:0", unknown),
            ("arn:aws:bedrock:us-east-1:1:application-inference-profile/other", missing),
            ("arn:aws:bedrock:us-east-1:1:provisioned-model/x", missing),
            ("arn:aws:bedrock:us-east-1:1:default-prompt-router/x:1", missing),
            ("anthropic.claude-3-haiku-20240307-v1:0", ended),
            ("us.anthropic.claude-3-5-sonnet-20241022-v2:0", ended),
            ("amazon.titan-text-express-v1", ended),
            ("ai21.j2-ultra-v1", ended),
            ("eu.anthropic.claude-haiku-4-5-20251001-v1:0", ended),
        ] {
            assert_eq!(found(id).unwrap_err(), expected, "{id}");
        }
        assert!(found("%ff").is_err() && found("").is_err() && found(&"a".repeat(2_049)).is_err());
    }

    #[test]
    fn some_models_need_a_profile() {
        let resolver = resolver();
        let offered = |id: &str, region: &str| {
            let Way::Model(model, route) = resolver.resolve(id).unwrap().way else { panic!() };
            let region = Region::find(region).unwrap();
            resolver.check_offered(id, model, route, region).map_err(|e| e.message.into_owned())
        };
        let refused = offered("anthropic.claude-opus-5", "us-east-1").unwrap_err();
        assert!(
            refused.starts_with(
                "Invocation of model ID anthropic.claude-opus-5 with on-demand throughput isn't supported."
            )
        );
        assert_eq!(offered("us.anthropic.claude-opus-5", "us-east-1"), Ok(()));
        assert_eq!(offered("anthropic.claude-opus-5", "us-gov-west-1"), Ok(()));
        assert_eq!(offered("anthropic.claude-sonnet-4-6", "us-east-1"), Ok(()));
        assert_eq!(
            offered("global.anthropic.claude-opus-5", "us-gov-west-1").unwrap_err(),
            "The provided model identifier is invalid."
        );
    }
}
