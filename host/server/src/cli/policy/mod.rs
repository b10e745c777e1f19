//! `kairos policy`.

mod beside;
mod dataset;
mod evaluate;
mod evidence;
mod evolving;
mod given;
mod life;
mod propose;
mod publish;
mod sign;
mod test;

pub(super) use self::given::Given;
pub(super) use self::test::run as run_tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Subcommand;
use kairos_sandbox::generation::Generation;
use kairos_sandbox::load::Loader;
use kairos_sandbox::refusal::Refusal;
use kairos_sandbox::trust::Trust;
use serde::Serialize;

use super::{Failed, models, oci};
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
  kairos policy check oci://ghcr.io/acme/router@sha256:9f86d081…

The file is read, its signature is checked where kairos.toml pins keys, and it is compiled, tested by the tests
beside it, and asked some questions twice, as it is before it serves. Exit code 1 when it would be refused.")]
    Check(Check),
    /// Run the tests that policies bring along, and say what is not as they expect
    #[command(after_help = "\
Examples:
  kairos policy test policies/task.rhai policies/score.rhai
  kairos policy test dist/my-router.wasm --tests other.test.toml

The tests of task.rhai and of task.wasm are in task.test.toml, beside it. They run whenever the policy
is loaded, too: one whose tests fail does not serve.
Exit code 1 when a test fails, 2 when a policy has no tests.")]
    Test(test::Test),
    /// Give a version to a running gateway, which validates it and keeps it ready
    #[command(after_help = "\
Examples:
  kairos policy stage ./cheaper.rhai --why \"half the price for mail\"
  kairos policy stage dist/my-router.wasm --data ./kairos-data --json
  kairos policy stage oci://ghcr.io/acme/router@sha256:9f86d081…

It is compiled, tested and tried out as a file of the watched folder is, and does not serve yet. What is in a
registry is fetched by this command, by its digest only, with what `docker login` keeps; the gateway calls
no registry.
Exit codes: 0 staged, 1 no gateway or it failed, 2 wrong usage, 3 refused: it says why")]
    Stage(life::Stage),
    /// Let a version serve
    #[command(after_help = "\
Examples:
  kairos policy activate 3c91ab --why \"agreed on Monday\"

What served stays resident: `kairos policy rollback` goes back to it at once. A version that was staged
or served at any time can be activated; one that was quarantined cannot.
Exit codes: 0 it serves, 1 it failed, 2 no such version, or several, 3 refused")]
    Activate(life::Named),
    /// Ask a version some of the questions that live requests ask, and compare; it never serves
    #[command(after_help = "\
Examples:
  kairos policy shadow 3c91ab
  kairos policy shadow 3c91ab --sample 0.5 --json

It is asked off the requests' way, when they leave it room. `kairos policy list` says how often it
decides alike, `kairos policy show router` what it would have decided otherwise. `kairos policy retire`
ends it.
Exit codes: 0 it is asked, 1 it serves or it failed, 2 no such version, or several, 3 refused")]
    Shadow(beside::Shadow),
    /// Let a version decide a share of the requests, and compare it with what serves
    #[command(after_help = "\
Examples:
  kairos policy canary 3c91ab --why \"half the price for mail\"
  kairos policy canary 3c91ab --share 0.01 --auto --metric helpful
  kairos policy canary 3c91ab --sticky team

It is rolled back by itself when it is shown to fail more, or to be slower, dearer or rated worse than
[policies.canary] tolerates, and with --auto it is promoted by itself when it is shown not to, and to be
better or cheaper. One at a time. `kairos policy list` shows how it compares, `kairos policy rollback`
ends it, `kairos policy activate` lets it serve everything.
Exit codes: 0 it serves a share, 1 another does or it failed, 2 no such version, or several, 3 refused")]
    Canary(beside::Canary),
    /// End the canary; without one, let the version serve again that served before
    #[command(after_help = "\
Examples:
  kairos policy rollback
  kairos policy rollback router --why \"answers are too short\"

What served stays staged. Again, it goes back one more.
Exit codes: 0 it serves, 1 nothing served before, 2 wrong usage, 3 refused")]
    Rollback(life::Rollback),
    /// Keep a version ready no longer
    #[command(after_help = "\
Examples:
  kairos policy retire 3c91ab

