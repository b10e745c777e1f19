//! What a guard sees of a text, and what it says of it: the internal types of `wit/v0.1/guard.wit`.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Fault, FaultKind, Identity, PolicyError, RequestInfo};

/// Bytes of text that a guard is shown in one call, at most.
pub const MOST_SHOWN: usize = 8_192;
/// Bytes that a guard may leave undecided, at most.
pub const MOST_HELD: usize = 4_096;
/// Bytes of what a guard keeps of a passage from call to call, at most.
pub const MOST_STATE: usize = 1_024;
/// Bytes of the texts that one call puts in, together, at most.
pub const MOST_REPLACED: usize = 65_536;
/// Passages of an answer that are open at once, at most.
pub const MOST_OPEN: usize = 16;

/// Which way a text goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Direction {
    /// From the caller to the model.
    Input,
    /// From the model to the caller.
    Output,
}

impl Direction {
    /// All, in the contract's order.
    pub const ALL: [Self; 2] = [Self::Input, Self::Output];

    /// The contract's name.
    pub fn name(self) -> &'static str {
        ["input", "output"][self as usize]
    }
}

pub use kairos_dialects::texts::Origin;

/// A text that is looked at on its own. See `passage` in the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passage {
    /// Which way it goes.
    pub direction: Direction,
    /// What it is.
    pub origin: Origin,
    /// Its place among the texts of its direction, from 0.
    pub index: u32,
}

/// Puts `text` in the place of the bytes from `start` to before `end`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// The first byte that is replaced.
    pub start: u32,
    /// The first byte behind what is replaced: above `start`.
    pub end: u32,
    /// What stands there instead; it may be empty.
    pub text: Cow<'static, str>,
}

/// All that a guard is asked with.
#[derive(Clone, Copy, Debug)]
pub struct InspectInput<'a> {
    /// What of the request is not a number.
    pub request: &'a Arc<RequestInfo>,
    /// The text that this is a part of.
    pub passage: Passage,
    /// What the last call for the passage gave; empty at first.
    pub state: &'a [u8],
    /// What of the passage is not decided yet: at most [`MOST_SHOWN`] bytes.
    pub text: &'a str,
    /// Whether nothing follows.
    pub last: bool,
}

/// What a guard decided of a text. See `verdict` in the contract.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What it wants to know in the next call.
    pub state: Vec<u8>,
    /// So many bytes go on, with the replacements in them.
    pub decided: u32,
    /// What is put in the place of what, in ascending order.
    pub replacements: Vec<Replacement>,
    /// What was found, and how often.
    pub findings: Vec<(u32, u32)>,
    /// Nothing passes from `decided` on, for this reason.
    pub blocked: Option<u32>,
    /// Settings that later versions define.
    pub settings: Vec<(u32, u64)>,
}

impl Verdict {
    /// All of the text passes as it is.
    pub fn pass(text: &str) -> Self {
        Self { decided: u32::try_from(text.len()).unwrap_or(u32::MAX), ..Self::default() }
    }

    /// Nothing of the text passes, for this reason.
    pub fn block(reason: u32) -> Self {
        Self { blocked: Some(reason), ..Self::default() }
    }

    /// The verdict, where it is valid: one that is not is a fault of the guard.
    pub fn checked(self, input: &InspectInput<'_>, guard: &dyn Guard) -> Result<Self, PolicyError> {
        match self.check(input, guard.hold_back(), guard.identity()) {
            Ok(()) => Ok(self),
            Err(message) => Err(PolicyError::Fault(Fault::new(FaultKind::InvalidAnswer, message))),
        }
    }

