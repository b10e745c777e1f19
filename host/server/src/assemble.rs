//! Puts the gateway together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::civil::Date;
use kairos_bedrock::aws::Caller;
use kairos_bedrock::catalogue::{self, View};
use kairos_bedrock::client::Client;
use kairos_bedrock::credentials::{self, CredentialSource};
use kairos_bedrock::endpoint::{CONTROL, Endpoint, RUNTIME, endpoint};
use kairos_pipeline::budget::Rule;
use kairos_pipeline::gateway::{Gateway, Load, Settings};
use kairos_pipeline::guards::Pii;
use kairos_pipeline::healers::Backoff;
use kairos_pipeline::history::History;
use kairos_pipeline::jobs::Jobs;
use kairos_pipeline::models::{Answering, Catalogue, ModelKind};
use kairos_pipeline::places::Places;
use kairos_pipeline::policy::{Guard, Healer, Router};
use kairos_pipeline::profile::is_application;
use kairos_pipeline::rates::{Limit, Rate, Rates};
use kairos_pipeline::record::Records;
use kairos_pipeline::request::Secret;
use kairos_pipeline::{routers, scope};
use kairos_sandbox::cases::{self, Catalogues};
use kairos_sandbox::host::Clock;
use kairos_sandbox::load::Loader;
use kairos_sandbox::prompts::Prompts;
use kairos_sandbox::slots::{Natives, Slots};
use kairos_sandbox::versions::Versions;
use kairos_sandbox::wasm::WasmEngine;
use kairos_store::jobs::SqliteJobs;
use kairos_store::learned::LearnedStore;
use kairos_store::ledger::{LedgerError, Locked, SqliteLedger};
use kairos_store::policies::PolicyStore;
use kairos_store::records::{self, RecordStore};

use crate::admin::{Admin, Kept, Token};
use crate::alerts::Alerts;
use crate::config::{Config, EndedModels, RateSettings, Unpriced};
use crate::edge::App;
use crate::keys::issued::Issued;
use crate::keys::{Keyring, OPERATORS, hash};
use crate::prices::{self, Book};
use crate::profiles::{self, Resolver};
use crate::secret_file;
use crate::signers;
use crate::telemetry::{Metrics, Telemetry};

/// Something of the gateway cannot be put together; says what, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct AssemblyError(pub(crate) String);

impl AssemblyError {
    pub(crate) fn of(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }

    /// What is wrong with a file of the data folder; the error begins with its name.
    pub(crate) fn of_file(data: &Path, error: &impl std::fmt::Display) -> Self {
        let data = data.display();
        Self(format!(
            "{data}/{error}; put the file back from a copy, or move it away, and the next start makes a new one"
        ))
    }
}

