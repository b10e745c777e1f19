//! What a test expects, and whether an answer is so.

use kairos_pipeline::models::Catalogue;
use kairos_pipeline::policy::{CacheDirective, Candidate, Identity, Plan, PolicyError};

use super::offers::{self, Chosen, MOST};
use super::table::{Read, Table, Value, did_you_mean, wrong};

/// A reason, as a test names it.
pub(super) enum Reason {
    Code(u32),
    Name(String),
}

/// What a test expects.
pub(super) enum Expected {
    Declined,
    Refused(Reason),
    Plan(Box<PlanLike>),
}

/// A plan, in what the test says of it.
#[derive(Default)]
pub(super) struct PlanLike {
    first: Option<u32>,
    order: Option<Vec<u32>>,
    not: Vec<u32>,
    probability: Vec<(u32, f64)>,
    reason: Option<Reason>,
    max_output_tokens: Option<u32>,
    max_cost: Option<u64>,
    cache: Option<CacheDirective>,
}

/// Chances that differ by less are the same.
const SAME_CHANCE: f64 = 1e-9;

/// Reads `expect`.
pub(super) fn read(expected: Value<'_>, chosen: &[Chosen], catalogue: &Catalogue) -> Read<Expected> {
    let mut table = expected.table()?;
    let at = table.at;
    let index = |name: Value<'_>| offers::index(&name, chosen, catalogue);
    let indices = |list: Value<'_>| list.list()?.map(index).collect::<Read<Vec<u32>>>();
    let declined = table.take("declined");
    let refused = table.read("refused", |value| reason(&value))?;
    let first = table.read("first", index)?;
    let order = table.read("order", indices)?;
    let not = table.read("not", indices)?;
    let probability = table.read("probability", |chances| {
        let chances = chances.table()?.entries();
        let chance = |(name, chance): (String, Value<'_>)| {
            Ok((offers::index_of(&name, &chance, chosen, catalogue)?, chance.fraction()?))
        };
        chances.map(chance).collect::<Read<Vec<_>>>()
    })?;
    let reason = table.read("reason", |value| reason(&value))?;
    let limits = limits(&mut table)?;
    table.finish()?;
    let of_a_plan = first.is_some() || order.is_some() || not.is_some() || probability.is_some() || reason.is_some();
    let of_a_plan =
        of_a_plan || limits.max_output_tokens.is_some() || limits.max_cost.is_some() || limits.cache.is_some();
    match (declined, refused, of_a_plan) {
        (None, Some(reason), false) => Ok(Expected::Refused(reason)),
        (Some(declined), None, false) => match declined.flag()? {
            true => Ok(Expected::Declined),
            false => declined.wrong("leave it out, and say what is expected of the plan"),
        },
        (None, None, true) => Ok(Expected::Plan(Box::new(PlanLike {
            first,
            order,
            not: not.unwrap_or_default(),
            probability: probability.unwrap_or_default(),
            reason,
            ..limits
        }))),
        (None, None, false) => wrong(at, "expect: it is empty: the test would pass whatever happens"),
        _ => wrong(at, "expect: `declined`, `refused` and what a plan is to be exclude one another"),
    }
}

fn limits(table: &mut Table<'_>) -> Read<PlanLike> {
    let cache = table.read("cache", |value| {
        if !value.is_text() {
            return Ok(CacheDirective::TtlSeconds(value.short()?));
        }
        Ok([CacheDirective::Default, CacheDirective::Bypass][value.one_of(&["default", "bypass"])?])
    })?;
    Ok(PlanLike {
        max_output_tokens: table.read("max_output_tokens", |value| value.short())?,
        max_cost: table.read("max_cost", |value| value.whole(MOST))?,
        cache,
        ..PlanLike::default()
    })
}

fn reason(value: &Value<'_>) -> Read<Reason> {
    if value.is_text() { Ok(Reason::Name(value.text()?.to_owned())) } else { Ok(Reason::Code(value.short()?)) }
}

/// What an answer is told with.
pub(super) struct Names<'a> {
    pub(super) ids: &'a [std::sync::Arc<str>],
    pub(super) identity: &'a Identity,
}

impl Names<'_> {
    fn id(&self, index: u32) -> &str {
        self.ids.get(index as usize).map_or("a model that is not on offer", |id| id)
    }

    fn all(&self, indices: &[u32]) -> String {
        indices.iter().map(|index| self.id(*index)).collect::<Vec<_>>().join(", ")
    }

    fn reason(&self, code: u32) -> String {
        self.identity.reason(code).map_or_else(|| code.to_string(), |name| format!("{code} {:?}", &**name))
    }

    /// The answer, for people.
    pub(super) fn answer(&self, answer: &Result<Plan, PolicyError>) -> String {
        match answer {
            Ok(plan) => self.plan(plan),
            Err(PolicyError::Declined) => "the policy declined".to_owned(),
            Err(PolicyError::Refused(code)) => {
                format!("the policy refused the request, reason {}", self.reason(*code))
            }
            Err(PolicyError::Unavailable(what)) => format!("the policy says that something is not available: {what}"),
            Err(PolicyError::NotRun(why)) => format!("the policy could not be run: {why}"),
            Err(PolicyError::Fault(fault)) => format!("the policy failed: {fault}"),
        }
    }

    fn plan(&self, plan: &Plan) -> String {
        let candidate = |candidate: &Candidate| format!("{} ({})", self.id(candidate.model), candidate.probability);
        let candidates: Vec<_> = plan.candidates.iter().map(candidate).collect();
        let mut text = format!("the plan: {}; reason {}", candidates.join(", "), self.reason(plan.reason));
        let mut say = |what: &str, value: Option<String>| {
            if let Some(value) = value {
                text.push_str(&format!("; {what} {value}"));
            }
        };
        say("max_output_tokens", plan.max_output_tokens.map(|limit| limit.to_string()));
        say("max_cost", plan.max_cost.map(|limit| limit.to_string()));
        say("cache", (plan.cache != CacheDirective::Default).then(|| cache(plan.cache)));
        text
    }
}