Its bytes stay: it can be activated again. What serves cannot be retired.
Exit codes: 0 retired, 1 it serves or is not resident, 2 no such version, or several, 3 refused")]
    Retire(life::Named),
    /// Say what serves, what did before, and what is ready
    #[command(after_help = "\
Examples:
  kairos policy list
  kairos policy list --url http://127.0.0.1:8000 --json")]
    List(life::List),
    /// Say more of a slot, or of a version: its text and its tests
    #[command(after_help = "\
Examples:
  kairos policy show router
  kairos policy show 3c91ab")]
    Show(life::Show),
    /// Make a pair of keys that signs policies
    #[command(after_help = "\
Examples:
  kairos policy keygen release.key

KEYFILE is the private key (Ed25519, PKCS#8 in PEM, for its owner only), KEYFILE.pub the public one, which
gateways pin under [policies.keys]. Nothing is written over.
Exit codes: 0 made, 1 it cannot be written, 2 a file is there already")]
    Keygen(sign::Keygen),
    /// Sign a policy with its tests, for a slot: writes FILE.sig
    #[command(after_help = "\
Examples:
  kairos policy sign --key release.key policies.d/router.rhai
  kairos policy sign --key release.key --slot healer calm.rhai
  kairos policy sign --statement router.rhai > statement     # for a key that is elsewhere

A gateway with `require_signature = true` serves only what a key of its [policies.keys] has signed. What is
signed is the file, its tests and the slot together: a change of one needs another signature.
Exit codes: 0 signed, 1 it cannot be written, 2 wrong usage, or no such key")]
    Sign(sign::Sign),
    /// Put a policy, its tests and its signature into an OCI registry, and print its address
    #[command(after_help = "\
Examples:
  kairos policy push router.rhai oci://ghcr.io/acme/router:1.2
  kairos policy push dist/my-router.wasm oci://localhost:5000/my-router

With what `docker login` keeps. The address that it prints names the digest, by which `kairos policy stage`
fetches it.
Exit codes: 0 pushed, 1 the registry refused or failed, 2 wrong usage")]
    Push(publish::Push),
    /// Score the outcomes of a data set by an evaluator, and say what they come to
    #[command(after_help = "\
Examples:
  kairos policy evaluate policies/quality.rhai --data cases.jsonl
  kairos policy evaluate judge.wasm --data cases.jsonl --limit 50 --gateway http://127.0.0.1:8000 --json
  kairos policy evaluate --data cases.jsonl --model nova-lite --evidence evidence.json

A line of the data set is a case: {\"id\": …, \"prompt\": …, \"outcomes\": {MODEL: {\"quality\": …, \"cost\": …}}}.
What is not known of an outcome counts for nothing. With --json each score is a line, and the last one says what
they come to. Three scores that fail end the run.
Exit codes: 0 scored, 1 scores failed or there were none, 2 wrong usage")]
    Evaluate(evaluate::Evaluate),
    /// Let a mutator propose changes of some files, and show them
    #[command(after_help = "\
Examples:
  kairos policy propose policies/numbers.rhai --genome router.rhai --seed 1
  kairos policy propose --genome prompt.txt weights.toml --evidence evidence.json --seed 7 --json

Nothing is written. What does not apply, changes nothing or is there twice is left out, with the reason.
Exit codes: 0 proposed, 1 it failed, 2 wrong usage")]
    Propose(propose::Propose),
    /// Print what scripts can see and call: policies/REFERENCE.md
    Reference,
}

#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// A script (.rhai) or a component (.wasm), or oci://REGISTRY/REPOSITORY@sha256:DIGEST
    file: String,
    /// Configuration file: what it grants and configures holds [default: kairos.toml, where there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What a check found.
#[derive(Serialize)]
struct Report<'a, F> {
    file: String,
    accepted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    engine: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasons: Option<Vec<(u32, Arc<str>)>>,
    /// How many tests of its own it passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    tests: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// What else is known.
    #[serde(flatten)]
    facts: Option<&'a F>,
}

