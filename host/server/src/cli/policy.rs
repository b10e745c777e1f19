//! `kairos policy`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Subcommand;
use kairos_sandbox::generation::Generation;
use kairos_sandbox::refusal::Refusal;
use serde::Serialize;

use super::Failed;
use crate::assemble;
use crate::config::{Config, Flags};

/// Work with policies
#[derive(Debug, Subcommand)]
pub(super) enum Policy {
    /// Say what loading a policy would say: script or component, whole, granted, sound
    #[command(after_help = "\
Examples:
  kairos policy check policies/task.rhai
  kairos policy check target/guests/task-router.wasm --json

The file is read, compiled, and asked some questions twice, as it is before it serves.
Exit code 1 when it would be refused.")]
    Check(Check),
}

#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// A script (.rhai) or a component (.wasm)
    file: PathBuf,
    /// Configuration file: what it grants and configures holds [default: kairos.toml, where there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What a check found.
#[derive(Serialize)]
struct Report {
    file: String,
    accepted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    engine: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasons: Option<Vec<(u32, Arc<str>)>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Policy {
    pub(super) fn run(self) -> Result<(), Failed> {
        match self {
            Self::Check(check) => check.run(),
        }
    }
}

impl Check {
    fn run(self) -> Result<(), Failed> {
        let flags = Flags { config: self.config.clone(), ..Flags::default() };
        let config =
            Config::read(&flags, |name| std::env::var(name).ok()).map_err(|error| Failed::usage(error.to_string()))?;
        let file = self.file.display().to_string();
        match load(&config, self.file.clone())? {
            Ok(generation) => {
                let identity = generation.identity();
                let report = Report {
                    accepted: true,
                    policy: Some(Arc::clone(identity.label())),
                    engine: Some(generation.engine_name()),
                    reasons: Some(identity.reasons.clone()),
                    ..Report::about(&file)
                };
                let text = format!("{file}: would serve as {} ({})", identity.label(), generation.engine_name());
                self.print(&report, &text)
            }
            Err(refusal) => {
                let report = Report {
                    message: Some(refusal.message.clone()),
                    line: refusal.at.map(|(line, _)| line),
                    column: refusal.at.map(|(_, column)| column),
                    hint: refusal.hint.clone(),
                    ..Report::about(&file)
                };
                self.print(&report, &refusal.explain(&file))?;
                Err(Failed::new(""))
            }
        }
    }

    fn print(&self, report: &Report, text: &str) -> Result<(), Failed> {
        if self.json {
            let json = serde_json::to_string_pretty(report).map_err(|error| Failed::new(error.to_string()))?;
            println!("{json}");
        } else {
            println!("{text}");
        }
        Ok(())
    }
}

/// Loads a file as it is loaded before it serves.
pub(super) fn load(config: &Config, path: PathBuf) -> Result<Result<Generation, Refusal>, Failed> {
    let loader = assemble::loader(config, false)?;
    // On a thread like those that load: scripts need its stack.
    std::thread::Builder::new()
        .stack_size(kairos_sandbox::host::THREAD_STACK)
        .spawn(move || loader.load(&path))
        .map_err(|error| Failed::new(error.to_string()))?
        .join()
        .map_err(|_| Failed::new("the check itself failed; this is a fault of Kairos"))
}

impl Report {
    fn about(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            accepted: false,
            policy: None,
            engine: None,
            reasons: None,
            message: None,
            line: None,
            column: None,
            hint: None,
        }
    }
}
