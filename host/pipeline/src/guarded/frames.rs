//! The frames of a ConverseStream, their texts judged on the way: what is undecided is held back, what is
//! replaced is written anew, and where nothing more passes the answer ends as one that a guard ended.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use kairos_dialects::Failure;
use kairos_dialects::eventstream::Frame;
use kairos_dialects::texts::Origin;
use serde_json::{Value, json};

use super::Guarded;
use super::passages::{MOST_ARGUMENTS, Running};
use super::stream::{Judge, broken};
use crate::guard::Stop;
use crate::policy::MOST_OPEN;

/// Frames whose texts are judged.
pub(super) struct GuardedFrames {
    guarded: Arc<Guarded>,
    blocks: BTreeMap<u64, Block>,
    /// Blocks in which something was replaced.
    changed: BTreeSet<u64>,
    /// Passages that have begun.
    begun: u32,
    /// Judged, and still to be given.
    ready: VecDeque<Frame>,
    stopped: bool,
}

/// A block of the answer that has begun.
enum Block {
    /// Text that comes in pieces.
    Text { origin: Origin, running: Running },
    /// Arguments of a tool, which are judged once they are whole.
    Arguments(String),
}

impl GuardedFrames {
    pub(super) fn new(guarded: Arc<Guarded>) -> Self {
        Self {
            guarded,
            blocks: BTreeMap::new(),
            changed: BTreeSet::new(),
            begun: 0,
            ready: VecDeque::new(),
            stopped: false,
        }
    }

    fn delta(&mut self, frame: Frame) -> Result<(), Failure> {
        let mut event = payload(&frame)?;
        let index = event["contentBlockIndex"].as_u64().unwrap_or_default();
        let delta = &mut event["delta"];
        if let Some(text) = delta["text"].as_str() {
            return self.text(index, Origin::Assistant, text, frame);
        }
        let reasoning = &delta["reasoningContent"];
        if let Some(text) = reasoning["text"].as_str() {
            return self.text(index, Origin::Reasoning, text, frame);
        }
        if !reasoning.is_null() {
            // A signature, behind what it signs. What was changed goes out without it.
            self.close(index);
            if !self.changed.contains(&index) && !self.stopped {
                self.ready.push_back(frame);
            }
            return Ok(());
        }
        if let Some(part) = delta["toolUse"]["input"].as_str() {
            let arguments = match self.block(index, || Block::Arguments(String::new()))? {
                Block::Arguments(arguments) => arguments,
                Block::Text { .. } => return Err(broken("a block is text and a tool's call")),
            };
            arguments.push_str(part);
            if arguments.len() > MOST_ARGUMENTS {
                return Err(broken("a tool's arguments are too long to be judged"));
            }
            return Ok(());
        }
        let (judged, stop) = self.guarded.content(&mut self.begun, &delta.to_string(), "", "");
        if stop.is_none() {
            event["delta"] = serde_json::from_str(&judged).map_err(|_| broken("a judged delta is no JSON"))?;
            self.ready.push_back(Frame::event("contentBlockDelta", event.to_string().into_bytes()));
        }
        self.end(index, stop);
        Ok(())
    }

    /// More text of a block.
    fn text(&mut self, index: u64, origin: Origin, text: &str, frame: Frame) -> Result<(), Failure> {
        let (guarded, begun) = (Arc::clone(&self.guarded), self.begun);
        let block = self.block(index, || Block::Text { origin, running: guarded.begin(origin, begun) })?;
        let Block::Text { origin: known, running } = block else {
            return Err(broken("a block is a tool's call and text"));
        };
        if *known != origin {
            return Err(broken("a block is text and reasoning"));
        }
        let passing = running.push(text);
        if passing.text == text {
            // Its bytes are as they came.
            self.ready.push_back(frame);
        } else if !passing.text.is_empty() {
            self.ready.push_back(text_delta(index, origin, &passing.text));
        }
        self.end(index, passing.stopped);
        Ok(())
    }

    /// The block of a number, which begins where it is new.
    fn block(&mut self, index: u64, begin: impl FnOnce() -> Block) -> Result<&mut Block, Failure> {
        if !self.blocks.contains_key(&index) {
            if self.blocks.len() >= MOST_OPEN {
                return Err(broken("too many blocks of an answer are open at once"));
            }
            self.begun = self.begun.saturating_add(1);
        }
        Ok(self.blocks.entry(index).or_insert_with(begin))
    }

    /// A block has come to its end: the rest of what passes is ready then.
    fn close(&mut self, index: u64) {
        match self.blocks.remove(&index) {
            None => {}
            Some(Block::Text { origin, running }) => {
                let (passing, replaced) = self.guarded.finish(running);
                if replaced {
                    self.changed.insert(index);
                }
                if !passing.text.is_empty() {
                    self.ready.push_back(text_delta(index, origin, &passing.text));
                }
                self.end(index, passing.stopped);
            }
            Some(Block::Arguments(arguments)) => {
                let (judged, stop) = self.guarded.arguments(&mut self.begun, &arguments);
                if stop.is_none() {
                    let event = json!({"contentBlockIndex": index, "delta": {"toolUse": {"input": judged}}});
                    self.ready.push_back(Frame::event("contentBlockDelta", event.to_string().into_bytes()));
                }
                self.end(index, stop);
            }
        }
    }

    /// Nothing more passes: the answer ends here, for the caller. Its usage is still to come.
    fn end(&mut self, index: u64, stop: Option<Stop>) {
        let Some(stop) = stop else { return };
        for (other, block) in std::mem::take(&mut self.blocks) {
            if let Block::Text { running, .. } = block {
                self.guarded.break_off(running, stop, other == index);
            }
        }
        let ends = [
            ("contentBlockStop", json!({"contentBlockIndex": index})),
            ("messageStop", json!({"stopReason": "guardrail_intervened"})),
        ];
        self.ready.extend(ends.map(|(name, event)| Frame::event(name, event.to_string().into_bytes())));
        self.stopped = true;
    }
}

impl Judge for GuardedFrames {
    fn take(&mut self, frame: Frame) -> Result<(), Failure> {
        match frame.name() {
            "contentBlockDelta" | "contentBlockStart" | "contentBlockStop" | "messageStop" if self.stopped => {}
            "contentBlockDelta" => self.delta(frame)?,
            "contentBlockStop" => {
                let index = payload(&frame)?["contentBlockIndex"].as_u64().unwrap_or_default();
                self.close(index);
                if !self.stopped {
                    self.ready.push_back(frame);
                }
            }
            "messageStop" => {
                for index in self.blocks.keys().copied().collect::<Vec<_>>() {
                    self.close(index);
                }
                if !self.stopped {
                    self.ready.push_back(frame);
                }
            }
            _ => self.ready.push_back(frame),
        }
        Ok(())
    }

    /// Its answer has no end: it is a broken one, and what was held back of it is not given.
    fn end(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    fn next(&mut self) -> Option<Frame> {
        self.ready.pop_front()
    }
}

fn payload(frame: &Frame) -> Result<Value, Failure> {
    serde_json::from_slice(&frame.payload).map_err(|_| broken("an event's payload is no JSON"))
}

fn text_delta(index: u64, origin: Origin, text: &str) -> Frame {
    let delta = match origin {
        Origin::Reasoning => json!({"reasoningContent": {"text": text}}),
        _ => json!({"text": text}),
    };
    let event = json!({"contentBlockIndex": index, "delta": delta});
    Frame::event("contentBlockDelta", event.to_string().into_bytes())
}
