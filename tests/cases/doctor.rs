//! `kairos doctor`: what it says of a set-up, for people and for programs, and its exit codes.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use kairos_tests::process::{Pair, binary, kairos};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder with a configuration, and a doctor in it whose environment is only what a test sets.
fn doctor(folder: &Path, config: &str, arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String) {
    std::fs::write(folder.join("kairos.toml"), config).unwrap();
    let mut command = Command::new(binary());
    command.arg("doctor").args(arguments).current_dir(folder).env_clear();
    command.env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_CONFIG_FILE", "/nonexistent");
    command.env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent").env("KAIROS_LOG", "off");
    let output = command.envs(environment.iter().copied()).output().unwrap();
    let said = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
    (output.status.code().unwrap(), said.replace(&folder.canonicalize().unwrap().display().to_string(), "HERE"))
}

const AWS: [(&str, &str); 3] = [
    ("AWS_REGION", "us-east-1"),
    ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
    ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
];

/// The checks, without those that say how this machine is.
fn checks(said: &str) -> String {
    let checks = said.split_once("Checks\n").unwrap().1;
    let machine = |line: &&str| {
        !(line.contains("  disk: ") || line.contains("  file descriptors: ") || line.contains("→ raise it (`ulimit"))
    };
    let lines: Vec<_> = checks.lines().filter(machine).collect();
    // How many warnings there are depends on the machine, too.
    let (verdict, checks) = lines.split_last().unwrap();
    format!("{}\n{}", checks.join("\n"), verdict.split(", ").next().unwrap())
}

fn setting(report: &Value, name: &str) -> Value {
    let settings = report["settings"].as_array().unwrap();
    settings.iter().find(|setting| setting["setting"] == name).unwrap_or_else(|| panic!("{name}: {report}")).clone()
}

#[test]
fn a_sound_set_up_is_fine_and_every_value_has_its_origin() {
    let folder = tempfile::tempdir().unwrap();
    let config = "listen = \"127.0.0.1:0\"\n\n[auth]\nbearer_key = \"0123456789abcdef\"\n[limits]\nrecords = 5\n";
    let environment = [&AWS[..], &[("BEDROCK_REQUEST_TIMEOUT", "20"), ("BEDROCK_DAILY_COST_LIMIT", "100.00")]].concat();
    let (code, said) = doctor(folder.path(), config, &["--offline", "--data", "d"], &environment);
    assert_eq!(code, 0, "{said}");
    insta::assert_snapshot!(checks(&said), @r"
      ok       configuration: kairos.toml was read
      ok       data folder: d is made when the gateway starts
      ok       address: 127.0.0.1:0 is free
      ok       policies: no folder is set: the native default decides
      ok       credentials: found: AWS_ACCESS_KEY_ID
      ok       models: every model that the configuration names answers from us-east-1 at a known price
      ok       budget: the daily limit of 100 USD has room for a request

    0 problems
    ");
    for line in [
        r#"auth.bearer_key                    "[secret]"                         kairos.toml:4"#,
        r#"limits.records                     5                                 kairos.toml:6"#,
        r#"data                               "d"                               --data"#,
        r#"upstream.request_seconds           20.0                              BEDROCK_REQUEST_TIMEOUT"#,
        r#"upstream.connect_seconds           20.0                              upstream.request_seconds"#,
        r#"limits.headers                     100                               default"#,
    ] {
        let words: Vec<_> = line.split_whitespace().collect();
        let found = said.lines().any(|line| line.split_whitespace().eq(words.iter().copied()));
        assert!(found, "{line}\n{said}");
    }
    assert!(!said.contains("0123456789abcdef") && !said.contains("wJalr"), "{said}");

    let (code, said) = doctor(folder.path(), config, &["--offline", "--json"], &environment);
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &report["ok"]), (0, &json!(true)));
    let from = json!({"kind": "file", "file": "kairos.toml", "line": 6});
    assert_eq!(setting(&report, "limits.records"), json!({"setting": "limits.records", "value": 5, "from": from}));
    let from = json!({"kind": "variable", "name": "BEDROCK_DAILY_COST_LIMIT"});
    let limit = setting(&report, "budget.daily_limit_usd");
    assert_eq!(limit["from"], from, "{limit}");
    assert_eq!(report["bedrock"][0], json!({"what": "region", "value": "us-east-1", "from": "AWS_REGION"}));
    assert_eq!(report["bedrock"][2]["from"], "AWS_ACCESS_KEY_ID");
}

