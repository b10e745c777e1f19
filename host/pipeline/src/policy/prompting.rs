//! What a prompter sees of a request, and what it changes: `prompting` in the contract.

use std::sync::Arc;

pub use kairos_dialects::bedrock::{
    Draft, DraftMessage, DraftParameters, Edit, Piece, Place, Shown, Speaker, SystemEdit, TextEdit,
};

use serde::{Deserialize, Serialize};

use super::{Fault, FaultKind, Features, Identity, Offer, PolicyError, RequestInfo};

/// Bytes of all texts of edits.
const MOST_WRITTEN: usize = 262_144;
/// Changes of texts.
pub const MOST_TEXT_EDITS: usize = 256;
/// Examples.
pub const MOST_EXAMPLES: usize = 64;
/// Texts that end an answer, and bytes of each.
const MOST_STOPS: usize = 4;
const STOP_BYTES: usize = 256;

/// All that a prompter is asked with.
#[derive(Clone, Copy, Debug)]
pub struct PromptInput<'a> {
    /// What is not a number.
    pub request: &'a Arc<RequestInfo>,
    /// What the host knows of the request.
    pub features: &'a Features,
    /// The models on offer.
    pub models: &'a [Offer],
    /// The model that is tried first.
    pub first: u32,
    /// The request, as it would go to a model.
    pub draft: &'a Arc<Draft>,
}

/// What is changed. See `edits` in the contract.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the contract documents each field")]
pub struct Edits {
    pub system: SystemEdit,
    pub system_before: Option<String>,
    pub system_after: Option<String>,
    pub examples: Vec<(String, String)>,
    pub keep_last: Option<u32>,
    pub texts: Vec<(Place, TextEdit)>,
    pub max_output_tokens: Option<u32>,
    pub temperature: Edit<f64>,
    pub top_p: Edit<f64>,
    pub stop: Edit<Vec<String>>,
    pub reason: u32,
    pub settings: Vec<(u32, u64)>,
}

impl Edits {
    /// Nothing is changed, for this reason.
    pub fn new(reason: u32) -> Self {
        Self { reason, ..Self::default() }
    }

    /// The edits, where they are valid: such as are not are a fault of the policy.
    pub fn checked(self, input: PromptInput<'_>, policy: &Identity) -> Result<Self, PolicyError> {
        match self.check(input, policy) {
            Ok(()) => Ok(self),
            Err(message) => Err(PolicyError::Fault(Fault::new(FaultKind::InvalidAnswer, message))),
        }
    }

    /// Says what is not valid about them, by the list in `prompter.wit`.
    pub fn check(&self, input: PromptInput<'_>, policy: &Identity) -> Result<(), String> {
        if policy.reason(self.reason).is_none() {
            return Err(format!("the reason {} is none that `describe` names", self.reason));
        }
        self.check_sizes()?;
        self.check_places(input.draft)?;
        self.check_numbers()?;
        match self.settings.first() {
            Some((code, _)) => Err(format!("setting {code} is not known")),
            None => Ok(()),
        }
    }

    /// All texts that are written.
    pub fn written(&self) -> impl Iterator<Item = &str> {
        let system = match &self.system {
            SystemEdit::Replace(text) => Some(text.as_str()),
            SystemEdit::Keep | SystemEdit::Remove => None,
        };
        let around = [&self.system_before, &self.system_after].into_iter().filter_map(|text| text.as_deref());
        let examples = self.examples.iter().flat_map(|(user, assistant)| [user.as_str(), assistant]);
        let texts = self.texts.iter().filter_map(|(_, edit)| edit.text());
        system.into_iter().chain(around).chain(examples).chain(texts)
    }

