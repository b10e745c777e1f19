//! The chunks of a stream of InvokeModel, their texts judged on the way, whatever the family: what is
//! undecided is held back and put into the next chunk of the same text, or into one of its own before the
//! chunk that ends it. Where nothing more passes, the chunks that follow have no text.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use kairos_dialects::bedrock::chunks::{Chunk, Ends, intervened};
use kairos_dialects::eventstream::Frame;
use kairos_dialects::texts::{Origin, Text, Texts};
use kairos_dialects::{Failure, Invalid};

use super::Guarded;
use super::frames::broken;
use super::passages::{MOST_ARGUMENTS, Running};
use crate::guard::{Passing, Stop};
use crate::policy::MOST_OPEN;
use crate::upstream::Frames;

/// Chunks whose texts are judged.
pub(super) struct GuardedChunks {
    guarded: Arc<Guarded>,
    frames: Box<dyn Frames>,
    open: Vec<Piecewise>,
    /// Blocks of thoughts in which something was replaced.
    changed: BTreeSet<u64>,
    /// Passages that have begun.
    begun: u32,
    /// Judged, and still to be given.
    ready: VecDeque<Frame>,
    stopped: bool,
    ended: bool,
}

/// A text that goes on over several chunks.
struct Piecewise {
    origin: Origin,
    /// What it is in, from within: see `Text::piece`.
    numbers: Vec<u64>,
    judging: Judging,
    /// The last chunk that had a piece of it, as it was given.
    last: Bytes,
}

enum Judging {
    /// It passes as it comes.
    Running(Running),
    /// Arguments of a tool, which are judged once they are whole.
    Arguments(String),
}

/// A chunk in the making.
struct Making<'a> {
    texts: Texts<'a>,
    /// What passes of each text.
    passing: Vec<String>,
    stop: Option<Stop>,
}

impl GuardedChunks {
    pub(super) fn new(guarded: Arc<Guarded>, frames: Box<dyn Frames>) -> Self {
        let (open, changed, ready) = (Vec::new(), BTreeSet::new(), VecDeque::new());
        Self { guarded, frames, open, changed, begun: 0, ready, stopped: false, ended: false }
    }

    /// Judges what a frame brings. What passes is ready then.
    fn take(&mut self, frame: Frame) -> Result<(), Failure> {
        if frame.name() != "chunk" {
            self.ready.push_back(frame);
            return Ok(());
        }
        let chunk = Chunk::read(&frame.payload).map_err(unread)?;
        let texts = Texts::of_chunk(chunk.json()).map_err(unread)?;
        let mut making = Making { passing: Vec::new(), stop: None, texts };
        let count = making.texts.all().len();
        for number in 0..count {
            let passing = if self.stopped { String::new() } else { self.text(number, &mut making)? };
            making.passing.push(passing);
        }
        let ends = chunk.ends();
        self.close(&ends, Some(&mut making))?;
        if let Ends::Of(blocks) = &ends
            && chunk.is_signature()
            && blocks.iter().any(|block| self.changed.contains(block))
        {
            return Ok(());
        }
        let Making { texts, passing, stop, .. } = making;
        let changed: Vec<_> =
            passing.into_iter().enumerate().filter(|(number, text)| *text != *texts.all()[*number].text).collect();
        let mut json = if changed.is_empty() { chunk.json().clone() } else { texts.replaced(&changed) };
        if stop.is_some() {
            json = intervened(&json).map_err(unread)?;
        }
        for text in texts.all() {
            let Some(numbers) = text.piece() else { continue };
            if let Some(known) = self.open.iter_mut().find(|known| known.is(text.origin, numbers)) {
                known.last = json.clone();
            }
        }
        // What is not changed has the bytes that came.
        let is_as_it_came = json == *chunk.json();
        self.ready.push_back(if is_as_it_came { frame } else { chunk.with(&json) });
        Ok(())
    }

    /// Judges a text of a chunk. Gives what passes of it by now, and of what was held back before it.
    fn text(&mut self, number: usize, making: &mut Making<'_>) -> Result<String, Failure> {
        let text = &making.texts.all()[number];
        let passing = match text.piece() {
            None => self.guarded.whole(&mut self.begun, text.origin, &text.text),
            Some(numbers) => match &mut self.piecewise(text.origin, numbers)?.judging {
                Judging::Running(running) => running.push(&text.text),
                Judging::Arguments(arguments) => {
                    arguments.push_str(&text.text);
                    if arguments.len() > MOST_ARGUMENTS {
                        return Err(broken("a tool's arguments are too long to be judged"));
                    }
                    Passing::default()
                }
            },
        };
        if let Some(stop) = passing.stopped {
            let piece = text.piece().map(|numbers| (text.origin, numbers));
            making.stop = Some(stop);
            self.stop(stop, piece);
        }
        Ok(passing.text)
    }

