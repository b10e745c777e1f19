//! Application inference profiles: an ARN that a request names for the first time is asked of Bedrock's control
//! plane, and what it said is kept (`pins`) and in the catalogue from then on.
//!
//! One question is asked at a time, so many a minute (`questions`), and an ARN that came to nothing is refused for a
//! while without asking: callers can make up ARNs, and the control plane's quota is the account's. What the
//! configuration names (`named`) is asked about before the gateway serves, and takes part once it is known.

mod named;
mod pins;
mod questions;
mod refresh;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use kairos_bedrock::aws::Caller;
use kairos_bedrock::catalogue::{Unusable, usable};
use kairos_bedrock::profile::{Unresolved, get};
use kairos_dialects::{Failure, Kind};
use kairos_pipeline::profile::Profiles;

pub(crate) use self::named::{LeftOut, is_unknown, left_out};
pub(crate) use self::pins::{Change, Pin, Pins, names, read};
use self::questions::{Asker, Full, Questions};
pub(crate) use self::refresh::run;
use crate::config::ProfileSettings;
use crate::prices::Book;

/// For an answer of the control plane.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// The largest answer that is read.
pub(crate) const MOST_ANSWER_BYTES: usize = 1 << 20;
/// For a request to wait for its turn to ask.
const LINE_PATIENCE: Duration = Duration::from_secs(10);
/// For how long an ARN is refused after what passes by itself: the control plane is down, or throttles.
const PASSING_MS: u64 = 5_000;

/// Who is asked what a profile stands for.
pub(crate) trait Control: Send + Sync {
    /// The profile or model that it was made of, as the catalogue names it.
    fn made_of<'a>(&'a self, region: &'a str, arn: &'a str) -> BoxFuture<'a, Result<String, Unresolved>>;
}

impl Control for Caller {
    fn made_of<'a>(&'a self, region: &'a str, arn: &'a str) -> BoxFuture<'a, Result<String, Unresolved>> {
        get(self, region, arn).boxed()
    }
}

/// Finds out what profiles stand for.
pub(crate) struct Resolver {
    control: Box<dyn Control>,
    book: Arc<Book>,
    region: String,
    settings: ProfileSettings,
    clock: fn() -> u64,
    /// Whose turn it is to ask.
    turn: tokio::sync::Mutex<()>,
    seen: Mutex<Seen>,
    counts: Counts,
}

/// What happened lately.
#[derive(Default)]
struct Seen {
    /// ARNs that came to nothing: until when that is remembered, and what is said. Questions are so many a minute,
    /// and so are these.
    refused: HashMap<String, (u64, Failure)>,
    /// Questions of the last minute.
    asked: Questions,
    /// When the gateway itself asked last about what is kept or named.
    tried: HashMap<String, u64>,
    /// Until when no profile is looked at again, as the control plane does not answer.
    rests_until_ms: u64,
}

/// What happened since the start.
#[derive(Default)]
pub(crate) struct Counts {
    /// Questions to the control plane.
    pub(crate) asked: AtomicU64,
    /// Those that came to nothing.
    pub(crate) unanswered: AtomicU64,
    /// Requests that were refused because enough was asked.
    pub(crate) too_many: AtomicU64,
    /// Requests that were refused because as many profiles as allowed are kept.
    pub(crate) no_room: AtomicU64,
    /// Profiles that came to stand for something else, or are gone.
    pub(crate) changed: AtomicU64,
}