    /// What is changed, by its names in the contract.
    pub fn names(&self) -> Vec<&'static str> {
        [
            ("system", self.system != SystemEdit::Keep),
            ("system-before", self.system_before.is_some()),
            ("system-after", self.system_after.is_some()),
            ("examples", !self.examples.is_empty()),
            ("keep-last", self.keep_last.is_some()),
            ("texts", !self.texts.is_empty()),
            ("max-output-tokens", self.max_output_tokens.is_some()),
            ("temperature", self.temperature != Edit::Keep),
            ("top-p", self.top_p != Edit::Keep),
            ("stop", self.stop != Edit::Keep),
        ]
        .into_iter()
        .filter_map(|(name, is_there)| is_there.then_some(name))
        .collect()
    }

    fn check_sizes(&self) -> Result<(), String> {
        if self.written().any(str::is_empty) {
            return Err("a text is empty".to_owned());
        }
        let bytes: usize = self.written().map(str::len).sum();
        for (what, is, most) in [
            ("bytes of text", bytes, MOST_WRITTEN),
            ("changes of texts", self.texts.len(), MOST_TEXT_EDITS),
            ("examples", self.examples.len(), MOST_EXAMPLES),
        ] {
            if is > most {
                return Err(format!("there are {is} {what}; {most} are allowed"));
            }
        }
        Ok(())
    }

    fn check_places(&self, draft: &Draft) -> Result<(), String> {
        let changes = |edit: &TextEdit| matches!(edit, TextEdit::Replace(_) | TextEdit::Remove);
        for (number, (place, edit)) in self.texts.iter().enumerate() {
            let Place { message, piece } = *place;
            let shown = text_at(draft, *place)?;
            if matches!(edit, TextEdit::Replace(_)) && shown.bytes as usize > shown.text.len() {
                return Err(format!("the text {piece} of message {message} is replaced, and was not shown whole"));
            }
            let again = |(other, edit): &(Place, TextEdit)| other == place && changes(edit);
            if changes(edit) && self.texts[..number].iter().any(again) {
                return Err(format!("the text {piece} of message {message} is replaced or removed twice"));
            }
        }
        for (place, _) in self.texts.iter().filter(|(_, edit)| *edit == TextEdit::Remove) {
            if self.leaves_nothing_of(draft, place.message) {
                return Err(format!("nothing is left of message {}", place.message));
            }
        }
        Ok(())
    }

    fn leaves_nothing_of(&self, draft: &Draft, message: u32) -> bool {
        let Some(shown) = draft.message(message) else { return false };
        let of_message = || self.texts.iter().filter(|(place, _)| place.message == message);
        let removed = of_message().filter(|(_, edit)| *edit == TextEdit::Remove).count();
        let added = of_message().any(|(_, edit)| matches!(edit, TextEdit::Before(_) | TextEdit::After(_)));
        let pieces = shown.pieces.iter().filter(|piece| **piece != Piece::CachePoint).count();
        shown.more == 0 && !added && removed >= pieces
    }

    fn check_numbers(&self) -> Result<(), String> {
        for (name, number) in [("keep-last", self.keep_last), ("max-output-tokens", self.max_output_tokens)] {
            if number == Some(0) {
                return Err(format!("{name} is 0"));
            }
        }
        for (name, edit) in [("temperature", &self.temperature), ("top-p", &self.top_p)] {
            if let Edit::Set(number) | Edit::Default(number) = edit
                && !(0.0..=1.0).contains(number)
            {
                return Err(format!("{name} is {number}"));
            }
        }
        if let Edit::Set(stop) | Edit::Default(stop) = &self.stop {
            let fits = stop.len() <= MOST_STOPS && stop.iter().all(|text| (1..=STOP_BYTES).contains(&text.len()));
            if !fits {
                return Err(format!(
                    "stop has more than {MOST_STOPS} texts, or one that has not 1 to {STOP_BYTES} bytes"
                ));
            }
        }
        Ok(())
    }
}

/// The text at a place that can be changed.
fn text_at(draft: &Draft, Place { message, piece }: Place) -> Result<&Shown, String> {
    let found = draft.message(message).ok_or_else(|| format!("message {message} was not shown"))?;
    if found.role == Speaker::System {
        return Err(format!("message {message} is neither the user's nor the assistant's"));
    }
    match found.pieces.get(piece as usize) {
        Some(Piece::Text(shown)) => Ok(shown),
        Some(other) => Err(format!("piece {piece} of message {message} is no text, but {}", other.name())),
        None => Err(format!("message {message} has no piece {piece} that was shown")),
    }
}

/// Something that changes how a request is put to a model. Synchronous and bounded, as a router is.
pub trait Prompter: Send + Sync {
    /// Who decides.
    fn identity(&self) -> &Identity;

    /// Decides. The edits are checked by the caller.
    fn render(&self, input: PromptInput<'_>) -> Result<Edits, PolicyError>;
}

#[cfg(test)]
mod tests {
    use kairos_dialects::bedrock::draft;
    use serde_json::json;