    /// The text that a piece belongs to, which begins where it is new.
    fn piecewise(&mut self, origin: Origin, numbers: &[u64]) -> Result<&mut Piecewise, Failure> {
        let known = self.open.iter().position(|known| known.is(origin, numbers));
        let place = match known {
            Some(place) => place,
            None if self.open.len() >= MOST_OPEN => {
                return Err(broken("too many texts of an answer are open at once"));
            }
            None => {
                let judging = if origin == Origin::ToolInput {
                    Judging::Arguments(String::new())
                } else {
                    let begun = self.begun;
                    self.begun = self.begun.saturating_add(1);
                    Judging::Running(self.guarded.begin(origin, begun))
                };
                self.open.push(Piecewise { origin, numbers: numbers.to_vec(), judging, last: Bytes::new() });
                self.open.len() - 1
            }
        };
        Ok(&mut self.open[place])
    }

    /// Texts have come to their end. The rest of what passes goes into the chunk that has a piece of them, or
    /// into one of its own before it.
    fn close(&mut self, ends: &Ends, mut making: Option<&mut Making<'_>>) -> Result<(), Failure> {
        while let Some(place) = self.open.iter().position(|open| ends.are_of(&open.numbers)) {
            let Piecewise { origin, numbers, judging, last } = self.open.remove(place);
            let passing = match judging {
                Judging::Running(running) => {
                    let (passing, replaced) = self.guarded.finish(running);
                    if let Some(block) = numbers.last().filter(|_| replaced && origin == Origin::Reasoning) {
                        self.changed.insert(*block);
                    }
                    passing
                }
                Judging::Arguments(arguments) => {
                    let (text, stopped) = self.guarded.arguments(&mut self.begun, &arguments);
                    Passing { text, stopped }
                }
            };
            let here = making.as_deref_mut().and_then(|making| {
                let number = making.texts.all().iter().rposition(|text| is_piece(text, origin, &numbers))?;
                Some(&mut making.passing[number])
            });
            match here {
                Some(text) => text.push_str(&passing.text),
                None if passing.text.is_empty() => {}
                None => self.ready.push_back(more(last, origin, &numbers, &passing.text).map_err(unread)?),
            }
            if let Some(stop) = passing.stopped {
                self.stop(stop, None);
                if let Some(making) = making.as_deref_mut() {
                    making.stop = Some(stop);
                }
            }
        }
        Ok(())
    }

    /// Nothing more passes of any text. What else the stream says, usage above all, still does.
    fn stop(&mut self, stop: Stop, stopped: Option<(Origin, &[u64])>) {
        for open in std::mem::take(&mut self.open) {
            let is_stopped = stopped.is_some_and(|(origin, numbers)| open.is(origin, numbers));
            if let Judging::Running(running) = open.judging {
                self.guarded.break_off(running, stop, is_stopped);
            }
        }
        self.stopped = true;
    }
}

impl Piecewise {
    fn is(&self, origin: Origin, numbers: &[u64]) -> bool {
        self.origin == origin && self.numbers == numbers
    }
}

fn is_piece(text: &Text<'_>, origin: Origin, numbers: &[u64]) -> bool {
    text.origin == origin && text.piece() == Some(numbers)
}

/// A chunk with more of a text, made after the last that had a piece of it.
fn more(last: Bytes, origin: Origin, numbers: &[u64], text: &str) -> Result<Frame, Invalid> {
    let chunk = Chunk::of(last)?;
    let event = chunk.clone().going_on(origin, numbers.last().copied().unwrap_or_default()).to_string();
    let texts = Texts::of_chunk(event.as_bytes())?;
    let place = texts.all().iter().rposition(|piece| is_piece(piece, origin, numbers));
    let pieces = texts.all().iter().enumerate().filter(|(_, text)| text.piece().is_some());
    let with: Vec<_> = pieces
        .map(|(number, _)| (number, if Some(number) == place { text.to_owned() } else { String::new() }))
        .collect();
    Ok(chunk.with(&texts.replaced(&with)))
}

fn unread(error: Invalid) -> Failure {
    broken(&format!("a chunk cannot be read: {}", error.text()))
}

impl Frames for GuardedChunks {
    fn headers(&self) -> &[(&'static str, String)] {
        self.frames.headers()
    }

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame, Failure>>> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(frame)));
            }
            let judged = match self.frames.poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => self.take(frame),
                // No chunk said that its texts end: what was held back of them passes now.
                Poll::Ready(None) if !self.ended => {
                    self.ended = true;
                    self.close(&Ends::All, None)
                }
                other => return other,
            };
            if let Err(failure) = judged {
                return Poll::Ready(Some(Err(failure)));
            }
        }
    }
}
