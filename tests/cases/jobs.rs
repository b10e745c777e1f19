//! Jobs: what StartAsyncInvoke begins goes on after its request, its connection and its gateway; its money is
//! reserved until it ends, once.

mod started;
mod told;
mod watched;

use std::process::Command;

use kairos_tests::audit::{ledger, ledger_json};
use kairos_tests::http::{Answer, Client};
use kairos_tests::process::{Pair, Setup, metrics, on_data, said};
use kairos_tests::{python, root};
use serde_json::{Value, json};

const REEL: &str = "amazon.nova-reel-v1:1";
const MARENGO: &str = "twelvelabs.marengo-embed-3-0-v1:0";

/// A gateway whose operator knows what a second of video costs, and where jobs end when they are told to.
fn start(more: &str) -> (tempfile::TempDir, Pair) {
    let prices = tempfile::tempdir().unwrap();
    let file = prices.path().join("prices.toml");
    let row = format!("[[price]]\nmodel = \"{REEL}\"\nat = \"in-region\"\nvideo_second_made = \"0.08\"\n");
    std::fs::write(&file, row).unwrap();
    let config = format!("{more}\n[models]\nas_of = \"2026-11-23\"\nprices = {file:?}\n");
    let pair = Setup { config: &config, simulate: &["--job-seconds", "1000000"], ..Setup::default() }.start();
    (prices, pair)
}

/// The same gateway once more, after it was lost.
fn lose(pair: &mut Pair) {
    pair.gateway.kill();
    let config = std::fs::read_to_string(pair.folder().join("kairos.toml")).unwrap();
    pair.gateway = Setup { config: &config, ..Setup::default() }.gateway(&pair.simulator.url, pair.folder());
}

fn reel(token: &str, text: &str) -> Value {
    json!({"clientRequestToken": token, "modelId": REEL, "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://b"}},
        "modelInput": {"taskType": "TEXT_VIDEO", "textToVideoParams": {"text": text}}})
}

fn recording(token: &str) -> Value {
    json!({"clientRequestToken": token, "modelId": MARENGO, "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://b"}},
        "modelInput": {"inputType": "video", "video": {"mediaSource": {"s3Location": {"uri": "s3://b/v.mp4"}}}}})
}

async fn begin(pair: &Pair, body: &Value) -> Answer {
    Client::default().post(&format!("{}/async-invoke", pair.gateway.url), &[], body).await
}

fn arn(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["invocationArn"].as_str().unwrap().to_owned()
}

async fn look(pair: &Pair, arn: &str) -> u16 {
    let url = format!("{}/async-invoke/{}", pair.gateway.url, arn.replace(':', "%3A").replace('/', "%2F"));
    Client::default().get(&url).await.status.as_u16()
}

async fn simulated(pair: &Pair) -> Vec<Value> {
    let jobs = Client::default().get(&format!("{}/sim/v1/jobs", pair.simulator.url)).await.json();
    jobs["jobs"].as_array().unwrap().clone()
}

