//! The other side: which region, where it is, as whom it is called; and, unless told not to, whether
//! it answers and what it allows.

use std::time::{Duration, SystemTime};

use kairos_bedrock::access::{Access, Checker};
use kairos_bedrock::client::Client;
use kairos_bedrock::connect::proxy_for;
use kairos_bedrock::endpoint::{RUNTIME, configured_by};
use kairos_bedrock::probe::probe;
use kairos_dialects::{Failure, Kind};
use kairos_pipeline::upstream::{Look, Upstream as _};

use super::report::{Check, Fact};
use crate::assemble::{self, ModelSide};
use crate::config::{Config, Loaded};

fn set(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Finds region, endpoint and credentials, as `serve` does, and says where each came from.
pub(super) async fn find(loaded: &Loaded, facts: &mut Vec<Fact>) -> (Option<ModelSide>, Vec<Check>) {
    let config = &loaded.config;
    let aws = "see the AWS documentation on configuring a region, an endpoint and credentials";
    let failed = |check, error: assemble::AssemblyError| (None, vec![Check::problem(check, error.0, aws)]);
    let region = match assemble::region(config).await {
        Ok(region) => region,
        Err(error) => return failed("region", error),
    };
    facts.push(Fact { what: "region", value: region, from: region_from(loaded) });
    let side = match assemble::model_side(config).await {
        Ok(side) => side,
        Err(error) => return failed("credentials", error),
    };
    let from = configured_by(RUNTIME, |name| std::env::var(name).ok()).unwrap_or("the region").to_owned();
    facts.push(Fact { what: "endpoint", value: side.endpoint.url.clone(), from });
    let mut checks = Vec::new();
    match side.credentials.found().await {
        Ok(found) => {
            let ends = found.ends_at.and_then(|at| jiff::Timestamp::try_from(at).ok());
            let value = ends.map_or("no end is stated".to_owned(), |at| format!("until {at:.0}"));
            facts.push(Fact { what: "credentials", value, from: found.from.to_owned() });
            checks.push(Check::ok("credentials", format!("found: {}", found.from)));
        }
        Err(error) => checks.push(Check::problem(
            "credentials",
            error.to_string(),
            "give it credentials as the AWS tools take them",
        )),
    }
    if let Some(proxy) = proxy_for(&side.endpoint.url) {
        checks.push(Check::ok("proxy", format!("calls of Bedrock go through {proxy}, as the environment says")));
    }
    (Some(side), checks)
}

fn region_from(loaded: &Loaded) -> String {
    if loaded.config.upstream.region.is_some() {
        return loaded.origins.of("upstream.region").to_string();
    }
    let named = ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter().find(|name| set(name).is_some());
    named.unwrap_or("the AWS profile, or the instance").to_owned()
}

/// Bedrock refuses signatures whose time is off by more than five minutes.
const MOST_SKEW: Duration = Duration::from_secs(300);
const SMALL_SKEW: Duration = Duration::from_secs(60);

/// Calls Bedrock: that it answers, what its clock says, which models it lets us call.
pub(super) async fn call(config: &Config, side: ModelSide) -> Vec<Check> {
    const CHECK: &str = "endpoint";
    let url = side.endpoint.url.clone();
    let mut checks = Vec::new();
    match probe(&side.endpoint, config.timeouts().connect).await {
        Ok(reached) => {
            checks.push(Check::ok(CHECK, format!("{url} answers")));
            checks.extend(reached.date.map(|date| clock(date, SystemTime::now())));
        }
        Err(error) => {
            let todo = "check the network, HTTPS_PROXY and AWS_CA_BUNDLE, and the endpoint; without an AWS account, \
                        `kairos simulate` stands in for Bedrock";
            return vec![Check::problem(CHECK, format!("{url} cannot be reached: {error}"), todo)];
        }
    }
    let ModelSide { region, endpoint, credentials, .. } = side;
    let client = match Client::new(&region, endpoint, credentials, config.timeouts(), config.pool()) {
        Ok(client) => client,
        Err(error) => {
            checks.push(Check::problem("access", error.to_string(), "correct AWS_CA_BUNDLE, or unset it"));
            return checks;
        }
    };
    checks.extend(access(config, &region, &client).await);
    checks.extend(jobs(&region, &client).await);
    checks
}

/// Whether the gateway could look for jobs, which it does whether callers ask or not. Nothing is said where that
/// cannot be told: what is wrong then, the other checks say.
async fn jobs(region: &str, client: &Client) -> Option<Check> {
    // No job has this name; who may not ask is told so before that.
    let none = format!("arn:aws:bedrock:{region}:000000000000:async-invoke/000000000000");
    let since_ms = u64::try_from(jiff::Timestamp::now().as_millisecond()).ok()?;
    let get = client.look(Look::Job(&none)).await.err();
    let list = client.look(Look::List { since_ms, page: None }).await.err();
    may_look([("bedrock:GetAsyncInvoke", get), ("bedrock:ListAsyncInvokes", list)])
}

fn may_look(looks: [(&str, Option<Failure>); 2]) -> Option<Check> {
    const CHECK: &str = "jobs";
    let mut denied = Vec::new();
    for (permission, failure) in looks {
        match failure.map(|failure| failure.kind) {
            None | Some(Kind::Rejected | Kind::ModelNotFound) => {}
            Some(Kind::AccessDenied) => denied.push(permission),
            Some(_) => return None,
        }
    }
    if denied.is_empty() {
        return Some(Check::ok(CHECK, "the credentials may look whether asynchronous invocations have ended"));
    }
    let denied = denied.join(" and ");
    let found = format!("the credentials lack {denied}: no asynchronous invocation is seen to end");
    Some(Check::warning(CHECK, found, format!("grant {denied} to these credentials, if callers start any")))
}

fn clock(theirs: SystemTime, ours: SystemTime) -> Check {
    const CHECK: &str = "clock";
    let (skew, way) = match ours.duration_since(theirs) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(error) => (error.duration(), "behind"),
    };
    let seconds = skew.as_secs();
    let found = format!("this machine's clock is {seconds} s {way} Bedrock's");
    let todo = "set the clock, by NTP for example: signatures whose time is off by five minutes are refused";
    match skew {
        _ if skew >= MOST_SKEW => Check::problem(CHECK, found, todo),
        _ if skew >= SMALL_SKEW => Check::warning(CHECK, found, todo),
        _ => Check::ok(CHECK, "this machine's clock agrees with Bedrock's"),
    }
}

