//! Application inference profiles: what Bedrock's control plane says that one stands for.

use std::collections::BTreeSet;

use kairos_dialects::Kind;
use kairos_dialects::bedrock::error;
use kairos_dialects::failure::from_bedrock;
use serde::Deserialize;

use crate::aws::{Answer, CallError, Caller, Question};
use crate::sigv4::encode_segment;

/// Why it is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{says}")]
pub struct Unresolved {
    /// What went wrong, in the pipeline's word.
    pub kind: Kind,
    /// What the control plane answered, without its words: those name roles and accounts.
    pub says: String,
    /// Its words, for the operator's log.
    pub detail: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    models: Vec<Listed>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    model_arn: String,
}

/// Asks `GetInferenceProfile`. Gives the profile or model that the profile was made of, as the catalogue names
/// it: `us.amazon.nova-lite-v1:0`, `amazon.nova-lite-v1:0`.
pub async fn get(control: &Caller, region: &str, arn: &str) -> Result<String, Unresolved> {
    let path = format!("/inference-profiles/{}", encode_segment(arn));
    let question = Question { method: "GET", path: &path, headers: &[], body: "" };
    let answer = control.ask(question).await.map_err(|error| unanswered(&error))?;
    if answer.status != 200 {
        return Err(refused(&answer));
    }
    let nonsense = |says: String, detail: String| Unresolved { kind: Kind::BrokenStream, says, detail };
    let profile: Profile = serde_json::from_slice(&answer.body)
        .map_err(|error| nonsense("an answer that lists no models".to_owned(), error.to_string()))?;
    let models: Vec<_> = profile.models.iter().map(|listed| listed.model_arn.as_str()).collect();
    made_of(&models, region).map_err(|says| nonsense(says, models.join(", ")))
}

fn unanswered(error: &CallError) -> Unresolved {
    let (kind, says) = match error {
        CallError::Credentials(_) | CallError::ApiKey => (Kind::UpstreamAuth, "nothing: there are no credentials"),
        CallError::Request(_) => (Kind::Internal, "nothing: it could not be asked"),
        CallError::Late { .. } => (Kind::Timeout, "nothing within the time it has"),
        CallError::Network { .. } => (Kind::Network, "nothing: it cannot be reached"),
    };
    Unresolved { kind, says: says.to_owned(), detail: error.to_string() }
}

fn refused(answer: &Answer) -> Unresolved {
    let error_type = answer.headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok());
    let said = error::parse(error_type, &answer.body);
    let (kind, _) = from_bedrock(&said.code, answer.status);
    let code = match said.code.as_str() {
        "" => answer.status.to_string(),
        code => code.chars().take(100).collect(),
    };
    Unresolved { kind, says: code, detail: said.message.chars().take(500).collect() }
}

/// What a profile was made of, by the models that it lists: one in this region, one in the regions of a
/// geography, or one anywhere, which has an ARN without a region.
fn made_of(models: &[&str], region: &str) -> Result<String, String> {
    let mut ids = BTreeSet::new();
    let mut regions = BTreeSet::new();
    for arn in models {
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let ["arn", _, "bedrock", at, _, resource] = parts[..] else {
            return Err("a model that has no ARN of Bedrock's".to_owned());
        };
        let id = resource.strip_prefix("foundation-model/").ok_or("something that is no foundation model")?;
        ids.insert(id);
        regions.insert(at);
    }
    let (Some(id), 1) = (ids.first(), ids.len()) else {
        return Err(format!("{} models, where one is expected", ids.len()));
    };
    if regions.contains("") {
        return Ok(format!("global.{id}"));
    }
    if regions.len() == 1 && regions.contains(region) {
        return Ok((*id).to_owned());
    }
    let geography = geography(&regions)?;
    Ok(format!("{geography}.{id}"))
}

/// The prefix of the profiles that reach these regions, and no others.
fn geography(regions: &BTreeSet<&str>) -> Result<&'static str, &'static str> {
    let within = |prefixes: &[&str]| regions.iter().all(|at| prefixes.iter().any(|prefix| at.starts_with(prefix)));
    let narrow = [
        ("jp", &["ap-northeast-1", "ap-northeast-3"][..]),
        ("au", &["ap-southeast-2", "ap-southeast-4", "ap-southeast-6"]),
        ("in", &["ap-south-1", "ap-south-2"]),
        ("us-gov", &["us-gov-"]),
        ("us", &["us-", "ca-"]),
        ("eu", &["eu-"]),
        ("apac", &["ap-"]),
    ];
    // One that stays in Canada has another price than one that reaches it from the United States.
    if within(&["ca-"]) {
        return Err("regions of Canada alone, a geography without known prices");
    }
    let found = narrow.into_iter().find(|(_, prefixes)| within(prefixes));
    found.map(|(name, _)| name).ok_or("regions of no known geography")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_models_of_a_profile_tell_what_it_was_made_of() {
        let of = |regions: &[&str]| {
            let arns: Vec<_> = regions
                .iter()
                .map(|at| format!("arn:aws:bedrock:{at}::foundation-model/amazon.nova-lite-v1:0"))
                .collect();
            made_of(&arns.iter().map(String::as_str).collect::<Vec<_>>(), "us-east-1")
        };
        for (regions, prefix) in [
            (&["us-east-1"][..], ""),
            (&["us-east-1", "us-east-2", "us-west-2"], "us."),
            (&["us-east-1", "ca-central-1"], "us."),
            (&["us-west-2"], "us."),
            (&["eu-central-1", "eu-west-3"], "eu."),
            (&["ap-northeast-1", "ap-northeast-3"], "jp."),
            (&["ap-southeast-2", "ap-southeast-4", "ap-southeast-6"], "au."),
            (&["ap-northeast-1", "ap-southeast-2"], "apac."),
            (&["us-gov-east-1", "us-gov-west-1"], "us-gov."),
            (&["", "us-east-1"], "global."),
        ] {
            assert_eq!(of(regions), Ok(format!("{prefix}amazon.nova-lite-v1:0")), "{regions:?}");
        }
        let canada = Err("regions of Canada alone, a geography without known prices".to_owned());
        assert_eq!([of(&["ca-central-1", "ca-west-1"]), of(&["ca-central-1"])], [canada.clone(), canada]);
        assert_eq!(of(&["us-east-1", "eu-west-1"]), Err("regions of no known geography".to_owned()));
        assert_eq!(of(&[]), Err("0 models, where one is expected".to_owned()));
        let model = |id: &str| format!("arn:aws:bedrock:us-east-1::foundation-model/{id}");
        let two = [model("a"), model("b")];
        let two = made_of(&[&two[0], &two[1]], "us-east-1");
        assert_eq!(two, Err("2 models, where one is expected".to_owned()));
        assert!(made_of(&["arn:aws:bedrock:us-east-1:1:custom-model/x"], "us-east-1").is_err());
        assert!(made_of(&["nova"], "us-east-1").is_err());
    }
}
