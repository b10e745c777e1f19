//! A guard at work on a passage: what is undecided is held, parts are cut where characters end, verdicts
//! are checked and carried out, findings add up.
//!
//! Nothing here knows what a body is, or where a text goes on to.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::policy::{
    Direction, Fault, FaultKind, Guard, InspectInput, MOST_SHOWN, Passage, PolicyError, RequestInfo, Undecided, Verdict,
};

/// What becomes of a text whose guard fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// It does not pass.
    #[default]
    Block,
    /// It passes unseen, and so does the rest of its passage.
    Pass,
}

/// Who judges the texts of a request or of its answer.
#[derive(Clone)]
pub struct Guarding {
    /// The guard in place.
    pub guard: Arc<dyn Guard>,
    /// Judges passages of which the guard in place has no opinion. Without one they pass.
    pub native: Option<Arc<dyn Guard>>,
    /// What becomes of a text whose guard fails.
    pub on_failure: OnFailure,
    /// What of the request is not a number.
    pub request: Arc<RequestInfo>,
}

/// Why nothing more of a request, or of an answer, passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The guard says so, for this reason.
    Blocked(u32),
    /// The guard did not judge.
    Failed(Undecided),
    /// It is not UTF-8.
    NotText,
}

/// What goes on of a part of a passage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passing {
    /// The text: nothing where a passage of a request is stopped.
    pub text: String,
    /// Nothing follows, and no passage of the same request or answer is judged any more.
    pub stopped: Option<Stop>,
}

/// What was said of a passage.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// Who judged: `name@digest`.
    pub by: Arc<str>,
    /// Codes of what was found, in ascending order, and how often.
    pub findings: Vec<(u32, u64)>,
    /// Whether something was replaced.
    pub replaced: bool,
    /// The guard in place had no opinion: the native one judged, or the passage passed.
    pub declined: bool,
    /// Why the guard did not judge: a fault is to be counted.
    pub failure: Option<PolicyError>,
    /// Whether some of it passed that no guard saw.
    pub unseen: bool,
}

/// What happens to what comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Now {
    Judged,
    Passes,
    Stopped(Stop),
}

/// A passage that has begun.
pub struct Open {
    with: Guarding,
    /// The native guard judges.
    is_native: bool,
    passage: Passage,
    now: Now,
    /// Whether the guard was called.
    is_known: bool,
    state: Vec<u8>,
    /// What came and is not decided. It may end within a character.
    held: Vec<u8>,
    /// Bytes of it that the guard has seen.
    shown: usize,
    judged: Judged,
}

impl Guarding {
    /// Begins a passage.
    pub fn open(&self, passage: Passage) -> Open {
        let judged = Judged {
            by: Arc::clone(self.guard.identity().label()),
            findings: Vec::new(),
            replaced: false,
            declined: false,
            failure: None,
            unseen: false,
        };
        let (with, state, held) = (self.clone(), Vec::new(), Vec::new());
        Open { with, is_native: false, passage, now: Now::Judged, is_known: false, state, held, shown: 0, judged }
    }

    /// Judges a text that is there as a whole.
    pub fn whole(&self, passage: Passage, text: &str) -> (Passing, Judged) {
        let mut open = self.open(passage);
        open.held.extend_from_slice(text.as_bytes());
        open.finish()
    }
}

impl Open {
    fn guard(&self) -> &dyn Guard {
        match &self.with.native {
            Some(native) if self.is_native => &**native,
            _ => &*self.with.guard,
        }
    }

    /// What was said of it so far.
    pub fn judged(&self) -> &Judged {
        &self.judged
    }

    /// Takes the next part, and gives what passes by now. It may end within a character.
    pub fn push(&mut self, part: &[u8]) -> Passing {
        self.held.extend_from_slice(part);
        self.advance(false)
    }

    /// The passage has come to its end: gives the rest of what passes.
    pub fn finish(mut self) -> (Passing, Judged) {
        let passing = self.advance(true);
        (passing, self.judged)
    }

    /// The passage breaks off: what is undecided is dropped.
    pub fn break_off(self) -> Judged {
        self.judged
    }

