//! `kairos doctor`: where each setting came from, what is wrong, what to do.
//!
//! `report` is what is said, `place` looks at this machine, `choice` at models and policies, `bedrock`
//! at the other side. Nothing is changed, and nothing is called that costs money.
//!
//! With `--json` it prints one object, whose shape stays:
//!
//! ```json
//! {
//!   "ok": true,
//!   "settings": [{"setting": "limits.records", "value": 10000, "from": {"kind": "file", "file": "kairos.toml", "line": 3}}],
//!   "bedrock": [{"what": "region", "value": "us-east-1", "from": "AWS_REGION"}],
//!   "checks": [{"check": "data folder", "level": "ok", "found": "kairos-data can be written to", "todo": null}]
//! }
//! ```
//!
//! `ok` is false where a check's level is `problem`; the levels are `ok`, `warning` and `problem`.
//! `kind` is `default`, `file` (with `file` and `line`), `variable`, `flag` or `setting` (each with
//! `name`). Secrets are `"[secret]"`, what is not set is null. `what` is `region`, `endpoint` or
//! `credentials`. Fields may be added.

mod bedrock;
mod choice;
mod place;
mod report;

use self::report::{Check, Report};
use super::Failed;
use crate::config::environment::{self, OURS, VARIABLES};
use crate::config::{EXAMPLE, Flags, Loaded, file};

/// Say where each setting came from, what is wrong, and what to do
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kairos doctor                            what `kairos serve` would do here, and what would go wrong
  kairos doctor --config ./kairos.toml --data ./kairos-data
  kairos doctor --offline --json           without calling Bedrock, for programs
  kairos doctor --example > kairos.toml    every setting with its default

Takes the flags that `serve` takes. Nothing is changed, and nothing is called that costs money.
Exit codes: 0 fine, warnings included; 1 problems; 2 wrong usage")]
pub(super) struct Doctor {
    #[command(flatten)]
    flags: Flags,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Do not call Bedrock
    #[arg(long)]
    offline: bool,
    /// Print a complete kairos.toml with every default, and nothing else
    #[arg(long, conflicts_with_all = ["json", "offline", "listen", "data", "config", "policies"])]
    example: bool,
}

impl Doctor {
    pub(super) async fn run(self) -> Result<(), Failed> {
        if self.example {
            print!("{EXAMPLE}");
            return Ok(());
        }
        let report = self.examine().await;
        if self.json {
            println!("{}", report.json());
        } else {
            print!("{}", report.text());
        }
        if report.is_ok() { Ok(()) } else { Err(Failed::new("")) }
    }

    async fn examine(&self) -> Report {
        let mut report = Report::default();
        report.checks.extend(variables(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok())));
        let loaded = match Loaded::read(&self.flags, |name| std::env::var(name).ok()) {
            Ok(loaded) => loaded,
            Err(error) => {
                let todo = "correct it; the other checks need a configuration that can be read";
                report.checks.insert(0, Check::problem("configuration", error.to_string(), todo));
                return report;
            }
        };
        report.add_settings(&loaded);
        report.checks.splice(0..0, configuration(&self.flags, &loaded));
        let config = &loaded.config;
        report.checks.extend(place::checks(config));
        report.checks.extend(choice::policies(config));
        let (side, found) = bedrock::find(&loaded, &mut report.bedrock).await;
        report.checks.extend(found);
        report.checks.extend(choice::models(config, side.as_ref().map(|side| side.region.as_str())));
        match side {
            Some(side) if !self.offline => report.checks.extend(bedrock::call(config, side).await),
            _ => {}
        }
        report
    }
}

/// The file, and what is wrong with what it and the environment say.
fn configuration(flags: &Flags, loaded: &Loaded) -> Vec<Check> {
    let wrong = loaded.wrong();
    if wrong.is_empty() {
        let found = match file::chosen(flags.config.as_deref()) {
            Some(path) => format!("{} was read", path.display()),
            None => format!("there is no {} here: defaults, environment and flags hold", file::NAME),
        };
        return vec![Check::ok("configuration", found)];
    }
    let todo = "correct it: `kairos serve` does not start like this";
    wrong.into_iter().map(|what| Check::problem("configuration", what, todo)).collect()
}

/// Variables that are misspelt, that nothing reads, or that have no effect.
fn variables(names: impl Iterator<Item = String>) -> Vec<Check> {
    let mut names: Vec<String> = names.collect();
    names.sort();
    let mut checks = Vec::new();
    for name in names.iter().filter(|name| VARIABLES.iter().all(|known| known.name != name.as_str())) {
        let ours = OURS.iter().any(|prefix| name.starts_with(prefix));
        match environment::nearest(name) {
            Some(near) => checks.push(Check::problem(
                "environment",
                format!("{name} is set, and nothing reads it"),
                format!("did you mean {near}? Rename it, or unset it"),
            )),
            None if ours => checks.push(Check::warning(
                "environment",
                format!("{name} is set, and nothing of Kairos reads it"),
                "unset it, if it was meant for Kairos; `kairos serve --help` lists the variables",
            )),
            None => {}
        }
    }
    for (name, why) in environment::without_effect(|name| std::env::var(name).ok()) {
        checks.push(Check::warning(
            "environment",
            format!("{name} is set and has no effect: {why}"),
            "unset it, or leave it for a later version",
        ));
    }
    checks
}
