//! `kairos simulate`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use jiff::civil::Date;
use kairos_simulator::{AccessKey, Config, Fault, Pace, Simulator, Speed};

use super::{Failed, say_listening, told_to_stop};

/// Run a simulated Bedrock: real wire and signatures, invented answers, its own bill
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kairos simulate --listen 127.0.0.1:9001
  kairos simulate --pace lifelike --speed amazon.nova-lite-v1:0=200,150
  kairos simulate --faults faults.json

This is not AWS. It accepts the example keys of AWS's documentation (AKIDEXAMPLE with
wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY), the pair in AWS_ACCESS_KEY_ID and
AWS_SECRET_ACCESS_KEY, and the API key `kairos-simulator-key`.
GET /sim/v1/bill is what AWS would charge, /sim/v1/bill.csv the same as CUR 2.0 exports it, which
`kairos ledger reconcile` reads; PUT /sim/v1/faults changes what goes wrong, PUT /sim/v1/jobs
ends an asynchronous invocation.")]
pub(super) struct Simulate {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9001")]
    listen: SocketAddr,
    /// The day whose models and prices hold [default: today, UTC]
    #[arg(long, value_name = "DATE")]
    as_of: Option<Date>,
    /// How fast answers come
    #[arg(long, value_enum, default_value = "instant")]
    pace: PaceName,
    /// A model's time to the first token, in milliseconds, and its tokens a second; `*` for all others
    #[arg(long, value_name = "MODEL=MS,RATE", value_parser = parse_speed)]
    speed: Vec<(String, Speed)>,
    /// An application inference profile, and the profile or model that it was made of
    #[arg(long, value_name = "ARN=MODEL", value_parser = parse_profile)]
    application_profile: Vec<(String, String)>,
    /// What goes wrong from the beginning: a JSON file, as PUT /sim/v1/faults takes it
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
    /// Seconds after which an asynchronous invocation is complete
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    job_seconds: u64,
}

/// How fast answers come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum PaceName {
    /// As fast as they can be written.
    Instant,
    /// As models do.
    Lifelike,
}

impl Simulate {
    pub(super) async fn run(self) -> Result<(), Failed> {
        let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
        let mut config = config(self.as_of.unwrap_or(today), self.pace, self.speed);
        config.listen = self.listen;
        config.job_lasts = Duration::from_secs(self.job_seconds);
        config.application_profiles.extend(self.application_profile);
        config.faults = self.faults.as_deref().map(read_faults).transpose()?.unwrap_or_default();
        let simulator = bind(config).await?;
        say_listening(simulator.addr());
        simulator.run(told_to_stop()).await;
        Ok(())
    }
}

/// A simulator's configuration.
pub(super) fn config(as_of: Date, pace: PaceName, speeds: Vec<(String, Speed)>) -> Config {
    let mut config = Config::new(as_of);
    config.pace = with_speeds(
        match pace {
            PaceName::Instant => Pace::Instant,
            PaceName::Lifelike => Pace::lifelike(),
        },
        speeds,
    );
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    for (id, secret, token) in [
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
        ("AWS_BEDROCK_ACCESS_KEY_ID", "AWS_BEDROCK_SECRET_ACCESS_KEY", "AWS_BEDROCK_SESSION_TOKEN"),
    ] {
        if let (Some(id), Some(secret)) = (set(id), set(secret)) {
            config.keys.push(AccessKey { id, secret, session_token: set(token) });
        }
    }
    config.api_keys.extend(set("AWS_BEARER_TOKEN_BEDROCK"));
    config
}

/// Takes the simulator's address.
pub(super) async fn bind(config: Config) -> Result<Simulator, Failed> {
    let address = config.listen;
    Simulator::bind(config).await.map_err(|error| Failed::new(format!("{address} cannot be listened on: {error}")))
}

fn with_speeds(pace: Pace, speeds: Vec<(String, Speed)>) -> Pace {
    if speeds.is_empty() {
        return pace;
    }
    let instant = Speed { first_token: Duration::ZERO, tokens_per_second: u32::MAX };
    let (mut default, mut models) = match pace {
        Pace::Instant => (instant, BTreeMap::new()),
        Pace::Paced { default, models } => (default, models),
    };
    for (model, speed) in speeds {
        if model == "*" {
            default = speed;
        } else {
            models.insert(model, speed);
        }
    }
    Pace::Paced { default, models }
}

fn parse_speed(text: &str) -> Result<(String, Speed), String> {
    let wrong = || "MODEL=MS,RATE is expected, like amazon.nova-lite-v1:0=200,150".to_owned();
    let (model, speed) = text.rsplit_once('=').ok_or_else(wrong)?;
    let (first_token, rate) = speed.split_once(',').ok_or_else(wrong)?;
    let first_token = Duration::from_millis(first_token.trim().parse().map_err(|_| wrong())?);
    let tokens_per_second = rate.trim().parse().map_err(|_| wrong())?;
    Ok((model.to_owned(), Speed { first_token, tokens_per_second }))
}

fn parse_profile(text: &str) -> Result<(String, String), String> {
    let (arn, model) = text.split_once('=').ok_or("ARN=MODEL is expected")?;
    Ok((arn.to_owned(), model.to_owned()))
}

fn read_faults(path: &std::path::Path) -> Result<Vec<Fault>, Failed> {
    let text = std::fs::read_to_string(path).map_err(|error| Failed::usage(format!("{}: {error}", path.display())))?;
    Fault::read_list(text.as_bytes()).map_err(|error| Failed::usage(format!("{}: {error}", path.display())))
}
