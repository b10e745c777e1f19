//! The chunks of a stream of InvokeModel, their texts judged on the way, whatever the family: what is
//! undecided is held back and put into the next chunk of the same text, or into one of its own before the
//! chunk that ends it. Where nothing more passes, the chunks that follow have no text.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use kairos_dialects::bedrock::chunks::{Chunk, Ends, stopped};
use kairos_dialects::eventstream::Frame;
use kairos_dialects::texts::{Origin, Piece, Text, Texts};
use kairos_dialects::{Failure, Invalid};

use super::Guarded;
use super::passages::{MOST_ARGUMENTS, Running};
use super::stream::{Judge, broken};
use crate::guard::{Passing, Stop};
use crate::policy::MOST_OPEN;

/// Calls of tools whose arguments are not whole.
const MOST_CALLS: usize = 128;

/// Chunks whose texts are judged.
pub(super) struct GuardedChunks {
    guarded: Arc<Guarded>,
    open: Vec<Piecewise>,
    /// Blocks of thoughts in which something was replaced.
    changed: BTreeSet<u64>,
    /// Passages that have begun.
    begun: u32,
    /// Judged, and still to be given.
    ready: VecDeque<Frame>,
    stopped: bool,
    /// Whether the caller was told so.
    marked: bool,
}

/// A text that goes on over several chunks.
struct Piecewise {
    origin: Origin,
    piece: Piece,
    judging: Judging,
    /// The last chunk that had a piece of it, as it was given.
    last: Bytes,
}

enum Judging {
    /// It passes as it comes.
    Running(Running),
    /// Arguments of a tool, which are judged once they are whole.
    Arguments(Arguments),
}

/// Arguments as they come, and where in their JSON they are: so that each byte is looked at once.
#[derive(Default)]
struct Arguments {
    text: String,
    depth: usize,
    in_string: bool,
    is_escaped: bool,
}

impl Arguments {
    fn push(&mut self, text: &str) {
        self.text.push_str(text);
        for byte in text.bytes() {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' if self.in_string => self.is_escaped = true,
                b'"' => self.in_string = !self.in_string,
                b'{' | b'[' if !self.in_string => self.depth += 1,
                b'}' | b']' if !self.in_string => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }

    /// Whether nothing can be added to them.
    fn are_whole(&self) -> bool {
        self.depth == 0 && self.text.trim_end().ends_with(['}', ']'])
    }
}

impl Judging {
    /// Bytes that are kept until they are whole.
    fn kept(&self) -> usize {
        match self {
            Self::Running(_) => 0,
            Self::Arguments(arguments) => arguments.text.len(),
        }
    }
}

/// A chunk in the making.
struct Making<'a> {
    texts: Texts<'a>,
    /// What passes of each text.
    passing: Vec<String>,
}

impl GuardedChunks {
    pub(super) fn new(guarded: Arc<Guarded>) -> Self {
        let (open, changed, ready) = (Vec::new(), BTreeSet::new(), VecDeque::new());
        Self { guarded, open, changed, begun: 0, ready, stopped: false, marked: false }
    }

    /// Judges a text of a chunk. Gives what passes of it by now, and of what was held back before it.
    fn text(&mut self, text: &Text<'_>) -> Result<String, Failure> {
        let passing = match text.piece() {
            None => self.guarded.whole(&mut self.begun, text.origin, &text.text),
            Some(piece) => match &mut self.piecewise(text, piece)?.judging {
                Judging::Running(running) => running.push(&text.text),
                Judging::Arguments(arguments) => {
                    arguments.push(&text.text);
                    Passing::default()
                }
            },
        };
        if let Some(stop) = passing.stopped {
            self.stop(stop, Some(text));
        }
        Ok(passing.text)
    }

    /// The text that a piece belongs to, which begins where it is new.
    fn piecewise(&mut self, text: &Text<'_>, piece: &Piece) -> Result<&mut Piecewise, Failure> {
        let origin = text.origin;
        let is_call = origin == Origin::ToolInput;
        let kept = || self.open.iter().map(|open| open.judging.kept()).sum::<usize>();
        if is_call && kept() + text.text.len() > MOST_ARGUMENTS {
            return Err(broken("the arguments of tools are too long to be judged"));
        }
        if let Some(place) = self.open.iter().position(|known| known.has(text)) {
            return Ok(&mut self.open[place]);
        }
        let alike = self.open.iter().filter(|open| (open.origin == Origin::ToolInput) == is_call).count();
        if alike >= if is_call { MOST_CALLS } else { MOST_OPEN } {
            return Err(broken("too many texts of an answer are open at once"));
        }
        let judging = if is_call {
            Judging::Arguments(Arguments::default())
        } else {
            let begun = self.begun;
            self.begun = self.begun.saturating_add(1);
            Judging::Running(self.guarded.begin(origin, begun))
        };
        self.open.push(Piecewise { origin, piece: piece.clone(), judging, last: Bytes::new() });
        let last = self.open.len() - 1;
        Ok(&mut self.open[last])
    }

