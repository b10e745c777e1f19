//! The ledger: no limit is passed, spending is kept, and what is wrong is told.

use std::path::{Path, PathBuf};

use kairos_tests::audit::{ledger, ledger_json, picodollars};
use kairos_tests::http::{Answer, Client, requests};
use kairos_tests::policy;
use kairos_tests::process::{Pair, Setup};
use serde_json::{Value, json};

pub(super) async fn bill(client: &Client, pair: &Pair) -> Value {
    client.get(&format!("{}/sim/v1/bill", pair.simulator.url)).await.json()
}

fn data(pair: &Pair) -> PathBuf {
    pair.folder().join("data")
}

/// What a refusal says, in picodollars.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) limit: u128,
    worst: u128,
    charged: u128,
    open: u128,
}

impl Refusal {
    /// Reads a refusal, which is to be true, in its dialect, and to say until when.
    pub(super) fn read(url: &str, answer: &Answer) -> Self {
        let text = answer.text();
        assert_eq!(answer.status, 429, "{url}: {text}");
        let after: u64 = answer.header("retry-after").parse().unwrap();
        assert!((1..=86_400).contains(&after));
        assert_eq!(answer.header("x-kairos-cost-usd"), "0");
        let body = answer.json();
        let message = if url.contains("/model/") {
            assert_eq!(answer.header("x-amzn-errortype"), "ThrottlingException");
            &body["message"]
        } else if url.ends_with("/v1/generate") {
            assert_eq!(
                (&body["error"]["type"], &body["error"]["retryable"]),
                (&json!("budget_exceeded"), &json!(false))
            );
            &body["error"]["message"]
        } else {
            assert_eq!(body["error"]["code"], "budget_exceeded");
            assert_eq!(answer.header("x-should-retry"), "false");
            &body["error"]["message"]
        };
        let words: Vec<_> = message.as_str().unwrap().split([' ', ',', ':']).collect();
        let amounts = words.windows(2).filter(|pair| pair[1] == "USD").map(|pair| picodollars(&json!(pair[0])));
        let [limit, worst, charged, open] = amounts.collect::<Vec<_>>()[..] else { panic!("{text}") };
        let refusal = Self { limit, worst, charged, open };
        assert!(charged + open <= limit && charged + open + worst > limit, "{refusal:?}");
        refusal
    }
}

/// The ledger, once so many attempts have ended in it: rows are on disk a moment after the answer.
pub(super) fn verified(data: &Path, attempts: usize) -> Value {
    loop {
        let shown = ledger_json(data, &["verify"]);
        if shown["attempts"] == attempts {
            return shown;
        }
    }
}

/// The same requests for short answers, so that the worst case of one is a small part of a limit.
pub(super) fn short(mut requests: Vec<(String, Value)>) -> Vec<(String, Value)> {
    for (url, body) in &mut requests {
        if url.contains("/converse") {
            body["inferenceConfig"] = json!({"maxTokens": 20});
        } else {
            body["max_tokens"] = json!(20);
        }
    }
    requests
}

/// 200 requests at once.
async fn ask_at_once(requests: &[(String, Value)]) -> Vec<(String, Answer)> {
    let client = Client::default();
    let asking = (0..200).map(|number| {
        let (client, (url, body)) = (client.clone(), requests[number % requests.len()].clone());
        tokio::spawn(async move {
            let answer = client.post(&url, &[], &body).await;
            (url, answer)
        })
    });
    let mut answers = Vec::new();
    for asked in asking.collect::<Vec<_>>() {
        answers.push(asked.await.unwrap());
    }
    answers
}