    /// Says what is not valid about the verdict, by the list in `guard.wit`. Nothing of the text is in
    /// what it says.
    pub fn check(&self, input: &InspectInput<'_>, hold_back: usize, identity: &Identity) -> Result<(), String> {
        let (text, decided) = (input.text, self.decided as usize);
        if decided > text.len() {
            return Err(format!("decided is {decided} of {} bytes", text.len()));
        }
        if !text.is_char_boundary(decided) {
            return Err(format!("decided is {decided}, within a character"));
        }
        let held = text.len() - decided;
        if self.blocked.is_none() && input.last && held > 0 {
            return Err(format!("{held} bytes are undecided at the end of the text"));
        }
        if self.blocked.is_none() && held > hold_back {
            return Err(format!("{held} bytes are undecided, hold-back is {hold_back}"));
        }
        if self.state.len() > MOST_STATE {
            return Err(format!("state has {} bytes, {MOST_STATE} are the most", self.state.len()));
        }
        self.check_replacements(input)?;
        self.check_codes(identity)?;
        if let Some((code, _)) = self.settings.first() {
            return Err(format!("setting {code} is not known"));
        }
        Ok(())
    }

    fn check_replacements(&self, input: &InspectInput<'_>) -> Result<(), String> {
        let Passage { direction, origin, .. } = input.passage;
        if !self.replacements.is_empty() && direction == Direction::Input && origin == Origin::Reasoning {
            return Err("reasoning of a request is signed, nothing in it can be replaced".to_owned());
        }
        let (mut free, mut bytes) = (0, 0);
        for (place, replacement) in self.replacements.iter().enumerate() {
            let (start, end) = (replacement.start as usize, replacement.end as usize);
            if start >= end {
                return Err(format!("replacement {place} is from {start} to {end}"));
            }
            if start < free {
                return Err(format!("replacement {place} begins at {start}, before {free}, where the last one ends"));
            }
            if end > self.decided as usize {
                return Err(format!("replacement {place} ends at {end}, behind what is decided ({})", self.decided));
            }
            if !input.text.is_char_boundary(start) || !input.text.is_char_boundary(end) {
                return Err(format!("replacement {place} is from {start} to {end}, within a character"));
            }
            (free, bytes) = (end, bytes + replacement.text.len());
        }
        if bytes > MOST_REPLACED {
            return Err(format!("the replacements have {bytes} bytes, {MOST_REPLACED} are the most"));
        }
        Ok(())
    }

    fn check_codes(&self, identity: &Identity) -> Result<(), String> {
        for (place, (code, count)) in self.findings.iter().enumerate() {
            if identity.reason(*code).is_none() {
                return Err(format!("finding {code} is not one that describe names"));
            }
            if self.findings[..place].iter().any(|(earlier, _)| earlier == code) {
                return Err(format!("finding {code} is there twice"));
            }
            if *count == 0 {
                return Err(format!("finding {code} has the count 0"));
            }
        }
        match self.blocked {
            Some(code) if identity.reason(code).is_none() => {
                Err(format!("blocked is {code}, which describe does not name"))
            }
            _ => Ok(()),
        }
    }

    /// What passes: what is decided, with the replacements in it. The verdict is valid for the text.
    pub(crate) fn write(&self, text: &str, passing: &mut String) {
        let mut from = 0;
        for replacement in &self.replacements {
            passing.push_str(&text[from..replacement.start as usize]);
            passing.push_str(&replacement.text);
            from = replacement.end as usize;
        }
        passing.push_str(&text[from..self.decided as usize]);
    }
}

/// Something that decides what of a text may pass.
///
/// Synchronous, bounded and pure: what it knows of a passage is in the state that it gives back.
pub trait Guard: Send + Sync {
    /// Who decides. Its reasons name the codes of findings and of what is blocked.
    fn identity(&self) -> &Identity;

    /// Bytes that may stay undecided, up to [`MOST_HELD`].
    fn hold_back(&self) -> usize;

