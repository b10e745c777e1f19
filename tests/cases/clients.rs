//! Real clients: the openai package, boto3 and plain HTTP, unmodified, buffered and streamed.

use std::process::Command;

use kairos_tests::process::Pair;
use kairos_tests::{python, root};

fn run_script(script: &str, arguments: &[&str]) {
    let output = Command::new(python()).arg(root().join(script)).args(arguments).output().unwrap();
    let said = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
    assert!(output.status.success(), "{script}: {said}");
}

#[test]
fn openai_boto3_and_plain_http_get_the_same_answers() {
    let pair = Pair::start();
    run_script("tests/clients/same_answers.py", &[&pair.gateway.url, &pair.simulator.url]);
}

#[test]
fn boto3_accepts_every_answer_of_the_simulator() {
    let pair = Pair::start();
    run_script("host/simulator/tests/boto3_accepts.py", &[&pair.simulator.url]);
}
