//! Alerts by SNS: a topic at moto's, with a queue that shows what was published.

use std::process::Command;

use kairos_tests::http::{Client, chat};
use kairos_tests::moto::Moto;
use kairos_tests::process::{Pair, Setup};
use kairos_tests::{policy, python, root};
use serde_json::Value;

fn script(moto: &str, arguments: &[&str]) -> String {
    let output = Command::new(python()).arg(root().join("tests/clients/topic.py")).arg(moto).args(arguments).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Reads so many messages, and says of each: kind, budget, threshold or reason; what filters see; the subject.
fn read(moto: &str, queue: &str, wanted: usize) -> Vec<[String; 6]> {
    let messages: Vec<Value> = serde_json::from_str(&script(moto, &["read", queue, &wanted.to_string()])).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let said = messages.iter().map(|message| {
        let alert: Value = serde_json::from_str(message["Message"].as_str().unwrap()).unwrap();
        let attribute = |name: &str| text(&message["MessageAttributes"][name]["Value"]);
        let what = alert["threshold_usd"].as_str().or(alert["why"].as_str()).unwrap_or_default().to_owned();
        let own = [text(&alert["kind"]), text(&alert["budget"]["name"])];
        assert_eq!([attribute("kind"), attribute("budget")], own);
        let [kind, budget] = own;
        [kind, budget, what, attribute("kind"), attribute("budget"), text(&message["Subject"])]
    });
    said.collect()
}

async fn spend(pair: &Pair) {
    let url = format!("{}/v1/chat/completions", pair.gateway.url);
    assert_eq!(Client::default().post(&url, &[], &chat("nova-lite", "hello")).await.status, 200);
}

/// Each threshold is published once, though SNS cannot be reached at first, the gateway is killed in between, and the
/// webhook beside it never answers; and so is that a raised limit ends it.
#[tokio::test]
async fn alerts_are_published_once_whatever_happens() {
    let moto = Moto::start();
    let made = script(&moto.url, &["make"]);
    let (topic, queue) = made.trim().split_once('\n').unwrap();
    let config = |limit: &str| {
        format!(
            "[alerts]\nsns = \"{topic}\"\nwebhook_url = \"http://127.0.0.1:1/hook\"\n[[budgets]]\nname = \"soft\"\n\
             limit_usd = \"{limit}\"\nperiod = \"month\"\nover = \"degrade\"\nalerts = [0.5, 1.0]\n"
        )
    };
    let (before, raised) = (config("0.000001"), config("5"));
    let nowhere = [("AWS_ENDPOINT_URL_SNS", "http://127.0.0.1:1")];
    let there = [("AWS_ENDPOINT_URL_SNS", moto.url.as_str())];
    let policy = Some(policy("task.rhai"));
    let mut setup = Setup { config: &before, policy, environment: &nowhere, ..Setup::default() };
    let mut pair = setup.start();
    spend(&pair).await;
    pair.gateway.wait_for_log("the topic of alerts cannot be reached: http://127.0.0.1:1: ");
    pair.gateway.kill();
    setup.environment = &there;
    pair.gateway = setup.gateway(&pair.simulator.url, pair.folder());
    let passed = |what: &str| {
        let (kind, subject) = ("threshold_passed".to_owned(), "Kairos: budget soft: threshold passed".to_owned());
        [kind.clone(), "soft".to_owned(), what.to_owned(), kind, "soft".to_owned(), subject]
    };
    let mut told = read(&moto.url, queue, 2);
    // A queue that is not FIFO keeps no order.
    told.sort();
    assert_eq!(told, [passed("0.0000005"), passed("0.000001")]);
    pair.gateway.stop();
    setup.config = &raised;
    pair.gateway = setup.gateway(&pair.simulator.url, pair.folder());
    let told = read(&moto.url, queue, 1);
    assert_eq!((told.len(), &*told[0][0], &*told[0][2]), (1, "recovered", "the limit was raised"));
}

/// What is refused is told by its code, and tried again: here a topic that is not there.
#[tokio::test]
async fn a_topic_that_is_not_there_is_told() {
    let moto = Moto::start();
    let config = "[alerts]\nsns = \"arn:aws:sns:eu-west-1:123456789012:nobody\"\n[[budgets]]\nname = \"soft\"\n\
        limit_usd = \"0.000001\"\nperiod = \"month\"\nover = \"degrade\"\n";
    let environment = [("AWS_ENDPOINT_URL_SNS", moto.url.as_str())];
    let pair =
        Setup { config, policy: Some(policy("task.rhai")), environment: &environment, ..Setup::default() }.start();
    spend(&pair).await;
    let line = pair.gateway.wait_for_log("the topic of alerts cannot be reached");
    assert!(line.contains("it answers 404 NotFound"), "{line}");
}
