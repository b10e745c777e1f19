//! `kairos policy stage`, `activate`, `rollback`, `retire`, `list` and `show`: what a running gateway
//! does with versions.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use kairos_pipeline::policy::World;
use kairos_sandbox::load::SLOTS;
use serde_json::{Value, json};

use super::super::gateway::{Gateway, print_json, segment, user};
use super::super::{Failed, counted, short};
use super::given::Given;

#[derive(Debug, clap::Args)]
pub(crate) struct Stage {
    /// A script (.rhai) or a component (.wasm), or oci://REGISTRY/REPOSITORY@sha256:DIGEST
    #[arg(value_name = "FILE|ADDRESS")]
    file: String,
    /// The slot that it is for [default: that of its name, else of what it judges]
    #[arg(long, value_name = "SLOT")]
    slot: Option<String>,
    /// The file of its tests [default: STEM.test.toml beside it, where there is one]
    #[arg(long, value_name = "FILE")]
    tests: Option<PathBuf>,
    /// The file of its signature [default: FILE.sig beside it, where there is one]
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Named {
    /// The first characters of the version's SHA-256, 6 at least
    digest: String,
    /// The slot that it is for [default: the one that has it]
    #[arg(long, value_name = "SLOT")]
    slot: Option<String>,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Rollback {
    /// The slot
    #[arg(default_value = SLOTS[0])]
    slot: String,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    gateway: Gateway,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    /// A slot, or the first characters of a version's SHA-256, 6 at least
    #[arg(value_name = "SLOT|DIGEST")]
    what: String,
    #[command(flatten)]
    gateway: Gateway,
}

/// A change that a gateway is asked for.
#[derive(Debug, clap::Args)]
pub(super) struct Asked {
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    #[command(flatten)]
    gateway: Gateway,
}

impl Asked {
    /// Has it done: `body`, with who asks (as the system calls him) and why.
    pub(super) fn done(&self, method: Method, slot: &str, what: &str, mut body: Value) -> Result<Value, Failed> {
        body["why"] = json!(self.why);
        body["by"] = json!(user());
        self.gateway.change(method, &format!("/admin/v1/policies/{}/{what}", segment(slot)), &body)
    }

    /// The slot that is named, else the one that has a version whose digest begins so, else the router's.
    pub(super) fn slot_of(&self, named: Option<&str>, beginning: &str) -> Result<String, Failed> {
        match named {
            Some(slot) => Ok(slot.to_owned()),
            None => slot_of(&self.gateway, beginning).map(str::to_owned),
        }
    }

    /// Says what became of it.
    pub(super) fn say(&self, done: &Value, what: &str) -> Result<(), Failed> {
        if self.gateway.json {
            return print_json(done);
        }
        println!("{} {what}", shown(text(done, "policy")));
        Ok(())
    }
}

/// The slot that has a version whose digest begins so; none: the router's, which says that it has none.
fn slot_of(gateway: &Gateway, beginning: &str) -> Result<&'static str, Failed> {
    for slot in SLOTS {
        let shown = gateway.get(&format!("/admin/v1/policies/{slot}"))?;
        let listed = [&shown["versions"], &shown["kept"]].into_iter().filter_map(Value::as_array).flatten();
        if listed.into_iter().any(|version| text(version, "digest").starts_with(beginning)) {
            return Ok(slot);
        }
    }
    Ok(World::Router.name())
}

pub(super) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

pub(super) fn number(value: &Value, name: &str) -> usize {
    value[name].as_u64().and_then(|number| usize::try_from(number).ok()).unwrap_or(0)
}

/// `name@digest`, with as much of the digest as people read.
pub(super) fn shown(policy: &str) -> String {
    policy.rsplit_once('@').map_or(policy.to_owned(), |(name, digest)| format!("{name}@{}", short(digest)))
}

/// `, signed by NAME`, where a key vouches for it.
fn signed(version: &Value) -> String {
    version["signed_by"].as_str().map_or_else(String::new, |name| format!(", signed by {name}"))
}

impl Stage {
    pub(super) fn run(self) -> Result<(), Failed> {
        let config = || self.asked.gateway.config();
        let given = Given::find(&self.file, self.tests.as_deref(), self.signature.as_deref(), config)?;
        let slot = match &self.slot {
            Some(slot) => slot.clone(),
            None => given.world(None)?.name().to_owned(),
        };
        let Given { file, bytes, tests, signature } = given;
        let tests = tests.map(|tests| String::from_utf8(tests).map_err(|_| Failed::usage("the tests are not UTF-8")));
        let tests = tests.transpose()?;
        let body = json!({"file": file, "bytes": STANDARD.encode(&bytes), "tests": tests, "signature": signature});
        let done = self.asked.done(Method::PUT, &slot, "versions", body)?;
        let passed = match number(&done, "tests") {
            0 => "it has no tests of its own".to_owned(),
            tests => super::test::passed(tests),
        };
        let digest = short(text(&done, "digest"));
        self.asked.say(&done, &format!("is staged; {passed}\n  kairos policy activate {digest} lets it serve"))
    }
}

impl Named {
    pub(super) fn activate(self) -> Result<(), Failed> {
        let done = self.done("activate")?;
        self.asked.say(&done, if done["already"] == true { "serves already" } else { "serves" })
    }