impl Policy {
    pub(super) fn run(self) -> Result<(), Failed> {
        match self {
            Self::Check(check) => check.run(),
            Self::Test(test) => test.run(),
            Self::Stage(stage) => stage.run(),
            Self::Activate(named) => named.activate(),
            Self::Shadow(shadow) => shadow.run(),
            Self::Canary(canary) => canary.run(),
            Self::Rollback(rollback) => rollback.run(),
            Self::Retire(named) => named.retire(),
            Self::List(list) => list.run(),
            Self::Show(show) => show.run(),
            Self::Keygen(keygen) => keygen.run(),
            Self::Sign(sign) => sign.run(),
            Self::Push(push) => push.run(),
            Self::Evaluate(evaluate) => evaluate.run(),
            Self::Propose(propose) => propose.run(),
            Self::Reference => {
                print!("{}", kairos_sandbox::script::reference());
                Ok(())
            }
        }
    }
}

impl Check {
    fn run(self) -> Result<(), Failed> {
        let flags = Flags { config: self.config.clone(), ..Flags::default() };
        let config = super::read_config(&flags)?;
        let Self { file, json, .. } = self;
        let path = Path::new(&file);
        let loaded = if oci::is_address(&file) {
            let given = Given::find(&file, None, None, || Ok(config.clone()))?;
            let (loader, path) = (loader(&config, None)?, path.to_owned());
            on_a_loaders_thread(move || {
                given.version(&loader).and_then(|version| loader.load_version(&path, &version))
            })?
        } else {
            load(&config, path.to_owned())?
        };
        say(path, &file, loaded, json, None::<&()>, "")
    }
}

/// Says what loading a file came to. `facts` and `text` are what is known beside, for programs and people.
pub(super) fn say(
    path: &Path,
    file: &str,
    loaded: Result<Generation, Refusal>,
    json: bool,
    facts: Option<&impl Serialize>,
    text: &str,
) -> Result<(), Failed> {
    let print = |report: &Report<'_, _>, text: String| {
        let json = if json { serde_json::to_string_pretty(report).map(Some) } else { Ok(None) };
        println!("{}", json.map_err(|error| Failed::new(error.to_string()))?.unwrap_or(text));
        Ok(())
    };
    match loaded {
        Ok(generation) => {
            let (identity, engine) = (generation.identity(), generation.engine_name());
            let report = Report {
                accepted: true,
                policy: Some(Arc::clone(identity.label())),
                engine: Some(engine),
                reasons: Some(identity.reasons.clone()),
                tests: Some(generation.tests()),
                facts,
                ..Report::about(file)
            };
            let passed = match generation.tests() {
                0 => "it has no tests of its own".to_owned(),
                passed => test::passed(passed),
            };
            print(&report, format!("{file}: would serve as {} ({engine}); {passed}{text}", identity.label()))
        }
        Err(refusal) => {
            let report = Report {
                file: refusal.file(path).display().to_string(),
                message: Some(refusal.message.clone()),
                line: refusal.at.map(|(line, _)| line),
                column: refusal.at.map(|(_, column)| column),
                hint: refusal.hint.clone(),
                facts,
                ..Report::about(file)
            };
            print(&report, refusal.explain(file))?;
            Err(Failed::new(""))
        }
    }
}

/// Loads a file as it is loaded before it serves.
pub(super) fn load(config: &Config, path: PathBuf) -> Result<Result<Generation, Refusal>, Failed> {
    let loader = loader(config, None)?;
    on_a_loaders_thread(move || loader.load(&path))
}

/// What loads policies for their authors, who sign what they are done with: nobody need vouch for them yet.
pub(super) fn authors(loader: Loader) -> Loader {
    Loader { trust: Trust::default(), ..loader }
}

/// What loads policies here. Without `cache` it compiles anew what the gateway may have in its own.
pub(super) fn loader(config: &Config, cache: Option<&Path>) -> Result<Loader, Failed> {
    Ok(assemble::loader(config, &models::region_or_default(config), cache)?)
}

/// Works on a thread like those that load: scripts need its stack.
pub(super) fn on_a_loaders_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failed> {
    std::thread::Builder::new()
        .stack_size(kairos_sandbox::host::THREAD_STACK)
        .spawn(work)
        .map_err(|error| Failed::new(error.to_string()))?
        .join()
        .map_err(|_| Failed::new("the check itself failed; this is a fault of Kairos"))
}

impl<F> Report<'_, F> {
    fn about(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            accepted: false,
            policy: None,
            engine: None,
            reasons: None,
            tests: None,
            message: None,
            line: None,
            column: None,
            hint: None,
            facts: None,
        }
    }
}
