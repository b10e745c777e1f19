//! `kairos key`: a running gateway makes keys for callers, lists them, and takes them back.

use http::Method;
use jiff::tz::TimeZone;
use kairos_pipeline::budget::{OfKey, Window};
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::gateway::{Gateway, print_json, segment, user};
use super::{Failed, age};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Key {
    /// Make a key, for OpenAI's clients and AWS's; it is shown this once
    Create(Box<Create>),
    /// List keys: whose they are, what they may do, until when
    List(List),
    /// Give a key a new secret, and let the old one go on for a while
    Rotate(Rotate),
    /// Let a key open nothing any more, from now on and for good
    Revoke(Revoke),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kairos key create search
  kairos key create batch --models nova-lite,nova-micro --dialects openai --expires 90d
  kairos key create team-a --tag team=a --tag env=prod --fallback never
  kairos key create crawler --rpm 60 --tpm 200000
  kairos key create intern --budget-usd 5 --budget-period week

Beside the data folder of the gateway its admin token is found; elsewhere KAIROS_ADMIN_TOKEN holds it.
What a key may do holds for as long as it lives: to change it, make another and revoke this one.
The name stands in records and in the ledger, and is never given twice.")]
pub(super) struct Create {
    /// The key's name: a–z, 0–9, `-`, `_` and `.`
    name: String,
    /// Models that may answer, separated by commas [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    models: Option<Vec<String>>,
    /// Dialects that it may speak: openai, bedrock, kairos [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    dialects: Option<Vec<String>>,
    /// Whether another model may answer than the one that a request names: as the request asks, any, never
    #[arg(long, value_name = "asked|any|never", default_value = "asked")]
    fallback: String,
    /// Requests that it may make in a minute [default: any number]
    #[arg(long, value_name = "REQUESTS")]
    rpm: Option<u64>,
    /// Tokens that they may count for in a minute, as Bedrock counts them against a quota [default: any number]
    #[arg(long, value_name = "TOKENS")]
    tpm: Option<u64>,
    /// A tag of every request, which no caller can change
    #[arg(long = "tag", value_name = "NAME=VALUE")]
    tags: Vec<String>,
    /// The most that may be spent with it, in US dollars, in each period [default: no limit of its own]
    #[arg(long, value_name = "DOLLARS")]
    budget_usd: Option<String>,
    /// The period of its budget: minute, hour, day, week, month
    #[arg(long, value_name = "PERIOD", requires = "budget_usd", default_value = "day")]
    budget_period: String,
    /// Where the period begins, as Europe/Berlin [default: UTC]
    #[arg(long, value_name = "ZONE", requires = "budget_usd")]
    budget_zone: Option<String>,
    /// When it ends: 12h, 90d [default: never]
    #[arg(long, value_name = "AGE", value_parser = age)]
    expires: Option<u64>,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    gateway: Gateway,
}

#[derive(Debug, clap::Args)]
pub(super) struct Rotate {
    /// The key's name
    name: String,
    /// How long the secret until now goes on: 30m, 24h, 7d; 90 days at most. Those of earlier rotations end when they
    /// were to; `kairos key list` says which are good until when. 0s: none but the new one is good
    #[arg(long, value_name = "AGE", value_parser = age, default_value = "24h")]
    overlap: u64,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, clap::Args)]
pub(super) struct Revoke {
    /// The key's name
    name: String,
    #[command(flatten)]
    asked: Asked,
}

/// A change that a gateway is asked for.
#[derive(Debug, clap::Args)]
struct Asked {
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    #[command(flatten)]
    gateway: Gateway,
}

impl Asked {
    fn done(&self, path: &str, mut body: Value) -> Result<Value, Failed> {
        body["why"] = json!(self.why);
        body["by"] = json!(user());
        self.gateway.change(Method::POST, &format!("/admin/v1/keys{path}"), &body)
    }

    /// Shows a key that was just made.
    fn show(&self, made: &Value) -> Result<(), Failed> {
        if self.gateway.json {
            return print_json(made);
        }
        println!("{}", line(&made["is"]));
        if made["is_first"] == true {
            println!("From now on nobody is served without a key, on this machine neither.");
        }
        println!("It is shown this once:");
        for (what, name) in [
            ("key               ", "key"),
            ("access key id     ", "access_key_id"),
            ("secret access key ", "secret_access_key"),
        ] {
            println!("  {what} {}", made[name].as_str().unwrap_or_default());
        }
        Ok(())
    }
}