    /// Judges a part of a passage. The verdict is checked by the caller.
    fn inspect(&self, input: InspectInput<'_>) -> Result<Verdict, PolicyError>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::request_info;

    fn replacement(start: u32, end: u32) -> Replacement {
        Replacement { start, end, text: "x".into() }
    }

    #[test]
    fn a_verdict_is_checked_by_the_contracts_list() {
        let identity = Identity::new("g", "0", vec![(1, "one".into()), (2, "two".into())], Vec::new());
        let request = request_info();
        let passage = Passage { direction: Direction::Output, origin: Origin::Assistant, index: 0 };
        let input = |last| InspectInput { request: &request, passage, state: &[], text: "aüb€cd", last };
        let check = |verdict: &Verdict, last| verdict.check(&input(last), 4, &identity);

        let all = Verdict::pass("aüb€cd");
        assert_eq!(all.decided, 9);
        let whole = Verdict {
            replacements: vec![replacement(0, 1), replacement(1, 3), replacement(4, 9)],
            findings: vec![(2, 1), (1, u32::MAX)],
            state: vec![0; MOST_STATE],
            ..all.clone()
        };
        for (good, last) in [
            (&all, true),
            (&whole, true),
            (&Verdict { decided: 7, ..Verdict::default() }, false),
            (&Verdict::block(1), true),
            (&Verdict { decided: 3, ..Verdict::block(2) }, false),
        ] {
            assert_eq!(check(good, last), Ok(()), "{good:?}");
        }
        let with = |replacements: &[Replacement]| Verdict { replacements: replacements.to_vec(), ..all.clone() };
        let long = Replacement { text: "x".repeat(MOST_REPLACED).into(), ..replacement(0, 1) };
        for (bad, last, says) in [
            (Verdict { decided: 10, ..Verdict::default() }, true, "decided is 10 of 9"),
            (Verdict { decided: 2, ..Verdict::default() }, false, "decided is 2, within"),
            (Verdict { decided: 8, ..Verdict::default() }, true, "1 bytes are undecided at the end"),
            (Verdict { decided: 4, ..Verdict::default() }, false, "5 bytes are undecided, hold-back is 4"),
            (Verdict { state: vec![0; MOST_STATE + 1], ..all.clone() }, true, "state has 1025"),
            (with(&[replacement(1, 1)]), true, "from 1 to 1"),
            (with(&[replacement(3, 1)]), true, "from 3 to 1"),
            (with(&[replacement(0, 3), replacement(1, 4)]), true, "begins at 1, before 3"),
            (with(&[replacement(4, 7), replacement(0, 1)]), true, "begins at 0, before 7"),
            (with(&[replacement(0, 2)]), true, "within a character"),
            (with(&[replacement(5, 7)]), true, "within a character"),
            (Verdict { decided: 8, replacements: vec![replacement(8, 9)], ..Verdict::default() }, false, "behind"),
            (with(&[long, replacement(1, 3)]), true, "65537 bytes"),
            (Verdict { findings: vec![(3, 1)], ..all.clone() }, true, "finding 3 is not"),
            (Verdict { findings: vec![(1, 1), (2, 1), (1, 1)], ..all.clone() }, true, "finding 1 is there twice"),
            (Verdict { findings: vec![(1, 0)], ..all.clone() }, true, "the count 0"),
            (Verdict::block(3), false, "blocked is 3"),
            (Verdict { settings: vec![(7, 1)], ..all.clone() }, true, "setting 7"),
        ] {
            let error = check(&bad, last).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn signed_reasoning_can_be_blocked_and_not_replaced() {
        let identity = Identity::new("g", "0", vec![(1, "one".into())], Vec::new());
        let request = request_info();
        let verdict = Verdict { replacements: vec![replacement(0, 1)], ..Verdict::pass("abc") };
        for (direction, origin, is_valid) in [
            (Direction::Input, Origin::Reasoning, false),
            (Direction::Output, Origin::Reasoning, true),
            (Direction::Input, Origin::Assistant, true),
        ] {
            let passage = Passage { direction, origin, index: 0 };
            let input = InspectInput { request: &request, passage, state: &[], text: "abc", last: true };
            assert_eq!(verdict.check(&input, 0, &identity).is_ok(), is_valid, "{passage:?}");
            assert_eq!(Verdict::block(1).check(&input, 0, &identity), Ok(()));
        }
    }
}