    use super::*;
    use crate::policy::tests::request_info;
    use crate::policy::{Complexity, Needs, Priority, Task};

    fn features() -> Features {
        Features {
            task: Task::General,
            task_hinted: false,
            complexity: Complexity::Low,
            complexity_hinted: false,
            estimated_tokens: 8,
            max_output_tokens: None,
            max_latency_ms: None,
            accuracy: 0.5,
            cost_sensitivity: 0.5,
            priority: Priority::Normal,
            needs: Needs(0),
            streaming: false,
            turns: 1,
            text_bytes: 30,
            named: None,
            budget_remaining: None,
            budget_used: 0.0,
            budget_level: 0,
        }
    }

    #[test]
    fn edits_that_are_not_valid_say_why() {
        let long = "x".repeat(70_000);
        let body = json!({"messages": [
            {"role": "user", "content": [{"text": "one"}, {"cachePoint": {}}]},
            {"role": "assistant", "content": [{"reasoningContent": {}}, {"text": long}]},
            {"role": "system", "content": [{"text": "x"}]},
        ]});
        let draft = Arc::new(draft(body.to_string().as_bytes()).unwrap());
        let (request, features) = (request_info(), features());
        let input = PromptInput { request: &request, features: &features, models: &[], first: 0, draft: &draft };
        let policy = Identity::new("x", "0", vec![(1, "why".into())], vec![]);
        let edits = |change: fn(&mut Edits)| {
            let mut edits = Edits::new(1);
            change(&mut edits);
            edits
        };
        fn text(message: u32, piece: u32, edit: TextEdit) -> Vec<(Place, TextEdit)> {
            vec![(Place { message, piece }, edit)]
        }
        let new = || "new".to_owned();
        let at = |message, piece, edit| Edits { texts: text(message, piece, edit), ..Edits::new(1) };
        for (edits, says) in [
            (Edits::new(2), "the reason 2 is none"),
            (edits(|edits| edits.system_before = Some(String::new())), "a text is empty"),
            (edits(|edits| edits.system = SystemEdit::Replace("x".repeat(262_145))), "262145 bytes of text"),
            (edits(|edits| edits.examples = vec![("a".into(), "b".into()); 65]), "65 examples"),
            (edits(|edits| edits.keep_last = Some(0)), "keep-last is 0"),
            (edits(|edits| edits.max_output_tokens = Some(0)), "max-output-tokens is 0"),
            (edits(|edits| edits.temperature = Edit::Set(1.5)), "temperature is 1.5"),
            (edits(|edits| edits.top_p = Edit::Set(f64::NAN)), "top-p is NaN"),
            (edits(|edits| edits.stop = Edit::Set(vec![String::new()])), "stop has more than 4"),
            (edits(|edits| edits.settings = vec![(7, 1)]), "setting 7"),
            (at(3, 0, TextEdit::Remove), "message 3 was not shown"),
            (at(0, 2, TextEdit::Remove), "message 0 has no piece 2"),
            (at(0, 1, TextEdit::Remove), "is no text, but cache-point"),
            (at(1, 0, TextEdit::Before(new())), "is no text, but reasoning"),
            (at(2, 0, TextEdit::Before(new())), "neither the user's"),
            (at(1, 1, TextEdit::Replace(new())), "was not shown whole"),
            (at(0, 0, TextEdit::Remove), "nothing is left of message 0"),
            (
                Edits {
                    texts: [text(0, 0, TextEdit::Replace(new())), text(0, 0, TextEdit::Remove)].concat(),
                    ..Edits::new(1)
                },
                "twice",
            ),
        ] {
            let error = edits.check(input, &policy).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        for valid in [
            at(1, 1, TextEdit::Before(new())),
            at(1, 1, TextEdit::Remove),
            Edits {
                texts: [text(0, 0, TextEdit::Remove), text(0, 0, TextEdit::After(new()))].concat(),
                ..Edits::new(1)
            },
            Edits { temperature: Edit::Unset, keep_last: Some(9), stop: Edit::Set(vec![]), ..Edits::new(1) },
        ] {
            assert_eq!(valid.check(input, &policy), Ok(()));
        }
    }
}
