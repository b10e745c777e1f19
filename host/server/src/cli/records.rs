//! `kairos records`.

use clap::Subcommand;
use http::Method;
use serde_json::{Value, json};

use super::gateway::{Gateway, print_json};
use super::{Failed, counted};

/// Take records of requests out for good
#[derive(Debug, Subcommand)]
pub(super) enum Records {
    /// Take out all that is kept of some requests: what happened, what was said, what callers thought of it
    #[command(after_help = "\
Examples:
  kairos records forget --request 0193f3a1-7c5e-7b62-8f5d-2a4f6f0c1d2e --why \"asked for by mail\"
  kairos records forget --key mobile
  kairos records forget --before 2026-11-01

It cannot be undone, is written over on disk, and is written into the audit log first. What is under way is kept
when it has ended. What requests cost stays in the ledger, and what observers learned of them stays as well.
A file of records that could not be used and was set aside (records.sqlite.aside) is searched as well. One that
cannot be read is named, with what to do, and the exit code is 1: such records may be in it.
Exit codes: 0 done, 1 it failed or a file could not be searched, 2 wrong usage")]
    Forget(Forget),
}

#[derive(Debug, clap::Args)]
pub(super) struct Forget {
    #[command(flatten)]
    which: Which,
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    #[command(flatten)]
    gateway: Gateway,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// The record of this request
    #[arg(long, value_name = "ID")]
    request: Option<String>,
    /// All records of this key
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// All records from before this day, in UTC
    #[arg(long, value_name = "DATE")]
    before: Option<String>,
}

impl Records {
    pub(super) fn run(self) -> Result<(), Failed> {
        match self {
            Self::Forget(forget) => forget.run(),
        }
    }
}

impl Forget {
    fn run(self) -> Result<(), Failed> {
        let Self { which: Which { request, key, before }, why, gateway } = self;
        let by = std::env::var("USER").ok().filter(|user| !user.is_empty());
        let mut body = json!({"why": why, "by": by});
        for (name, value) in [("request", request), ("key", key), ("before", before)] {
            if let Some(value) = value {
                body[name] = json!(value);
            }
        }
        let answer = gateway.change(Method::POST, "/admin/v1/records/forget", &body)?;
        let unsearched = answer["unsearched"].as_array().map_or(&[][..], Vec::as_slice);
        if gateway.json {
            print_json(&answer)?;
            return if unsearched.is_empty() { Ok(()) } else { Err(Failed::new("")) };
        }
        let gone = answer["forgotten"].as_u64().and_then(|gone| usize::try_from(gone).ok()).unwrap_or(0);
        let which = answer["which"].as_str().unwrap_or_default();
        let jobs = answer["jobs"].as_u64().and_then(|jobs| usize::try_from(jobs).ok()).filter(|jobs| *jobs > 0);
        let jobs = jobs.map_or(String::new(), |jobs| format!(" and {}", counted(jobs, "job")));
        println!("{which}: {}{jobs} gone; what the requests cost stays in the ledger", counted(gone, "record"));
        for file in answer["removed"].as_array().into_iter().flatten() {
            println!("{} is from before that day, could not be read, and is removed", text(file));
        }
        let told: Vec<_> = unsearched.iter().map(unsearched_file).collect();
        if told.is_empty() { Ok(()) } else { Err(Failed::new(told.join("\nkairos: "))) }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// What to do about a file that such records may be in.
fn unsearched_file(file: &Value) -> String {
    let (file, why) = (text(&file["file"]), text(&file["why"]));
    format!(
        "{file} is not in use and cannot be searched: {why}; such records may be in it. Where nobody needs it, \
         remove it, and {file}-wal and {file}-shm if they are there"
    )
}
