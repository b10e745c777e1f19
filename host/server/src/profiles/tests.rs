use std::sync::atomic::AtomicU64;

use futures_util::future::join_all;
use kairos_pipeline::models::Answering;

use super::*;
use crate::config::Config;

const REGION: &str = "us-east-1";
const DAY: &str = "2026-11-23";

fn arn(id: &str) -> String {
    format!("arn:aws:bedrock:{REGION}:123456789012:application-inference-profile/{id}")
}

/// A control plane that says what a test has set, and takes down what it is asked.
#[derive(Default)]
struct Says {
    profiles: Mutex<HashMap<String, Result<String, Unresolved>>>,
    asked: Mutex<Vec<String>>,
}

impl Says {
    fn set(&self, id: &str, says: Result<&str, Kind>) {
        let says = says.map(str::to_owned).map_err(|kind| Unresolved {
            kind,
            says: format!("{kind:?}Exception"),
            detail: "arn:aws:sts::123456789012:assumed-role/gateway may not".to_owned(),
        });
        self.profiles.lock().unwrap().insert(arn(id), says);
    }

    fn asked(&self) -> Vec<String> {
        let last = |arn: &String| arn.rsplit('/').next().unwrap().to_owned();
        std::mem::take(&mut *self.asked.lock().unwrap()).iter().map(last).collect()
    }
}

impl Control for Arc<Says> {
    fn made_of<'a>(&'a self, region: &'a str, arn: &'a str) -> BoxFuture<'a, Result<String, Unresolved>> {
        assert_eq!(region, REGION);
        self.asked.lock().unwrap().push(arn.to_owned());
        let says = self.profiles.lock().unwrap().get(arn).cloned();
        let unknown = || {
            Err(Unresolved {
                kind: Kind::ModelNotFound,
                says: "ResourceNotFoundException".into(),
                detail: String::new(),
            })
        };
        async move {
            // Others come to wait.
            tokio::task::yield_now().await;
            says.unwrap_or_else(unknown)
        }
        .boxed()
    }
}

/// Tests have clocks of their own: each one an hour of a static's.
struct Place {
    _folder: tempfile::TempDir,
    config: Config,
    says: Arc<Says>,
    resolver: Resolver,
}

fn place(clock: fn() -> u64, set: impl FnOnce(&mut Config)) -> Place {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config { data: folder.path().to_owned(), ..Config::default() };
    config.models.as_of = Some(DAY.parse().unwrap());
    set(&mut config);
    let says = Arc::new(Says::default());
    let resolver = resolver(&config, &says, clock);
    Place { _folder: folder, config, says, resolver }
}

fn resolver(config: &Config, says: &Arc<Says>, clock: fn() -> u64) -> Resolver {
    let book = Arc::new(Book::open(config, REGION, DAY.parse().unwrap()).unwrap());
    Resolver::new(Box::new(Arc::clone(says)), book, REGION, config.profiles, clock)
}

/// What the catalogue has of a profile: its model, and what a million input tokens cost.
fn serves(resolver: &Resolver, id: &str) -> Option<(String, u64)> {
    let catalogue = resolver.book.catalogue().load_full();
    let Answering::Target { target, ended: None } = catalogue.answering(&arn(id)) else { return None };
    let at = &catalogue.targets[target];
    assert_eq!(*at.invocation_id, *arn(id));
    let rates = catalogue.prices(at, catalogue.day).rates(Default::default(), 1)?;
    Some((catalogue.model_of(target).id.to_string(), rates.input))
}

async fn refusal(resolver: &Resolver, arn: &str) -> (Kind, String, Option<u64>) {
    let failure = resolver.resolve(arn).await.unwrap_err();
    (failure.kind, failure.message, failure.retry_after.map(|wait| wait.as_millis() as u64))
}

