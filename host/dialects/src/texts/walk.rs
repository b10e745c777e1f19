//! Goes through a body once, and finds its texts.

use std::borrow::Cow;
use std::ops::Range;

use base64::Engine as _;
use memchr::memchr2;
use serde_json::value::RawValue;

use super::places::{self, Place, Rule, rule};
use super::{Form, Holder, MOST_TEXTS, Origin, Piece, Text, Texts};
use crate::invalid::{Invalid, InvalidKind};

/// How deep lists and objects may be within one another, as in `serde_json`.
const MOST_DEEP: usize = 128;

/// Formats of documents that are text.
const TEXT_FORMATS: [&str; 4] = ["txt", "md", "csv", "html"];

/// A text, before all is known of it.
struct Found<'a> {
    /// None: of who speaks.
    origin: Option<Origin>,
    text: Cow<'a, str>,
    at: Range<usize>,
    form: Form,
    /// What stands beside it may say that it is none.
    depends: bool,
    /// What it is a piece of.
    piece: Option<Piece>,
}

struct Walk<'a> {
    json: &'a str,
    at: usize,
    /// Where the JSON begins in the body.
    base: usize,
    depth: usize,
    /// Texts that there may still be.
    room: usize,
    found: Vec<Found<'a>>,
    holders: Vec<Holder>,
    /// The object that was read last has a number of its own.
    is_numbered: bool,
    /// The field that is read, where its objects are known.
    name: &'static str,
    again: Vec<Range<usize>>,
}

/// What the fields of an object say of one another.
#[derive(Default)]
struct Beside {
    role: Option<String>,
    kind: Option<String>,
    format: Option<String>,
    index: Option<u64>,
    /// Texts of its content.
    content: Range<usize>,
}

/// All texts of a body, which is read by this rule.
pub(super) fn texts(body: &[u8], rule: Rule) -> Result<Texts<'_>, Invalid> {
    let raw: &RawValue = Invalid::parse(body)?;
    let base = raw.get().as_ptr().addr() - body.as_ptr().addr();
    let Walk { found, holders, again, .. } = Walk::new(raw.get(), base, MOST_TEXTS).run(rule)?;
    let texts = found.into_iter().map(|found| Text {
        origin: found.origin.unwrap_or(Origin::User),
        text: found.text,
        at: found.at,
        form: found.form,
        piece: found.piece,
    });
    Ok(Texts { body, texts: texts.collect(), holders, again })
}

impl<'a> Walk<'a> {
    /// `json` was found to be valid.
    fn new(json: &'a str, base: usize, room: usize) -> Self {
        let (found, holders, again) = (Vec::new(), Vec::new(), Vec::new());
        Self { json, at: 0, base, depth: 0, room, found, holders, is_numbered: false, name: "", again }
    }

    fn run(mut self, rule: Rule) -> Result<Self, Invalid> {
        self.value(rule)?;
        Ok(self)
    }