/// The model side: where Bedrock is, and as whom it is called.
pub(crate) struct ModelSide {
    pub(crate) region: String,
    pub(crate) endpoint: Endpoint,
    /// Where Bedrock's control plane is.
    pub(crate) control: Endpoint,
    pub(crate) credentials: CredentialSource,
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Finds region, endpoint and credentials in configuration and environment.
pub(crate) async fn model_side(config: &Config) -> Result<ModelSide, AssemblyError> {
    let region = region(config).await?;
    let control = endpoint(CONTROL, &region, variable).map_err(AssemblyError::of)?;
    let endpoint = endpoint(RUNTIME, &region, variable).map_err(AssemblyError::of)?;
    let credentials = CredentialSource::find(&region, variable).await.map_err(AssemblyError::of)?;
    Ok(ModelSide { region, endpoint, control, credentials })
}

/// The region that is called.
pub(crate) async fn region(config: &Config) -> Result<String, AssemblyError> {
    let region = match &config.upstream.region {
        Some(region) => Some(region.clone()),
        None => credentials::region().await,
    };
    let region = region.ok_or_else(|| {
        AssemblyError("no AWS region: set AWS_REGION (for example AWS_REGION=us-east-1), or `region` under [upstream] in kairos.toml".to_owned())
    })?;
    let plain = region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if plain && (1..=32).contains(&region.len()) {
        Ok(region)
    } else {
        Err(AssemblyError(format!("{region:?} is not the name of an AWS region")))
    }
}

/// Today, in UTC, unless the configuration says otherwise.
pub(crate) fn as_of(config: &Config) -> Date {
    config.models.as_of.unwrap_or_else(|| jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date())
}

/// The catalogue, for a region and a date, with the operator's own prices as they are now.
pub(crate) fn read_catalogue(config: &Config, region: &str, as_of: Date) -> Result<Catalogue, AssemblyError> {
    let own = prices::own(config).map_err(|wrong| AssemblyError(format!("models.prices: {wrong}")))?;
    let pins = profiles::read(&config.data).map_err(AssemblyError)?;
    catalogue(config, region, as_of, &own, &profiles::names(config.profiles, region, &pins))
}

/// Does something with what the configuration says of models; profiles are not of the configuration.
pub(crate) fn view<T>(
    config: &Config,
    region: &str,
    as_of: Date,
    own_prices: &str,
    then: impl FnOnce(&View<'_>) -> T,
) -> T {
    let models = &config.models;
    let names: Vec<_> = models.names.iter().map(|(name, model)| (name.clone(), model.clone())).collect();
    let (auto, fallback) = (models.auto.as_deref(), &models.fallback);
    let (is_day_set, allow_unpriced) = (models.as_of.is_some(), models.unpriced == Unpriced::Allow);
    let burndown: Vec<_> = config.limits.burndown.iter().map(|(name, figure)| (name.clone(), *figure)).collect();
    let (names, burndown, profiles) = (&names, &burndown, &[]);
    then(&View { region, as_of, is_day_set, own_prices, allow_unpriced, names, profiles, burndown, auto, fallback })
}

/// The catalogue, for a region and a date, with these own prices and profiles.
pub(crate) fn catalogue(
    config: &Config,
    region: &str,
    as_of: Date,
    own_prices: &str,
    profiles: &[(String, String)],
) -> Result<Catalogue, AssemblyError> {
    let loaded = view(config, region, as_of, own_prices, |view| {
        catalogue::load(catalogue::BUILT_IN, &View { profiles, ..view.clone() })
    });
    let catalogue = loaded.map_err(|error| match prices::wrong(config, &error) {
        Some(wrong) => AssemblyError(format!("models.prices: {wrong}")),
        None => AssemblyError(format!("models: {error}")),
    })?;
    let default = &config.models.default;
    match catalogue.answering(default) {
        // What it stands for is Bedrock's to say: a request is refused by it, the catalogue is not.
        _ if is_application(default) => Ok(catalogue),
        Answering::Unknown(near) if default != "auto" => {
            let hint = near.map_or(String::new(), |near| format!("; did you mean {near:?}?"));
            Err(AssemblyError(format!("models.default: the model {default:?} is not known{hint}")))
        }
        Answering::Target { target, .. } if catalogue.model_of(target).kind != ModelKind::Chat => {
            let kind = catalogue.model_of(target).kind.name();
            Err(AssemblyError(format!("models.default: {default:?} is of kind {kind:?}; name a chat model")))
        }
        _ => Ok(catalogue),
    }
}

/// The clock of the process; the system's where nobody has set another.
static CLOCK: OnceLock<fn() -> u64> = OnceLock::new();

/// Sets the clock of the process, once.
pub(crate) fn set_clock(clock: fn() -> u64) {
    // Whoever was first has it.
    let _ = CLOCK.set(clock);
}

/// Milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    CLOCK.get().copied().unwrap_or(system_ms)()
}

fn system_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The models that tests of policies are asked with, on the gateway's day and from its region, where
/// they do not name others.
fn test_catalogues(config: &Config, region: &str) -> Catalogues {
    let (region, as_of) = (region.to_owned(), as_of(config));
    let names: Vec<_> = config.models.names.iter().map(|(name, model)| (name.clone(), model.clone())).collect();
    Arc::new(move |asked: cases::View<'_>| {
        let as_of = match asked.as_of {
            None => as_of,
            Some(day) => day.parse().map_err(|_| format!("{day:?} is not a day, as 2026-11-23 is"))?,
        };
        let region = asked.region.unwrap_or(&region);
        let of = |names| catalogue::load(catalogue::BUILT_IN, &View { names, ..View::plain(region, as_of) });
        // A name of the configuration may stand for a profile that another region does not have.
        of(&names).or_else(|_| of(&[])).map_err(|error| error.to_string())
    })
}

