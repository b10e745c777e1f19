//! `kairos prompt`: templates in the folder of policies, as `kairos serve` reads them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Subcommand;
use kairos_pipeline::prompts::{NotFound, Rendered, Role, Said, Source, Template, Unrendered, version_of};
use kairos_sandbox::prompts::{self, FOLDER, Found};
use serde_json::{Map, Value, json};

use super::gateway::print_json;
use super::{Failed, counted, short};
use crate::config::{Config, Flags};

/// Look at templates
#[derive(Debug, Subcommand)]
pub(super) enum PromptCommand {
    /// List the templates, and what is wrong with their files
    #[command(after_help = "\
Examples:
  kairos prompt list --policies ./policies
  kairos prompt list --json

Exit code 1 when a file is wrong: a running gateway serves what it served before, then.")]
    List(List),
    /// Say what a template takes, and what it says
    #[command(after_help = "\
Examples:
  kairos prompt show support
  kairos prompt show support@2 --json")]
    Show(Show),
    /// Say what a template comes to with these values
    #[command(after_help = "\
Examples:
  kairos prompt render support --var question=\"Where is my parcel?\"
  kairos prompt render support@2 --var question=Where? --var 'products:=[\"a\", \"b\"]' --json

NAME=TEXT gives a text, NAME:=JSON any value. Nothing is sent anywhere.")]
    Render(Render),
}

#[derive(Debug, clap::Args)]
pub(super) struct From {
    /// Folder of policies; templates are in the folder `prompts` within it [default: that of kairos.toml]
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
    /// Configuration file [default: kairos.toml, where there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    from: From,
}

#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// The template, of its default version where none is named
    #[arg(value_name = "NAME[@VERSION]")]
    template: String,
    #[command(flatten)]
    from: From,
}

#[derive(Debug, clap::Args)]
pub(super) struct Render {
    /// The template, of its default version where none is named
    #[arg(value_name = "NAME[@VERSION]")]
    template: String,
    /// A variable's value: NAME=TEXT, or NAME:=JSON
    #[arg(long = "var", value_name = "NAME=TEXT")]
    variables: Vec<String>,
    #[command(flatten)]
    from: From,
}

impl PromptCommand {
    pub(super) fn run(self) -> Result<(), Failed> {
        match self {
            Self::List(list) => list.run(),
            Self::Show(show) => show.run(),
            Self::Render(render) => render.run(),
        }
    }
}

impl From {
    fn read(&self) -> Result<(Config, PathBuf, Found), Failed> {
        let flags = Flags { config: self.config.clone(), policies: self.policies.clone(), ..Flags::default() };
        let config = super::read_config(&flags)?;
        let Some(folder) = &config.policies.folder else {
            return Err(Failed::usage(
                "no folder of policies is set: name one with --policies, or `folder` under [policies] in kairos.toml",
            ));
        };
        if !folder.is_dir() {
            return Err(Failed::usage(format!("there is no folder {}", folder.display())));
        }
        let folder = folder.join(FOLDER);
        let found = prompts::read(&folder, &config.prompts.limits());
        Ok((config, folder, found))
    }

    /// The template of this name, and version where one is named.
    fn find(&self, asked: &str) -> Result<(Config, Arc<Template>), Failed> {
        let (config, folder, found) = self.read()?;
        let (name, version) = asked.split_once('@').map_or((asked, None), |(name, version)| (name, Some(version)));
        let version = version.map(|version| {
            version_of(version)
                .ok_or_else(|| Failed::usage(format!("{version:?} is no version: a whole number from 1")))
        });
        let missing = match found.library.find(name, version.transpose()?) {
            Ok(template) => return Ok((config, Arc::clone(template))),
            Err(missing) => missing,
        };
        let mut message = match missing {
            NotFound::Version(there) => {
                let there: Vec<_> = there.iter().map(u32::to_string).collect();
                format!("{name} has no such version; there are {}", there.join(", "))
            }
            NotFound::Name(near) if near.is_empty() => format!("there is no template {name:?} in {}", folder.display()),
            NotFound::Name(near) => format!("there is no template {name:?}; did you mean {}?", near.join(", ")),
        };
        for refused in found.refused.iter().filter(|refused| refused.file.starts_with(folder.join(name))) {
            let _ = write!(message, "\n  {refused}");
        }
        Err(Failed::usage(message))
    }
}

impl List {
    fn run(self) -> Result<(), Failed> {
        let (_, folder, found) = self.from.read()?;
        let all = found.library.all();
        if self.from.json {
            let templates = all.flat_map(|(_, prompt)| {
                let versions = prompt.versions.values();
                versions.map(|one| about(one.source(), one.source().version == prompt.default)).collect::<Vec<_>>()
            });
            let wrong = found.refused.iter().map(|refused| {
                let (line, column) = refused.at.unzip();
                json!({"file": refused.file, "line": line, "column": column, "message": refused.message})
            });
            print_json(&json!({"templates": templates.collect::<Vec<_>>(), "wrong": wrong.collect::<Vec<_>>()}))?;
        } else {
            for (name, prompt) in all {
                println!("{name}");
                for template in prompt.versions.values() {
                    let Source { version, digest, description, .. } = template.source();
                    let mark = if *version == prompt.default { "*" } else { " " };
                    println!("  {mark} {version:<4} {}  {}", short(digest), description.replace('\n', " ").trim_end());
                }
            }
            if found.library.versions() == 0 && found.refused.is_empty() {
                println!("there is no template in {}", folder.display());
            }
            found.refused.iter().for_each(|refused| println!("{refused}"));
        }
        if found.refused.is_empty() { Ok(()) } else { Err(Failed::new("")) }
    }
}

