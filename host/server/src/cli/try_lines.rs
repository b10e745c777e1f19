//! What the demo prints: lines to try, each of which works as it stands.

use std::net::SocketAddr;
use std::path::Path;

/// The text. Lines to run are indented by four spaces.
pub(super) fn text(gateway: SocketAddr, bedrock: SocketAddr, policies: &Path, examples: &Path, data: &Path) -> String {
    let kairos = std::env::current_exe().map_or_else(|_| "kairos".to_owned(), |path| path.display().to_string());
    let (policies, examples, data) = (policies.display(), examples.display(), data.display());
    format!(
        r#"
Kairos demo. A simulated Bedrock answers at http://{bedrock}; no AWS account is used.
The policy that picks the models is {policies}/router.rhai

Try, in another terminal:

  One request. The headers say which model answered, which policy chose it, and what it cost
    curl -si http://{gateway}/v1/chat/completions -H 'content-type: application/json' -d '{{"model":"auto","messages":[{{"role":"user","content":"Write a Python function that adds two numbers"}}]}}'

  The same, streamed
    curl -sN http://{gateway}/v1/chat/completions -H 'content-type: application/json' -d '{{"model":"auto","stream":true,"messages":[{{"role":"user","content":"What is the capital of Norway?"}}]}}'

  The openai package (pip install openai)
    python3 -c 'import openai; client = openai.OpenAI(base_url="http://{gateway}/v1", api_key="none"); print(client.chat.completions.create(model="auto", messages=[{{"role": "user", "content": "Prove that there is no largest prime"}}]).choices[0].message.content)'

  boto3 (pip install boto3): Bedrock's own API
    python3 -c 'import boto3; client = boto3.client("bedrock-runtime", region_name="us-east-1", endpoint_url="http://{gateway}", aws_access_key_id="any", aws_secret_access_key="any"); print(client.converse(modelId="auto", messages=[{{"role": "user", "content": [{{"text": "Hello"}}]}}])["output"]["message"]["content"][0]["text"])'

  A template, by its name: what it says is in {policies}/prompts/explain/1.toml, and may be edited while it serves
    curl -si http://{gateway}/v1/chat/completions -H 'content-type: application/json' -d '{{"model":"auto","prompt":{{"id":"explain","variables":{{"question":"What is a mutex?","audience":"a child"}}}}}}'
    {kairos} prompt render explain --policies {policies} --var 'question=What is a mutex?'

  Route code to another model: edit the policy while it serves, and send the first request again
    sed -i 's/first = claude;/first = titan;/' {policies}/router.rhai

  Route by score instead: put another policy in its place
    cp {examples}/score.rhai {policies}/router.rhai

  Take that back, at once: what served before serves again
    {kairos} policy rollback --why 'too dear' --data {data}

  What serves, what did before and what is ready, and who did what
    {kairos} policy list --data {data}
    {kairos} audit --data {data}

  Why the last request went where it went, and whether its policy would decide the same again
    {kairos} explain --data {data} $(curl -si http://{gateway}/v1/chat/completions -H 'content-type: application/json' -d '{{"model":"auto","messages":[{{"role":"user","content":"Hello"}}]}}' | grep -i '^x-kairos-request-id' | tr -d '\r' | cut -d' ' -f2)

  What another policy would have done with all of them
    {kairos} replay --policy {examples}/score.rhai --data {data}

  What loading a policy would say
    {kairos} policy check {policies}/router.rhai

  A policy's own tests: {examples}/score.test.toml says what is expected of it
    {kairos} policy test {examples}/score.rhai

  The models, which of them have ended, and what answers in their place
    {kairos} models --as-of 2026-11-23

  Metrics
    curl -s http://{gateway}/metrics

  What was spent, by the gateway's ledger; and what the simulated AWS charges: the same, to the last digit
    {kairos} ledger show --data {data}
    curl -s http://{bedrock}/sim/v1/bill

With a real AWS account (your credentials, your bill), first see which models you may call; that costs nothing:
    AWS_REGION=us-east-1 {kairos} models --check-access
    AWS_REGION=us-east-1 {kairos} serve --policies {policies} --listen 127.0.0.1:0

Ctrl-C ends the demo.
"#
    )
}
