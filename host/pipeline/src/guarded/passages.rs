//! Texts of an answer that come in parts, and those within a piece of JSON, as a stream's guard judges them.

use kairos_dialects::texts::{Origin, Texts};
use serde_json::value::RawValue;

use super::Guarded;
use crate::guard::{Open, Passing, Stop};
use crate::judgements::Heard;
use crate::policy::{Direction, Passage};

/// Bytes of a tool call's arguments: they are judged once they are whole.
pub(super) const MOST_ARGUMENTS: usize = 4_000_000;

/// A text that has begun.
pub(super) struct Running {
    open: Box<Open>,
    heard: Option<Box<Heard>>,
}

impl Running {
    /// Takes more of it, and gives what passes by now.
    pub(super) fn push(&mut self, text: &str) -> Passing {
        let passing = self.open.push(text.as_bytes());
        if let Some(heard) = &mut self.heard {
            heard.hear(text, &passing.text);
        }
        passing
    }
}

impl Guarded {
    /// A text of an answer begins, as one of so many.
    pub(super) fn begin(&self, origin: Origin, index: u32) -> Running {
        let passage = Passage { direction: Direction::Output, origin, index };
        Running { open: Box::new(self.guarding.open(passage)), heard: self.heard(passage) }
    }

    /// A text has come to its end. Gives the rest of what passes, and whether something was replaced.
    pub(super) fn finish(&self, running: Running) -> (Passing, bool) {
        let Running { open, mut heard } = running;
        let (passing, judged) = open.finish();
        self.add(Direction::Output, &judged, passing.stopped);
        if let Some(heard) = &mut heard {
            heard.hear("", &passing.text);
        }
        self.keep(heard, &judged, passing.stopped);
        (passing, judged.replaced)
    }

    /// Nothing more of a text passes. Unless it is the one that was stopped, nobody has heard its end: asked
    /// again, its guard would go on, so that it is not kept.
    pub(super) fn break_off(&self, running: Running, stop: Stop, is_stopped: bool) {
        let Running { open, heard } = running;
        let judged = open.break_off();
        self.add(Direction::Output, &judged, Some(stop));
        self.keep(heard.filter(|_| is_stopped), &judged, Some(stop));
    }

    /// Judges a text that is there as a whole. Counts it.
    pub(super) fn whole(&self, begun: &mut u32, origin: Origin, text: &str) -> Passing {
        let passage = Passage { direction: Direction::Output, origin, index: *begun };
        *begun = begun.saturating_add(1);
        let (passing, judged) = self.guarding.whole(passage, text);
        self.add(Direction::Output, &judged, passing.stopped);
        let mut heard = self.heard(passage);
        if let Some(heard) = &mut heard {
            heard.hear(text, &passing.text);
        }
        self.keep(heard, &judged, passing.stopped);
        passing
    }

    /// Judges the arguments of a tool's call.
    pub(super) fn arguments(&self, begun: &mut u32, arguments: &str) -> (String, Option<Stop>) {
        self.content(begun, arguments, r#"{"toolUse":{"toolUseId":"","name":"","input":"#, "}}")
    }

    /// Judges the texts within a piece of JSON, which is the content of an answer between these two texts.
    /// What is no JSON is one text.
    pub(super) fn content(&self, begun: &mut u32, json: &str, before: &str, after: &str) -> (String, Option<Stop>) {
        let start = format!(r#"{{"output":{{"message":{{"role":"assistant","content":[{before}"#);
        let end = format!("{after}]}}}}}}");
        let body = format!("{start}{json}{end}");
        // One value, and nothing that would stand beside it.
        let is_one = serde_json::from_str::<&RawValue>(json).is_ok();
        let texts = is_one.then(|| Texts::of_converse_answer(body.as_bytes()).ok()).flatten();
        let Some(texts) = texts else {
            let Passing { text, stopped } = self.whole(begun, Origin::ToolInput, json);
            return (text, stopped);
        };
        let mut changed = Vec::new();
        for (number, text) in texts.all().iter().enumerate() {
            let passing = self.whole(begun, text.origin, &text.text);
            if passing.stopped.is_some() {
                return (String::new(), passing.stopped);
            }
            if passing.text != *text.text {
                changed.push((number, passing.text));
            }
        }
        let body = texts.replaced(&changed);
        let inner = body.get(start.len()..body.len() - end.len()).unwrap_or_default();
        (String::from_utf8_lossy(inner).into_owned(), None)
    }
}
