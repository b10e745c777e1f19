//! Budgets as operators set them and as callers meet them.

use std::path::Path;
use std::process::Command;

use kairos_tests::audit::picodollars;
use kairos_tests::http::{Answer, Client, chat, converse};
use kairos_tests::policy;
use kairos_tests::process::{Pair, Server, Setup, kairos, on_data, said};
use serde_json::{Value, json};

fn made(pair: &Pair, arguments: &[&str]) -> String {
    let output = on_data(pair, &[&["key", "create"], arguments, &["--json"]].concat());
    let made: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    format!("Bearer {}", made["key"].as_str().unwrap())
}

/// A short question: 20 tokens of an answer at most.
async fn ask(pair: &Pair, key: &str, model: &str, more: &[(&str, &str)]) -> Answer {
    let mut body = chat(model, "hello");
    body["max_tokens"] = json!(20);
    let headers = [&[("authorization", key)], more].concat();
    Client::default().post(&format!("{}/v1/chat/completions", pair.gateway.url), &headers, &body).await
}

fn listed(pair: &Pair) -> Vec<Value> {
    let listed: Value = serde_json::from_slice(&on_data(pair, &["budget", "list", "--json"]).stdout).unwrap();
    listed["budgets"].as_array().unwrap().clone()
}

fn charged(pair: &Pair, name: &str) -> u128 {
    let found = listed(pair).into_iter().find(|budget| budget["name"] == name);
    picodollars(&found.unwrap_or_else(|| panic!("{name}"))["charged_usd"])
}

/// What a refusal says, its amounts left out.
fn refusal(answer: &Answer) -> String {
    assert_eq!(answer.status, 429, "{}", answer.text());
    let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
    let amount = |word: &str| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.');
    let words: Vec<_> = message.split(' ').map(|word| if amount(word) { "N" } else { word }).collect();
    format!("{} retry-after: {}", words.join(" "), answer.headers.contains_key("retry-after"))
}

