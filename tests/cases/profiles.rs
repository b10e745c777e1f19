//! Application inference profiles: real boto3 names them by their ARNs, Bedrock's control plane says what they stand
//! for, and what they cost is what is billed; through restarts and while the control plane is gone.

use std::process::Command;

use kairos_tests::audit::Audit;
use kairos_tests::http::{Answer, Client, chat};
use kairos_tests::process::{Pair, Setup, metrics, said};
use kairos_tests::{python, root};
use serde_json::{Value, json};

const NOVA: &str = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/nova4search";
const CLAUDE: &str = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/claude4all";
const UNKNOWN: &str = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/nobody";
const RENTED: &str = "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abc123";

fn setup<'a>(profiles: &'a [String; 2], simulate: &'a mut Vec<&'a str>) -> Setup<'a> {
    simulate.extend(profiles.iter().flat_map(|profile| ["--application-profile", profile.as_str()]));
    Setup { simulate, ..Setup::default() }
}

fn profiles() -> [String; 2] {
    [format!("{NOVA}=amazon.nova-lite-v1:0"), format!("{CLAUDE}=global.anthropic.claude-sonnet-4-6")]
}

/// The counts that boto3 saw, by ARN.
fn boto3(pair: &Pair) -> Vec<(String, u64, u64)> {
    let script = root().join("tests/clients/profiles.py");
    let output = Command::new(python()).arg(script).args([&pair.gateway.url, NOVA, CLAUDE, UNKNOWN]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn ask(pair: &Pair, arn: &str) -> Answer {
    let url = format!("{}/v1/chat/completions", pair.gateway.url);
    Client::default().post(&url, &[], &chat(arn, "How much is the fish?")).await
}

fn said_of(refused: &Answer) -> String {
    refused.json()["error"]["message"].as_str().unwrap().to_owned()
}

fn counted(metrics: &str, name: &str) -> u64 {
    let line = metrics.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn boto3_calls_profiles_and_the_bill_agrees() {
    let (profiles, mut simulate) = (profiles(), Vec::new());
    let mut setup = setup(&profiles, &mut simulate);
    let mut pair = setup.start();
    let seen = boto3(&pair);
    assert_eq!(seen.len(), 5);
    // Twice for the ones that are, once for the one that is not: it is asked about no more for a minute.
    assert_eq!(counted(&metrics(&pair).await, "kairos_profile_questions_total"), 3);
    let again = ask(&pair, UNKNOWN).await;
    assert_eq!(again.status, 404);
    assert_eq!(counted(&metrics(&pair).await, "kairos_profile_questions_total"), 3);
    // What is called is the profile, so that AWS's bill names it.
    let client = Client::default();
    let billed = client.get(&format!("{}/sim/v1/bill", pair.simulator.url)).await.json();
    let asked: Vec<_> = billed["rows"].as_array().unwrap().iter().map(|row| &row["model"]).collect();
    assert_eq!(asked, [NOVA, NOVA, CLAUDE, CLAUDE, CLAUDE]);
    let record = ask(&pair, NOVA).await;
    assert_eq!((record.status.as_u16(), record.header("x-kairos-model")), (200, NOVA));

    // A gateway that cannot ask serves what is known, and nothing else.
    pair.gateway.stop();
    setup.environment = &[("AWS_ENDPOINT_URL_BEDROCK", "http://127.0.0.1:1")];
    pair.gateway = setup.gateway(&pair.simulator.url, pair.folder());
    assert_eq!(ask(&pair, CLAUDE).await.status, 200);
    assert_eq!(counted(&metrics(&pair).await, "kairos_profile_questions_total"), 0);
    let refused = ask(&pair, UNKNOWN).await;
    let wait = refused.header("retry-after").to_owned();
    let message = said_of(&refused);
    insta::assert_snapshot!(format!("{} {wait}: {message}", refused.status.as_u16()), @"503 5: what the application inference profile stands for is not known: Bedrock's control plane in us-east-1 answers nothing: it cannot be reached; under [models.names] in kairos.toml the gateway is told what an ARN stands for");
    pair.gateway.stop();

    // The ledger is what was billed, to the last digit.
    let mut audit = Audit::default();
    audit.read_bill(&pair.simulator.url).await;
    let found = audit.check(&pair.folder().join("data")).unwrap();
    assert_eq!((found.billed, found.estimated, found.without_row), (7, 0, 0));
    let (code, shown) = said(&pair, &["ledger", "show", "--by", "model", "--json"]);
    assert_eq!(code, 0, "{shown}");
    let bill = client.get(&format!("{}/sim/v1/bill", pair.simulator.url)).await.json();
    let spent: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(spent["total"]["charged_usd"], bill["totals"]["cost_usd"], "{spent} {bill}");

    // And who operates it sees what is known.
    let (_, models) = said(&pair, &["models", "--as-of", "2026-11-23"]);
    let known = models.lines().filter_map(|line| {
        let words: Vec<_> = line.split_whitespace().take(2).collect();
        words.first()?.starts_with("arn:").then_some(words)
    });
    let expected = [vec![CLAUDE, "global.anthropic.claude-sonnet-4-6"], vec![NOVA, "amazon.nova-lite-v1:0"]];
    assert_eq!(known.collect::<Vec<_>>(), expected, "{models}");
    let (_, json) = said(&pair, &["models", "--as-of", "2026-11-23", "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    let nova = json.as_array().unwrap().iter().find(|row| row["id"] == "amazon.nova-lite-v1:0").unwrap();
    assert_eq!(nova["arns"], json!([NOVA]));
    let (_, doctor) = said(&pair, &["doctor", "--offline"]);
    assert!(doctor.contains(&format!("{NOVA} stands for amazon.nova-lite-v1:0, said Bedrock on 20")), "{doctor}");
}

#[tokio::test]
async fn what_a_key_may_use_is_what_the_profile_stands_for() {
    let (profiles, mut simulate) = (profiles(), Vec::new());
    let mut pair = Setup { config: "[auth]\nrequire_key = true\n", ..setup(&profiles, &mut simulate) }.start();
    let (code, made) = said(&pair, &["key", "create", "search", "--models", "nova-lite", "--json"]);
    assert_eq!(code, 0, "{made}");
    let made: Value = serde_json::from_str(&made).unwrap();
    let bearer = format!("Bearer {}", made["key"].as_str().unwrap());
    let url = format!("{}/v1/chat/completions", pair.gateway.url);
    let client = Client::default();
    let ask = async |arn: &str| client.post(&url, &[("authorization", &bearer)], &chat(arn, "hi")).await;
    assert_eq!(ask(NOVA).await.status, 200);
    let refused = ask(CLAUDE).await;
    assert_eq!(refused.status, 403);
    assert!(said_of(&refused).ends_with("it may use nova-lite"), "{}", refused.text());
    // What is rented is never taken for something else.
    let rented = ask(RENTED).await;
    assert_eq!(rented.status, 404);
    assert!(rented.text().contains("paid by the time for which it is rented"), "{}", rented.text());
    // Nobody without a key has Bedrock asked.
    let before = counted(&metrics_of(&client, &pair).await, "kairos_profile_questions_total");
    let nobody = client.post(&url, &[("authorization", "Bearer no")], &chat(UNKNOWN, "hi")).await;
    assert_eq!(nobody.status, 401);
    // Nor anybody for what the key may not do whatever the profile stands for.
    let (code, made) = said(&pair, &["key", "create", "sdk", "--dialects", "bedrock", "--json"]);
    assert_eq!(code, 0, "{made}");
    let made: Value = serde_json::from_str(&made).unwrap();
    let bearer = format!("Bearer {}", made["key"].as_str().unwrap());
    let spoken = client.post(&url, &[("authorization", &bearer)], &chat(UNKNOWN, "hi")).await;
    assert_eq!(spoken.status, 403, "{}", spoken.text());
    assert_eq!(counted(&metrics_of(&client, &pair).await, "kairos_profile_questions_total"), before);
    pair.gateway.stop();
}

/// Lists, figures, limits and budgets that name a profile hold where Bedrock says at the start what it stands for; and
/// where it does not, the gateway serves without, and says so.
#[tokio::test]
async fn what_the_configuration_names_is_asked_about_before_it_serves() {
    let config = format!(
        r#"
[models]
as_of = "2026-11-23"
auto = ["nova-micro", "{NOVA}"]
fallback = ["{NOVA}"]
[limits.burndown]
"{NOVA}" = 2
[[limits.rates]]
name = "of-nova"
model = "{NOVA}"
requests_per_minute = 50
[[budgets]]
name = "of-claude"
model = "{CLAUDE}"
limit_usd = "1"
period = "day"
"#
    );
    let (profiles, mut simulate) = (profiles(), Vec::new());
    let away = &[("AWS_ENDPOINT_URL_BEDROCK", "http://127.0.0.1:1")];
    let mut setup = Setup { config: &config, environment: away, ..setup(&profiles, &mut simulate) };
    let mut pair = setup.start();
    let answered = ask(&pair, "auto").await;
    assert_eq!((answered.status.as_u16(), answered.header("x-kairos-model")), (200, "amazon.nova-micro-v1:0"));
    let limits = |metrics: &str| {
        ["rate_limit{rate=\"of-nova\"", "budget_limit_usd{budget=\"of-claude\""].map(|name| metrics.contains(name))
    };
    assert_eq!(limits(&metrics(&pair).await), [false, false]);
    let (_, doctor) = said(&pair, &["doctor", "--offline"]);
    for (setting, arn) in
        [("models.auto", NOVA), ("limits.burndown", NOVA), ("limits.rates", NOVA), ("budgets", CLAUDE)]
    {
        assert!(doctor.contains(&format!("{setting}: {arn} is left out: what it stands for is not known")), "{doctor}");
    }
    pair.gateway.stop();

    setup.environment = &[];
    pair.gateway = setup.gateway(&pair.simulator.url, pair.folder());
    assert_eq!(limits(&metrics(&pair).await), [true, true]);
    let (_, doctor) = said(&pair, &["doctor", "--offline"]);
    assert!(!doctor.contains("left out"), "{doctor}");
    pair.gateway.stop();
}

/// What `/metrics` says to the operator, who has the admin token.
async fn metrics_of(client: &Client, pair: &Pair) -> String {
    let token = std::fs::read_to_string(pair.folder().join("data/admin-token")).unwrap();
    let bearer = format!("Bearer {}", token.trim());
    let answer = client.send("GET", &format!("{}/metrics", pair.gateway.url), &[("authorization", &bearer)], "").await;
    answer.text()
}
