//! The template that a request names: in headers, in the body, or in the context of Kairos's own API.

use kairos_dialects::prompt::Named;
use kairos_dialects::{Failure, Kind};
use serde_json::{Map, Value};

use super::{is_name, version_of};
use crate::request::Hints;

/// A template that a hint names.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// Its name.
    pub name: String,
    /// The version, where one is named.
    pub version: Option<u32>,
    /// Where: a header, or a place in the context.
    pub param: String,
}

/// Values that a hint gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    /// By the names of variables.
    pub values: Map<String, Value>,
    /// Where.
    pub param: String,
}

impl Asked {
    /// Reads `NAME` or `NAME@VERSION`.
    pub(crate) fn read(text: &str, param: String) -> Option<Self> {
        let (name, version) = text.split_once('@').map_or((text, None), |(name, version)| (name, Some(version)));
        let version = version.map(|version| version_of(version).ok_or(())).transpose().ok()?;
        is_name(name).then(|| Self { name: name.to_owned(), version, param })
    }
}

/// A template that a request names, wherever, and the places to be told of what is wrong.
pub(crate) struct Wanted {
    pub(crate) name: String,
    pub(crate) version: Option<u32>,
    pub(crate) variables: Map<String, Value>,
    pub(crate) at_name: String,
    pub(crate) at_version: String,
    pub(crate) at_variables: String,
}

/// The template that a request names, where it does: by its hints, or in its body.
pub(crate) fn wanted(hints: &Hints, in_body: Option<Named>) -> Result<Option<Wanted>, Failure> {
    match (&hints.prompt, &hints.prompt_variables, in_body) {
        (Some(asked), _, Some(_)) => {
            let message = format!("a template is named here and in {}; name one", asked.param);
            Err(Failure::new(Kind::InvalidValue, message).with_param("prompt"))
        }
        (None, Some(given), _) => {
            let message = format!("{} gives values for a template, and x-kairos-prompt names none", given.param);
            Err(Failure::new(Kind::InvalidValue, message).with_param(given.param.clone()))
        }
        (None, None, None) => Ok(None),
        (Some(asked), given, None) => {
            let (variables, at_variables) = match given {
                Some(given) => (given.values.clone(), given.param.clone()),
                None => (Map::new(), format!("{}{}variables", asked.param, separator(&asked.param))),
            };
            Ok(Some(Wanted {
                name: asked.name.clone(),
                version: asked.version,
                variables,
                at_name: asked.param.clone(),
                at_version: asked.param.clone(),
                at_variables,
            }))
        }
        (None, None, Some(named)) => of_body(named).map(Some),
    }
}

/// What stands between the words of a place: in headers, and elsewhere.
fn separator(param: &str) -> char {
    if param.starts_with("x-") { '-' } else { '_' }
}

fn of_body(named: Named) -> Result<Wanted, Failure> {
    let wrong = |param: &str, what: &str| Failure::new(Kind::InvalidValue, format!("{param} {what}")).with_param(param);
    if !is_name(&named.name) {
        return Err(wrong("prompt.id", "needs a template's name: 1 to 64 of a-z, 0-9 and -"));
    }
    let version = named.version.map(|version| version_of(&version).ok_or(()));
    let version = version.transpose().map_err(|()| wrong("prompt.version", "needs a whole number from 1, as text"))?;
    Ok(Wanted {
        name: named.name,
        version,
        variables: named.variables,
        at_name: "prompt.id".to_owned(),
        at_version: "prompt.version".to_owned(),
        at_variables: "prompt.variables".to_owned(),
    })
}