    fn advance(&mut self, last: bool) -> Passing {
        if let Now::Stopped(stop) = self.now {
            self.held.clear();
            return Passing { text: String::new(), stopped: Some(stop) };
        }
        let held = std::mem::take(&mut self.held);
        let (whole, rest) = match std::str::from_utf8(&held) {
            Ok(text) => (text, &[][..]),
            Err(error) => {
                let (whole, rest) = held.split_at(error.valid_up_to());
                if last || error.error_len().is_some() {
                    return self.stop(Stop::NotText, String::new());
                }
                (std::str::from_utf8(whole).unwrap_or_default(), rest)
            }
        };
        let mut passing = String::with_capacity(whole.len());
        let left = match self.judge(whole, last, &mut passing) {
            Ok(left) => left,
            Err(stop) => return self.stop(stop, passing),
        };
        self.held = [left.as_bytes(), rest].concat();
        Passing { text: passing, stopped: None }
    }

    fn stop(&mut self, stop: Stop, passing: String) -> Passing {
        self.now = Now::Stopped(stop);
        let text = if self.passage.direction == Direction::Input { String::new() } else { passing };
        Passing { text, stopped: Some(stop) }
    }

    /// Has the guard judge what it has not seen. Gives what stays undecided.
    fn judge<'t>(&mut self, mut text: &'t str, last: bool, passing: &mut String) -> Result<&'t str, Stop> {
        while self.now == Now::Judged {
            let ends = last && text.len() <= MOST_SHOWN;
            if !ends && text.len() <= self.shown {
                return Ok(text);
            }
            let part = &text[..text.floor_char_boundary(MOST_SHOWN)];
            let verdict = match self.ask(part, ends) {
                Ok(verdict) => verdict,
                Err(error) => {
                    self.failed(error)?;
                    break;
                }
            };
            // Only the native guard has no opinion and no other to ask.
            let Some(verdict) = verdict else { break };
            verdict.write(part, passing);
            self.add(&verdict);
            if let Some(code) = verdict.blocked {
                return Err(Stop::Blocked(code));
            }
            let decided = verdict.decided as usize;
            (self.state, self.shown, text) = (verdict.state, part.len() - decided, &text[decided..]);
            if ends {
                return Ok(text);
            }
        }
        self.judged.unseen |= self.judged.failure.is_some() && !text.is_empty();
        passing.push_str(text);
        Ok("")
    }

    /// Asks who judges the passage; none where nobody does.
    fn ask(&mut self, text: &str, last: bool) -> Result<Option<Verdict>, PolicyError> {
        loop {
            let (request, state) = (&self.with.request, &*self.state);
            let input = InspectInput { request, passage: self.passage, state, text, last };
            let given = match self.guard().inspect(input) {
                Err(PolicyError::Refused(code)) => Ok(Verdict::block(code)),
                Err(PolicyError::Declined) if self.is_known => {
                    let message = "it declined a passage of which it had judged a part";
                    Err(PolicyError::Fault(Fault::new(FaultKind::Error, message)))
                }
                Err(PolicyError::Declined) => {
                    let before = std::mem::replace(&mut self.judged.declined, true);
                    match &self.with.native {
                        Some(native) if !before => {
                            self.judged.by = Arc::clone(native.identity().label());
                            self.is_native = true;
                            continue;
                        }
                        _ => {
                            self.now = Now::Passes;
                            return Ok(None);
                        }
                    }
                }
                given => given,
            };
            self.is_known = true;
            let input =
                InspectInput { request: &self.with.request, passage: self.passage, state: &self.state, text, last };
            return given?.checked(&input, self.guard()).map(Some);
        }
    }

    fn failed(&mut self, error: PolicyError) -> Result<(), Stop> {
        let stop = Stop::Failed(Undecided::of(&error));
        self.judged.failure = Some(error);
        match self.with.on_failure {
            OnFailure::Block => Err(stop),
            OnFailure::Pass => {
                self.now = Now::Passes;
                Ok(())
            }
        }
    }

    fn add(&mut self, verdict: &Verdict) {
        self.judged.replaced |= !verdict.replacements.is_empty();
        for &(code, count) in &verdict.findings {
            let sums = &mut self.judged.findings;
            match sums.binary_search_by_key(&code, |(known, _)| *known) {
                Ok(place) => sums[place].1 = sums[place].1.saturating_add(count.into()),
                Err(place) => sums.insert(place, (code, count.into())),
            }
        }
    }
}