#[tokio::test]
async fn what_was_found_out_outlives_restarts_and_outages() {
    let Place { config, says, resolver, _folder } = place(|| 1_000, |_| {});
    says.set("a", Ok("us.amazon.nova-lite-v1:0"));
    let before = resolver.book.catalogue().load_full();
    // However many ask, one question is asked.
    let names = vec![arn("a"); 20];
    let all = join_all(names.iter().map(|name| resolver.resolve(name))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(says.asked(), ["a"]);
    let served = serves(&resolver, "a").unwrap();
    assert_eq!(served.0, "amazon.nova-lite-v1:0");
    // What a request holds is as it was.
    assert!(!before.names.contains_key(&arn("a")));
    drop(resolver);
    // The control plane is gone, and nobody asks it.
    let again = self::resolver(&config, &says, || 2_000);
    assert_eq!((serves(&again, "a"), says.asked().len()), (Some(served), 0));
    assert_eq!(read(&config.data).unwrap().len(), 1);
    // Not asked, not known.
    let off = Config { profiles: ProfileSettings { kept: 0, ..config.profiles }, ..config.clone() };
    assert_eq!(serves(&self::resolver(&off, &says, || 0), "a"), None);
    std::fs::write(config.data.join("profiles.json"), "{").unwrap();
    let anew = self::resolver(&config, &says, || 3_000);
    assert_eq!((anew.kept(), config.data.join("profiles.json.damaged").exists()), (0, true));
}

static FLOOD: AtomicU64 = AtomicU64::new(10_000_000);

#[tokio::test]
async fn a_flood_of_made_up_arns_reaches_the_control_plane_so_often_a_minute() {
    let set = |config: &mut Config| config.profiles.questions_per_minute = 3;
    let Place { says, resolver, .. } = place(|| FLOOD.load(Ordering::SeqCst), set);
    for _ in 0..5 {
        assert_eq!(refusal(&resolver, &arn("no")).await.0, Kind::UnknownModel);
    }
    assert_eq!(says.asked(), ["no"]);
    FLOOD.fetch_add(1_000, Ordering::SeqCst);
    let ids: Vec<_> = (0..50).map(|id| arn(&format!("n{id}"))).collect();
    let all = join_all(ids.iter().map(|id| refusal(&resolver, id))).await;
    let late: Vec<_> = all.iter().filter(|said| said.0 == Kind::Unavailable).collect();
    // The first question was a second ago.
    assert_eq!((says.asked().len(), late.len(), late[0].2), (2, 48, Some(59_001)));
    assert_eq!(resolver.counts.too_many.load(Ordering::Relaxed), 48);
    // What was refused for want of questions is asked about once there are some; what is unknown once it is time.
    FLOOD.fetch_add(60_001, Ordering::SeqCst);
    says.set("n9", Ok("amazon.nova-lite-v1:0"));
    resolver.resolve(&arn("n9")).await.unwrap();
    assert_eq!(refusal(&resolver, &arn("no")).await.0, Kind::UnknownModel);
    assert_eq!(says.asked(), ["n9", "no"]);
    assert_eq!(resolver.seen().refused.len(), 1);
}

#[tokio::test]
async fn what_is_not_to_be_found_out_is_refused_with_what_to_do() {
    let Place { says, resolver, .. } = place(|| 5_000, |config| config.profiles.kept = 1);
    says.set("denied", Err(Kind::AccessDenied));
    says.set("down", Err(Kind::Network));
    says.set("strange", Ok("us.acme.model-v1:0"));
    says.set("far", Ok("eu.amazon.nova-lite-v1:0"));
    says.set("good", Ok("amazon.nova-lite-v1:0"));
    let mut said = Vec::new();
    for name in [
        arn("denied"),
        arn("down"),
        arn("missing"),
        arn("strange"),
        arn("far"),
        arn("a/b"),
        arn("x").replace(REGION, "eu-west-1"),
        arn("x").replace("123456789012", "12"),
    ] {
        let (kind, message, wait) = refusal(&resolver, &name).await;
        // The control plane's words are the operator's.
        assert!(!message.contains("assumed-role"));
        said.push(format!("{kind:?} {wait:?}: {message}"));
    }
    resolver.resolve(&arn("good")).await.unwrap();
    let (kind, message, _) = refusal(&resolver, &arn("second")).await;
    said.push(format!("{kind:?}: {message}"));
    insta::assert_snapshot!(said.join("\n"), @r#"
    AccessDenied None: what the application inference profile stands for is not known: Bedrock's control plane in us-east-1 answers AccessDeniedException: the gateway's credentials need the permission bedrock:GetInferenceProfile; under [models.names] in kairos.toml the gateway is told what an ARN stands for
    Unavailable Some(5000): what the application inference profile stands for is not known: Bedrock's control plane in us-east-1 answers NetworkException; under [models.names] in kairos.toml the gateway is told what an ARN stands for
    UnknownModel None: what the application inference profile stands for is not known: Bedrock's control plane in us-east-1 answers ResourceNotFoundException; under [models.names] in kairos.toml the gateway is told what an ARN stands for
    UnknownModel None: the application inference profile stands for us.acme.model-v1:0, which this version does not know: say under [models.names] in kairos.toml which model's price holds for the ARN
    Unpriced None: the application inference profile stands for eu.amazon.nova-lite-v1:0, which has no known price from this region: set `unpriced = "allow"` under [models], or say under [models.names] in kairos.toml which model's price holds for the ARN
    UnknownModel None: this is no ARN of an application inference profile: arn:aws:bedrock:REGION:ACCOUNT:application-inference-profile/ID is one
    UnknownModel None: what the application inference profile stands for is not known: it is of "eu-west-1", and this gateway calls us-east-1; under [models.names] in kairos.toml the gateway is told what an ARN stands for
    UnknownModel None: this is no ARN of an application inference profile: arn:aws:bedrock:REGION:ACCOUNT:application-inference-profile/ID is one
    UnknownModel: what the application inference profile stands for is not known: 1 are kept, which is as many as `kept` under [profiles] allows; under [models.names] in kairos.toml the gateway is told what an ARN stands for
    "#);
}

static HOURS: AtomicU64 = AtomicU64::new(0);

#[tokio::test]
async fn a_profile_that_changes_is_told_and_holds_for_new_requests() {
    const DAY_MS: u64 = 86_400_000;
    let Place { config, says, resolver, _folder } = place(|| HOURS.load(Ordering::SeqCst), |_| {});
    says.set("a", Ok("amazon.nova-lite-v1:0"));
    resolver.resolve(&arn("a")).await.unwrap();
    says.asked();
    let changed = || resolver.counts.changed.load(Ordering::Relaxed);
    let since = || read(&config.data).unwrap().first().map(|pin| (pin.since_ms, pin.said_ms));
    HOURS.store(DAY_MS - 1, Ordering::SeqCst);
    resolver.look_again().await;
    assert_eq!(says.asked().len(), 0, "it is not time");
    HOURS.store(DAY_MS, Ordering::SeqCst);
    resolver.look_again().await;
    assert_eq!((says.asked().len(), changed(), since()), (1, 0, Some((0, DAY_MS))));
    // An outage changes nothing, and is not asked about every time.
    says.set("a", Err(Kind::AccessDenied));
    HOURS.store(3 * DAY_MS, Ordering::SeqCst);
    resolver.look_again().await;
    resolver.look_again().await;
    assert_eq!((says.asked().len(), changed(), serves(&resolver, "a").is_some()), (1, 0, true));
    says.set("a", Ok("amazon.nova-pro-v1:0"));
    HOURS.store(4 * DAY_MS, Ordering::SeqCst);
    let (before, lite) = (resolver.book.catalogue().load_full(), serves(&resolver, "a").unwrap());
    resolver.look_again().await;
    let pro = serves(&resolver, "a").unwrap();
    assert!(pro.0 == "amazon.nova-pro-v1:0" && pro.1 > lite.1);
    assert_eq!((changed(), since()), (1, Some((4 * DAY_MS, 4 * DAY_MS))));
    // A request under way has what it began with.
    let Answering::Target { target, .. } = before.answering(&arn("a")) else { panic!() };
    assert_eq!(&*before.model_of(target).id, "amazon.nova-lite-v1:0");
    // What cannot be priced any more is not charged as what it was.
    says.set("a", Ok("acme.model-v1:0"));
    HOURS.store(5 * DAY_MS, Ordering::SeqCst);
    resolver.look_again().await;
    assert_eq!((changed(), serves(&resolver, "a"), since()), (2, None, None));
}