/// Whether the models that would be called may be: what `kairos models --check-access` asks.
async fn access(config: &Config, region: &str, client: &Client) -> Vec<Check> {
    const CHECK: &str = "access";
    let todo = "grant bedrock:InvokeModel to these credentials; `kairos models --check-access` checks every model";
    let Ok(catalogue) = assemble::read_catalogue(config, region, assemble::as_of(config)) else {
        // Said as a problem of the models.
        return Vec::new();
    };
    let checker = match Checker::new(client).await {
        Ok(checker) => checker,
        Err(failure) => return vec![Check::problem(CHECK, failure.to_string(), todo)],
    };
    let mut targets = catalogue.auto.clone();
    targets.extend(&catalogue.fallback);
    if let kairos_pipeline::models::Answering::Target { target, .. } = catalogue.answering(&config.models.default) {
        targets.push(target);
    }
    targets.sort_unstable();
    targets.dedup();
    let mut denied = Vec::new();
    for &target in &targets {
        let id = &catalogue.targets[target].invocation_id;
        if let Access::Denied(failure) = checker.check(id).await {
            denied.push(format!("{id}: {failure}"));
        }
    }
    if denied.is_empty() {
        let found = format!("the credentials may call all {} models of auto, default and fallback", targets.len());
        return vec![Check::ok(CHECK, found)];
    }
    let none = denied.len() == targets.len();
    let check = |found| if none { Check::problem(CHECK, found, todo) } else { Check::warning(CHECK, found, todo) };
    denied.into_iter().map(check).collect()
}

#[cfg(test)]
mod tests {
    use super::super::report::Level;
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn who_may_not_look_for_jobs_is_told_what_to_grant() {
        let failed = |kind| Some(Failure::new(kind, "no"));
        let said = |get, list| {
            let check = may_look([("bedrock:GetAsyncInvoke", get), ("bedrock:ListAsyncInvokes", list)]);
            check.map(|check| (check.level, check.todo.unwrap_or_default()))
        };
        assert_eq!(said(failed(Kind::Rejected), None), Some((Level::Ok, String::new())));
        let todo = "grant bedrock:ListAsyncInvokes to these credentials, if callers start any";
        assert_eq!(said(None, failed(Kind::AccessDenied)), Some((Level::Warning, todo.to_owned())));
        let todo =
            "grant bedrock:GetAsyncInvoke and bedrock:ListAsyncInvokes to these credentials, if callers start any";
        let both = said(failed(Kind::AccessDenied), failed(Kind::AccessDenied));
        assert_eq!(both, Some((Level::Warning, todo.to_owned())));
        assert_eq!(said(failed(Kind::UpstreamAuth), failed(Kind::AccessDenied)), None);
    }

    #[test]
    fn a_clock_that_is_off_is_told_before_bedrock_refuses() {
        for (ours, level, says) in [
            (10_000, Level::Ok, "agrees"),
            (10_059, Level::Ok, "agrees"),
            (10_060, Level::Warning, "60 s ahead of"),
            (9_800, Level::Warning, "200 s behind"),
            (9_700, Level::Problem, "300 s behind"),
        ] {
            let check = clock(at(10_000), at(ours));
            assert!(check.level == level && check.found.contains(says), "{ours}: {check:?}");
        }
    }
}