#[test]
fn what_is_wrong_is_said_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("policies")).unwrap();
    std::fs::write(folder.path().join("policies/router.rhai"), "fn rout(ctx, features, models) { plan([0], 1) }")
        .unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let config = format!(
        "listen = \"{address}\"\ndata = \"file/data\"\n[policies]\nfolder = \"policies\"\n\
         [models]\ndefault = \"titan\"\nfallback = [\"nova-lte\", \"cohere.command-r-v1:0\"]\nas_of = \"2026-11-23\"\n\
         [budget]\ndaily_limit_usd = \"0.0001\"\n"
    );
    let environment = [
        &AWS[..1],
        &[
            ("BEDROCK_DAILY_COST_LIMT", "5"),
            ("BEDROCK_CACHE_TTL", "300"),
            ("BEDROCK_LANGFUSE_ENABLED", "true"),
            ("KAIROS_COLOUR", "red"),
        ],
    ];
    let (code, said) = doctor(folder.path(), &config, &["--offline"], &environment.concat());
    assert_eq!(code, 1, "{said}");
    insta::assert_snapshot!(checks(&said).replace(&address, "ADDRESS"), @r#"
      ok       configuration: kairos.toml was read
      problem  environment: BEDROCK_DAILY_COST_LIMT is set, and nothing reads it
               → did you mean BEDROCK_DAILY_COST_LIMIT? Rename it, or unset it
      warning  environment: KAIROS_COLOUR is set, and nothing of Kairos reads it
               → unset it, if it was meant for Kairos; `kairos serve --help` lists the variables
      warning  environment: BEDROCK_CACHE_TTL is set and has no effect: this version has no cache of answers
               → unset it, or leave it for a later version
      warning  environment: BEDROCK_LANGFUSE_ENABLED is set and has no effect: this version sends no traces
               → unset it, or leave it for a later version
      problem  data folder: HERE/file is not a folder
               → choose another with --data, or `data` in kairos.toml
      problem  address: ADDRESS is taken by another program
               → choose another with --listen, or port 0 for a free one
      problem  policies: policies/router.rhai: there is no function `route`; there is `rout`
                 hint: a router has `fn route(ctx, features, models) { … }`, which gives plan([index, …], reason)
               → correct it; `kairos policy check` says the same. Until then the native default decides
      problem  credentials: no AWS credentials: the credential provider was not enabled: no credentials found in chain. Attempted:
                 Environment: the credential provider was not enabled: environment variable not set
                 Profile: the credential provider was not enabled
                 WebIdentityToken: the credential provider was not enabled: $AWS_WEB_IDENTITY_TOKEN_FILE was not set
                 EcsContainer: the credential provider was not enabled: ECS provider not configured
                 Ec2InstanceMetadata: the credential provider was not enabled: IMDS disabled by AWS_EC2_METADATA_DISABLED env var set to `true`. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or a Bedrock API key in AWS_BEARER_TOKEN_BEDROCK; without an AWS account, `kairos simulate` stands in for Bedrock
               → give it credentials as the AWS tools take them
      warning  models: models.default: amazon.titan-text-express-v1 ended on 2025-08-31; amazon.nova-lite-v1:0 answers in its place
               → name amazon.nova-lite-v1:0
      problem  models: models.fallback: there is no model "nova-lte"
               → did you mean "nova-lite"?
      warning  models: models.fallback: cohere.command-r-v1:0 ended on 2026-08-19; amazon.nova-lite-v1:0 answers in its place
               → name amazon.nova-lite-v1:0
      warning  models: models.as_of is 2026-11-23: no model ends after that day, nor begins
               → unset it, unless this is a test
      problem  budget: the daily limit of 0.0001 USD is below what one request of amazon.nova-lite-v1:0 can cost, 0.00246144 USD: every request that states no output limit is refused
               → raise it, or have callers state an output limit (max_tokens)

    7 problems
    "#);
    // A configuration that `serve` refuses.
    let config = "listen = \"0.0.0.0:0\"\n[limits]\nheaders = 1\n";
    let (code, said) = doctor(folder.path(), config, &["--offline"], &AWS);
    assert_eq!(code, 1, "{said}");
    insta::assert_snapshot!(checks(&said), @r#"
      problem  configuration: kairos.toml:3: limits.headers: 1 is out of range: it may be from 16 to 10000
               → correct it: `kairos serve` does not start like this
      problem  configuration: kairos.toml:1: listen: 0.0.0.0:0 can be reached from other machines, and no key is configured: everybody could spend your money. Set `bearer_key = "…"` under [auth] in kairos.toml (at least 16 characters; `openssl rand -hex 32` makes one), or `require_key = true` and make keys with `kairos key create`, or listen on 127.0.0.1
               → correct it: `kairos serve` does not start like this
      ok       data folder: kairos-data is made when the gateway starts
      ok       address: 0.0.0.0:0 is free
      ok       policies: no folder is set: the native default decides
      ok       credentials: found: AWS_ACCESS_KEY_ID
      ok       models: every model that the configuration names answers from us-east-1 at a known price

    2 problems
    "#);
    let (code, said) = doctor(folder.path(), "[limits]\nheadrs = 1\n", &["--offline"], &AWS);
    assert_eq!(code, 1, "{said}");
    insta::assert_snapshot!(said, @r"
    Checks
      problem  configuration: kairos.toml:2: there is no setting `limits.headrs`; did you mean `limits.headers`?
               → correct it; the other checks need a configuration that can be read

    1 problem, 0 warnings
    ");
    assert_eq!(doctor(folder.path(), "", &["--frobnicate"], &AWS).0, 2);
}

#[test]
fn a_gateway_that_runs_is_recognised_and_bedrock_is_asked() {
    let pair = Pair::start();
    let endpoint = [("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", pair.simulator.url.as_str())];
    let config = "listen = \"127.0.0.1:0\"\n[models]\nas_of = \"2026-11-23\"\nauto = [\"nova-lite\", \"nova-pro\"]\n";
    let data = pair.folder().join("data").display().to_string();
    let beside = TempDir::new().unwrap();
    let (code, said) = doctor(beside.path(), config, &["--data", &data], &[&AWS[..], &endpoint].concat());
    assert_eq!(code, 0, "{said}");
    let said =
        said.replace(&pair.gateway.id().to_string(), "PID").replace(&data, "DATA").replace(&pair.simulator.url, "URL");
    insta::assert_snapshot!(checks(&said), @r"
      ok       configuration: kairos.toml was read
      ok       data folder: DATA can be written to
      warning  data folder: the gateway with process id PID keeps its ledger in DATA
               → stop it before you start another, or give that one a folder of its own with --data
      ok       ledger: 0 attempts, 0 USD charged; every row is as it was written
      ok       audit log: acts written: 1; every row is as it was written
      ok       records: no request is recorded yet
      ok       admin token: DATA/admin-token holds it, and only its owner can read it
      ok       address: 127.0.0.1:0 is free
      ok       policies: no folder is set: the native default decides
      ok       credentials: found: AWS_ACCESS_KEY_ID
      ok       models: every model that the configuration names answers from us-east-1 at a known price
      warning  models: models.as_of is 2026-11-23: no model ends after that day, nor begins
               → unset it, unless this is a test
      ok       endpoint: URL answers
      ok       clock: this machine's clock agrees with Bedrock's
      ok       access: the credentials may call all 2 models of auto, default and fallback
      ok       jobs: the credentials may look whether asynchronous invocations have ended

    0 problems
    ");
    // Nobody answers there; and credentials that are refused.
    let nobody = [("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "http://127.0.0.1:9")];
    let (code, said) = doctor(beside.path(), config, &[], &[&AWS[..], &nobody].concat());
    assert_eq!(code, 1);
    assert!(said.contains("problem  endpoint: http://127.0.0.1:9 cannot be reached: "), "{said}");
    let wrong = [("AWS_BEDROCK_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_BEDROCK_SECRET_ACCESS_KEY", "not-this-one")];
    let (code, said) = doctor(beside.path(), config, &[], &[&AWS[..], &endpoint, &wrong].concat());
    assert_eq!(code, 1);
    assert!(said.contains("problem  access: ") && !said.contains("not-this-one"), "{said}");
}

/// What `--example` prints is a configuration that holds the defaults.
#[test]
fn the_example_is_a_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let example = kairos().args(["doctor", "--example"]).output().unwrap();
    let example = String::from_utf8(example.stdout).unwrap();
    let (_, said) = doctor(folder.path(), &example, &["--offline", "--json"], &AWS);
    let (_, plain) = doctor(folder.path(), "", &["--offline", "--json"], &AWS);
    let values = |said: &str| -> Vec<(Value, Value)> {
        let report: Value = serde_json::from_str(said).unwrap();
        let settings = report["settings"].as_array().unwrap().iter();
        // An empty table is no value.
        let settings = settings.filter(|one| !one["setting"].as_str().unwrap().starts_with("policies.config"));
        settings.map(|one| (one["setting"].clone(), one["value"].clone())).collect()
    };
    assert_eq!(values(&said), values(&plain));
}
