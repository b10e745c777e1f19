//! Puts a template into a request: before what the caller says.

use std::sync::Arc;

use bytes::Bytes;
use kairos_dialects::bedrock::{self, Edit, Rewrite};
use kairos_dialects::generate::parameters::{self as generate, Parameters as Chosen};
use kairos_dialects::{Failure, Kind};
use serde_json::Value;

use super::{Bounds, Library, NotFound, Parameters, Rendered, Template, Unrendered, Wanted};
use crate::record::PromptRecord;

/// A template, rendered for a request.
pub(crate) struct Expanded {
    rendered: Rendered,
    parameters: Parameters,
    /// Which one it is.
    pub(crate) record: PromptRecord,
}

/// Renders the template that a request names.
pub(crate) fn expand(library: &Library, wanted: &Wanted, bounds: Bounds) -> Result<Expanded, Failure> {
    let template = library.find(&wanted.name, wanted.version).map_err(|missing| not_found(wanted, &missing))?;
    let rendered = template.render(&wanted.variables, bounds);
    let rendered = rendered.map_err(|why| not_rendered(wanted, template, why, bounds))?;
    let source = template.source();
    let record = PromptRecord {
        name: source.name.as_str().into(),
        version: source.version,
        digest: source.digest.as_str().into(),
    };
    Ok(Expanded { rendered, parameters: source.parameters.clone(), record })
}

impl Expanded {
    /// Whether it says something by itself.
    pub(crate) fn has_messages(&self) -> bool {
        !self.rendered.messages.is_empty()
    }

    /// A Converse body with the template in front; with its parameters, where the body has none of its own.
    pub(crate) fn put_into(&self, body: &[u8], with_parameters: bool) -> Result<Bytes, Failure> {
        fn or_keep<T>(value: Option<T>) -> Edit<T> {
            value.map_or(Edit::Keep, Edit::Default)
        }
        let Rendered { system, messages } = &self.rendered;
        let parameters = if with_parameters { self.parameters.clone() } else { Parameters::default() };
        let rewrite = Rewrite {
            system_before: system.as_ref().map(|said| said.text.clone()),
            lead: messages.iter().map(|(role, said)| (*role, said.text.clone())).collect(),
            max_tokens: or_keep(parameters.max_output_tokens),
            temperature: or_keep(parameters.temperature),
            top_p: or_keep(parameters.top_p),
            stop: or_keep(parameters.stop),
            ..Rewrite::default()
        };
        Ok(bedrock::rewrite(body, &rewrite)?)
    }

    /// Parameters of Kairos's own API: those that are at their default are the template's.
    pub(crate) fn choose(&self, chosen: &mut Chosen) {
        let Parameters { temperature, top_p, max_output_tokens, stop } = &self.parameters;
        if chosen.default_output() {
            chosen.max_tokens = max_output_tokens.unwrap_or(chosen.max_tokens);
        }
        if chosen.temperature == generate::TEMPERATURE {
            chosen.temperature = temperature.unwrap_or(chosen.temperature);
        }
        if chosen.top_p == generate::TOP_P {
            chosen.top_p = top_p.unwrap_or(chosen.top_p);
        }
        if let (true, Some(stop)) = (chosen.stop_sequences.is_empty(), stop) {
            chosen.stop_sequences.clone_from(stop);
        }
    }

    /// Texts in which the caller had a part, wherever they stand: a guard judges them as a user's.
    pub(crate) fn of_caller(&self) -> Vec<Arc<str>> {
        let messages = self.rendered.messages.iter().map(|(_, said)| said);
        let said = self.rendered.system.iter().chain(messages).filter(|said| said.of_caller);
        said.map(|said| said.text.as_str().into()).collect()
    }
}

fn not_found(wanted: &Wanted, missing: &NotFound) -> Failure {
    let name = &wanted.name;
    let (param, message) = match missing {
        NotFound::Name(near) if near.is_empty() => {
            (&wanted.at_name, format!("there is no template {name:?}; `kairos prompt list` says which there are"))
        }
        NotFound::Name(near) => {
            (&wanted.at_name, format!("there is no template {name:?}; did you mean {}?", near.join(", ")))
        }
        NotFound::Version(there) => {
            let there: Vec<_> = there.iter().map(u32::to_string).collect();
            let asked = wanted.version.unwrap_or_default();
            (&wanted.at_version, format!("the template {name} has no version {asked}; there are {}", there.join(", ")))
        }
    };
    Failure::new(Kind::InvalidValue, message).with_param(param)
}

fn not_rendered(wanted: &Wanted, template: &Template, why: Unrendered, bounds: Bounds) -> Failure {
    let source = template.source();
    let which = format!("the template {}@{}", source.name, source.version);
    let of = |variable: &str| format!("{}.{}", wanted.at_variables, shown(variable));
    let takes = takes(template);
    let (param, message) = match why {
        Unrendered::Missing(name) => (of(&name), format!("{which} needs the variable {name}; it takes {takes}")),
        Unrendered::Unknown(name) => {
            (of(&name), format!("{which} has no variable {:?}; it takes {takes}", shown(&name)))
        }
        Unrendered::Unfit(name, what) => (of(&name), format!("the variable {name} of {which} {what}")),
        Unrendered::TooLong => {
            let most = bounds.rendered_bytes;
            (wanted.at_variables.clone(), format!("{which} comes to more than {most} bytes with these values"))
        }
        Unrendered::Failed { part, line, what } => {
            (wanted.at_variables.clone(), format!("{which}: {part}, line {line}, {what}"))
        }
    };
    Failure::new(Kind::InvalidValue, message).with_param(param)
}

/// A name that a caller wrote, short enough for a message.
fn shown(name: &str) -> &str {
    &name[..name.floor_char_boundary(64)]
}

/// Bytes of a default that a message shows.
const DEFAULT_BYTES: usize = 40;

/// What a template takes, for the caller.
fn takes(template: &Template) -> String {
    let one = |(name, default): (&String, &Option<Value>)| match default {
        None => name.clone(),
        Some(value) => {
            let text = value.to_string();
            let cut = text.floor_char_boundary(DEFAULT_BYTES);
            format!("{name} (default {}{})", &text[..cut], if cut < text.len() { "…" } else { "" })
        }
    };
    let variables = template.source().variables.iter().map(|(name, variable)| (name, &variable.default));
    let all: Vec<_> = variables.map(one).collect();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}