async fn end(pair: &Pair, arn: &str, wish: Value) {
    let mut wish = wish;
    wish["arn"] = arn.into();
    let answer =
        Client::default().send("PUT", &format!("{}/sim/v1/jobs", pair.simulator.url), &[], wish.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

async fn faults(pair: &Pair, faults: Value) {
    let url = format!("{}/sim/v1/faults", pair.simulator.url);
    assert_eq!(Client::default().send("PUT", &url, &[], faults.to_string()).await.status, 200);
}

/// Looks at the ledger for what is to come: each starts a process, so that they are minutes.
const MOST_LOOKS: usize = 3_000;

/// What the ledger says, once so many attempts have ended and so many are open.
fn verified(pair: &Pair, ended: usize, open: usize) -> Value {
    let mut shown = Value::Null;
    for _ in 0..MOST_LOOKS {
        shown = ledger_json(&pair.folder().join("data"), &["verify"]);
        if (&shown["attempts"], &shown["open"]) == (&json!(ended), &json!(open)) {
            return shown;
        }
    }
    panic!("{ended} attempts that ended and {open} open ones never came; at last the ledger said {shown:#}");
}

/// What jobs are settled and estimated at, in picodollars. What a crash leaves of leases is no job's.
fn of_jobs(pair: &Pair) -> (i64, i64) {
    let ledger = rusqlite::Connection::open(pair.folder().join("data/ledger.sqlite")).unwrap();
    let sum = |kind: &str| {
        let text = "SELECT coalesce(sum(high), 0) FROM journal WHERE kind = ?1";
        ledger.query_row(text, [kind], |row| row.get(0)).unwrap()
    };
    (sum("settled"), sum("estimated"))
}

async fn record(pair: &Pair, answer: &Answer) -> Value {
    let id = answer.header("x-kairos-request-id");
    Client::default().get(&format!("{}/v1/requests/{id}", pair.gateway.url)).await.json()
}

#[tokio::test]
async fn boto3_starts_looks_at_and_lists_its_own_jobs() {
    let (_prices, pair) = start("[auth]\nrequire_key = true\n");
    let keys = ["ours", "theirs"].map(|name| {
        let made: Value = serde_json::from_slice(&on_data(&pair, &["key", "create", name, "--json"]).stdout).unwrap();
        [made["access_key_id"].clone(), made["secret_access_key"].clone()]
    });
    let output = Command::new(python())
        .arg(root().join("tests/clients/jobs.py"))
        .args([&pair.gateway.url, &pair.simulator.url, &json!(keys).to_string()])
        .output()
        .unwrap();
    let said = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
    assert!(output.status.success(), "{said}");
    let arns: Vec<String> = serde_json::from_slice(&output.stdout).unwrap();
    // Four began: one is settled at what its request said, one that failed is charged until a bill says otherwise.
    let shown = verified(&pair, 2, 2);
    assert_eq!((&shown["charged_usd"], &shown["estimated_usd"]), (&json!("0.96"), &json!("0.48")));
    let jobs = simulated(&pair).await;
    let bill = |arn: &String| jobs.iter().find(|job| job["invocationArn"] == **arn).unwrap()["bill"].clone();
    assert_eq!((&bill(&arns[0])["cost_usd"], bill(&arns[1])), (&json!("0.48"), Value::Null));
    assert!(jobs.iter().all(|job| job["clientRequestToken"] != "mine"), "a key's token is no other's");
}

/// The reservation outlives the gateway, however that ends; nobody spends it meanwhile; and nobody needs to ask.
#[tokio::test]
async fn a_job_outlives_the_gateway_and_ends_without_being_asked_for() {
    // No day ends meanwhile.
    let budget = "[[budgets]]\nname = \"jobs\"\nlimit_usd = \"13.00\"\nrolling = \"7d\"\n[jobs]\nlook_seconds = 1\n";
    let (_prices, mut pair) = start(budget);
    let answer = begin(&pair, &recording("one")).await;
    let job = arn(&answer);
    // Four hours of video with its sound.
    assert_eq!(answer.header("x-kairos-cost-usd"), "12.096");
    // First in order, as a record may be lost with its process.
    for orderly in [true, false, false] {
        if orderly {
            pair.gateway.stop();
        }
        lose(&mut pair);
        let refused = begin(&pair, &recording("two")).await;
        assert_eq!((refused.status.as_u16(), refused.header("x-amzn-errortype")), (429, "ThrottlingException"));
        assert!(refused.text().contains("12.096 USD reserved"), "{}", refused.text());
        assert_eq!(arn(&begin(&pair, &recording("one")).await), job, "a repeated request is the same job in every run");
        verified(&pair, 0, 1);
    }
    assert!(metrics(&pair).await.contains("kairos_bound_used{bound=\"jobs.open\"} 1"));
    end(&pair, &job, json!({"status": "Completed", "seconds": 100})).await;
    verified(&pair, 1, 0);
    assert_eq!(of_jobs(&pair), (0, 12_096_000_000_000));
    assert_eq!(simulated(&pair).await[0]["bill"]["cost_usd"], "0.07");
    let record = record(&pair, &answer).await;
    assert_eq!(
        record["job"],
        json!({"arn": job, "status": "Completed", "ledger": "estimated", "cost_usd": "12.096",
        "cost_low_usd": "0"}),
        "{record:#}"
    );
    assert!(metrics(&pair).await.contains("kairos_job_looks_total{outcome=\"ended\"} 1"));
}

/// A connection that breaks after the job began: the same request finds it, with one reservation; and where
/// nobody asks again, the gateway finds it by its token.
#[tokio::test]
async fn a_start_whose_answer_is_lost_is_one_job_and_one_row() {
    let (_prices, mut pair) = start("[jobs]\nlook_seconds = 1\n");
    faults(&pair, json!([{"model": "*", "fault": "connection_reset", "times": 2}])).await;
    for token in ["asked-again", "forgotten"] {
        let lost = begin(&pair, &reel(token, "a cat")).await;
        assert_eq!(lost.status, 503, "{}", lost.text());
        assert!(lost.header("x-kairos-warnings").contains("it is not known whether the job began"));
        // Its worst case counts until more is known.
        assert_eq!(lost.header("x-kairos-cost-usd"), "0.48");
    }
    lose(&mut pair);
    let found = arn(&begin(&pair, &reel("asked-again", "a cat")).await);
    let jobs = simulated(&pair).await;
    assert_eq!((jobs.len(), &jobs[0]["invocationArn"]), (2, &json!(found)));
    verified(&pair, 0, 2);
    for job in &jobs {
        end(&pair, job["invocationArn"].as_str().unwrap(), json!({"status": "Completed"})).await;
    }
    verified(&pair, 2, 0);
    assert_eq!(of_jobs(&pair), (960_000_000_000, 0));
    // Whose it is was known before anything was sent.
    assert_eq!(arn(&begin(&pair, &reel("forgotten", "a cat")).await), jobs[1]["invocationArn"].as_str().unwrap());
    // What Bedrock refuses is no job, and costs nothing.
    faults(&pair, json!([{"model": "*", "fault": "AccessDeniedException", "times": 1}])).await;
    assert_eq!(begin(&pair, &reel("refused", "a cat")).await.status, 403);
    verified(&pair, 3, 0);
    assert_eq!(of_jobs(&pair), (960_000_000_000, 0));
    // Nor does its token stand for anything.
    assert_ne!(arn(&begin(&pair, &reel("refused", "a dog")).await), found);
}

#[tokio::test]
async fn what_a_job_is_given_is_judged_and_jobs_are_bounded() {
    let (_prices, pair) = start("[guard]\npersonal_data = true\n[jobs]\nopen_each_key = 2\n");
    let answer = begin(&pair, &reel("one", "a letter to jane.doe@example.com")).await;
    arn(&answer);
    assert!(answer.header("x-kairos-warnings").contains("replaced in the request: 1 email"), "{:?}", answer.headers);
    let given = simulated(&pair).await[0]["modelInput"].to_string();
    assert!(given.contains("a letter to ") && !given.contains("jane.doe"), "{given}");
    arn(&begin(&pair, &reel("two", "a cat")).await);
    let refused = begin(&pair, &reel("three", "a cat")).await;
    assert_eq!((refused.status.as_u16(), refused.header("x-amzn-errortype")), (400, "ServiceQuotaExceededException"));
    let says = refused.json()["message"].as_str().unwrap().to_owned();
    assert_eq!(
        says,
        "2 jobs of this key are open, as many as `open_each_key` under [jobs] allows; wait for one to end"
    );
    let wrong = Client::default().send("DELETE", &format!("{}/async-invoke", pair.gateway.url), &[], "").await;
    assert_eq!((wrong.status.as_u16(), wrong.header("x-amzn-errortype")), (405, "UnknownOperationException"));
}

/// Where a job may read and write is the operator's to say; and what is kept of one that has ended goes where
/// somebody asks for it.
#[tokio::test]
async fn jobs_stay_in_their_places_and_are_forgotten() {
    let (_prices, pair) = start("[jobs]\ns3 = [\"s3://b/\"]\n");
    let mut elsewhere = reel("one", "a cat");
    elsewhere["outputDataConfig"]["s3OutputDataConfig"]["s3Uri"] = "s3://theirs/a".into();
    let refused = begin(&pair, &elsewhere).await;
    let says = "outputDataConfig.s3OutputDataConfig.s3Uri: it is in none of the places that `s3` under [jobs] allows";
    assert!(refused.status == 400 && refused.text().contains(says), "{}", refused.text());
    let begun = begin(&pair, &recording("two")).await;
    let job = arn(&begun);
    let id = begun.header("x-kairos-request-id");
    // What is reserved for it must still be accounted for.
    let (code, text) = said(&pair, &["records", "forget", "--before", "2999-01-01"]);
    assert!(code == 0 && text.contains(" gone") && !text.contains("job"), "{text}");
    end(&pair, &job, json!({"status": "Completed"})).await;
    assert_eq!(look(&pair, &job).await, 200);
    verified(&pair, 1, 0);
    let (code, text) = said(&pair, &["records", "forget", "--request", id]);
    assert!(code == 0 && text.contains("0 records and 1 job gone; what the requests cost stays"), "{text}");
    assert_eq!(look(&pair, &job).await, 400);
}

/// What is charged at its worst case until the bill says otherwise becomes what the bill says.
#[tokio::test]
async fn a_bill_settles_what_no_answer_said_of_jobs() {
    let (_prices, mut pair) = start("");
    let client = Client::default();
    for (body, wish) in [
        (reel("made", "a cat"), json!({"status": "Completed"})),
        (recording("heard"), json!({"status": "Completed", "seconds": 100})),
        (reel("failed", "a dog"), json!({"status": "Failed"})),
    ] {
        let job = arn(&begin(&pair, &body).await);
        end(&pair, &job, wish).await;
        assert_eq!(look(&pair, &job).await, 200);
    }
    let shown = verified(&pair, 3, 0);
    assert_eq!((&shown["charged_usd"], &shown["estimated_usd"]), (&json!("13.056"), &json!("12.576")));
    let bill = client.get(&format!("{}/sim/v1/bill", pair.simulator.url)).await.json();
    assert_eq!((&bill["totals"]["rows"], &bill["totals"]["cost_usd"]), (&json!(2), &json!("0.55")));
    let csv = client.get(&format!("{}/sim/v1/bill.csv", pair.simulator.url)).await.text();
    pair.gateway.stop();
    let file = pair.folder().join("bill.csv");
    std::fs::write(&file, csv).unwrap();
    let data = pair.folder().join("data");
    let (code, said) = ledger(&data, &["reconcile", file.to_str().unwrap(), "--settle", "--final"]);
    assert_eq!(code, Some(0), "{said}");
    let shown = ledger_json(&data, &["verify"]);
    assert_eq!((&shown["charged_usd"], &shown["estimated_usd"]), (&json!("0.55"), &json!("0")), "{said}");
}