    /// What was held back passes before what follows it, as clients expect: arguments that are whole before
    /// anything else, thoughts before the answer itself, and this before calls of tools.
    fn turn(&mut self, texts: &Texts<'_>) -> Result<(), Failure> {
        let comes: Vec<_> =
            texts.all().iter().filter(|text| !text.text.is_empty() || text.origin == Origin::ToolInput).collect();
        let goes_on = |open: &Piecewise| comes.iter().any(|text| open.has(text));
        let follows = |open: &Piecewise| {
            comes.iter().any(|text| {
                let is_beside = text.piece().is_some_and(|piece| piece.block() == open.piece.block());
                is_beside && place_of(text.origin) > place_of(open.origin)
            })
        };
        let ends = |open: &Piecewise| match &open.judging {
            Judging::Arguments(arguments) => !comes.is_empty() && arguments.are_whole(),
            Judging::Running(_) => !goes_on(open) && follows(open),
        };
        self.close(ends, None)
    }

    /// Texts have come to their end. The rest of what passes goes into the chunk that has a piece of them, or
    /// into one of its own before it.
    fn close(&mut self, ends: impl Fn(&Piecewise) -> bool, mut making: Option<&mut Making<'_>>) -> Result<(), Failure> {
        while let Some(place) = self.open.iter().position(&ends) {
            let Piecewise { origin, piece, judging, last } = self.open.remove(place);
            let Passing { text, stopped } = match judging {
                Judging::Running(running) => {
                    let (passing, replaced) = self.guarded.finish(running);
                    if let Some(block) = piece.block().filter(|_| replaced && origin == Origin::Reasoning) {
                        self.changed.insert(block);
                    }
                    passing
                }
                Judging::Arguments(arguments) => {
                    let (text, stopped) = self.guarded.arguments(&mut self.begun, &arguments.text);
                    Passing { text, stopped }
                }
            };
            let here = making.as_deref_mut().and_then(|making| {
                let place = making.texts.all().iter().rposition(|text| text.is_of(origin, &piece))?;
                Some(&mut making.passing[place])
            });
            match here {
                Some(passing) => passing.push_str(&text),
                None if text.is_empty() => {}
                None => {
                    let more = Chunk::of(last).and_then(|last| last.going_on(origin, &piece, &text));
                    self.ready.extend(more.map_err(|error| unread(&error))?);
                }
            }
            if let Some(stop) = stopped {
                self.stop(stop, None);
            }
        }
        Ok(())
    }

    /// Nothing more passes of any text. What else the stream says, usage above all, still does.
    fn stop(&mut self, stop: Stop, stopped: Option<&Text<'_>>) {
        for open in std::mem::take(&mut self.open) {
            let is_stopped = stopped.is_some_and(|text| open.has(text));
            if let Judging::Running(running) = open.judging {
                self.guarded.break_off(running, stop, is_stopped);
            }
        }
        self.stopped = true;
    }
}

impl Judge for GuardedChunks {
    fn take(&mut self, frame: Frame) -> Result<(), Failure> {
        if frame.name() != "chunk" {
            self.ready.push_back(frame);
            return Ok(());
        }
        let chunk = Chunk::read(&frame.payload).map_err(|error| unread(&error))?;
        let texts = Texts::of_chunk(chunk.json()).map_err(|error| unread(&error))?;
        self.turn(&texts)?;
        let mut making = Making { passing: Vec::new(), texts };
        for number in 0..making.texts.all().len() {
            let passing = if self.stopped { String::new() } else { self.text(&making.texts.all()[number])? };
            making.passing.push(passing);
        }
        let ends = chunk.ends();
        self.close(|open| ends.are_of(&open.piece), Some(&mut making))?;
        if let Ends::Of(blocks) = &ends
            && chunk.is_signature()
            && (self.stopped || blocks.iter().any(|block| self.changed.contains(block)))
        {
            return Ok(());
        }
        let Making { texts, passing } = making;
        let changed: Vec<_> =
            passing.into_iter().enumerate().filter(|(number, text)| *text != *texts.all()[*number].text).collect();
        let is_changed = !changed.is_empty() || texts.say_it_again();
        let mut json = if is_changed { texts.replaced(&changed) } else { chunk.json().clone() };
        if self.stopped {
            json = stopped(&json, !self.marked).map_err(|error| unread(&error))?;
            self.marked = true;
        }
        for open in self.open.iter_mut().filter(|open| texts.all().iter().any(|text| open.has(text))) {
            open.last = json.clone();
        }
        // What is not changed has the bytes that came.
        let is_as_it_came = json == *chunk.json();
        self.ready.push_back(if is_as_it_came { frame } else { chunk.with(&json) });
        Ok(())
    }

    /// No chunk said that its texts end: what was held back of them passes now.
    fn end(&mut self) -> Result<(), Failure> {
        self.close(|_| true, None)
    }

    fn next(&mut self) -> Option<Frame> {
        self.ready.pop_front()
    }
}

impl Piecewise {
    fn has(&self, text: &Text<'_>) -> bool {
        text.is_of(self.origin, &self.piece)
    }
}

/// In which order a model writes.
fn place_of(origin: Origin) -> u8 {
    match origin {
        Origin::Reasoning => 0,
        Origin::ToolInput => 2,
        _ => 1,
    }
}

fn unread(error: &Invalid) -> Failure {
    broken(&format!("a chunk cannot be read: {}", error.text()))
}
