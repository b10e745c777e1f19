//! `kairos demo`.

use std::io::Write as _;
use std::path::Path;

use jiff::civil::{Date, date};
use kairos_bedrock::credentials::{Authority, CredentialSource};
use kairos_bedrock::endpoint::Endpoint;
use kairos_bedrock::sigv4::SigningCredentials;
use kairos_sandbox::prompts::FOLDER;
use kairos_simulator::AccessKey;

use super::serve::Stopped;
use super::simulate::PaceName;
use super::{Failed, say_listening, serve, simulate, told_to_stop, try_lines};
use crate::assemble::{self, ModelSide};
use crate::config::Flags;

/// Run a simulated Bedrock and the gateway in front of it, and say what to try
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kairos demo
  kairos demo --pace lifelike              answers come as fast as models write
  kairos demo --listen 127.0.0.1:9000 --data ./demo-data

Needs no AWS account and leaves nothing behind, unless --data or --policies name a folder.")]
pub(super) struct Demo {
    #[command(flatten)]
    flags: Flags,
    /// How fast answers come
    #[arg(long, value_enum, default_value = "instant")]
    pace: PaceName,
}

/// The demo's day: the seeds' three families all answer on it, by their successors.
const DAY: Date = date(2026, 11, 23);
const REGION: &str = "us-east-1";

/// Policies that the demo brings along, and the name under which each is laid out.
const EXAMPLES: [(&str, &str); 6] = [
    ("task.rhai", include_str!("../../../../policies/task.rhai")),
    ("task.test.toml", include_str!("../../../../policies/task.test.toml")),
    ("score.rhai", include_str!("../../../../policies/score.rhai")),
    ("score.test.toml", include_str!("../../../../policies/score.test.toml")),
    ("backoff.rhai", include_str!("../../../../policies/backoff.rhai")),
    ("backoff.test.toml", include_str!("../../../../policies/backoff.test.toml")),
];

/// A template that it serves.
const TEMPLATE: (&str, &str) = ("1.toml", include_str!("../../../../policies/prompts/explain/1.toml"));

impl Demo {
    pub(super) async fn run(self) -> Result<Stopped, Failed> {
        let mut config = super::read_config(&self.flags)?;
        config.models.as_of.get_or_insert(DAY);
        let fresh = tempfile::Builder::new().prefix("kairos-demo-").tempdir().map_err(cannot("a temporary folder"))?;
        if self.flags.data.is_none() {
            config.data = fresh.path().join("data");
        }
        let examples = fresh.path().join("examples");
        lay_out(&examples, &EXAMPLES)?;
        if config.policies.folder.is_none() {
            let folder = fresh.path().join("policies");
            lay_out(&folder, &[("router.rhai", EXAMPLES[0].1)])?;
            lay_out(&folder.join(FOLDER).join("explain"), &[TEMPLATE])?;
            config.policies.folder = Some(folder);
        }
        let policies = config.policies.folder.clone().unwrap_or_default();
        let data = config.data.clone();

        let simulator =
            simulate::bind(simulate::config(config.models.as_of.unwrap_or(DAY), self.pace, Vec::new())).await?;
        let bedrock = simulator.addr();
        let key = AccessKey::documented().into_iter().next().ok_or_else(|| Failed::new("the simulator has no key"))?;
        let key = SigningCredentials { access_key_id: key.id, secret: key.secret, session_token: key.session_token };
        let here = || Endpoint { url: format!("http://{bedrock}"), host: bedrock.to_string() };
        let side = ModelSide {
            region: REGION.to_owned(),
            endpoint: here(),
            control: here(),
            credentials: CredentialSource::fixed(Authority::Keys(key)),
        };
        let endpoint = side.endpoint.url.clone();
        let app = assemble::assemble(config, side).await?;
        let _watching = serve::watch(&app)?;
        serve::log_start(&app, REGION, &endpoint);
        let listening = serve::bind(&app).await?;
        let address = listening.address();
        let (stop_simulator, stopped) = tokio::sync::oneshot::channel::<()>();
        let simulating = tokio::spawn(simulator.run(async {
            let _ = stopped.await;
        }));
        let ready = || {
            say_listening(address);
            // As the line before: nobody to tell is no reason not to serve.
            let tried = try_lines::text(address, bedrock, &policies, &examples, &data);
            let _ = std::io::stdout().write_all(tried.as_bytes());
        };
        let stopped = serve::serve(app, listening, ready, told_to_stop()).await?;
        drop(stop_simulator);
        let _ = simulating.await;
        Ok(Stopped { folder: Some(fresh), ..stopped })
    }
}

fn cannot(what: &'static str) -> impl Fn(std::io::Error) -> Failed {
    move |error| Failed::new(format!("{what} cannot be written: {error}"))
}

fn lay_out(folder: &Path, files: &[(&str, &str)]) -> Result<(), Failed> {
    std::fs::create_dir_all(folder).map_err(cannot("a folder of policies"))?;
    for (name, text) in files {
        std::fs::write(folder.join(name), text).map_err(cannot("a policy"))?;
    }
    Ok(())
}