/// The file in the data folder with what keys draws: a restart draws as before.
const SALT_FILE: &str = "salt";
/// The file in the data folder from which the secrets of key pairs are made: without it, pairs that were
/// given out sign for nothing.
const KEY_ROOT_FILE: &str = "key-root";

/// How long what is learned is gathered before it is written.
const GATHER: Duration = Duration::from_secs(1);

/// Opens the records of requests, where they are kept. They are no money: a file that cannot be used is
/// moved out of the way.
fn open_records(config: &Config, salt: &Secret) -> Result<Option<Arc<RecordStore>>, AssemblyError> {
    if !config.records.enabled {
        return Ok(None);
    }
    // Who has this key does not foresee a draw.
    let settings = config.record_settings(hash(&format!("records {}", salt.expose())));
    let open = || RecordStore::open(&config.data, settings, Arc::new(unix_ms));
    let opened = open().or_else(|error| {
        let aside = records::set_aside(&config.data)?;
        tracing::error!(aside = %aside.display(), "records begin anew, the file from before is moved aside: {error}");
        open()
    });
    opened.map(Arc::new).map(Some).map_err(AssemblyError::of)
}

/// Where the gateway keeps what policies were compiled to.
pub(crate) fn compiled_policies(config: &Config) -> PathBuf {
    config.data.join("compiled-policies")
}

/// What loading policies needs. Compiled code is kept in `cache`: a folder that nobody else writes to.
pub(crate) fn loader(config: &Config, region: &str, cache: Option<&Path>) -> Result<Loader, AssemblyError> {
    let limits = Arc::new(config.policy_limits());
    let cached = |folder: &Path| {
        let made = std::fs::create_dir_all(folder).and_then(|()| std::fs::canonicalize(folder));
        made.map_err(|error| AssemblyError(format!("{}: {error}", folder.display())))
    };
    let folder = cache.map(cached).transpose()?;
    let wasm = WasmEngine::new(Arc::clone(&limits), folder.as_deref()).map_err(AssemblyError::of)?;
    let configs =
        config.policies.config.iter().map(|(slot, table)| {
            serde_json::to_string(table).map(|json| (slot.clone(), json)).map_err(AssemblyError::of)
        });
    let configs = configs.collect::<Result<BTreeMap<_, _>, _>>()?;
    let (dropped, configs) = (Arc::default(), Arc::new(configs));
    let catalogues = test_catalogues(config, region);
    Ok(Loader { limits, wasm, grants: config.grants(), trust: signers::pinned(config)?, dropped, catalogues, configs })
}

fn cannot_open(error: &LedgerError) -> AssemblyError {
    let hint = match error {
        LedgerError::Damaged(_) => {
            "; `kairos ledger verify` says where: keep the file, and start with a copy from before or a new folder (--data)"
        }
        _ => "",
    };
    AssemblyError(format!("the ledger cannot be opened: {error}{hint}"))
}

/// What may go through in a minute, with the models that are meant. One of a profile that is not known is left out.
fn rates(config: &Config, catalogue: &Catalogue) -> Result<Vec<Rate>, AssemblyError> {
    let model = |name: &String| match catalogue.answering(name) {
        Answering::Target { target, .. } => Ok(catalogue.targets[target].model),
        Answering::Ended(model) | Answering::NotHere(model) => Ok(model),
        Answering::Unknown(near) => {
            let hint = near.map_or(String::new(), |near| format!("; did you mean {near:?}?"));
            Err(AssemblyError(format!("limits.rates: the model {name:?} is not known{hint}")))
        }
    };
    let one = |set: &RateSettings| {
        Ok(Rate {
            name: set.name.as_str().into(),
            key: set.key.as_deref().map(Into::into),
            model: set.model.as_ref().map(model).transpose()?,
            each_key: set.each_key,
            limit: Limit { requests: set.requests_per_minute, tokens: set.tokens_per_minute },
        })
    };
    let is_known = |set: &&RateSettings| set.model.as_deref().is_none_or(|name| !profiles::is_unknown(catalogue, name));
    config.limits.rates.iter().filter(is_known).map(one).collect()
}

