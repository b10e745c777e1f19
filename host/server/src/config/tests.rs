//! What is read, what is refused and with which words, and that the example is complete.

use kairos_pipeline::money::Picodollars;

use super::*;

fn none(_: &str) -> Option<String> {
    None
}

fn from_text(text: &str) -> Result<Loaded, ConfigError> {
    let config = file::parse(text, "kairos.toml")?;
    let mut loaded = Loaded { config, origins: Origins::of_file(text, "kairos.toml") };
    loaded.resolve_timeouts();
    Ok(loaded)
}

fn refusal(text: &str) -> String {
    match from_text(text) {
        Err(error) => error.to_string(),
        Ok(loaded) => loaded.wrong().join("\n"),
    }
}

fn with_variables(variables: &[(&str, &str)]) -> Result<Loaded, String> {
    let variable =
        |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    Loaded::read(&Flags::default(), variable).map_err(|error| error.to_string())
}

#[test]
fn a_whole_file() {
    let Loaded { config, .. } = from_text(
        r#"
        listen = "127.0.0.1:9000"
        [auth]
        bearer_key = "0123456789abcdef"
        sigv4 = { access_key_id = "AKIAKAIROS", secret_access_key = "0123456789abcdef" }
        [limits]
        body_bytes = 1000
        write_seconds = 0.5
        [upstream]
        region = "eu-west-1"
        request_seconds = 5
        [models]
        auto = ["nova-lite"]
        ended = "refuse"
        as_of = "2026-11-23"
        names = { cheap = "nova-micro" }
        [policies]
        grants = ["log", "content"]
        [policies.config.router]
        threshold = 3
        "#,
    )
    .unwrap();
    assert_eq!(check::check(&config), []);
    let timeouts = config.timeouts();
    let five = Duration::from_secs(5);
    assert_eq!([timeouts.connect, timeouts.first_event, timeouts.answer], [five; 3]);
    assert_eq!(config.limits.write_seconds.duration(), Duration::from_millis(500));
    assert!(config.grants().has(Capability::Content) && !config.grants().has(Capability::Kv));
    assert!(!format!("{config:?}").contains("0123456789abcdef"));
    assert!(!serde_json::to_string(&config).unwrap().contains("0123456789abcdef"));
}