/// In each dialect: 200 at once against a limit that pays for 50. What is spent never passes it, and each
/// refusal is true: its figures are those of the ledger's rows.
#[tokio::test(flavor = "multi_thread")]
async fn no_dialect_passes_the_days_limit() {
    for dialect in 0..requests("").len() {
        let request = |gateway: &str| vec![short(requests(gateway)).swap_remove(dialect)];
        let setup = Setup { policy: Some(policy("task.rhai")), ..Setup::default() };
        let free = setup.start();
        let asked = request(&free.gateway.url);
        assert_eq!(Client::default().post(&asked[0].0, &[], &asked[0].1).await.status, 200);
        let cost = picodollars(&bill(&Client::default(), &free).await["totals"]["cost_usd"]);
        drop(free);

        let limit = 50 * cost;
        let config = format!("[budget]\ndaily_limit_usd = \"0.{limit:012}\"\n");
        let pair = Setup { config: &config, ..setup }.start();
        let asked = request(&pair.gateway.url);
        let mut answers = ask_at_once(&asked).await;
        // One after the other, for as long as there is room.
        while answers.last().unwrap().1.status == 200 {
            answers.push((asked[0].0.clone(), Client::default().post(&asked[0].0, &[], &asked[0].1).await));
        }
        let (answered, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(_, answer)| answer.status == 200);
        assert!(!answered.is_empty() && answered.len() <= 50, "{} answered: {}", answered.len(), asked[0].0);

        let shown = verified(&data(&pair), answered.len());
        let charged = picodollars(&shown["charged_usd"]);
        assert_eq!((charged, &shown["open"]), (cost * answered.len() as u128, &json!(0)), "{shown}");
        assert_eq!(picodollars(&bill(&Client::default(), &pair).await["totals"]["cost_usd"]), charged);
        let rows = ledger_json(&data(&pair), &["show", "--request", answered[0].1.header("x-kairos-request-id")]);
        let worst = picodollars(&rows[0]["high_usd"]);
        for (url, answer) in &refused {
            let refusal = Refusal::read(url, answer);
            assert_eq!((refusal.limit, refusal.worst), (limit, worst));
            // So many were settled by then, and so many under way.
            assert!(refusal.charged.is_multiple_of(cost) && refusal.open.is_multiple_of(worst), "{refusal:?}");
            assert!(refusal.charged <= charged);
        }
        let id = refused[0].1.header("x-kairos-request-id");
        let (code, said) = ledger(&data(&pair), &["show", "--request", id]);
        assert!(code == Some(1) && said.starts_with(&format!("kairos: no attempt of the request {id} has a row\n")));
    }
}

/// 200 at once, of every dialect, against one limit.
#[tokio::test(flavor = "multi_thread")]
async fn the_days_limit_holds_across_dialects() {
    let config = "[budget]\ndaily_limit_usd = \"0.02\"\nalert_threshold_usd = \"0.0001\"\n";
    let pair = Setup { config, policy: Some(policy("task.rhai")), ..Setup::default() }.start();
    let client = Client::default();
    let (mut answered, mut refused) = (0, 0);
    for (url, answer) in ask_at_once(&requests(&pair.gateway.url)).await {
        if answer.status == 200 {
            answered += 1;
        } else {
            refused += 1;
            assert_eq!(Refusal::read(&url, &answer).limit, 20_000_000_000);
        }
    }
    assert!(answered > 0 && refused > 0, "{answered} answered, {refused} refused");
    assert!(pair.gateway.wait_for_log("alert threshold").contains("0.0001"));
    let metrics = client.get(&format!("{}/metrics", pair.gateway.url)).await.text();
    assert!(
        metrics.contains("kairos_budget_remaining_usd 0.0") && metrics.contains("kairos_ledger_open_rows 0"),
        "{metrics}"
    );
    let billed = picodollars(&bill(&client, &pair).await["totals"]["cost_usd"]);
    let shown = verified(&data(&pair), answered);
    assert_eq!(picodollars(&shown["charged_usd"]), billed, "{shown}");
    assert!(billed <= 20_000_000_000, "{billed}");
    assert_eq!(shown["open"], 0);
}

/// What was spent is there after a proper stop, to the last digit; and a request's rows say how.
#[tokio::test]
async fn spending_outlives_the_gateway() {
    let setup = Setup { policy: Some(policy("task.rhai")), ..Setup::default() };
    let mut pair = setup.start();
    let client = Client::default();
    let mut ids = Vec::new();
    for round in 0..2 {
        for (url, body) in requests(&pair.gateway.url) {
            let answer = client.post(&url, &[], &body).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            ids.push(answer.header("x-kairos-request-id").to_owned());
        }
        pair.gateway.terminate();
        pair.gateway.wait_for_log("\"stopped\"");
        let verified = ledger_json(&data(&pair), &["verify"]);
        assert_eq!(
            picodollars(&verified["charged_usd"]),
            picodollars(&bill(&client, &pair).await["totals"]["cost_usd"])
        );
        // Opened and closed, and two rows an attempt.
        assert_eq!((&verified["rows"], &verified["estimated_usd"]), (&json!((round + 1) * 16), &json!("0")));
        pair.gateway = setup.gateway(&pair.simulator.url, pair.folder());
    }
    let rows = ledger_json(&data(&pair), &["show", "--request", &ids[0]]);
    assert_eq!(
        (&rows[0]["state"], &rows[1]["state"], &rows[1]["key"]),
        (&json!("reserved"), &json!("settled"), &json!("local"))
    );
    assert!(picodollars(&rows[0]["high_usd"]) >= picodollars(&rows[1]["high_usd"]));
    assert_eq!(ledger_json(&data(&pair), &["show"])["attempts"], 14);
}

