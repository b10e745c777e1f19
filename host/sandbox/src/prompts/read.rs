//! A template's file.

use std::collections::BTreeMap;

use kairos_pipeline::prompts::{Bounds, MOST_VARIABLES, NAME_BYTES, Parameters, Role, Source, Template, Variable};

use crate::cases::place;
use crate::cases::table::{self, Read, Table, Value, Wrong, wrong};

/// Bytes of a description.
const DESCRIPTION_BYTES: usize = 1_024;
/// Messages of a template.
const MOST_MESSAGES: usize = 64;
/// Texts that end an answer, and bytes of each.
const MOST_STOPS: usize = 4;
const STOP_BYTES: usize = 256;

/// What is wrong with a file, and where: line and column.
pub(super) struct NotRead {
    pub(super) at: (usize, usize),
    pub(super) message: String,
}

/// What a file says, and where each part of it begins.
struct Draft {
    source: Source,
    begins: BTreeMap<usize, usize>,
}

/// Reads a template of this name, version and digest.
pub(super) fn template(
    text: &str,
    (name, version, digest): (&str, u32, String),
    bounds: Bounds,
) -> Result<Template, NotRead> {
    let not_read = |Wrong { at, message }: Wrong| NotRead { at: place(text.as_bytes(), at), message };
    let Draft { source, begins } = draft(text).map_err(not_read)?;
    let source = Source { name: name.to_owned(), version, digest, ..source };
    Template::new(source, bounds).map_err(|wrong| {
        let begins = begins.get(&wrong.part).copied().unwrap_or_default();
        let line = place(text.as_bytes(), first_line(text, begins)).0 + wrong.line - 1;
        NotRead { at: (line, 1), message: wrong.message }
    })
}

/// The version that a template's own file names.
pub(super) fn default(text: &str) -> Result<Option<u32>, NotRead> {
    let read = || {
        let mut file = table::parse(text)?;
        let default = file.read("default", |value| value.short())?;
        file.finish()?;
        Ok(default)
    };
    read().map_err(|Wrong { at, message }| NotRead { at: place(text.as_bytes(), at), message })
}

/// Where the first line of a text of several lines is: a line break right behind its quotes is none of it.
fn first_line(text: &str, begins: usize) -> usize {
    let value = text.get(begins..).unwrap_or_default();
    let behind = value.strip_prefix("\"\"\"").or_else(|| value.strip_prefix("'''"));
    match behind {
        Some(behind) if behind.starts_with(['\n', '\r']) => begins + 3 + behind.find('\n').map_or(0, |at| at + 1),
        _ => begins,
    }
}

fn draft(text: &str) -> Read<Draft> {
    let mut file = table::parse(text)?;
    let (description, system) = (file.take("description"), file.take("system"));
    let (user, messages) = (file.take("user"), file.take("messages"));
    let (variables, parameters) = (file.take("variables"), file.take("parameters"));
    file.finish()?;
    let mut begins = BTreeMap::new();
    let mut source = Source { description: bounded(description.as_ref(), DESCRIPTION_BYTES)?, ..Source::default() };
    if let Some(system) = system {
        begins.insert(0, system.at);
        source.system = Some(not_empty(&system)?);
    }
    let said = match (user, messages) {
        (Some(user), Some(_)) => {
            return user.wrong("there are `messages`, too; put it among them, with role = \"user\"");
        }
        (Some(user), None) => vec![(Role::User, user.at, not_empty(&user)?)],
        (None, Some(messages)) => self::messages(messages)?,
        (None, None) => Vec::new(),
    };
    for (index, (role, at, text)) in said.into_iter().enumerate() {
        begins.insert(index + 1, at);
        source.messages.push((role, text));
    }
    if begins.is_empty() {
        return wrong(0, "a template needs a `system`, a `user` or `messages`");
    }
    source.variables = variables.map(self::variables).transpose()?.unwrap_or_default();
    source.parameters = parameters.map(self::parameters).transpose()?.unwrap_or_default();
    Ok(Draft { source, begins })
}

fn bounded(value: Option<&Value<'_>>, most: usize) -> Read<String> {
    let Some(value) = value else { return Ok(String::new()) };
    let text = value.text()?;
    if text.len() > most {
        return value.wrong(format_args!("it has {} bytes; {most} are allowed", text.len()));
    }
    Ok(text.to_owned())
}

fn not_empty(value: &Value<'_>) -> Read<String> {
    let text = value.text()?;
    if text.trim().is_empty() { value.wrong("it is empty; leave it out") } else { Ok(text.to_owned()) }
}