/// Budgets of the configuration, and those that keys have of their own. One of a profile that is not known is left
/// out.
fn budgets(config: &Config, catalogue: &Catalogue, issued: &Issued) -> Result<Vec<Arc<Rule>>, AssemblyError> {
    let model = |name: &str| match scope::model_id(catalogue, name) {
        Some(id) => Ok(id.to_string()),
        None => {
            let near = catalogue.nearest(name).map_or(String::new(), |near| format!("; did you mean {near:?}?"));
            Err(format!("model: no model that can be called answers for {name:?}{near}"))
        }
    };
    let is_known = |name: &str| !profiles::is_unknown(catalogue, name);
    let mut rules = config
        .budget_rules(is_known, model)
        .map_err(|wrong| AssemblyError(format!("budgets: {}", wrong.join("; "))))?;
    rules.extend(issued.budgets().map(Arc::new));
    Ok(rules)
}

/// Says which budgets, and limits a minute, are of a key or a team that there is not: one whose name is misspelt would
/// hold for nobody, and nobody would know.
fn warn_of_nobody(config: &Config, budgets: &[Arc<Rule>], issued: &Issued) {
    let is_key = |name: &str| OPERATORS.contains(&name) || issued.has_key(name);
    let covers = budgets.iter().map(|rule| (&*rule.name, &rule.counting.covers));
    let budgets = covers.map(|(name, covers)| (name, covers.key.as_deref(), covers.team.as_deref()));
    let rates = config.limits.rates.iter().map(|rate| (&*rate.name, rate.key.as_deref(), None));
    for (name, key, team) in budgets.chain(rates) {
        let key = key.filter(|key| !is_key(key)).map(|key| format!("key {key:?}"));
        let team = team.filter(|team| !issued.has_team(team)).map(|team| format!("team {team:?}"));
        for nobody in key.into_iter().chain(team) {
            tracing::warn!(
                "{name:?} in kairos.toml holds for nobody yet: there is no {nobody}; `kairos key list` says which there are"
            );
        }
    }
}

