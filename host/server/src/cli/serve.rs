//! `kairos serve`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use kairos_pipeline::ledger::Ledger as _;
use kairos_pipeline::money::dollars;
use kairos_pipeline::policy::World;
use kairos_sandbox::host::Watching;
use kairos_sandbox::prompts::Following;
use kairos_sandbox::watch::FileWatch;
use kairos_store::learned::LearnedStore;
use kairos_store::ledger::{Ended, SqliteLedger};
use kairos_store::records::RecordStore;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{Failed, say_listening, told_to_stop};
use crate::admin::Note;
use crate::alerts;
use crate::assemble;
use crate::config::{Flags, environment};
use crate::edge::{self, App, Workers};
use crate::jobs;
use crate::memory::GivenBackAtOnce;
use crate::profiles;

/// Run the gateway
#[derive(Debug, clap::Args)]
#[command(after_help = after_help())]
pub(super) struct Serve {
    #[command(flatten)]
    flags: Flags,
}

/// Examples, and the environment variables.
fn after_help() -> String {
    let table = environment::table();
    format!(
        "\
Examples:
  AWS_REGION=us-east-1 kairos serve
  kairos serve --listen 127.0.0.1:9000 --policies ./policies
  AWS_ENDPOINT_URL_BEDROCK_RUNTIME=http://127.0.0.1:9001 kairos serve    in front of `kairos simulate`

Settings are read from kairos.toml, then the environment, then flags. `kairos doctor` shows where each
came from and what is wrong; `kairos doctor --example` prints all of them with their defaults.

Environment variables:
{table}
Credentials and region are found where AWS's tools find them; AWS_BEDROCK_* come first.
Ready when it prints `listening on http://ADDR`. SIGTERM lets requests under way end."
    )
}

impl Serve {
    pub(super) async fn run(self) -> Result<Stopped, Failed> {
        let starting = GivenBackAtOnce::begin();
        let config = super::read_config(&self.flags)?;
        let side = assemble::model_side(&config).await?;
        let (region, endpoint) = (side.region.clone(), side.endpoint.url.clone());
        let app = assemble::assemble(config, side).await?;
        let _watching = watch(&app)?;
        log_start(&app, &region, &endpoint);
        let listening = bind(&app).await?;
        let address = listening.address();
        let ready = || {
            say_listening(address);
            drop(starting);
        };
        serve(app, listening, ready, told_to_stop()).await
    }
}

/// What is left of a gateway that has stopped serving.
pub(super) struct Stopped {
    pub(super) ledger: Arc<SqliteLedger>,
    pub(super) records: Option<Arc<RecordStore>>,
    pub(super) learned: Arc<LearnedStore>,
    pub(super) workers: Workers,
    /// When the time to stop is over.
    pub(super) drained: Instant,
    /// A temporary folder that it was in.
    pub(super) folder: Option<tempfile::TempDir>,
}

/// Time for tasks to end that were told to: what they hold of the ledger ends with them.
const LAST_TASKS: Duration = Duration::from_secs(2);
/// Time for the last rows of the ledger to be written, at least: a disk that is full may have room before the time to
/// stop is over.
const LAST_ROWS: Duration = Duration::from_secs(5);

/// Time for the last records of requests to be written.
const LAST_RECORDS: Duration = Duration::from_secs(2);

/// Time for the observer to be told of the last events, and as much for what it learned to be written.
const LAST_EVENTS: Duration = Duration::from_secs(2);

impl Stopped {
    /// Ends what still runs, then writes the last rows.
    pub(super) fn finish(self) -> Result<(), Failed> {
        self.workers.stop(LAST_TASKS);
        let totals = self.ledger.totals();
        let left = self.drained.saturating_duration_since(Instant::now());
        let ended = self.ledger.finish(left.max(LAST_ROWS));
        if self.records.is_some_and(|records| !records.finish(LAST_RECORDS)) {
            tracing::warn!("the last records of requests could not be written");
        }
        if !self.learned.finish(LAST_EVENTS) {
            tracing::warn!("what was learned last could not be written");
        }
        tracing::info!(charged_usd = dollars(totals.charged), attempts = totals.ended_rows, "stopped");
        drop(self.folder);
        match ended {
            Ended::Closed => Ok(()),
            Ended::Open => {
                tracing::warn!(
                    open = totals.open_rows,
                    "attempts were still open: the next start charges them at their worst case"
                );
                Ok(())
            }
            Ended::Failing => Err(Failed::new(
                "the last rows of the ledger could not be written: the next start charges what is missing at its worst case",
            )),
        }
    }
}

/// Follows files while it lives.
pub(super) type Watched = (Option<FileWatch>, Option<(Watching, Following)>);

/// Takes up the policies of the last run, then loads the folder of policies and templates and watches it,
/// where there is one; and the file of prices.
pub(super) fn watch(app: &Arc<App>) -> Result<Watched, Failed> {
    app.policies.restore().map_err(|error| Failed::new(format!("what is kept of policies cannot be read: {error}")))?;
    let prices = app.prices.watch()?;
    let Some(folder) = &app.config.policies.folder else { return Ok((prices, None)) };
    let watching = app.policies.watch(folder).map_err(|error| Failed::usage(error.to_string()))?;
    let cannot = |error| Failed::usage(format!("the folder {} cannot be watched: {error}", folder.display()));
    let following = app.prompts.watch(folder).map_err(cannot)?;
    Ok((prices, Some((watching, following))))
}