#[tokio::test]
async fn each_budget_holds_for_whom_it_covers() {
    let config = r#"
[auth]
bearer_key = "the-operators-own-key"

[[budgets]]
name = "a-day"
team = "a"
limit_usd = "0.00008"
period = "day"
time_zone = "Europe/Berlin"

[[budgets]]
name = "prod"
tag = "env=prod"
limit_usd = "0.000000000001"
rolling = "24h"

[[budgets]]
name = "claude"
model = "us.anthropic.claude-sonnet-4-6"
key = "two"
limit_usd = "0.0000001"
period = "month"

[[budgets]]
name = "whole"
limit_usd = "5"
period = "week"
"#;
    let setup = Setup { config, policy: Some(policy("task.rhai")), ..Setup::default() };
    let mut pair = setup.start();
    let one = made(&pair, &["one", "--tag", "team=a"]);
    let two = made(&pair, &["two", "--tag", "team=b"]);
    let own = made(&pair, &["own", "--budget-usd", "0.000075", "--budget-period", "month"]);
    made(&pair, &["far", "--budget-usd", "7", "--budget-period", "week", "--budget-zone", "Asia/Tokyo"]);
    let (_, keys) = said(&pair, &["key", "list"]);
    for budget in [", budget 0.000075 USD a month", ", budget 7 USD a week (Asia/Tokyo)"] {
        assert!(keys.contains(budget), "{keys}");
    }
    for (wrong, why) in [
        (["--budget-usd", "a lot", "--budget-period", "day"], "an amount of US dollars is expected"),
        (["--budget-usd", "5", "--budget-period", "fortnight"], "unknown variant `fortnight`"),
        (["--budget-usd", "5", "--budget-zone", "Berlin"], "time_zone: \"Berlin\" is not known here"),
        (["--budget-usd", "0", "--budget-period", "day"], "limit_usd: it is above 0"),
    ] {
        let (code, told) = said(&pair, &[&["key", "create", "wrong"], &wrong[..]].concat());
        assert!(code != 0 && told.contains(why), "{wrong:?}: {told}");
    }
    assert_eq!(ask(&pair, &one, "nova-lite", &[]).await.status, 200);
    assert_eq!(ask(&pair, &two, "nova-lite", &[]).await.status, 200);
    insta::assert_snapshot!(refusal(&ask(&pair, &two, "claude-sonnet-4-6", &[]).await), @r#"the budget "claude" of N USD a month has no room for what the request can cost, N USD: 0 USD are spent, 0 USD reserved for requests under way; it never has: lower the output limit of the request, or name a cheaper model retry-after: false"#);
    insta::assert_snapshot!(refusal(&ask(&pair, &two, "nova-lite", &[("x-kairos-tags", "env=prod")]).await), @r#"the budget "prod" of N USD in any 24h has no room for what the request can cost, N USD: 0 USD are spent, 0 USD reserved for requests under way; it never has: lower the output limit of the request, or name a cheaper model retry-after: false"#);
    // A team's budget pays for all its keys; nobody else's requests count.
    let spent = charged(&pair, "a-day");
    assert!(spent > 0 && charged(&pair, "whole") == 2 * spent, "{spent}");
    let mut last = ask(&pair, &one, "nova-lite", &[]).await;
    while last.status == 200 {
        last = ask(&pair, &one, "nova-lite", &[]).await;
    }
    insta::assert_snapshot!(refusal(&last), @r#"the budget "a-day" of N USD a day has no room for what the request can cost, N USD: N USD are spent, 0 USD reserved for requests under way retry-after: true"#);
    // Not too early, by no part of a second.
    let after: f64 = last.header("retry-after").parse().unwrap();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    let ends = listed(&pair)[0]["until"].as_str().unwrap().to_owned();
    let ends = Command::new("date").args(["-d", &ends, "+%s"]).output().unwrap().stdout;
    let ends: f64 = String::from_utf8(ends).unwrap().trim().parse().unwrap();
    assert!(now + after >= ends && after <= 90_000.0, "{now} + {after}: {ends}");
    assert_eq!(ask(&pair, &two, "nova-lite", &[]).await.status, 200);

    // A key's own budget holds at once, and after a restart, as all do.
    while ask(&pair, &own, "nova-lite", &[]).await.status == 200 {}
    let before = listed(&pair);
    pair.gateway.terminate();
    pair.gateway.wait_for_log("\"stopped\"");
    pair.gateway = setup.gateway(&pair.simulator.url, pair.folder());
    // But for the time in which one that rolls began.
    let lasting = |budgets: &[Value]| {
        let mut budgets = budgets.to_vec();
        budgets.iter_mut().for_each(|budget| budget["since"] = Value::Null);
        budgets
    };
    assert_eq!(lasting(&listed(&pair)), lasting(&before));
    let names: Vec<_> = before.iter().map(|budget| budget["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a-day", "prod", "claude", "whole", "key:own", "key:far"]);
    for (key, budget) in [(&own, "key:own"), (&one, "a-day")] {
        let answer = ask(&pair, key, "nova-lite", &[]).await;
        assert!(answer.text().contains(&format!("the budget \\\"{budget}\\\"")), "{}", answer.text());
    }

    let operator = [("authorization", "Bearer the-operators-own-key")];
    let text = Client::default().send("GET", &format!("{}/metrics", pair.gateway.url), &operator, "").await.text();
    for line in ["kairos_budget_limit_usd{budget=\"whole\"} 5", "kairos_budget_open_usd{budget=\"a-day\"} 0"] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(text.contains("kairos_budget_spent_usd{budget=\"a-day\"} 0.0000") && !text.contains("key:own"));
    let (code, table) = said(&pair, &["budget", "list"]);
    let row = table.lines().find(|line| line.starts_with("claude")).unwrap();
    assert!(
        code == 0
            && row.contains("0 USD spent, 0 open, of 0.0000001 USD a month, until ")
            && row.ends_with("(key two, model anthropic.claude-sonnet-4-6)"),
        "{table}"
    );
}

/// A gateway of its own folder with these budgets.
fn serving(folder: &Path, budgets: &str) -> Command {
    let path = folder.join("kairos.toml");
    std::fs::write(&path, format!("listen = \"127.0.0.1:0\"\ndata = \"{}\"\n{budgets}", folder.display())).unwrap();
    let mut command = kairos();
    command.args(["serve", "--config"]).arg(&path).env("AWS_REGION", "us-east-1");
    command.env("AWS_ACCESS_KEY_ID", "x").env("AWS_SECRET_ACCESS_KEY", "x");
    command
}

/// A key or a team may come later. One whose name is misspelt never does, and the budget holds for nobody.
#[test]
fn a_budget_of_a_key_or_team_that_there_is_not_is_told() {
    let of = |name: &str, whose: &str| {
        format!("[[budgets]]\nname = \"{name}\"\n{whose}\nlimit_usd = \"1\"\nperiod = \"day\"\n")
    };
    let budgets = [of("own", "key = \"bearer\""), of("a", "key = \"serach\""), of("b", "team = \"research\"")];
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&mut serving(folder.path(), &budgets.concat()));
    for nobody in
        [r#"\"a\" in kairos.toml holds for nobody yet: there is no key \"serach\""#, r#"there is no team \"research\""#]
    {
        let told = server.wait_for_log("holds for nobody yet");
        assert!(told.contains(nobody), "{told}");
    }
}

/// A model that there is not makes no budget that covers nothing.
#[test]
fn a_budget_of_an_unknown_model_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let entry = "[[budgets]]\nname = \"m\"\nmodel = \"nova-lita\"\nlimit_usd = \"1\"\nperiod = \"day\"\n";
    let output = serving(folder.path(), entry).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        told.contains("budgets: m: model: no model that can be called answers for \"nova-lita\"; did you mean"),
        "{told}"
    );
}

/// A budget that degrades refuses nothing but what can wait; who leaves the choice gets what is cheap.
#[tokio::test]
async fn a_budget_that_degrades_saves() {
    let config = "[[budgets]]\nname = \"soft\"\nlimit_usd = \"0.000001\"\nperiod = \"month\"\nover = \"degrade\"\n";
    let pair = Setup { config, ..Setup::default() }.start();
    let client = Client::default();
    let url = format!("{}/model/auto/converse", pair.gateway.url);
    let offered = |answer: &Answer| {
        let (client, url) =
            (client.clone(), format!("{}/v1/requests/{}", pair.gateway.url, answer.header("x-kairos-request-id")));
        async move { client.get(&url).await.json()["decision"]["offered"].as_array().unwrap().clone() }
    };
    let low = [("x-kairos-priority", "low")];
    let first = client.post(&url, &low, &converse("hello")).await;
    assert_eq!(first.status, 200, "{}", first.text());
    let all = offered(&first).await;
    let second = client.post(&url, &[], &converse("hello")).await;
    assert_eq!(second.status, 200, "{}", second.text());
    let cheap = offered(&second).await;
    assert!(all.len() > 3 && cheap.len() == 3 && cheap.iter().all(|model| all.contains(model)), "{all:?} {cheap:?}");
    let warned = second.header("x-kairos-warnings");
    assert!(warned.contains("soft") && warned.contains("only the cheapest models are offered"), "{warned}");
    let waits = client.post(&url, &low, &converse("hello")).await;
    assert_eq!((waits.status.as_u16(), waits.header("x-amzn-errortype")), (429, "ThrottlingException"));
    assert!(waits.text().contains("requests of low priority wait") && waits.headers.contains_key("retry-after"));
    // Who names a model gets it.
    let named = client.post(&url.replace("auto", "us.anthropic.claude-sonnet-4-6"), &[], &converse("hello")).await;
    assert_eq!(named.status, 200);
}

/// Takes what is POSTed to it; refuses the first so many.
struct Receiver {
    url: String,
    taken: std::sync::mpsc::Receiver<(String, String)>,
}

impl Receiver {
    fn start(address: &str, refuses: usize) -> Self {
        let listener = std::net::TcpListener::bind(address).unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (send, taken) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let mut stream = std::io::BufReader::new(stream.unwrap());
                let (signature, body) = read(&mut stream);
                let status = if number < refuses { "503 Service Unavailable" } else { "204 No Content" };
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                std::io::Write::write_all(stream.get_mut(), answer.as_bytes()).unwrap();
                if number >= refuses && send.send((signature, body)).is_err() {
                    return;
                }
            }
        });
        Self { url, taken }
    }

    /// The next alert: its kind, its budget, its threshold or why.
    fn next(&self) -> (String, String, String) {
        let (signature, body) = self.taken.recv_timeout(std::time::Duration::from_secs(60)).unwrap();
        let (second, hex) = signature.trim_start_matches("t=").split_once(",v1=").unwrap();
        let mut child = Command::new("openssl")
            .args(["dgst", "-sha256", "-hmac", "a-secret-of-the-hook"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), format!("{second}.{body}").as_bytes()).unwrap();
        let digest = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
        assert!(digest.trim_end().ends_with(hex), "{digest} {hex}");
        let alert: Value = serde_json::from_str(&body).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let what = alert["threshold_usd"].as_str().or(alert["why"].as_str()).unwrap_or_default().to_owned();
        (text(&alert["kind"]), text(&alert["budget"]["name"]), what)
    }
}