    pub(super) fn retire(self) -> Result<(), Failed> {
        let done = self.done("retire")?;
        self.asked.say(&done, "is retired")
    }

    fn done(&self, act: &str) -> Result<Value, Failed> {
        let slot = self.asked.slot_of(self.slot.as_deref(), &self.digest)?;
        self.asked.done(Method::POST, &slot, act, json!({"digest": self.digest}))
    }
}

impl Rollback {
    pub(super) fn run(self) -> Result<(), Failed> {
        let done = self.asked.done(Method::POST, &self.slot, "rollback", json!({}))?;
        if done["ended"].is_string() {
            return self.asked.say(&done, &format!("is no canary any more, {} serves", shown(text(&done, "serves"))));
        }
        self.asked.say(&done, "serves again")
    }
}

impl List {
    pub(super) fn run(self) -> Result<(), Failed> {
        let slots = self.gateway.get("/admin/v1/policies")?;
        if self.gateway.json {
            return print_json(&slots);
        }
        slots["slots"].as_array().into_iter().flatten().for_each(|slot| print!("{}", slot_text(slot, false)));
        let kept = |name: &str| number(&slots["kept"], name);
        let (versions, most) = (counted(kept("versions"), "version"), kept("most_versions"));
        let (bytes, most_bytes) = (kept("bytes"), kept("most_bytes"));
        println!("kept: {versions} of at most {most}, {bytes} bytes of at most {most_bytes}");
        Ok(())
    }
}

/// What is so in a slot, for people: a line a version, and how what is tried compares; `all` of it.
fn slot_text(slot: &Value, all: bool) -> String {
    let mut lines = vec![text(slot, "slot").to_owned()];
    if slot["engine"] == "native" {
        lines.push(format!("  active    {}  native", text(slot, "serves")));
    }
    for version in slot["versions"].as_array().into_iter().flatten() {
        let policy = shown(text(version, "policy"));
        let (role, engine, file) = (text(version, "role"), text(version, "engine"), text(version, "file"));
        let calls = counted(number(version, "calls"), "call");
        let signed = signed(version);
        lines.push(format!("  {role:<8}  {policy}  {engine}  {file}  {calls}{signed}"));
    }
    super::beside::lines(slot, all, &mut lines);
    for digest in slot["quarantined"].as_array().into_iter().flatten() {
        lines.push(format!("  quarantined  {}", short(digest.as_str().unwrap_or_default())));
    }
    if slot["folder"]["serves"] == false {
        let (file, digest) = (text(&slot["folder"], "file"), short(text(&slot["folder"], "digest")));
        lines.push(format!("  what serves is not the folder's file, which was there before: {file} ({digest})"));
    }
    if let Some(refusal) = slot["refusal"].as_str() {
        lines.push(format!("  last refused: {}", refusal.replace('\n', "\n  ")));
    }
    lines.join("\n") + "\n"
}

impl Show {
    pub(super) fn run(self) -> Result<(), Failed> {
        if !SLOTS.contains(&self.what.as_str()) {
            return self.version();
        }
        let slot = self.gateway.get(&format!("/admin/v1/policies/{}", self.what))?;
        if self.gateway.json {
            return print_json(&slot);
        }
        print!("{}", slot_text(&slot, true));
        println!("  kept, the newest first:");
        for version in slot["kept"].as_array().into_iter().flatten() {
            let (digest, name, file) = (short(text(version, "digest")), text(version, "name"), text(version, "file"));
            println!("    {digest}  {name}  {file}  {}", text(version, "added"));
        }
        Ok(())
    }

    fn version(&self) -> Result<(), Failed> {
        let slot = slot_of(&self.gateway, &self.what)?;
        let path = format!("/admin/v1/policies/{slot}/versions/{}", segment(&self.what));
        let version = self.gateway.get(&path)?;
        if self.gateway.json {
            return print_json(&version);
        }
        let field = |name: &str| text(&version, name);
        let role = version["role"].as_str().unwrap_or("kept");
        println!("{}@{}", field("name"), field("digest"));
        let signed = signed(&version);
        println!(
            "{} for {}, {role}, from {}, {}{signed}",
            field("engine"),
            field("slot"),
            field("file"),
            field("added")
        );
        for (what, shown) in [("policy", &version["text"]), ("tests", &version["tests"])] {
            if let Some(shown) = shown.as_str() {
                println!("\n--- {what}\n{}", shown.trim_end());
            }
        }
        Ok(())
    }
}
