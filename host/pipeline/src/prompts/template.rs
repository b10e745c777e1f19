//! One version of a template: compiled when it is loaded, rendered for a request.

use std::collections::{BTreeMap, BTreeSet};

use kairos_dialects::canonical::Role;
use minijinja::value::{Serde, Value as Shown};
use minijinja::{Environment, Error};
use serde_json::{Map, Value};

use super::Bounds;
use super::engine::{Bounded, Placeholder, engine, is_of_the_template};
use super::values::{self, Unfit, kind_of};

/// Variables that a template may have.
pub const MOST_VARIABLES: usize = 64;

/// What a template's file says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// SHA-256 of its file, in hexadecimal.
    pub digest: String,
    /// What it is for.
    pub description: String,
    /// The text of the system prompt.
    pub system: Option<String>,
    /// Texts of messages; the first is the user's.
    pub messages: Vec<(Role, String)>,
    /// What can be said in them, by name.
    pub variables: BTreeMap<String, Variable>,
    /// Parameters, where the caller does not say.
    pub parameters: Parameters,
}

/// What can be said in a template.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Variable {
    /// What it is.
    pub description: String,
    /// Its value where the caller gives none; none: the caller must.
    pub default: Option<Value>,
}

/// Parameters that hold where the caller does not say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameters {
    /// In [0, 1].
    pub temperature: Option<f64>,
    /// In [0, 1].
    pub top_p: Option<f64>,
    /// At least 1.
    pub max_output_tokens: Option<u32>,
    /// Texts that end the answer: 4 at most, none empty.
    pub stop: Option<Vec<String>>,
}

/// One version of a template.
#[derive(Debug)]
pub struct Template {
    source: Source,
    engine: Environment<'static>,
    /// Variables that each part uses.
    uses: Vec<BTreeSet<String>>,
}

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The part: the system prompt is 0, then come the messages.
    pub part: usize,
    /// The line within the part, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

/// What a template comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    /// The text of the system prompt.
    pub system: Option<Said>,
    /// Messages.
    pub messages: Vec<(Role, Said)>,
}

/// A text that was rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The text.
    pub text: String,
    /// Whether a value of the caller's had a part in it.
    pub of_caller: bool,
}

/// Why a template cannot be rendered with the values that are given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unrendered {
    /// This variable has no value.
    Missing(String),
    /// There is no such variable.
    Unknown(String),
    /// A value is none that the variable can have; what is wrong with it, in words.
    Unfit(String, String),
    /// All texts together have more bytes than they may.
    TooLong,
    /// A part cannot be made of these values: what went wrong, without them, and where.
    Failed {
        /// The part, as in the file.
        part: String,
        /// The line within it.
        line: usize,
        /// What went wrong.
        what: String,
    },
}

/// What a part is called.
fn part_name(part: usize) -> String {
    if part == 0 { "system".to_owned() } else { format!("messages[{}]", part - 1) }
}

impl Template {
    /// Compiles what a file says, and renders it once: with its defaults, and something in the place of what
    /// only callers give.
    pub fn new(source: Source, bounds: Bounds) -> Result<Self, Wrong> {
        let mut engine = engine();
        let mut uses = Vec::new();
        for (part, text) in parts(&source) {
            let wrong = |error: &Error| Wrong { part, line: error.line().unwrap_or(1), message: error_in_words(error) };
            engine.add_template_owned(part_name(part), text.to_owned()).map_err(|error| wrong(&error))?;
            let compiled = engine.get_template(&part_name(part)).map_err(|error| wrong(&error))?;
            let used: BTreeSet<String> = compiled.undeclared_variables(false).into_iter().collect();
            if let Some(unknown) = used.iter().find(|name| !source.variables.contains_key(*name)) {
                let line = text.lines().position(|line| line.contains(unknown.as_str())).map_or(1, |line| line + 1);
                let message = format!("`{unknown}` is used, and there is no [variables.{unknown}]");
                return Err(Wrong { part, line, message });
            }
            uses.push(used);
        }
        let template = Self { source, engine, uses };
        template.try_out(bounds)?;
        Ok(template)
    }

    /// What its file says.
    pub fn source(&self) -> &Source {
        &self.source
    }