/// Reads a request: what it is signed with, and its body.
fn read(stream: &mut impl std::io::BufRead) -> (String, String) {
    let (mut signature, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(": ") else { continue };
        match name {
            "content-length" => length = value.parse().unwrap(),
            "x-kairos-signature" => value.clone_into(&mut signature),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    (signature, String::from_utf8(body).unwrap())
}

/// Each threshold is told once, though the receiver fails at first and the gateway is killed in between; and so
/// is that a raised limit ends it.
#[tokio::test]
async fn alerts_are_told_once_whatever_happens() {
    let receiver = Receiver::start("127.0.0.1:0", 2);
    let config = |limit: &str| {
        format!(
            "[alerts]\nwebhook_url = \"{}\"\nwebhook_secret = \"a-secret-of-the-hook\"\n[[budgets]]\nname = \"soft\"\n\
             limit_usd = \"{limit}\"\nperiod = \"month\"\nover = \"degrade\"\nalerts = [0.5, 1.0]\n",
            receiver.url
        )
    };
    let before = config("0.000001");
    let setup = Setup { config: &before, policy: Some(policy("task.rhai")), ..Setup::default() };
    let mut pair = setup.start();
    assert_eq!(ask(&pair, "Bearer x", "nova-lite", &[]).await.status, 200);
    let passed = |what: &str| ("threshold_passed".to_owned(), "soft".to_owned(), what.to_owned());
    assert!(pair.gateway.wait_for_log("the webhook of alerts cannot be reached").contains("it answers 503"));
    pair.gateway.kill();
    pair.gateway = setup.gateway(&pair.simulator.url, pair.folder());
    assert_eq!(receiver.next(), passed("0.0000005"));
    assert_eq!(receiver.next(), passed("0.000001"));
    // Nothing is told anew, also after a proper stop: what comes next is that the limit is raised.
    pair.gateway.terminate();
    pair.gateway.wait_for_log("\"stopped\"");
    let raised = config("5");
    let setup = Setup { config: &raised, ..setup };
    pair.gateway = setup.gateway(&pair.simulator.url, pair.folder());
    let over = ("recovered".to_owned(), "soft".to_owned(), "the limit was raised".to_owned());
    assert_eq!(receiver.next(), over);
    let told = pair.gateway.wait_for_log("below its alert thresholds again");
    assert!(told.contains("the limit was raised"), "{told}");
    let text = kairos_tests::process::metrics(&pair).await;
    assert!(text.contains("kairos_bound_used{bound=\"alerts.outbox\"}"), "{text}");
}