    fn peek(&self) -> u8 {
        self.json.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    /// Goes on to the next byte that is no white space.
    fn next(&mut self) -> u8 {
        while self.peek().is_ascii_whitespace() {
            self.at += 1;
        }
        self.peek()
    }

    fn value(&mut self, rule: Rule) -> Result<(), Invalid> {
        self.is_numbered = false;
        let next = self.next();
        let rule = match rule {
            Rule::Piece(origin) if matches!(next, b'{' | b'[') => {
                Rule::Json { origin, numbers: origin == Origin::ToolInput }
            }
            Rule::Again => return self.again(),
            rule => rule,
        };
        match next {
            b'{' => self.object(rule),
            b'[' => self.list(rule),
            b'"' => self.string(rule),
            _ => self.scalar(rule),
        }
    }

    fn enter(&mut self) -> Result<(), Invalid> {
        self.at += 1;
        self.depth += 1;
        if self.depth > MOST_DEEP {
            return Err(malformed(format!("lists and objects are nested deeper than {MOST_DEEP}")));
        }
        Ok(())
    }

    fn leave(&mut self) {
        self.at += 1;
        self.depth -= 1;
    }

    fn list(&mut self, rule: Rule) -> Result<(), Invalid> {
        self.enter()?;
        let mut place = 0;
        while !matches!(self.next(), b']' | 0) {
            let start = self.found.len();
            self.value(rule)?;
            // Of content the place says nothing: what is written next comes alone in its list.
            let is_one_of_several = matches!(rule, Rule::Node(Place::ChoiceDelta | Place::CallDelta, _));
            if is_one_of_several && !self.is_numbered {
                self.number(start, place);
            }
            place += 1;
            if self.next() == b',' {
                self.at += 1;
            }
        }
        self.leave();
        Ok(())
    }

    fn object(&mut self, own: Rule) -> Result<(), Invalid> {
        self.enter()?;
        let start = self.found.len();
        let mut beside = Beside::default();
        while !matches!(self.next(), b'}' | 0) {
            let key = self.token();
            let name = self.decode(key.clone())?;
            self.next();
            self.at += 1;
            let of_value = match own {
                Rule::Node(place, origin) => match rule(place, &name) {
                    Some(Rule::Node(Place::Message, None)) => Rule::Node(Place::Message, None),
                    Some(Rule::Node(place, None)) => Rule::Node(place, origin),
                    Some(known) => known,
                    // Who knows what it is: all of it is text.
                    None => {
                        let origin = origin.unwrap_or(Origin::Other);
                        if matches!(self.next(), b'"' | b'[' | b'{') {
                            self.add(key, name.clone(), Some(origin), Form::String)?;
                        }
                        Rule::Json { origin, numbers: false }
                    }
                },
                Rule::Json { origin, .. } | Rule::Holds { origin, .. } => {
                    self.add(key, name.clone(), Some(origin), Form::String)?;
                    own
                }
                other => other,
            };
            match own {
                Rule::Node(..) => {
                    let around = self.name;
                    self.name = places::known(&name).unwrap_or(around);
                    self.field(&name, of_value, &mut beside)?;
                    self.name = around;
                }
                _ => self.value(of_value)?,
            }
            if self.next() == b',' {
                self.at += 1;
            }
        }
        self.leave();
        if let Rule::Node(place, _) = own {
            self.settle(place, start, &beside);
        }
        if let Some(index) = beside.index {
            self.number(start, index);
        }
        self.is_numbered = beside.index.is_some();
        Ok(())
    }

    /// What was found since then is of the block, or the answer, of this number.
    fn number(&mut self, start: usize, index: u64) {
        let pieces = self.found[start..].iter_mut().filter_map(|found| found.piece.as_mut());
        pieces.for_each(|piece| piece.numbers.push(index));
    }

    /// A value that is left out.
    fn again(&mut self) -> Result<(), Invalid> {
        let start = self.at;
        self.value(Rule::Skip)?;
        if !self.json[start..].starts_with("null") {
            self.again.push(self.base + start..self.base + self.at);
        }
        Ok(())
    }

    /// Reads the value of a field, and what it says of others.
    fn field(&mut self, name: &str, rule: Rule, beside: &mut Beside) -> Result<(), Invalid> {
        let begins = self.found.len();
        let said = match name {
            "role" => Some(&mut beside.role),
            "type" | "event_type" => Some(&mut beside.kind),
            "format" | "media_type" => Some(&mut beside.format),
            _ => None,
        };
        if let Some(said) = said {
            let is_text = self.next() == b'"';
            let at = self.at;
            let text = if is_text { self.decode_next()?.into_owned() } else { String::new() };
            self.at = at;
            if said.replace(text).is_some() {
                return Err(malformed(format!("a field {name:?} is there twice in one object; send it once")));
            }
        }
        if matches!(name, "index" | "contentBlockIndex") {
            self.next();
            let digits = self.json[self.at..].split(|byte: char| !byte.is_ascii_digit()).next().unwrap_or_default();
            beside.index = digits.parse().ok();
        }
        self.value(rule)?;
        if name == "content" {
            let from = if beside.content.is_empty() { begins } else { beside.content.start };
            beside.content = from..self.found.len();
        }
        Ok(())
    }

    /// Decides what could not be decided before all fields of an object were known.
    fn settle(&mut self, place: Place, start: usize, beside: &Beside) {
        match place {
            Place::Message => {
                let origin = match beside.role.as_deref().unwrap_or_default() {
                    "assistant" | "CHATBOT" => Origin::Assistant,
                    "system" | "SYSTEM" | "developer" => Origin::System,
                    "tool" | "TOOL" => Origin::ToolResult,
                    _ => Origin::User,
                };
                self.found[start..].iter_mut().for_each(|found| found.origin = found.origin.or(Some(origin)));
            }
            Place::Block | Place::Delta => match beside.kind.as_deref() {
                Some("redacted_thinking") => self.drop_depending(start),
                Some(kind) if kind.ends_with("tool_result") => {
                    let content = &mut self.found[beside.content.clone()];
                    content.iter_mut().for_each(|found| found.origin = Some(Origin::ToolResult));
                }
                _ => {}
            },
            Place::Source if beside.kind.as_deref() == Some("base64") => match beside.format.as_deref() {
                Some(format) if format.starts_with("text/") => self.decode_depending(start),
                _ => self.drop_depending(start),
            },
            Place::Document if beside.format.as_deref().is_some_and(|format| TEXT_FORMATS.contains(&format)) => {
                self.decode_depending(start);
            }
            Place::Document | Place::Media => self.drop_depending(start),
            // This one has no pieces, but what the model planned as a whole.
            Place::Chunk if beside.kind.as_deref() == Some("tool-calls-generation") => {
                self.found[start..].iter_mut().for_each(|found| found.piece = None);
            }
            _ => {}
        }
    }

    fn drop_depending(&mut self, start: usize) {
        let tail = self.found.split_off(start);
        self.found.extend(tail.into_iter().filter(|found| !found.depends));
    }

    /// What is base64 of a text is that text.
    fn decode_depending(&mut self, start: usize) {
        for found in self.found[start..].iter_mut().filter(|found| found.depends) {
            let decoded = base64::engine::general_purpose::STANDARD.decode(found.text.as_bytes());
            if let Some(text) = decoded.ok().and_then(|bytes| String::from_utf8(bytes).ok()) {
                (found.text, found.form, found.depends) = (text.into(), Form::Base64, false);
            }
        }
    }

    fn string(&mut self, rule: Rule) -> Result<(), Invalid> {
        let token = self.token();
        let (origin, depends) = match rule {
            Rule::Node(Place::Delta | Place::ThoughtDelta, origin) => return self.piece(token, origin),
            Rule::Piece(origin) => return self.piece(token, Some(origin)),
            Rule::Skip | Rule::Again => return Ok(()),
            Rule::Address if self.json[token.clone()].starts_with("data:") => return Ok(()),
            Rule::Holds { origin, numbers } => return self.held(token, origin, numbers),
            Rule::Address => (Some(Origin::Other), false),
            Rule::Node(_, origin) => (origin, false),
            Rule::Values(origin) | Rule::Json { origin, .. } => (Some(origin), false),
            Rule::Depends(origin) => (Some(origin), true),
        };
        let text = self.decode(token.clone())?;
        self.add(token, text, origin, Form::String)?;
        if let Some(added) = self.found.last_mut() {
            added.depends = depends;
        }
        Ok(())
    }

    fn piece(&mut self, token: Range<usize>, origin: Option<Origin>) -> Result<(), Invalid> {
        let text = self.decode(token.clone())?;
        self.add(token, text, origin, Form::String)?;
        if let Some(added) = self.found.last_mut() {
            added.piece = Some(Piece { field: self.name, numbers: Vec::new() });
        }
        Ok(())
    }

    /// A string that may hold JSON of its own.
    fn held(&mut self, token: Range<usize>, origin: Origin, numbers: bool) -> Result<(), Invalid> {
        let text = self.decode(token.clone())?;
        let Ok(raw) = serde_json::from_str::<&RawValue>(&text) else {
            return self.add(token, text, Some(origin), Form::String);
        };
        if !raw.get().starts_with(['{', '[']) {
            return self.add(token, text, Some(origin), Form::String);
        }
        let base = raw.get().as_ptr().addr() - text.as_ptr().addr();
        let inner = Walk::new(raw.get(), base, self.room).run(Rule::Json { origin, numbers })?.found;
        let holder = self.holders.len();
        self.room -= inner.len();
        for found in inner {
            let form = if found.form == Form::Number { Form::NumberWithin(holder) } else { Form::Within(holder) };
            self.found.push(Found { text: found.text.into_owned().into(), form, ..found });
        }
        let at = self.base + token.start..self.base + token.end;
        self.holders.push(Holder { at, json: text.into_owned() });
        Ok(())
    }

    /// A number, `true`, `false` or `null`.
    fn scalar(&mut self, rule: Rule) -> Result<(), Invalid> {
        let start = self.at;
        let is_number = matches!(self.peek(), b'-' | b'0'..=b'9');
        while !matches!(self.peek(), b',' | b']' | b'}' | 0) && !self.peek().is_ascii_whitespace() {
            self.at += 1;
        }
        match rule {
            Rule::Json { origin, numbers: true } | Rule::Holds { origin, numbers: true } if is_number => {
                let number = &self.json[start..self.at];
                self.add(start..self.at, number.into(), Some(origin), Form::Number)
            }
            _ => Ok(()),
        }
    }

    fn add(&mut self, at: Range<usize>, text: Cow<'a, str>, origin: Option<Origin>, form: Form) -> Result<(), Invalid> {
        self.room = self.room.checked_sub(1).ok_or_else(|| {
            malformed(format!("there are more than {MOST_TEXTS} strings and numbers to be guarded; send less at once"))
        })?;
        let at = self.base + at.start..self.base + at.end;
        self.found.push(Found { origin, text, at, form, depends: false, piece: None });
        Ok(())
    }

    /// Goes behind a string. Gives what is between its quotes.
    fn token(&mut self) -> Range<usize> {
        let (start, bytes) = (self.at + 1, self.json.as_bytes());
        let mut end = start;
        while let Some(found) = bytes.get(end..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
            end += found;
            if bytes[end] == b'"' {
                break;
            }
            end += 2;
        }
        let end = end.min(bytes.len());
        self.at = end + 1;
        start..end
    }

    fn decode_next(&mut self) -> Result<Cow<'a, str>, Invalid> {
        let token = self.token();
        self.decode(token)
    }

    fn decode(&self, token: Range<usize>) -> Result<Cow<'a, str>, Invalid> {
        let text = &self.json[token.clone()];
        if !text.contains('\\') {
            return Ok(text.into());
        }
        let quoted = &self.json[token.start - 1..token.end + 1];
        let wrong = |_| malformed("a string has an escape that stands for no character: half of a pair".to_owned());
        serde_json::from_str::<String>(quoted).map(Cow::Owned).map_err(wrong)
    }
}

fn malformed(message: String) -> Invalid {
    Invalid { kind: InvalidKind::Malformed, path: None, message }
}