pub(super) fn log_start(app: &App, region: &str, endpoint: &str) {
    if let Some(file) = &app.admin.token.file {
        tracing::info!(file = %file.display(), "the admin token, which every change through /admin needs, is in this file");
    }
    let serves = |world| app.policies.of(world).status().policy;
    let [policy, healer, guard, prompter, observer, evaluator, mutator] = World::ALL.map(serves);
    let (policy, healer, guard, prompter, observer) = (&*policy, &*healer, &*guard, &*prompter, &*observer);
    let (evaluator, mutator) = (&*evaluator, &*mutator);
    tracing::info!(
        region,
        endpoint,
        policy,
        healer,
        guard,
        prompter,
        observer,
        evaluator,
        mutator,
        "the gateway starts"
    );
    let totals = app.ledger.totals();
    let (data, charged_usd) = (app.config.data.display(), dollars(totals.charged));
    tracing::info!(%data, charged_usd, attempts = totals.ended_rows, "the ledger is open");
    for (variable, why) in environment::without_effect(|name| std::env::var(name).ok()) {
        tracing::warn!(variable, "{variable} is set and has no effect: {why}");
    }
}

/// Takes the address of the configuration.
pub(super) async fn bind(app: &Arc<App>) -> Result<edge::Listening, Failed> {
    let address = app.config.listen;
    edge::listen(address).await.map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                "; another program has it: choose another with --listen, or port 0 for a free one"
            }
            _ => "",
        };
        Failed::new(format!("{address} cannot be listened on: {error}{hint}"))
    })
}

/// Serves until told to stop, then lets what is under way end.
pub(super) async fn serve(
    app: Arc<App>,
    listening: edge::Listening,
    ready: impl FnOnce(),
    stop: impl Future<Output = ()>,
) -> Result<Stopped, Failed> {
    let workers = Workers::start().map_err(|error| Failed::new(format!("no threads to serve with: {error}")))?;
    let check = tokio::spawn(check_credentials(Arc::clone(&app)));
    let upkeep = tokio::spawn(upkeep(Arc::clone(&app)));
    let refreshing = tokio::spawn(profiles::run(Arc::clone(&app.profiles)));
    let alerting = tokio::spawn(alerts::run(Arc::clone(&app.alerts)));
    let watching = tokio::spawn(jobs::run(Arc::clone(&app.gateway), app.config.watch_bounds()));
    let stopping = Arc::clone(&app);
    let stop = async move {
        stop.await;
        stopping.stopping.store(true, Ordering::Relaxed);
        tracing::info!(under_way = stopping.gateway.load.requests(), "told to stop: no new connections");
    };
    let routes = edge::router(Arc::clone(&app));
    let note = Note::leave(&app.config.data, listening.address())
        .map_err(|error| Failed::new(format!("the data folder cannot be written to: {error}")))?;
    ready();
    listening.serve(routes, &workers, &app, stop).await;
    drop(note);
    check.abort();
    upkeep.abort();
    watching.abort();
    refreshing.abort();
    app.tasks.close();
    let patience = app.config.limits.drain_seconds.duration();
    let drained = Instant::now() + patience;
    if timeout(patience, app.tasks.wait()).await.is_err() {
        let open = app.ledger.totals().open_rows;
        tracing::warn!(open, "requests were still under way when the time to stop was over");
    }
    // What is still under way may end, and may not begin another attempt.
    app.ledger.close();
    alerting.abort();
    let last = Arc::clone(&app.alerts);
    if let Err(error) = tokio::task::spawn_blocking(move || last.look()).await {
        tracing::error!("what budgets have passed last is told at the next start: {error}");
    }
    let policies = Arc::clone(&app.policies);
    if let Err(error) = tokio::task::spawn_blocking(move || policies.settle(LAST_EVENTS)).await {
        tracing::error!("what was measured of a canary last is not written down: {error}");
    }
    let (ledger, records, learned) = (Arc::clone(&app.ledger), app.records.clone(), Arc::clone(&app.learned));
    Ok(Stopped { ledger, records, learned, workers, drained, folder: None })
}

/// Says early whether calls can be authorised at all.
async fn check_credentials(app: Arc<App>) {
    let client = &app.upstream;
    loop {
        let why = client.credentials().authority().await.err().map(|error| error.to_string());
        if let Some(why) = &why {
            tracing::error!("not ready: {why}");
        }
        let ready = why.is_none();
        *app.not_ready.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = why;
        if ready {
            return;
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
}

/// What is to be done now and then.
async fn upkeep(app: Arc<App>) {
    let mut ticks = interval(Duration::from_secs(5));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Some(metrics) = &app.metrics {
            metrics.upkeep();
        }
        if let Err(error) = app.prices.follow_the_date() {
            tracing::error!("the catalogue of yesterday serves on: {error}");
        }
    }
}
