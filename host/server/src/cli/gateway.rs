//! The command line as a client of a gateway that runs.

use std::path::PathBuf;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use kairos_pipeline::request::Secret;
use serde_json::Value;

use super::{Failed, on_runtime};
use crate::admin::{NOTE_FILE, TOKEN, TOKEN_FILE};
use crate::config::{Config, Flags};
use crate::secret_file;

/// Bytes of an answer that are read.
const MOST: usize = 64 * 1024 * 1024;

/// Which data folder.
#[derive(Debug, clap::Args)]
pub(super) struct Place {
    /// Folder of the gateway's data
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Configuration file that names the folder [default: kairos.toml, where there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Place {
    pub(super) fn config(&self) -> Result<Config, Failed> {
        let flags = Flags { data: self.data.clone(), config: self.config.clone(), ..Flags::default() };
        super::read_config(&flags)
    }
}

/// Which gateway, and how it answers.
#[derive(Debug, clap::Args)]
pub(super) struct Gateway {
    #[command(flatten)]
    place: Place,
    /// Address of the gateway [default: where the one listens that keeps the data folder]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Who asks, as the system calls him: nothing vouches for it.
pub(super) fn user() -> Option<String> {
    std::env::var("USER").ok().filter(|user| !user.is_empty())
}

/// A text as one segment of a path.
pub(super) fn segment(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

pub(super) fn print_json(value: &Value) -> Result<(), Failed> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failed::new(error.to_string()))?;
    println!("{text}");
    Ok(())
}

impl Gateway {
    /// What the configuration beside it says.
    pub(super) fn config(&self) -> Result<Config, Failed> {
        self.place.config()
    }

    /// Reads what the gateway says.
    pub(super) fn get(&self, path: &str) -> Result<Value, Failed> {
        self.ask(Method::GET, path, None)
    }

    /// Has the gateway do something.
    pub(super) fn change(&self, method: Method, path: &str, body: &Value) -> Result<Value, Failed> {
        self.ask(method, path, Some(body))
    }

    fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failed> {
        let config = self.place.config()?;
        let url = self.find(&config)?;
        let token = token(&config);
        let mut request = Request::builder().method(method).uri(format!("{url}{path}"));
        if let Some(token) = &token {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.expose()));
        }
        let body = body.map_or(Bytes::new(), |body| body.to_string().into());
        let request = request.header(CONTENT_TYPE, "application/json").body(Full::new(body));
        let request = request.map_err(|error| Failed::usage(format!("--url: {error}")))?;
        let (status, answer) = on_runtime(async {
            let client = Client::builder(TokioExecutor::new()).build_http();
            let unanswered = |error: &dyn std::fmt::Display| {
                Failed::new(format!(
                    "no gateway answers at {url}: {error}; start one with `kairos serve`, or name it with --url"
                ))
            };
            let response = client.request(request).await.map_err(|error| unanswered(&error))?;
            let status = response.status();
            let body = http_body_util::Limited::new(response.into_body(), MOST);
            let body = body.collect().await.map_err(|error| unanswered(&error))?;
            Ok((status, body.to_bytes()))
        })?;
        let answer: Value = serde_json::from_slice(&answer)
            .map_err(|_| Failed::new(format!("what answers at {url} ({status}) is no gateway of this version")))?;
        if status.is_success() {
            return Ok(answer);
        }
        if self.json {
            print_json(&answer)?;
        }
        Err(refusal(status.as_u16(), &answer["error"], self.json))
    }

    /// Where the gateway is.
    fn find(&self, config: &Config) -> Result<String, Failed> {
        if let Some(url) = &self.url {
            if !url.starts_with("http://") {
                return Err(Failed::usage(format!("--url: {url:?} is not an address that begins with http://")));
            }
            return Ok(url.trim_end_matches('/').to_owned());
        }
        let note = std::fs::read(config.data.join(NOTE_FILE)).ok();
        let note: Option<Value> = note.and_then(|note| serde_json::from_slice(&note).ok());
        note.and_then(|note| Some(note["url"].as_str()?.to_owned())).ok_or_else(|| {
            let data = config.data.display();
            Failed::new(format!(
                "no gateway runs on {data}: start one with `kairos serve --data {data}`, or name it with --url"
            ))
        })
    }
}

/// The admin token: of the configuration or the environment, else of the data folder.
fn token(config: &Config) -> Option<Secret> {
    let configured = config.auth.admin_token.as_ref().map(|token| token.0.clone());
    configured.or_else(|| secret_file::read(&config.data.join(TOKEN_FILE), TOKEN).ok())
}

/// What the gateway did not do, in words.
fn refusal(status: u16, error: &Value, said: bool) -> Failed {
    let text = |name: &str| error[name].as_str().unwrap_or_default();
    let place = match (error["file"].as_str(), error["line"].as_u64(), error["column"].as_u64()) {
        (Some(file), Some(line), Some(column)) => format!("{file}:{line}:{column}: "),
        (Some(file), ..) => format!("{file}: "),
        _ => String::new(),
    };
    // The gateway knows callers by their keys; who commands it has another one.
    let token = "the gateway's admin token is needed: KAIROS_ADMIN_TOKEN, or --data with the folder that holds it";
    let hint = error["hint"].as_str().or((status == 401 && !text("message").contains("admin token")).then_some(token));
    let hint = hint.map_or(String::new(), |hint| format!("\n  hint: {hint}"));
    let message = if said { String::new() } else { format!("{place}{}{hint}", text("message")) };
    match (status, text("code")) {
        (401 | 403 | 422, _) | (_, "quarantined") => Failed::refused(message),
        (400 | 404, _) | (_, "ambiguous") => Failed::usage(message),
        _ => Failed::new(message),
    }
}