/// Puts the gateway together.
pub(crate) async fn assemble(config: Config, side: ModelSide) -> Result<Arc<App>, AssemblyError> {
    let client = Client::new(&side.region, side.endpoint, side.credentials, config.timeouts(), config.pool());
    let client = Arc::new(client.map_err(AssemblyError::of)?);
    let bounds = (profiles::PATIENCE, profiles::MOST_ANSWER_BYTES);
    let control = Caller::new(CONTROL, &side.region, side.control, Arc::clone(client.credentials()), bounds);
    let control = Box::new(control.map_err(AssemblyError::of)?);
    let native: Arc<dyn Router> = Arc::new(routers::Task::default());
    let native_healer: Arc<dyn Healer> = Arc::new(Backoff::new(config.healing.backoff()));
    let started = std::time::Instant::now();
    let ticks: Clock = Arc::new(move || u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX));
    let metrics = config.metrics.enabled.then(|| Arc::new(Metrics::new()));
    // What comes after it has the data folder to itself.
    let folder = Locked::folder(&config.data).map_err(|error| cannot_open(&error))?;
    let prices = Arc::new(Book::open(&config, &side.region, as_of(&config))?);
    let catalogue = prices.catalogue();
    let profiles = Arc::new(Resolver::new(control, Arc::clone(&prices), &side.region, config.profiles, unix_ms));
    profiles.find_named().await;
    let store = Arc::new(PolicyStore::open_bounded(&config.data, config.kept_bounds()).map_err(AssemblyError::of)?);
    let root_file = config.data.join(KEY_ROOT_FILE);
    let is_new_root = !root_file.exists();
    let root = secret_file::open(&root_file, "the root of key pairs")?;
    let issued = Issued::open(Arc::clone(&store), root, unix_ms).map_err(AssemblyError)?;
    if is_new_root && !issued.are_none() {
        tracing::warn!(
            file = %root_file.display(),
            "the root of key pairs was gone, and another was made: pairs for AWS's SDKs from before open nothing any \
             more; put the file back, or give out new ones with `kairos key rotate NAME`"
        );
    }
    let budgets = budgets(&config, &catalogue.load(), &issued)?;
    warn_of_nobody(&config, &budgets, &issued);
    let ledger = SqliteLedger::open_bounded(folder, &budgets, config.ledger_bounds(), Arc::new(unix_ms));
    let ledger = Arc::new(ledger.map_err(|error| cannot_open(&error))?);
    let jobs = SqliteJobs::open(&config.data, config.keeping(), Arc::new(unix_ms));
    let jobs = jobs.map_err(|error| AssemblyError::of_file(&config.data, &error))?;
    let jobs = Arc::new(jobs);
    let alerts = Arc::new(Alerts::open(&config, client.credentials(), Arc::clone(&ledger), unix_ms)?);
    let kept: Arc<dyn Versions> = Arc::new(Kept::new(Arc::clone(&store), unix_ms));
    let salt = secret_file::open(&config.data.join(SALT_FILE), "the salt of draws")?;
    let recorder = open_records(&config, &salt)?;
    let loader = loader(&config, &side.region, Some(&compiled_policies(&config)))?;
    let native_guard: Option<Arc<dyn Guard>> = config.guard.personal_data.then(|| Arc::new(Pii::default()) as _);
    let natives =
        Natives { router: Arc::clone(&native), healer: Arc::clone(&native_healer), guard: native_guard.clone() };
    let learned = Arc::new(LearnedStore::open(&config.data, GATHER).map_err(AssemblyError::of)?);
    let told: Clock = Arc::new(unix_ms);
    let policies = Slots::new(loader, natives, &ticks, &kept, (learned.learned(), &told)).map_err(AssemblyError::of)?;
    let keys = Arc::new(Keyring::new(&config.auth, issued));
    let prompts = Prompts::new(config.prompts.limits());
    let admin = Admin {
        token: Token::open(&config)?,
        store,
        jobs: Arc::clone(&jobs),
        staging: Arc::default(),
        summing: Default::default(),
    };
    let models = catalogue.load().models.len();
    let gateway = Gateway {
        keys: Arc::clone(&keys) as _,
        policies: Arc::clone(&policies) as _,
        native,
        native_healer,
        native_guard,
        upstream: Arc::clone(&client) as _,
        ledger: Arc::clone(&ledger) as _,
        jobs: Some(Arc::new(Jobs::new(jobs))),
        catalogue: Arc::clone(&catalogue),
        profiles: Arc::clone(&profiles) as _,
        prompts: prompts.library(),
        history: History::new(models),
        records: Records::new(config.limits.records),
        recorder: recorder.clone().map(|recorder| recorder as _),
        observer: Arc::new(Telemetry::new(metrics.clone())),
        load: Load::new(models),
        rates: Rates::new(config.rate_bounds(), rates(&config, &catalogue.load())?),
        places: config.concurrency().map(|bounds| Places::new(bounds, models)),
        settings: Settings {
            draw_salt: hash(salt.expose()),
            default_model: config.models.default.clone(),
            job_places: config.jobs.s3.clone(),
            embedding_calls: config.limits.embedding_calls,
            embedding_numbers: config.limits.embedding_numbers,
            resolve_ended_models: config.models.ended == EndedModels::Resolve,
            keep_alive: config.limits.sign_of_life_seconds.duration(),
            metadata_patience: config.upstream.late_usage_seconds.duration(),
            most_in_flight: config.limits.in_flight,
            healing: config.healing.bounds(),
            guard_on_failure: config.guard.on_failure(),
            prompts: prompts.limits().bounds,
            prompting: config.prompter.bounds(),
        },
        clock: Arc::new(unix_ms),
    };
    let app = App::new(
        Arc::new(gateway),
        client,
        policies,
        prompts,
        prices,
        profiles,
        admin,
        keys,
        ledger,
        recorder,
        learned,
        alerts,
        metrics,
        config,
    );
    Ok(Arc::new(app))
}