fn add(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// What is said of an ARN whose meaning is not known.
fn failure(kind: Kind, why: impl std::fmt::Display) -> Failure {
    let todo = "under [models.names] in kairos.toml the gateway is told what an ARN stands for";
    Failure::new(kind, format!("what the application inference profile stands for is not known: {why}; {todo}"))
}

/// What is wrong with an ARN before anybody is asked: its form, or its region.
fn check(arn: &str, region: &str) -> Result<(), Failure> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let form = || {
        let form = "arn:aws:bedrock:REGION:ACCOUNT:application-inference-profile/ID";
        Failure::new(Kind::UnknownModel, format!("this is no ARN of an application inference profile: {form} is one"))
    };
    let ["arn", partition, "bedrock", at, account, resource] = parts[..] else { return Err(form()) };
    let id = resource.strip_prefix("application-inference-profile/").unwrap_or_default();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-:.".contains(c);
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    let is_id = (1..=256).contains(&id.len()) && id.chars().all(is_plain);
    if !partition.starts_with("aws") || partition.len() > 16 || !is_account || !is_id {
        return Err(form());
    }
    if at != region {
        let at: String = at.chars().take(32).collect();
        return Err(failure(Kind::UnknownModel, format!("it is of {at:?}, and this gateway calls {region}")));
    }
    Ok(())
}

impl Resolver {
    pub(crate) fn new(
        control: Box<dyn Control>,
        book: Arc<Book>,
        region: &str,
        settings: ProfileSettings,
        clock: fn() -> u64,
    ) -> Self {
        let (turn, seen, counts) = (tokio::sync::Mutex::default(), Mutex::default(), Counts::default());
        Self { control, book, region: region.to_owned(), settings, clock, turn, seen, counts }
    }

