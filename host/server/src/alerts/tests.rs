use std::path::Path;
use std::sync::atomic::AtomicU64;

use kairos_bedrock::credentials::Authority;
use kairos_bedrock::sigv4::SigningCredentials;
use kairos_dialects::Usage;
use kairos_dialects::outline::ServiceTier;
use kairos_pipeline::budget::{Counting, Over, Rule, Spender};
use kairos_pipeline::ledger::{AttemptKey, Ending, Ledger as _, Reservation, ReserveError};
use kairos_pipeline::money::Picodollars;
use kairos_pipeline::request::{RequestId, Secret};
use kairos_store::ledger::Ended;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::config::SecretText;

#[test]
fn waits_are_bounded() {
    assert_eq!([0, 1, 4, 5, 99].map(wait_after), [1_000, 2_000, 16_000, 30_000, 30_000]);
    // Whoever listens is told within a minute of what was passed.
    assert!(TICK.as_millis() as u64 * 2 + LONGEST_WAIT_MS < 60_000);
}

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// The time of the property's gateway, and of no other test's.
static NOW: AtomicU64 = AtomicU64::new(0);

fn now() -> u64 {
    NOW.load(Ordering::SeqCst)
}

/// Two budgets of a day, each of a key of its own: one refuses, the other degrades.
const BUDGETS: [(&str, u64, Over); 2] = [("refuses", 500, Over::Refuse), ("degrades", 400, Over::Degrade)];

