//! What a test expects, and whether an answer is so.

use kairos_pipeline::models::Catalogue;
use kairos_pipeline::policy::{Answer, Identity, PolicyError, Question, World};

use super::offers::Chosen;
use super::table::{Read, Value, did_you_mean, wrong};
use super::worlds::{self, Like};
use crate::aside::Released;
use crate::question::What;

/// A reason, as a test names it.
pub(super) enum Reason {
    Code(u32),
    Name(String),
}

/// What a test expects.
pub(super) enum Expected {
    Declined,
    Refused(Reason),
    Answer(Like),
}

/// Reads `expect`.
pub(super) fn read(expected: Value<'_>, world: World, chosen: &[Chosen], catalogue: &Catalogue) -> Read<Expected> {
    let mut table = expected.table()?;
    let at = table.at;
    let declined = table.take("declined");
    let refused = table.read("refused", |value| reason(&value))?;
    let answer = worlds::expected(&mut table, world, chosen, catalogue)?;
    table.finish()?;
    let kind = worlds::answer(world);
    match (declined, refused, answer) {
        (None, Some(reason), None) => Ok(Expected::Refused(reason)),
        (Some(declined), None, None) => match declined.flag()? {
            true => Ok(Expected::Declined),
            false => declined.wrong(format_args!("leave it out, and say what is expected of the {kind}")),
        },
        (None, None, Some(like)) => Ok(Expected::Answer(like)),
        (None, None, None) => wrong(at, "expect: it is empty: the test would pass whatever happens"),
        _ => wrong(at, format!("expect: `declined`, `refused` and what a {kind} is to be exclude one another")),
    }
}

/// Reads a reason.
pub(super) fn reason(value: &Value<'_>) -> Read<Reason> {
    if value.is_text() { Ok(Reason::Name(value.text()?.to_owned())) } else { Ok(Reason::Code(value.short()?)) }
}

/// What an answer is told with.
pub(super) struct Names<'a> {
    pub(super) ids: &'a [std::sync::Arc<str>],
    pub(super) identity: &'a Identity,
}

impl Names<'_> {
    pub(super) fn id(&self, index: u32) -> &str {
        self.ids.get(index as usize).map_or("a model that is not on offer", |id| id)
    }

    pub(super) fn all(&self, indices: &[u32]) -> String {
        indices.iter().map(|index| self.id(*index)).collect::<Vec<_>>().join(", ")
    }

    pub(super) fn reason(&self, code: u32) -> String {
        self.identity.reason(code).map_or_else(|| code.to_string(), |name| format!("{code} {:?}", &**name))
    }

    /// The answer, for people.
    pub(super) fn answer(&self, answer: &Result<Answer, PolicyError>) -> String {
        match answer {
            Ok(answer) => worlds::in_words(answer, self),
            Err(PolicyError::Declined) => "the policy declined".to_owned(),
            Err(PolicyError::Refused(code)) => {
                format!("the policy refused the request, reason {}", self.reason(*code))
            }
            Err(PolicyError::Unavailable(what)) => format!("the policy says that something is not available: {what}"),
            Err(PolicyError::NotRun(why)) => format!("the policy could not be run: {why}"),
            Err(PolicyError::Fault(fault)) => format!("the policy failed: {fault}"),
        }
    }
}

/// A number for people, or that there is none.
pub(super) fn or_none(value: Option<impl ToString>) -> String {
    value.map_or("none".to_owned(), |value| value.to_string())
}

impl Expected {
    /// What is not as expected.
    pub(super) fn wrong_with(
        &self,
        question: &Question<'_>,
        what: &What,
        answer: &Result<Answer, PolicyError>,
        names: &Names<'_>,
    ) -> Vec<String> {
        let kind = worlds::answer(question.world());
        match (self, answer) {
            (Self::Answer(expected), Ok(answer)) => match question.check(answer, names.identity) {
                Ok(()) => expected.wrong_with(answer, what, names),
                Err(why) => vec![format!("the {kind} is not valid: {why}")],
            },
            (Self::Declined, Err(PolicyError::Declined)) => Vec::new(),
            (Self::Refused(reason), Err(PolicyError::Refused(code))) => {
                reason.wrong_with(*code, names).into_iter().collect()
            }
            (Self::Answer(_), _) => vec![format!("a {kind} was expected")],
            (Self::Declined, _) => vec!["the policy was expected to decline".to_owned()],
            (Self::Refused(_), _) => vec!["the policy was expected to refuse the request".to_owned()],
        }
    }

    /// What is not as expected of a text that a guard judged.
    pub(super) fn wrong_with_text(&self, released: &Released, names: &Names<'_>) -> Vec<String> {
        if let Some(failure) = &released.failure {
            return vec![format!("a verdict was expected, and the guard fails: {failure}")];
        }
        match (self, released.declined) {
            (Self::Answer(Like::Released(expected)), false) => expected.wrong_with(released, names),
            (Self::Declined, true) => Vec::new(),
            // To refuse a text is to block it.
            (Self::Refused(reason), false) => match released.blocked {
                Some(code) => reason.wrong_with(code, names).into_iter().collect(),
                None => vec!["the guard was expected to refuse the text".to_owned()],
            },
            (Self::Declined, false) => vec!["the guard was expected to decline".to_owned()],
            (Self::Answer(_) | Self::Refused(_), _) => vec!["a verdict was expected".to_owned()],
        }
    }
}

impl Reason {
    pub(super) fn wrong_with(&self, code: u32, names: &Names<'_>) -> Option<String> {
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