    /// What happened since the start.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Profiles that are kept.
    pub(crate) fn kept(&self) -> usize {
        self.book.pins().len()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn find_out(&self, asker: Asker<'_>, arn: &str) -> Result<(), Failure> {
        if self.settings.kept == 0 {
            return Err(failure(
                Kind::UnknownModel,
                "`kept` under [profiles] in kairos.toml is 0, so Bedrock is not asked",
            ));
        }
        check(arn, &self.region)?;
        self.refused_before(arn)?;
        let turn = tokio::time::timeout(LINE_PATIENCE, self.turn.lock()).await;
        let Ok(_turn) = turn else {
            return Err(self.later("others are asked about, and the control plane is slow", LINE_PATIENCE));
        };
        // What whoever came first has found.
        if self.book.catalogue().load().names.contains_key(arn) {
            return Ok(());
        }
        self.refused_before(arn)?;
        if self.kept() >= self.settings.kept && self.book.pins().get(arn).is_none() {
            if asker != Asker::Gateway {
                add(&self.counts.no_room);
            }
            let why = format!("{} are kept, which is as many as `kept` under [profiles] allows", self.kept());
            return Err(failure(Kind::UnknownModel, why));
        }
        self.may_ask(asker)?;
        let found = self.ask(arn).await.and_then(|stands_for| self.checked(stands_for));
        let stands_for = found.inspect_err(|failure| self.refuse(arn, failure))?;
        let now_ms = (self.clock)();
        tracing::info!(arn, stands_for, "an application inference profile is known from now on");
        let pin = Pin { arn: arn.to_owned(), stands_for, since_ms: now_ms, said_ms: now_ms };
        self.have_serve(Change::Keep(pin)).await
    }

    /// Asks the control plane.
    async fn ask(&self, arn: &str) -> Result<String, Failure> {
        self.said(arn).await.map_err(|unresolved| {
            let Unresolved { kind, says, .. } = unresolved;
            let right = "the gateway's credentials need the permission bedrock:GetInferenceProfile";
            let why = format!("Bedrock's control plane in {} answers {says}", self.region);
            match kind {
                Kind::AccessDenied | Kind::UpstreamAuth => failure(kind, format!("{why}: {right}")),
                Kind::ModelNotFound | Kind::Rejected => failure(Kind::UnknownModel, why),
                kind if passes(kind) => self.later(&why, Duration::from_millis(PASSING_MS)),
                kind => failure(kind, why),
            }
        })
    }

    /// The same, in the control plane's words.
    async fn said(&self, arn: &str) -> Result<String, Unresolved> {
        add(&self.counts.asked);
        let said = self.control.made_of(&self.region, arn).await;
        said.inspect_err(|unresolved| {
            add(&self.counts.unanswered);
            let Unresolved { says, detail, .. } = unresolved;
            tracing::warn!(
                arn,
                says,
                "what an application inference profile stands for was not to be found out: {detail}"
            );
        })
    }

    /// Whether what a profile stands for can be called.
    fn checked(&self, stands_for: String) -> Result<String, Failure> {
        match usable(&self.book.catalogue().load(), &stands_for) {
            Ok(_) => Ok(stands_for),
            Err(unusable) => {
                let names = "say under [models.names] in kairos.toml which model's price holds for the ARN";
                let (kind, todo) = match unusable {
                    Unusable::UnknownModel(_) => (Kind::UnknownModel, names.to_owned()),
                    Unusable::Unpriced(_) => {
                        (Kind::Unpriced, format!("set `unpriced = \"allow\"` under [models], or {names}"))
                    }
                };
                Err(Failure::new(kind, format!("the application inference profile stands for {unusable}: {todo}")))
            }
        }
    }

    /// Changes what is kept, and has the catalogue serve that follows from it. Waits for the disk elsewhere.
    async fn have_serve(&self, change: Change) -> Result<(), Failure> {
        let book = Arc::clone(&self.book);
        let changed = tokio::task::spawn_blocking(move || book.change(change).map(told));
        let internal = |why: String| failure(Kind::Internal, format!("the catalogue cannot be read with it: {why}"));
        changed.await.map_err(|error| internal(error.to_string()))?.map_err(|error| internal(error.to_string()))
    }

    fn later(&self, why: &str, wait: Duration) -> Failure {
        Failure { retry_after: Some(wait), ..failure(Kind::Unavailable, why) }
    }

    /// What was said of an ARN lately, where it came to nothing.
    fn refused_before(&self, arn: &str) -> Result<(), Failure> {
        let now_ms = (self.clock)();
        match self.seen().refused.get(arn) {
            Some((until_ms, failure)) if now_ms < *until_ms => Err(failure.clone()),
            _ => Ok(()),
        }
    }

    fn refuse(&self, arn: &str, failure: &Failure) {
        let now_ms = (self.clock)();
        let while_ms = match failure.retry_after {
            Some(_) => PASSING_MS,
            None => u64::try_from(self.settings.refused_seconds.duration().as_millis()).unwrap_or(u64::MAX),
        };
        let mut seen = self.seen();
        seen.refused.retain(|_, (until_ms, _)| now_ms < *until_ms);
        seen.refused.insert(arn.to_owned(), (now_ms.saturating_add(while_ms), failure.clone()));
    }

    /// Takes one of the minute's questions.
    fn may_ask(&self, asker: Asker<'_>) -> Result<(), Failure> {
        let most = self.settings.questions_per_minute;
        let Err(full) = self.seen().asked.take(asker, most as usize, (self.clock)()) else { return Ok(()) };
        if asker != Asker::Gateway {
            add(&self.counts.too_many);
        }
        let (whose, free_ms) = match full {
            Full::All(free_ms) => ("callers have had", free_ms),
            Full::Share(free_ms) => ("this key has had its share of", free_ms),
        };
        let why = format!("{whose} the {most} questions that `questions_per_minute` under [profiles] allows");
        Err(self.later(&why, Duration::from_millis(free_ms)))
    }
}

/// Tells where the disk did not take a change.
fn told(kept: std::io::Result<()>) {
    if let Err(error) = kept {
        tracing::error!(
            "what application inference profiles stand for cannot be kept, and is asked again after a restart: {error}"
        );
    }
}

/// Whether a failure passes by itself.
fn passes(kind: Kind) -> bool {
    use Kind::{Network, Server, Throttled, Timeout, Unavailable};
    matches!(kind, Network | Timeout | Throttled | Server | Unavailable)
}

impl Profiles for Resolver {
    fn resolve<'a>(&'a self, key: &'a str, arn: &'a str) -> BoxFuture<'a, Result<(), Failure>> {
        self.find_out(Asker::Key(key), arn).boxed()
    }
}

#[cfg(test)]
mod tests;