fn rules() -> Vec<Arc<Rule>> {
    let rule = |(name, limit, over): (&str, u64, Over)| {
        let counting = format!(r#"{{"key":"{name}","calendar":{{"period":"day","zone":"UTC"}}}}"#);
        let counting: Counting = serde_json::from_str(&counting).unwrap();
        let alerts = thresholds(limit).map(Picodollars).to_vec();
        Arc::new(Rule { name: name.into(), counting, limit: Some(Picodollars(limit)), alerts, over })
    };
    BUDGETS.map(rule).to_vec()
}

fn thresholds(limit: u64) -> [u64; 2] {
    [limit / 2, limit]
}

struct Place {
    ledger: Arc<SqliteLedger>,
    alerts: Alerts,
    clock: fn() -> u64,
}

impl Place {
    fn open(folder: &Path, clock: fn() -> u64) -> Self {
        let ledger = Arc::new(SqliteLedger::open(folder, &rules(), Arc::new(clock)).unwrap());
        let mut config = Config { data: folder.to_owned(), ..Config::default() };
        config.alerts.webhook_url = Some(SecretText(Secret::new("http://127.0.0.1:1/")));
        let (access_key_id, secret) = ("a".to_owned(), "b".to_owned());
        let keys = Authority::Keys(SigningCredentials { access_key_id, secret, session_token: None });
        let credentials = Arc::new(CredentialSource::fixed(keys));
        let alerts = Alerts::open(&config, &credentials, Arc::clone(&ledger), clock).unwrap();
        Self { ledger, alerts, clock }
    }

    /// Spends with the key of a budget. Whether that was allowed.
    async fn spend(&self, name: &str, amount: u64) -> bool {
        let key = AttemptKey { request: RequestId::mint(), attempt: 1 };
        let reservation = Reservation {
            key,
            caller: name.into(),
            team: None,
            model: "model".into(),
            target: "model".into(),
            region: "us-east-1".into(),
            tier: ServiceTier::Standard,
            tags: Arc::default(),
            at_ms: (self.clock)(),
            worst: Picodollars(amount),
            price_version: "prices".into(),
            policy: None,
            unpriced: false,
            job: None,
        };
        match self.ledger.open(&reservation).await {
            Ok(()) => {
                self.ledger.end(key, Ending::Settled { cost: Picodollars(amount), usage: Usage::default() });
                true
            }
            Err(ReserveError::Limit(_)) => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// What the next look tells, by budget: thresholds that were passed, and nothing for an end of that.
    fn told(&self) -> Vec<(String, Option<String>)> {
        self.alerts.look();
        let mut told = Vec::new();
        while let Some(waiting) = self.alerts.store.next("webhook", (self.clock)()).unwrap() {
            let alert: Value = serde_json::from_str(&waiting.body).unwrap();
            let text = |value: &Value| value.as_str().map(str::to_owned);
            told.push((text(&alert["budget"]["name"]).unwrap(), text(&alert["threshold_usd"])));
            self.alerts.store.sent(waiting.seq).unwrap();
        }
        told.sort();
        told
    }

    fn stop(self) {
        self.ledger.close();
        assert_eq!(self.ledger.finish(Duration::from_secs(60)), Ended::Closed);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Spend { budget: usize, amount: u64 },
    Wait { hours: u64 },
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..2usize, 1..250u64).prop_map(|(budget, amount)| Step::Spend { budget, amount }),
        2 => (1..30u64).prop_map(|hours| Step::Wait { hours }),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..20)
}

/// What a budget has spent in its day, and how many thresholds were told.
#[derive(Clone, Copy, Default)]
struct Known {
    day: u64,
    spent: u64,
    told: usize,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Property 8 of the seed: in any period in which spending passes a budget, costs are reduced by themselves (what
    /// would pass it is refused, or a request is told to be cheaper) for as long as the period lasts, and the next look,
    /// two seconds later at most, tells the administrators: of each threshold once, and once that it is over, across
    /// restarts.
    #[test]
    fn property_8_budgets_are_enforced_and_told(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        NOW.store(20_000 * DAY_MS, Ordering::SeqCst);
        let mut place = Place::open(folder.path(), now);
        let mut known = [Known { day: 20_000, ..Known::default() }; 2];
        for step in steps {
            let mut expected: Vec<(String, Option<String>)> = Vec::new();
            match step {
                Step::Spend { budget, amount } => {
                    let ((name, limit, over), known) = (BUDGETS[budget], &mut known[budget]);
                    let fits = known.spent + amount <= limit;
                    let allowed = runtime.block_on(place.spend(name, amount));
                    prop_assert_eq!(allowed, fits || over == Over::Degrade);
                    known.spent += if allowed { amount } else { 0 };
                    let passed = thresholds(limit).iter().filter(|threshold| **threshold <= known.spent).count();
                    let new = &thresholds(limit)[known.told..passed];
                    expected.extend(new.iter().map(|new| (name.to_owned(), Some(Picodollars(*new).to_string()))));
                    known.told = passed;
                }
                Step::Wait { hours } => {
                    NOW.fetch_add(hours * HOUR_MS, Ordering::SeqCst);
                    for (known, (name, ..)) in known.iter_mut().zip(BUDGETS) {
                        if known.day != now() / DAY_MS {
                            expected.extend((known.told > 0).then(|| (name.to_owned(), None)));
                            *known = Known { day: now() / DAY_MS, ..Known::default() };
                        }
                    }
                }
                Step::Restart => {
                    place.stop();
                    place = Place::open(folder.path(), now);
                }
            }
            expected.sort();
            prop_assert_eq!(place.told(), expected);
            for (known, (name, limit, over)) in known.iter().zip(BUDGETS) {
                let left = place.ledger.budget(&Spender { key: name, team: None, tags: &[] }, now()).unwrap();
                let is_used_up = known.spent >= limit;
                prop_assert_eq!(left.degraded.is_some(), is_used_up && over == Over::Degrade);
                prop_assert_eq!(left.remaining.0, limit.saturating_sub(known.spent));
                prop_assert_eq!(left.level as usize, known.told);
            }
        }
        place.stop();
    }
}

/// A threshold whose crossing was one too many to be kept is told of by the look at all budgets that follows.
#[tokio::test]
async fn what_was_missed_is_found_by_a_look_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::open(folder.path(), || 20_000 * DAY_MS);
    assert_eq!(place.told(), []);
    assert!(place.spend("refuses", 300).await);
    // As if it had not been kept.
    assert_eq!(place.ledger.take_crossed().0.len(), 1);
    assert_eq!((place.told(), place.alerts.missed()), (Vec::new(), 0));
    let all = place.alerts.has_missed(1);
    place.alerts.seen.lock().unwrap().all = all;
    assert_eq!((place.told().len(), place.alerts.missed()), (1, 1));
    assert_eq!(place.told(), []);
}