fn cache(directive: CacheDirective) -> String {
    match directive {
        CacheDirective::Default => "\"default\"".to_owned(),
        CacheDirective::Bypass => "\"bypass\"".to_owned(),
        CacheDirective::TtlSeconds(seconds) => seconds.to_string(),
    }
}

fn or_none(value: Option<impl ToString>) -> String {
    value.map_or("none".to_owned(), |value| value.to_string())
}

impl Expected {
    /// What is not as expected.
    pub(super) fn wrong_with(&self, answer: &Result<Plan, PolicyError>, names: &Names<'_>) -> Vec<String> {
        match (self, answer) {
            (Self::Plan(expected), Ok(plan)) => match plan.check(names.ids.len()) {
                Ok(()) => expected.wrong_with(plan, names),
                Err(why) => vec![format!("the plan is not valid: {why}")],
            },
            (Self::Declined, Err(PolicyError::Declined)) => Vec::new(),
            (Self::Refused(reason), Err(PolicyError::Refused(code))) => {
                reason.wrong_with(*code, names).into_iter().collect()
            }
            (Self::Plan(_), _) => vec!["a plan was expected".to_owned()],
            (Self::Declined, _) => vec!["the policy was expected to decline".to_owned()],
            (Self::Refused(_), _) => vec!["the policy was expected to refuse the request".to_owned()],
        }
    }
}

impl Reason {
    fn wrong_with(&self, code: u32, names: &Names<'_>) -> Option<String> {
        let is = names.reason(code);
        match self {
            Self::Code(expected) if *expected == code => None,
            Self::Code(expected) => Some(format!("reason: {is}, expected {expected}")),
            Self::Name(expected) => {
                if names.identity.reason(code).is_some_and(|name| **name == **expected) {
                    return None;
                }
                let known: Vec<&str> = names.identity.reasons.iter().map(|(_, name)| &**name).collect();
                let unknown = !known.contains(&expected.as_str());
                let hint = did_you_mean(expected, known).map_or(String::new(), |hint| format!("; {hint}"));
                let hint = if unknown { format!(", which `describe` does not name{hint}") } else { String::new() };
                Some(format!("reason: {is}, expected {expected:?}{hint}"))
            }
        }
    }
}

impl PlanLike {
    fn wrong_with(&self, plan: &Plan, names: &Names<'_>) -> Vec<String> {
        let mut wrong = Vec::new();
        let certain = plan.candidates.iter().position(|candidate| candidate.probability >= 1.0 - SAME_CHANCE);
        if let Some(expected) = self.first {
            let first = certain.map(|place| plan.candidates[place].model);
            if first != Some(expected) {
                let is = first.map_or("drawn by chances (see `probability`)", |first| names.id(first));
                wrong.push(format!("first: {is}, expected {}", names.id(expected)));
            }
        }
        // Who is first for certain is tried first, wherever it stands.
        let mut order: Vec<u32> = plan.candidates.iter().map(|candidate| candidate.model).collect();
        order[..=certain.unwrap_or(0)].rotate_right(1);
        if let Some(expected) = self.order.as_ref().filter(|expected| **expected != order) {
            wrong.push(format!("order: {}, expected {}", names.all(&order), names.all(expected)));
        }
        let unwanted: Vec<u32> = self.not.iter().copied().filter(|model| order.contains(model)).collect();
        if !unwanted.is_empty() {
            wrong.push(format!("not: {} is in the plan", names.all(&unwanted)));
        }
        for (model, expected) in &self.probability {
            let found = plan.candidates.iter().find(|candidate| candidate.model == *model);
            let is = found.map_or(0.0, |candidate| candidate.probability);
            if (is - expected).abs() > SAME_CHANCE {
                wrong.push(format!("probability of {}: {is}, expected {expected}", names.id(*model)));
            }
        }
        wrong.extend(self.reason.as_ref().and_then(|reason| reason.wrong_with(plan.reason, names)));
        self.limits_wrong_with(plan, &mut wrong);
        wrong
    }

    fn limits_wrong_with(&self, plan: &Plan, wrong: &mut Vec<String>) {
        let mut compare = |what: &str, is: String, expected: Option<String>| {
            if let Some(expected) = expected.filter(|expected| *expected != is) {
                wrong.push(format!("{what}: {is}, expected {expected}"));
            }
        };
        let text = |limit: Option<u32>| limit.map(|limit| limit.to_string());
        compare("max_output_tokens", or_none(plan.max_output_tokens), text(self.max_output_tokens));
        compare("max_cost", or_none(plan.max_cost), self.max_cost.map(|limit| limit.to_string()));
        compare("cache", cache(plan.cache), self.cache.map(cache));
    }
}