/// A key in one line.
fn line(key: &Value) -> String {
    let text = |name: &str| key[name].as_str().unwrap_or_default();
    let scope = &key["scope"];
    let list = |name: &str| {
        let names = scope[name].as_array().map(|names| names.iter().filter_map(Value::as_str).collect::<Vec<_>>());
        names.map_or(format!("all {name}"), |names| format!("{name} {}", names.join(", ")))
    };
    let tags = scope["tags"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|tag| Some(format!(", tag {}={}", tag[0].as_str()?, tag[1].as_str()?)));
    let secrets = key["secrets"].as_array().into_iter().flatten();
    let older = secrets.filter_map(|secret| {
        let (number, until) = (secret["number"].as_u64()?, secret["until"].as_str()?);
        (key["expires"].as_str() != Some(until)).then(|| format!(", its secret {number} until {until}"))
    });
    let older = older.collect::<String>();
    let until = key["expires"].as_str().map_or(String::new(), |at| format!(", until {at}"));
    let fallback = match scope["fallback"].as_str() {
        Some("any") => ", any model may answer",
        Some("never") => ", no other model may answer",
        _ => "",
    };
    let amount =
        |name: &str, what: &str| scope[name].as_u64().map_or(String::new(), |most| format!(", {most} {what} a minute"));
    let rate = [amount("requests_per_minute", "requests"), amount("tokens_per_minute", "tokens")].concat();
    let budget = OfKey::deserialize(&scope["budget"]).map_or(String::new(), |budget| match &budget.window {
        window @ Window::Calendar { zone, .. } if *zone != TimeZone::UTC => {
            let zone = zone.iana_name().unwrap_or("another time zone");
            format!(", budget {} USD {window} ({zone})", budget.limit_usd)
        }
        window => format!(", budget {} USD {window}", budget.limit_usd),
    });
    let (models, dialects, tags) = (list("models"), list("dialects"), tags.collect::<String>());
    format!(
        "{}  {}  {}…  {models}, {dialects}{fallback}{rate}{tags}{budget}{until}{older}",
        text("name"),
        text("state"),
        text("begins")
    )
}

impl Key {
    pub(super) fn run(self) -> Result<(), Failed> {
        match self {
            Self::Create(create) => create.run(),
            Self::List(list) => list.run(),
            Self::Rotate(Rotate { name, overlap, asked }) => {
                let made = asked.done(
                    &format!("/{}/rotate", segment(&name)),
                    json!({"overlap_seconds": overlap.div_ceil(1_000)}),
                )?;
                asked.show(&made)
            }
            Self::Revoke(Revoke { name, asked }) => {
                let key = asked.done(&format!("/{}/revoke", segment(&name)), json!({}))?;
                if asked.gateway.json {
                    return print_json(&key);
                }
                println!("{}", line(&key));
                Ok(())
            }
        }
    }
}

impl Create {
    fn run(self) -> Result<(), Failed> {
        let mut tags = serde_json::Map::new();
        for tag in &self.tags {
            let (name, value) = tag
                .split_once('=')
                .ok_or_else(|| Failed::usage(format!("--tag {tag:?}: a tag is NAME=VALUE, as team=search")))?;
            if tags.insert(name.to_owned(), json!(value)).is_some() {
                return Err(Failed::usage(format!("--tag: {name:?} is given twice")));
            }
        }
        let body = json!({
            "name": self.name,
            "models": self.models,
            "dialects": self.dialects,
            "fallback": self.fallback,
            "requests_per_minute": self.rpm,
            "tokens_per_minute": self.tpm,
            "tags": tags,
            "budget": self.budget_usd.map(|limit| {
                json!({"limit_usd": limit, "period": self.budget_period, "time_zone": self.budget_zone})
            }),
            "expires_in_seconds": self.expires.map(|ms| ms.div_ceil(1_000)),
        });
        let made = self.asked.done("", body)?;
        self.asked.show(&made)
    }
}

impl List {
    fn run(self) -> Result<(), Failed> {
        let listed = self.gateway.get("/admin/v1/keys")?;
        if self.gateway.json {
            return print_json(&listed);
        }
        let keys = listed["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
        if keys.is_empty() {
            println!("no keys; `kairos key create NAME` makes one");
        }
        keys.iter().for_each(|key| println!("{}", line(key)));
        Ok(())
    }
}