/// What `kairos ledger` says of a ledger that a gateway writes to, and of one with which something is
/// wrong.
#[tokio::test]
async fn the_command_says_what_is_wrong() {
    let pair = Pair::start();
    let client = Client::default();
    for (url, body) in requests(&pair.gateway.url) {
        assert_eq!(client.post(&url, &[], &body).await.status, 200);
    }
    let in_use = data(&pair);
    verified(&in_use, 7);
    let (code, said) = ledger(&in_use, &["show"]);
    assert!(code == Some(0) && said.contains("USD charged for 7 attempts, 0 USD of it estimated"), "{said}");
    let (code, said) = ledger(&in_use, &["verify"]);
    assert!(code == Some(0) && said.starts_with("whole: 15 rows, 7 attempts ended, 0 open; "), "{said}");
    pair.gateway.terminate();
    pair.gateway.wait_for_log("\"stopped\"");

    let spoilt = tempfile::tempdir().unwrap();
    let spoil = |change: &str| {
        let file = spoilt.path().join("ledger.sqlite");
        std::fs::copy(in_use.join("ledger.sqlite"), &file).unwrap();
        rusqlite::Connection::open(file).unwrap().execute_batch(change).unwrap();
    };
    let today = jiff::Timestamp::now().strftime("%F").to_string();
    let mut report = String::new();
    let mut tell = |what: &str, folder: &Path, arguments: &[&str]| {
        let (code, said) = ledger(folder, arguments);
        let said = said.replace(folder.to_str().unwrap(), "FOLDER").replace(&today, "TODAY");
        report.push_str(&format!("{what}: exit {}\n{said}\n", code.unwrap()));
    };
    let changes = [
        "UPDATE journal SET high = high - 1 WHERE seq = 5",
        "UPDATE journal SET kind = 'gift' WHERE seq = 5",
        "UPDATE journal SET hash = x'00' WHERE seq = 5",
        "UPDATE journal SET attempt = -1 WHERE seq = 5",
        "DELETE FROM journal WHERE seq = 5",
        "UPDATE spent SET charged = charged - 1",
        "DELETE FROM meta",
        "DROP TABLE journal",
        "UPDATE meta SET schema = 5",
    ];
    for change in changes {
        spoil(change);
        tell(change, spoilt.path(), &["verify"]);
    }
    spoil(changes[0]);
    tell("as JSON", spoilt.path(), &["verify", "--json"]);
    tell("an id that is none", spoilt.path(), &["show", "--request", "12"]);
    tell("one without rows", spoilt.path(), &["show", "--request", "0193f3a1-7c5e-7b62-8f5d-2a4f6f0c1d2e"]);
    std::fs::write(spoilt.path().join("ledger.sqlite"), "Dear ledger, today I spent nothing at all. ".repeat(99))
        .unwrap();
    tell("a text", spoilt.path(), &["verify"]);
    tell("a text", spoilt.path(), &["show"]);
    std::fs::remove_file(spoilt.path().join("ledger.sqlite")).unwrap();
    tell("nothing", spoilt.path(), &["show"]);
    insta::assert_snapshot!(report, @r#"
    UPDATE journal SET high = high - 1 WHERE seq = 5: exit 1
    kairos: the ledger is damaged: row 5: it, or the row before it, is not what was written

    UPDATE journal SET kind = 'gift' WHERE seq = 5: exit 1
    kairos: the ledger is damaged: row 5: Conversion error from type Text at index: 3, "gift" is no kind of row

    UPDATE journal SET hash = x'00' WHERE seq = 5: exit 1
    kairos: the ledger is damaged: row 5: Conversion error from type Blob at index: 15, Cannot read 32 byte value out of 1 byte blob

    UPDATE journal SET attempt = -1 WHERE seq = 5: exit 1
    kairos: the ledger is damaged: row 5: Integer -1 out of range at index 5

    DELETE FROM journal WHERE seq = 5: exit 1
    kairos: the ledger is damaged: row 5 is missing

    UPDATE spent SET charged = charged - 1: exit 1
    kairos: the ledger is damaged: the sums of TODAY for local on amazon.nova-lite-v1:0 are not those of the rows

    DELETE FROM meta: exit 1
    kairos: the ledger is damaged: its table `meta` is empty

    DROP TABLE journal: exit 1
    kairos: the ledger is damaged: no such table: journal

    UPDATE meta SET schema = 5: exit 1
    kairos: the ledger has schema 5, this version knows 4: use the version that wrote it, or a later one

    as JSON: exit 1
    {
      "whole": false,
      "message": "the ledger is damaged: row 5: it, or the row before it, is not what was written"
    }

    an id that is none: exit 2
    kairos: "12" is not the id of a request: x-kairos-request-id has it

    one without rows: exit 1
    kairos: no attempt of the request 0193f3a1-7c5e-7b62-8f5d-2a4f6f0c1d2e has a row
      hint: rows follow within some 20 ms of what they are about; a request that was answered by no model has none

    a text: exit 1
    kairos: the ledger is damaged: file is not a database

    a text: exit 1
    kairos: the ledger is damaged: file is not a database

    nothing: exit 1
    kairos: FOLDER/ledger.sqlite: there is no ledger here; a gateway makes it when it starts, in the folder that its --data names

    "#);
}