#[test]
fn what_is_wrong_is_said_with_what_was_meant() {
    insta::assert_snapshot!(refusal("[limits]\nbdy_bytes = 1"), @"kairos.toml:2: there is no setting `limits.bdy_bytes`; did you mean `limits.body_bytes`?");
    insta::assert_snapshot!(refusal("lisen = 1"), @"kairos.toml:1: there is no setting `lisen`; did you mean `listen`?");
    insta::assert_snapshot!(refusal("[upstream]\nrequest_seconds = 0"), @"kairos.toml:2:19: a time in seconds, above 0 and at most 86400, is expected");
    insta::assert_snapshot!(refusal("[policies.config.ruoter]\nx = 1"), @r#"policies.config: there is no slot "ruoter"; there are router, healer, guard, prompter, observer, evaluator, mutator"#);
    insta::assert_snapshot!(refusal("[limits]\nconnections = 4611686018427387904"), @"kairos.toml:2: limits.connections: 4611686018427387904 is out of range: it may be from 1 to 1000000");
    insta::assert_snapshot!(refusal("[budget]\ndaily_limit_usd = 10"), @r#"kairos.toml:2:19: an amount of US dollars in quotes is expected, for example "100.00": up to 9223372, with 12 decimals at most"#);
    insta::assert_snapshot!(refusal("[budget]\ndaily_limit_usd = \"1e3\""), @r#"kairos.toml:2:19: an amount of US dollars in quotes is expected, for example "100.00": up to 9223372, with 12 decimals at most"#);
    insta::assert_snapshot!(refusal("[budget]\ndaily_limit_usd = \"10\"\nalert_threshold_usd = \"20\""), @"kairos.toml:3: budget.alert_threshold_usd: 20 is above the daily limit of 10: it would never be passed");
    for secret in ["sk-live-0123456789abcdef", "1234567890123456789"] {
        assert!(!refusal(&format!("[auth]\nbearer_key = {secret}")).contains(secret));
    }
    insta::assert_snapshot!(refusal("[policies]\ngrants = [\"https\"]"), @r#"kairos.toml:2: policies.grants: there is no capability "https"; there are log, metrics, kv, kv-write, content, http, model"#);
    insta::assert_snapshot!(refusal("[auth]\nbearer_key = \"short\""), @"kairos.toml:2: auth.bearer_key: a key of at least 16 characters is needed");
    insta::assert_snapshot!(refusal("[auth]\nadmin_token = \"short\""), @"kairos.toml:2: auth.admin_token: a token of at least 16 characters is needed");
    insta::assert_snapshot!(refusal("listen = \"0.0.0.0:8000\""), @r#"kairos.toml:1: listen: 0.0.0.0:8000 can be reached from other machines, and no key is configured: everybody could spend your money. Set `bearer_key = "…"` under [auth] in kairos.toml (at least 16 characters; `openssl rand -hex 32` makes one), or `require_key = true` and make keys with `kairos key create`, or listen on 127.0.0.1"#);
}

#[test]
fn what_is_wrong_with_budgets_is_said() {
    let said = |more: &str| refusal(&format!("[[budgets]]\nname = \"search\"\nlimit_usd = \"20\"\n{more}"));
    insta::assert_snapshot!(said(""), @"kairos.toml:1: budgets: search: either `period` (minute, hour, day, week, month) or `rolling` is needed");
    insta::assert_snapshot!(said("period = \"day\"\nrolling = \"24h\""), @"kairos.toml:1: budgets: search: `period` and `rolling` exclude each other");
    insta::assert_snapshot!(said("period = \"dya\""), @"kairos.toml:4:10: unknown variant `dya`, expected one of `minute`, `hour`, `day`, `week`, `month`");
    insta::assert_snapshot!(said("rolling = \"32d\""), @"kairos.toml:1: budgets: search: rolling: 32d is out of range: it may be from 1m to 31d");
    insta::assert_snapshot!(said("rolling = \"a day\""), @"kairos.toml:1: budgets: search: rolling: a number and a unit are expected: 90s, 30m, 24h or 7d");
    insta::assert_snapshot!(said("period = \"day\"\ntime_zone = \"Berlin\""), @r#"kairos.toml:1: budgets: search: time_zone: "Berlin" is not known here; one is written as Europe/Berlin, from the system's tzdata"#);
    insta::assert_snapshot!(said("rolling = \"1h\"\ntime_zone = \"UTC\""), @"kairos.toml:1: budgets: search: time_zone: a window that rolls has none");
    insta::assert_snapshot!(said("period = \"day\"\nalerts = [1.0, 0.5]"), @"kairos.toml:1: budgets: search: alerts: at most 8 parts of the limit, above 0 and up to 1, the least first");
    insta::assert_snapshot!(said("period = \"day\"\nalerts = [1.5]"), @"kairos.toml:1: budgets: search: alerts: at most 8 parts of the limit, above 0 and up to 1, the least first");
    insta::assert_snapshot!(said("period = \"day\"\ntag = \"prod\""), @r#"kairos.toml:1: budgets: search: tag: "prod" is none; one is written as "env=prod""#);
    insta::assert_snapshot!(said("period = \"day\"\ntaem = \"search\""), @"kairos.toml:1: there is no setting `budgets.0.taem`; did you mean `budgets.team`?");
    insta::assert_snapshot!(said("period = \"day\"\n[[budgets]]\nname = \"search\"\nlimit_usd = \"1\"\nperiod = \"week\""), @"kairos.toml:1: budgets: search: there are two of this name");
    insta::assert_snapshot!(refusal("[[budgets]]\nname = \"daily\"\nlimit_usd = \"1\"\nperiod = \"day\""), @"kairos.toml:1: budgets: daily: the budget of this name is the one under [budget]");
    insta::assert_snapshot!(refusal("[[budgets]]\nname = \"A\"\nlimit_usd = \"1\"\nperiod = \"day\""), @r#"kairos.toml:1: budgets: "A" is no name of a budget: 1 to 64 of a–z, 0–9, `-`, `_` and `.` are one"#);
    insta::assert_snapshot!(refusal("[[budgets]]\nname = \"a\"\nlimit_usd = \"0\"\nperiod = \"day\""), @"kairos.toml:1: budgets: a: limit_usd: it is above 0");
}

#[test]
fn a_budget_is_what_its_entry_says() {
    let text = "[[budgets]]\nname = \"a\"\nkey = \"k\"\nteam = \"t\"\nmodel = \"m\"\ntag = \"env=prod\"\nlimit_usd = \"0.000000000003\"\n\
                period = \"month\"\ntime_zone = \"Europe/Berlin\"\nalerts = [0.5, 2.0]\nover = \"degrade\"";
    let config = file::parse(text, "kairos.toml").unwrap();
    let rules = config.budget_rules(|_| true, |model| Ok(format!("{model}-id"))).unwrap();
    assert_eq!(
        rules[0].counting.identity(),
        r#"{"key":"k","team":"t","model":"m-id","tag":["env","prod"],"calendar":{"period":"month","zone":"Europe/Berlin"}}"#
    );
    // Half of three picodollars is two: nothing is told too early.
    assert_eq!(rules[0].alerts, [Picodollars(2), Picodollars(6)]);
    assert_eq!(config.budget_rules(|_| true, |_| Err("no".to_owned())).unwrap_err(), ["a: no"]);
}

#[test]
fn a_place_in_s3_ends_with_a_slash() {
    insta::assert_snapshot!(refusal("[jobs]\ns3 = [\"s3://ours\"]"), @r#"kairos.toml:2: jobs.s3: "s3://ours" is no place in S3: s3://BUCKET/ or s3://BUCKET/FOLDER/ is one, with the slash at its end"#);
    assert!(file::parse("[jobs]\ns3 = [\"s3://ours/\"]", "kairos.toml").is_ok());
}

#[test]
fn every_number_has_its_bounds() {
    for (setting, too_small, too_large) in [
        ("limits.body_bytes", "0", "2000000000"),
        ("limits.header_bytes", "8191", "99999999"),
        ("limits.headers", "1", "10001"),
        ("limits.in_flight", "0", "1000001"),
        ("limits.buffered_bytes", "0", "9000000000000"),
        ("limits.records", "0", "10000001"),
        ("ledger.queued_rows", "3", "16777217"),
        ("ledger.pairs", "0", "16777217"),
        ("jobs.open", "0", "16385"),
        ("jobs.open_each_key", "0", "1000001"),
        ("jobs.look_seconds", "0", "3601"),
        ("jobs.hours", "0", "145"),
        ("jobs.kept_days", "6", "3651"),
        ("jobs.kept", "0", "10000001"),
        ("upstream.concurrent_requests", "0", "1000001"),
        ("observer.queue", "0", "1000001"),
        ("observer.deadline_ms", "0", "60001"),
        ("policies.kv.keys", "0", "1000001"),
        ("evaluator.deadline_ms", "0", "600001"),
        ("evaluator.case_bytes", "0", "67108865"),
        ("evaluator.cases", "0", "10000001"),
        ("mutator.deadline_ms", "0", "600001"),
        ("mutator.proposals", "0", "257"),
        ("mutator.text_bytes", "0", "16777217"),
        ("policies.http.calls", "0", "1001"),
        ("policies.http.bytes", "0", "67108865"),
        ("policies.http.run_calls", "0", "1000001"),
        ("policies.model.calls", "0", "1001"),
        ("policies.model.bytes", "0", "16777217"),
        ("policies.model.run_calls", "0", "1000001"),
        ("policies.deadline_ms", "0", "10001"),
        ("policies.memory_bytes", "1", "5000000000"),
        ("policies.stack_bytes", "1", "8388608"),
        ("policies.instances", "1", "10001"),
        ("policies.faults", "0", "1001"),
        ("policies.purity_sample", "0", "-1"),
        ("policies.canary.share", "0.0", "0.6"),
        ("policies.canary.errors", "-0.1", "nan"),
        ("policies.canary.alpha", "0.0", "0.5"),
        ("policies.canary.learned", "1", "100001"),
    ] {
        let (table, name) = setting.split_once('.').unwrap();
        for value in [too_small, too_large] {
            let said = refusal(&format!("[{table}]\n{name} = {value}"));
            let expected = if value == "-1" { "invalid value" } else { "is out of range" };
            assert!(said.starts_with("kairos.toml:2") && said.contains(expected), "{setting} = {value}: {said}");
        }
    }
}

/// The seed's variables, each in what it sets; the environment is stronger than the file.
#[test]
fn every_variable_of_the_seed_is_read() {
    let loaded = with_variables(&[
        ("AWS_BEDROCK_REGION", "us-west-2"),
        ("BEDROCK_DEFAULT_MODEL", "amazon.titan-text-express-v1"),
        ("BEDROCK_FALLBACK_MODELS", "anthropic.claude-3-5-sonnet, ai21.j2-ultra,"),
        ("BEDROCK_MAX_CONCURRENT_REQUESTS", "10"),
        ("BEDROCK_REQUEST_TIMEOUT", "30"),
        ("BEDROCK_CACHE_TTL", "300"),
        ("BEDROCK_DAILY_COST_LIMIT", "100.00"),
        ("BEDROCK_COST_ALERT_THRESHOLD", "80.00"),
        ("BEDROCK_METRICS_ENABLED", "False"),
        ("BEDROCK_LANGFUSE_ENABLED", "true"),
    ]);
    let Loaded { config, origins } = loaded.unwrap();
    assert_eq!(config.upstream.region.as_deref(), Some("us-west-2"));
    assert_eq!(config.models.default, "amazon.titan-text-express-v1");
    assert_eq!(config.models.fallback, ["anthropic.claude-3-5-sonnet", "ai21.j2-ultra"]);
    assert_eq!(config.concurrency().unwrap().at_once, 10);
    assert_eq!(config.timeouts().answer, Duration::from_secs(30));
    let rules = config.budget_rules(|_| true, |model| Ok(model.to_owned())).unwrap();
    let dollars = |number: u64| Picodollars(number * Picodollars::PER_DOLLAR);
    assert_eq!(rules.len(), 1);
    assert_eq!(
        (&*rules[0].name, rules[0].limit, &rules[0].alerts[..]),
        ("daily", Some(dollars(100)), &[dollars(80)][..])
    );
    assert!(!config.metrics.enabled);
    assert_eq!(origins.of("models.default").to_string(), "BEDROCK_DEFAULT_MODEL");
    assert_eq!(origins.of("upstream.connect_seconds").to_string(), "upstream.request_seconds");
    // Nothing is taken for another thing.
    for (name, value) in [
        ("BEDROCK_MAX_CONCURRENT_REQUESTS", "ten"),
        ("BEDROCK_REQUEST_TIMEOUT", "-1"),
        ("BEDROCK_CACHE_TTL", "5m"),
        ("BEDROCK_DAILY_COST_LIMIT", "$100"),
        ("BEDROCK_COST_ALERT_THRESHOLD", "1e2"),
        ("BEDROCK_METRICS_ENABLED", "maybe"),
        ("BEDROCK_LANGFUSE_ENABLED", "2"),
    ] {
        let said = with_variables(&[(name, value)]).err().unwrap();
        assert!(said.starts_with(&format!("{name}={value:?} is not ")), "{said}");
    }
}

#[test]
fn the_example_is_complete_and_holds_the_defaults() {
    let mut defaults = settings_of(&Config::default());
    let mut example = settings_of(&file::parse(EXAMPLE, "example.toml").unwrap());
    // An empty table of a slot is what the example shows of `policies.config`.
    for settings in [&mut defaults, &mut example] {
        settings.retain(|(name, _)| !name.starts_with("policies.config"));
    }
    assert_eq!(example, defaults);
    // What is not set by default is there too, and is right once its `#` is gone.
    let set: String = EXAMPLE.lines().map(|line| format!("{}\n", uncommented(line))).collect();
    let all = settings_of(&file::parse(&set, "example.toml").unwrap());
    let missing: Vec<_> = all.iter().filter(|(_, value)| value.is_null()).collect();
    assert!(missing.is_empty(), "the example does not name {missing:?}");
    assert_eq!(check::check(&file::parse(&set, "example.toml").unwrap()), []);
}

fn uncommented(line: &str) -> &str {
    match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => rest,
        _ => line,
    }
}

#[test]
fn flags_are_stronger_than_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("k.toml");
    std::fs::write(&path, "listen = \"127.0.0.1:1\"\ndata = \"a\"\n").unwrap();
    let flags = Flags { config: Some(path.clone()), data: Some("b".into()), ..Flags::default() };
    let Loaded { config, origins } = Loaded::read(&flags, none).unwrap();
    assert_eq!((config.listen.port(), config.data), (1, "b".into()));
    assert_eq!(origins.of("data").to_string(), "--data");
    assert_eq!(origins.of("listen").to_string(), format!("{}:1", path.display()));
}