/// What is said of a template, for programs.
fn about(source: &Source, is_default: bool) -> Value {
    let variables: Map<String, Value> = source.variables.iter().map(|(name, variable)| {
        let about = json!({"description": variable.description, "required": variable.default.is_none(), "default": variable.default});
        (name.clone(), about)
    }).collect();
    json!({
        "name": source.name, "version": source.version, "digest": source.digest, "default": is_default,
        "description": source.description, "variables": variables, "parameters": parameters(source),
    })
}

fn parameters(source: &Source) -> Value {
    let parameters = &source.parameters;
    json!({
        "temperature": parameters.temperature, "top_p": parameters.top_p,
        "max_output_tokens": parameters.max_output_tokens, "stop": parameters.stop,
    })
}

fn role(role: Role) -> &'static str {
    match role {
        Role::User => "user",
        Role::Assistant => "assistant",
    }
}

/// A template's parts, for people.
fn print_parts<'a>(system: Option<&str>, messages: impl Iterator<Item = (Role, &'a str)>, source: &Source) {
    let parts = system.map(|text| ("system", text)).into_iter().chain(messages.map(|(of, text)| (role(of), text)));
    for (part, text) in parts {
        println!("[{part}]\n{}\n", text.trim_end_matches('\n'));
    }
    if let Value::Object(parameters) = parameters(source) {
        for (name, value) in parameters.into_iter().filter(|(_, value)| !value.is_null()) {
            println!("{name} = {value}");
        }
    }
}

impl Show {
    fn run(self) -> Result<(), Failed> {
        let (_, template) = self.from.find(&self.template)?;
        let source = template.source();
        let messages = || source.messages.iter().map(|(role, text)| (*role, text.as_str()));
        if self.from.json {
            let mut shown = about(source, false);
            if let Value::Object(shown) = &mut shown {
                shown.remove("default");
                shown.insert("system".to_owned(), json!(source.system));
                shown.insert(
                    "messages".to_owned(),
                    messages().map(|(of, text)| json!({"role": role(of), "text": text})).collect(),
                );
            }
            return print_json(&shown);
        }
        println!("{}@{}  {}", source.name, source.version, source.digest);
        if !source.description.is_empty() {
            println!("{}", source.description.trim_end());
        }
        for (name, variable) in &source.variables {
            let default = variable.default.as_ref().map_or("required".to_owned(), |value| format!("default {value}"));
            let line = format!("  {name}  {default}  {}", variable.description.replace('\n', " "));
            println!("{}", line.trim_end());
        }
        println!();
        print_parts(source.system.as_deref(), messages(), source);
        Ok(())
    }
}

impl Render {
    fn run(self) -> Result<(), Failed> {
        let (config, template) = self.from.find(&self.template)?;
        let values = self.variables.iter().map(|text| value(text)).collect::<Result<Map<_, _>, _>>()?;
        let rendered = template.render(&values, config.prompts.limits().bounds);
        let Rendered { system, messages } =
            rendered.map_err(|why| Failed::new(not_rendered(template.source(), &why)))?;
        let text = |said: &Said| said.text.clone();
        if self.from.json {
            let said = messages.iter().map(|(of, said)| json!({"role": role(*of), "text": said.text}));
            let source = template.source();
            return print_json(&json!({
                "name": source.name, "version": source.version, "digest": source.digest,
                "system": system.as_ref().map(text), "messages": said.collect::<Vec<_>>(), "parameters": parameters(source),
            }));
        }
        let messages = messages.iter().map(|(role, said)| (*role, said.text.as_str()));
        print_parts(system.as_ref().map(|said| said.text.as_str()), messages, template.source());
        Ok(())
    }
}

/// `name=text`, or `name:=json`.
fn value(text: &str) -> Result<(String, Value), Failed> {
    let Some((name, value)) = text.split_once('=') else {
        return Err(Failed::usage(format!("--var {text:?}: NAME=TEXT, or NAME:=JSON, is needed")));
    };
    match name.strip_suffix(':') {
        None => Ok((name.to_owned(), value.into())),
        Some(name) => {
            let value = serde_json::from_str(value);
            value.map(|value| (name.to_owned(), value)).map_err(|error| Failed::usage(format!("--var {name}: {error}")))
        }
    }
}

fn not_rendered(source: &Source, why: &Unrendered) -> String {
    let which = format!("{}@{}", source.name, source.version);
    let takes: Vec<_> = source.variables.keys().map(String::as_str).collect();
    let takes = format!("it takes {}: {}", counted(takes.len(), "variable"), takes.join(", "));
    match why {
        Unrendered::Missing(name) => format!("{which} needs a value for {name}: --var {name}=TEXT; {takes}"),
        Unrendered::Unknown(name) => format!("{which} has no variable {name:?}; {takes}"),
        Unrendered::Unfit(name, what) => {
            format!("the variable {name} of {which} {what}; --var {name}:=JSON gives other values than text")
        }
        Unrendered::TooLong => format!("{which} comes to more than [prompts] rendered_bytes with these values"),
        Unrendered::Failed { part, line, what } => format!("{which}: {part}, line {line}, {what}"),
    }
}

/// The folder of templates within that of policies, read, for the doctor.
pub(super) fn read(config: &Config, folder: &Path) -> Found {
    prompts::read(&folder.join(FOLDER), &config.prompts.limits())
}
