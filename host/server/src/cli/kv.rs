//! `kairos kv`.

use clap::Subcommand;
use http::Method;
use serde_json::{Value, json};

use super::gateway::{Gateway, print_json};
use super::{Failed, counted};

/// Look into what observers have learned, or empty it
#[derive(Debug, Subcommand)]
pub(super) enum Kv {
    /// Say which spaces there are, and how much is in them
    #[command(after_help = "\
Examples:
  kairos kv list
  kairos kv list --json --data ./kairos-data

A space is what a policy's `describe` names by `kv`, and its `kv_schema`. Asks the gateway that runs.")]
    List(List),
    /// Print a space's keys and values
    #[command(after_help = "\
Examples:
  kairos kv show latency
  kairos kv show latency@1 --json

A value that is no text is shown in hexadecimal, after 0x.")]
    Show(Named),
    /// Empty a space: its observer begins anew
    #[command(after_help = "\
Examples:
  kairos kv clear latency --why \"the models of last week are gone\"

It cannot be undone, and is written into the audit log. Requests under way go on with what they began with.
Exit codes: 0 emptied, 1 it failed, 2 no such space, or several, 3 refused")]
    Clear(Clear),
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    gateway: Gateway,
}

#[derive(Debug, clap::Args)]
pub(super) struct Named {
    /// The space: NAME@SCHEMA, or its name alone
    #[arg(value_name = "SPACE")]
    space: String,
    #[command(flatten)]
    gateway: Gateway,
}

#[derive(Debug, clap::Args)]
pub(super) struct Clear {
    #[command(flatten)]
    named: Named,
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
}

impl Kv {
    pub(super) fn run(self) -> Result<(), Failed> {
        match self {
            Self::List(List { gateway }) => list(&gateway),
            Self::Show(Named { space, gateway }) => show(&space, &gateway),
            Self::Clear(Clear { named: Named { space, gateway }, why }) => clear(&space, &gateway, why.as_deref()),
        }
    }
}

/// The address of a space. What is no name of one is found out there.
fn address(space: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-@".contains(c);
    let space: String = space.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    format!("/admin/v1/kv/{}", if space.is_empty() { "_" } else { &space })
}

/// A space, in a line.
fn line(space: &Value) -> String {
    let number = |name: &str| space[name].as_u64().and_then(|number| usize::try_from(number).ok()).unwrap_or(0);
    let (name, written) = (space["space"].as_str().unwrap_or("-"), space["written"].as_str().unwrap_or("-"));
    format!("{name:<24}  {}, {}, written {written}", counted(number("keys"), "key"), counted(number("bytes"), "byte"))
}

fn list(gateway: &Gateway) -> Result<(), Failed> {
    let answer = gateway.get("/admin/v1/kv")?;
    if gateway.json {
        return print_json(&answer);
    }
    let spaces: Vec<_> = answer["spaces"].as_array().into_iter().flatten().collect();
    if spaces.is_empty() {
        println!("nothing is learned yet: a policy in the slot `observer` writes it");
    }
    spaces.into_iter().for_each(|space| println!("{}", line(space)));
    Ok(())
}

fn show(space: &str, gateway: &Gateway) -> Result<(), Failed> {
    let answer = gateway.get(&address(space))?;
    if gateway.json {
        return print_json(&answer);
    }
    println!("{}", line(&answer));
    for one in answer["values"].as_array().into_iter().flatten() {
        let key = one["key"].as_str().unwrap_or_default();
        // A policy wrote them: they say nothing to a terminal.
        match one["value"].as_str() {
            Some(text) => println!("  {}  {}", key.escape_debug(), text.escape_debug()),
            None => println!("  {}  0x{}", key.escape_debug(), one["hex"].as_str().unwrap_or_default()),
        }
    }
    Ok(())
}

fn clear(space: &str, gateway: &Gateway, why: Option<&str>) -> Result<(), Failed> {
    let by = std::env::var("USER").ok().filter(|user| !user.is_empty());
    let body = json!({"why": why, "by": by});
    let answer = gateway.change(Method::POST, &format!("{}/clear", address(space)), &body)?;
    if gateway.json {
        return print_json(&answer);
    }
    println!("emptied: {}", line(&answer["cleared"]));
    Ok(())
}