fn messages(list: Value<'_>) -> Read<Vec<(Role, usize, String)>> {
    let at = list.at;
    let mut messages = Vec::new();
    for message in list.list()? {
        let mut message = message.table()?;
        let begins = message.at;
        let (role, text) = (message.take("role"), message.take("text"));
        message.finish()?;
        let (Some(role), Some(text)) = (role, text) else {
            return wrong(begins, "a message needs a `role` and a `text`");
        };
        let role = [Role::User, Role::Assistant][role.one_of(&["user", "assistant"])?];
        messages.push((role, text.at, not_empty(&text)?));
    }
    match messages.first() {
        None => wrong(at, "messages: the list is empty; leave it out"),
        Some((Role::Assistant, ..)) => wrong(at, "messages: a conversation begins with the user"),
        Some(_) if messages.len() > MOST_MESSAGES => {
            wrong(at, format!("messages: there are {}; {MOST_MESSAGES} are allowed", messages.len()))
        }
        Some(_) => Ok(messages),
    }
}

fn variables(table: Value<'_>) -> Read<BTreeMap<String, Variable>> {
    let at = table.at;
    let mut variables = BTreeMap::new();
    for (name, value) in table.table()?.entries() {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let begins = name.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
        if !begins || !name.bytes().all(fits) || name.len() > NAME_BYTES {
            return value
                .wrong(format_args!("a name of 1 to {NAME_BYTES} of a-z, 0-9 and _ is needed, from a letter on"));
        }
        let mut table: Table<'_> = value.table()?;
        let description = table.take("description");
        let default = table.read("default", Value::json)?;
        table.finish()?;
        let description = bounded(description.as_ref(), DESCRIPTION_BYTES)?;
        variables.insert(name, Variable { description, default });
    }
    if variables.len() > MOST_VARIABLES {
        return wrong(at, format!("variables: there are {}; {MOST_VARIABLES} are allowed", variables.len()));
    }
    Ok(variables)
}

fn parameters(table: Value<'_>) -> Read<Parameters> {
    let mut table = table.table()?;
    let parameters = Parameters {
        temperature: table.read("temperature", |value| value.fraction())?,
        top_p: table.read("top_p", |value| value.fraction())?,
        max_output_tokens: table.read("max_output_tokens", |value| match value.short()? {
            0 => value.wrong("at least 1 is needed"),
            limit => Ok(limit),
        })?,
        stop: table.read("stop", stops)?,
    };
    table.finish()?;
    Ok(parameters)
}

fn stops(list: Value<'_>) -> Read<Vec<String>> {
    let at = list.at;
    let stop = |value: Value<'_>| match value.text()? {
        text if (1..=STOP_BYTES).contains(&text.len()) => Ok(text.to_owned()),
        text => value.wrong(format_args!("it has {} bytes; 1 to {STOP_BYTES} are needed", text.len())),
    };
    let stops = list.list()?.map(stop).collect::<Read<Vec<_>>>()?;
    if stops.len() > MOST_STOPS {
        return wrong(at, format!("stop: there are {}; {MOST_STOPS} are allowed", stops.len()));
    }
    Ok(stops)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"description = "Answers questions about a product"
system = """
You answer for {{ product }}.
Be {{ tone }}.
"""
user = "{{ question }}"

[variables.product]
description = "What it is about"

[variables.tone]
default = "kind"

[variables.question]

[parameters]
temperature = 0.2
max_output_tokens = 500
stop = ["END"]
"#;

    fn read(text: &str) -> Result<Template, String> {
        let told = |NotRead { at: (line, column), message }| format!("{line}:{column}: {message}");
        template(text, ("support", 2, "d".to_owned()), Bounds::default()).map_err(told)
    }

    #[test]
    fn a_whole_file_is_read() {
        let template = read(WHOLE).unwrap();
        let source = template.source();
        assert_eq!((&*source.name, source.version, &*source.digest), ("support", 2, "d"));
        assert_eq!(source.messages, [(Role::User, "{{ question }}".to_owned())]);
        assert_eq!(source.variables["tone"].default, Some("kind".into()));
        assert_eq!(source.parameters.max_output_tokens, Some(500));
        assert!(default("default = 2").is_ok_and(|default| default == Some(2)) && default("defautl = 2").is_err());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let mut told = String::new();
        for (from, to) in [
            ("system", "sytem"),
            ("Be {{ tone }}.", "Be {{ tone }."),
            ("{{ product }}", "{{ produkt }}"),
            ("\"{{ question }}\"", "\"\""),
            ("\"{{ question }}\"", "7"),
            ("user = ", "messages = []\nuser = "),
            ("user = \"{{ question }}\"", "messages = [{ role = \"assistant\", text = \"x\" }]"),
            ("user = \"{{ question }}\"", "messages = [{ role = \"system\", text = \"x\" }]"),
            ("user = \"{{ question }}\"", "messages = [{ role = \"user\" }]"),
            ("[variables.tone]", "[variables.Tone]"),
            ("default = ", "defualt = "),
            ("default = \"kind\"", "default = 2026-11-30"),
            ("0.2", "1.5"),
            ("500", "0"),
            ("[\"END\"]", "[\"\"]"),
            ("temperature", "temprature"),
            ("=", "= ="),
        ] {
            told.push_str(&read(&WHOLE.replacen(from, to, 1)).unwrap_err());
            told.push('\n');
        }
        insta::assert_snapshot!(told);
    }
}