    fn try_out(&self, bounds: Bounds) -> Result<(), Wrong> {
        let is_open = self.source.variables.values().any(|variable| variable.default.is_none());
        let shown = |variable: &Variable| match &variable.default {
            Some(value) => Shown::from(Serde(value)),
            None => Shown::from_object(Placeholder(values::MOST_DEEP)),
        };
        let values: BTreeMap<&str, Shown> =
            self.source.variables.iter().map(|(name, variable)| (name.as_str(), shown(variable))).collect();
        let values = Shown::from(values);
        let mut room = bounds.rendered_bytes;
        for (part, _) in parts(&self.source) {
            match self.part(part, &values, room) {
                Ok(text) => room -= text.len(),
                Err(error) if is_open && !is_of_the_template(error.kind()) => {}
                Err(error) => {
                    return Err(Wrong { part, line: error.line().unwrap_or(1), message: error_in_words(&error) });
                }
            }
        }
        Ok(())
    }

    fn part(&self, part: usize, values: &Shown, most: usize) -> Result<String, Error> {
        let mut text = Bounded::new(most);
        self.engine.get_template(&part_name(part))?.render_captured_to(values.clone(), &mut text)?;
        Ok(text.finish())
    }

    /// The texts, with these values.
    pub fn render(&self, given: &Map<String, Value>, bounds: Bounds) -> Result<Rendered, Unrendered> {
        self.check(given, bounds)?;
        let value = |(name, variable): (&String, &Variable)| {
            let value = given.get(name).or(variable.default.as_ref());
            let value = value.ok_or_else(|| Unrendered::Missing(name.clone()))?;
            Ok((name.clone(), Shown::from(Serde(value))))
        };
        let values: BTreeMap<String, Shown> = self.source.variables.iter().map(value).collect::<Result<_, _>>()?;
        let values = Shown::from(values);
        let mut room = bounds.rendered_bytes;
        let mut rendered = Rendered::default();
        for ((part, _), uses) in parts(&self.source).zip(&self.uses) {
            let text = self.part(part, &values, room).map_err(|error| self.failed(part, &error))?;
            room -= text.len();
            let said = Said { text, of_caller: uses.iter().any(|name| given.contains_key(name)) };
            let is_empty = said.text.trim().is_empty();
            match part.checked_sub(1) {
                None => rendered.system = Some(said).filter(|_| !is_empty),
                Some(_) if is_empty => {
                    let what = "comes to an empty text".to_owned();
                    return Err(Unrendered::Failed { part: part_name(part), line: 1, what });
                }
                Some(message) => rendered.messages.push((self.source.messages[message].0, said)),
            }
        }
        Ok(rendered)
    }

    /// Whether the values are such as the variables can have.
    fn check(&self, given: &Map<String, Value>, bounds: Bounds) -> Result<(), Unrendered> {
        for (name, value) in given {
            let Some(variable) = self.source.variables.get(name) else {
                return Err(Unrendered::Unknown(name.clone()));
            };
            let unfit = |unfit: Unfit| Unrendered::Unfit(name.clone(), unfit.says(bounds.value_bytes));
            values::check(value, bounds.value_bytes).map_err(unfit)?;
            let (is, wanted) = (kind_of(value), variable.default.as_ref().map_or(kind_of(value), kind_of));
            if is != wanted {
                return Err(Unrendered::Unfit(name.clone(), format!("is {is}; {wanted} is needed, as its default is")));
            }
        }
        Ok(())
    }

    fn failed(&self, part: usize, error: &Error) -> Unrendered {
        if error.kind() == minijinja::ErrorKind::WriteFailure {
            return Unrendered::TooLong;
        }
        // What else it says may hold a value.
        let what = format!("fails with these values: {}", error.kind());
        Unrendered::Failed { part: part_name(part), line: error.line().unwrap_or(1), what }
    }
}

/// The texts of a template, each with the number of its part.
fn parts(source: &Source) -> impl Iterator<Item = (usize, &str)> {
    let system = source.system.iter().map(|text| (0, text.as_str()));
    let messages = source.messages.iter().enumerate();
    system.chain(messages.map(|(index, (_, text))| (index + 1, text.as_str())))
}

/// What is wrong with a template's text, for its author.
fn error_in_words(error: &Error) -> String {
    match (error.kind(), error.detail()) {
        (minijinja::ErrorKind::WriteFailure, _) => "it comes to more than [prompts] rendered_bytes".to_owned(),
        (minijinja::ErrorKind::OutOfFuel, _) => "it takes too much work to render".to_owned(),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    }
}

#[cfg(test)]
mod tests;
