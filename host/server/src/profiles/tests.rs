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
    let failure = resolver.resolve("key", arn).await.unwrap_err();
    (failure.kind, failure.message, failure.retry_after.map(|wait| wait.as_millis() as u64))
}

#[tokio::test]
async fn what_was_found_out_outlives_restarts_and_outages() {
    let Place { config, says, resolver, _folder } = place(|| 1_000, |_| {});
    says.set("a", Ok("us.amazon.nova-lite-v1:0"));
    let before = resolver.book.catalogue().load_full();
    // However many ask, one question is asked.
    let names = vec![arn("a"); 20];
    let all = join_all(names.iter().map(|name| resolver.resolve("key", name))).await;
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
    // One is the gateway's, and of the others a key has half.
    let set = |config: &mut Config| config.profiles.questions_per_minute = 5;
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
    assert_eq!((says.asked().len(), late.len(), late[0].2), (1, 49, Some(59_001)));
    // Another key has what is left, and the gateway what callers never have.
    assert!(resolver.resolve("other", &arn("o1")).await.is_err());
    assert_eq!(says.asked(), ["o1"]);
    assert!(resolver.may_ask(Asker::Gateway).is_ok());
    assert_eq!(resolver.counts.too_many.load(Ordering::Relaxed), 49);
    assert!(all.last().unwrap().1.contains("this key has had its share of the 5 questions"), "{}", all[49].1);
    // What was refused for want of questions is asked about once there are some; what is unknown once it is time.
    FLOOD.fetch_add(60_001, Ordering::SeqCst);
    says.set("n9", Ok("amazon.nova-lite-v1:0"));
    resolver.resolve("key", &arn("n9")).await.unwrap();
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
    resolver.resolve("key", &arn("good")).await.unwrap();
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
    resolver.resolve("key", &arn("a")).await.unwrap();
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

static NAMED: AtomicU64 = AtomicU64::new(0);

/// Auto, fallback and figures of the catalogue that serves: models of each, and how a token of Nova Pro counts.
fn takes_part(resolver: &Resolver) -> (Vec<String>, Vec<String>, u32) {
    let catalogue = resolver.book.catalogue().load_full();
    let ids = |targets: &[usize]| targets.iter().map(|at| catalogue.model_of(*at).id.to_string()).collect::<Vec<_>>();
    let pro = catalogue.models.iter().find(|model| &*model.id == "amazon.nova-pro-v1:0").unwrap();
    (ids(&catalogue.auto), ids(&catalogue.fallback), pro.burndown)
}

#[tokio::test]
async fn a_profile_that_the_configuration_names_freezes_nothing_while_it_is_not_known() {
    const DAY_MS: u64 = 86_400_000;
    let (lite, pro) = ("amazon.nova-lite-v1:0", "amazon.nova-pro-v1:0");
    let set = |config: &mut Config| {
        config.models.auto = Some(vec!["nova-lite".to_owned(), arn("a")]);
        config.models.fallback = vec![arn("a")];
        config.models.default = arn("a");
        config.limits.burndown = [(arn("a"), 7)].into();
    };
    let Place { config, says, resolver, _folder } = place(|| NAMED.load(Ordering::SeqCst), set);
    let with = (vec![lite.to_owned(), pro.to_owned()], vec![pro.to_owned()], 7);
    let without = (vec![lite.to_owned()], Vec::new(), 1);
    assert_eq!(takes_part(&resolver), without);
    let told = left_out(&config, &resolver.book.catalogue().load());
    insta::assert_snapshot!(told.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"), @"
    models.auto: arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a is left out: what it stands for is not known; it takes part once it is
    models.fallback: arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a is left out: what it stands for is not known; it takes part once it is
    limits.burndown: arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a is left out: what it stands for is not known; it takes part once it is
    ");

    // It is asked about before the gateway serves; one that does not answer is asked again.
    says.set("a", Err(Kind::Network));
    resolver.find_named().await;
    resolver.look_again().await;
    assert_eq!((takes_part(&resolver), says.asked().len()), (without.clone(), 1));
    says.set("a", Ok(pro));
    NAMED.store(300_000, Ordering::SeqCst);
    resolver.look_again().await;
    assert_eq!((takes_part(&resolver), says.asked().len()), (with.clone(), 1));
    assert_eq!(left_out(&config, &resolver.book.catalogue().load()), []);

    // It is deleted: what else changes serves all the same, and so does the next gateway.
    says.set("a", Err(Kind::ModelNotFound));
    says.set("b", Ok(lite));
    NAMED.store(DAY_MS + 300_000, Ordering::SeqCst);
    resolver.look_again().await;
    resolver.resolve("key", &arn("b")).await.unwrap();
    assert_eq!((takes_part(&resolver), serves(&resolver, "b").is_some()), (without.clone(), true));
    drop(resolver);
    let resolver = self::resolver(&config, &says, || NAMED.load(Ordering::SeqCst));
    says.set("a", Ok(pro));
    resolver.find_named().await;
    assert_eq!(takes_part(&resolver), with);

    // It comes to stand for what nobody can chat with.
    says.set("a", Ok("amazon.titan-embed-text-v2:0"));
    NAMED.store(2 * DAY_MS + 600_000, Ordering::SeqCst);
    resolver.look_again().await;
    assert_eq!(serves(&resolver, "a").unwrap().0, "amazon.titan-embed-text-v2:0");
    let (auto, fallback, _) = takes_part(&resolver);
    assert_eq!((auto, fallback.len()), (without.0, 0));
    let told = left_out(&config, &resolver.book.catalogue().load());
    insta::assert_snapshot!(told.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"), @r#"
    models.auto: arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a is left out: it stands for amazon.titan-embed-text-v2:0, which is of kind "embedding" and no chat model
    models.fallback: arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a is left out: it stands for amazon.titan-embed-text-v2:0, which is of kind "embedding" and no chat model
    "#);
    let again = self::resolver(&config, &says, || 0);
    assert_eq!(takes_part(&again).0.len(), 1);
}

static STUCK: AtomicU64 = AtomicU64::new(0);

#[tokio::test]
async fn one_profile_that_cannot_be_asked_about_keeps_no_other_from_being_looked_at() {
    const DAY_MS: u64 = 86_400_000;
    let Place { says, resolver, .. } = place(|| STUCK.load(Ordering::SeqCst), |_| {});
    for id in ["a", "b", "c"] {
        says.set(id, Ok("amazon.nova-lite-v1:0"));
        resolver.resolve("key", &arn(id)).await.unwrap();
    }
    says.asked();
    says.set("a", Err(Kind::AccessDenied));
    STUCK.store(DAY_MS, Ordering::SeqCst);
    for _ in 0..5 {
        resolver.look_again().await;
    }
    assert_eq!(says.asked(), ["a", "b", "c"]);
    STUCK.fetch_add(3_600_000, Ordering::SeqCst);
    for _ in 0..5 {
        resolver.look_again().await;
    }
    assert_eq!(says.asked(), ["a"]);
    // While nothing answers, nothing is asked.
    says.set("a", Err(Kind::Network));
    STUCK.store(3 * DAY_MS, Ordering::SeqCst);
    says.set("b", Err(Kind::Network));
    for _ in 0..5 {
        resolver.look_again().await;
    }
    assert_eq!(says.asked(), ["b"]);
    assert!(serves(&resolver, "a").is_some());
}

#[tokio::test]
async fn profiles_of_another_region_take_no_places_and_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config { data: folder.path().to_owned(), ..Config::default() };
    config.models.as_of = Some(DAY.parse().unwrap());
    config.profiles.kept = 1;
    let there = arn("there").replace(REGION, "eu-west-1");
    let pin = Pin { arn: there.clone(), stands_for: "amazon.nova-lite-v1:0".to_owned(), since_ms: 1, said_ms: 1 };
    std::fs::write(folder.path().join("profiles.json"), serde_json::to_string(&[&pin]).unwrap()).unwrap();
    let says = Arc::new(Says::default());
    says.set("here", Ok("amazon.nova-lite-v1:0"));
    let resolver = resolver(&config, &says, || 86_400_002);
    assert_eq!(resolver.kept(), 0);
    assert!(!resolver.book.catalogue().load().names.contains_key(&there));
    resolver.look_again().await;
    resolver.resolve("key", &arn("here")).await.unwrap();
    assert_eq!((says.asked(), resolver.kept()), (vec!["here".to_owned()], 1));
    assert!(read(&config.data).unwrap().contains(&pin));
}
