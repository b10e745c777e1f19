//! What the doctor says, for people and as JSON.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Value, json};

use super::super::counted;
use crate::config::provenance::Origin;
use crate::config::{Loaded, settings_of};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    Ok,
    Warning,
    Problem,
}

/// What one look found.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Check {
    pub(super) check: &'static str,
    pub(super) level: Level,
    pub(super) found: String,
    /// What to do about it.
    pub(super) todo: Option<String>,
}

impl Check {
    pub(super) fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, found: found.into(), todo: None }
    }

    pub(super) fn warning(check: &'static str, found: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { check, level: Level::Warning, found: found.into(), todo: Some(todo.into()) }
    }

    pub(super) fn problem(check: &'static str, found: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { check, level: Level::Problem, found: found.into(), todo: Some(todo.into()) }
    }
}

/// A setting, its value, and where that came from.
pub(super) struct Setting {
    name: String,
    value: Value,
    origin: Origin,
}

/// What is known of the way to Bedrock.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Fact {
    pub(super) what: &'static str,
    pub(super) value: String,
    pub(super) from: String,
}

/// All that was found.
#[derive(Default)]
pub(super) struct Report {
    settings: Vec<Setting>,
    pub(super) bedrock: Vec<Fact>,
    pub(super) checks: Vec<Check>,
}

impl Report {
    pub(super) fn add_settings(&mut self, loaded: &Loaded) {
        let setting = |(name, value): (String, Value)| {
            let origin = loaded.origins.of(&name);
            Setting { name, value, origin }
        };
        self.settings.extend(settings_of(&loaded.config).into_iter().map(setting));
    }

    pub(super) fn is_ok(&self) -> bool {
        self.count(Level::Problem) == 0
    }

    fn count(&self, level: Level) -> usize {
        self.checks.iter().filter(|check| check.level == level).count()
    }

    pub(super) fn json(&self) -> String {
        let setting = |one: &Setting| json!({"setting": one.name, "value": one.value, "from": from(&one.origin)});
        let report = json!({
            "ok": self.is_ok(),
            "settings": self.settings.iter().map(setting).collect::<Vec<_>>(),
            "bedrock": self.bedrock,
            "checks": self.checks,
        });
        format!("{report:#}")
    }

    /// Tables of what is set, then what was looked at, then a line that says how it is.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let shown = |value: &Value| if value.is_null() { "not set".to_owned() } else { value.to_string() };
        let rows = self.settings.iter().map(|one| [one.name.clone(), shown(&one.value), one.origin.to_string()]);
        table(&mut text, "Settings", &rows.collect::<Vec<_>>());
        let rows = self.bedrock.iter().map(|fact| [fact.what.to_owned(), fact.value.clone(), fact.from.clone()]);
        table(&mut text, "Bedrock", &rows.collect::<Vec<_>>());
        text.push_str("Checks\n");
        for Check { check, level, found, todo } in &self.checks {
            let level = match level {
                Level::Ok => "ok",
                Level::Warning => "warning",
                Level::Problem => "problem",
            };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {level:<7}  {check}: {}", indented(found));
            if let Some(todo) = todo {
                let _ = writeln!(text, "           → {}", indented(todo));
            }
        }
        let (problems, warnings) = (self.count(Level::Problem), self.count(Level::Warning));
        let _ = writeln!(text, "\n{}, {}", counted(problems, "problem"), counted(warnings, "warning"));
        text
    }
}

/// Further lines stand below the first.
fn indented(text: &str) -> String {
    text.replace('\n', "\n           ")
}

fn table(text: &mut String, title: &str, rows: &[[String; 3]]) {
    if rows.is_empty() {
        return;
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    // A long list must not push what comes after it out of sight.
    let (first, second) = (width(0), width(1).min(32));
    let _ = writeln!(text, "{title}");
    for [name, value, origin] in rows {
        let _ = writeln!(text, "  {name:<first$}  {value:<second$}  {origin}");
    }
    text.push('\n');
}

/// An origin for programs.
fn from(origin: &Origin) -> Value {
    match origin {
        Origin::Default => json!({"kind": "default"}),
        Origin::File { path, line } => json!({"kind": "file", "file": &**path, "line": line}),
        Origin::Variable(name) => json!({"kind": "variable", "name": name}),
        Origin::Flag(name) => json!({"kind": "flag", "name": name}),
        Origin::Setting(name) => json!({"kind": "setting", "name": name}),
    }
}
