//! Reports: what was spent by whom and on what, what a period will have cost, lines as files, and the bill
//! beside the ledger.

mod explorer;
mod property;

use std::path::{Path, PathBuf};

use kairos_tests::audit::{ledger, ledger_json, picodollars};
use kairos_tests::http::{Answer, Client, chat, requests};
use kairos_tests::policy;
use kairos_tests::process::{Pair, Setup, on_data, said};
use serde_json::{Value, json};

use super::ledger::verified;

const NOVA: &str = "amazon.nova-lite-v1:0";
const SONNET: &str = "anthropic.claude-sonnet-4-6";

fn data(pair: &Pair) -> PathBuf {
    pair.folder().join("data")
}

/// A key of a team's: its bearer secret.
fn key(pair: &Pair, name: &str, team: &str) -> String {
    let tag = format!("team={team}");
    let (code, made) = said(pair, &["key", "create", name, "--tag", &tag, "--json"]);
    assert_eq!(code, 0, "{made}");
    let made: Value = serde_json::from_str(&made).unwrap();
    made["key"].as_str().unwrap().to_owned()
}

async fn ask(pair: &Pair, key: &str, model: &str, tags: &str) -> Answer {
    let headers = [("authorization", &*format!("Bearer {key}")), ("x-kairos-tags", tags)];
    let answer = Client::default()
        .post(&format!("{}/v1/chat/completions", pair.gateway.url), &headers, &chat(model, "hello"))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

/// Two teams ask two models, with tags; then the gateway has stopped. Gives what each request cost.
async fn spent() -> (Pair, Vec<u128>) {
    let mut pair = Setup { policy: Some(policy("task.rhai")), ..Setup::default() }.start();
    let (search, shop) = (key(&pair, "search-1", "search"), key(&pair, "shop-1", "shop"));
    let mut costs = Vec::new();
    for (key, model, tags) in [
        (&search, NOVA, "project=atlas,stage=dev"),
        (&search, "us.anthropic.claude-sonnet-4-6", "project=atlas,stage=prod"),
        (&shop, NOVA, "project=borg"),
    ] {
        let answer = ask(&pair, key, model, tags).await;
        costs.push(picodollars(&json!(answer.header("x-kairos-cost-usd"))));
    }
    pair.gateway.stop();
    (pair, costs)
}

fn charged(sum: &Value) -> u128 {
    picodollars(&sum["charged_usd"])
}

#[tokio::test]
async fn spending_is_shown_by_whatever_is_asked_for() {
    let (pair, costs) = spent().await;
    let show = |arguments: &[&str]| ledger_json(&data(&pair), &[&["show"], arguments].concat());
    let all: u128 = costs.iter().sum();
    for (arguments, expected) in [
        (vec!["--since", "1d"], all),
        (vec!["--until", "1d"], 0),
        (vec!["--since", "2020-01-01", "--until", "2020-02-01"], 0),
        (vec!["--key", "search-1"], costs[0] + costs[1]),
        (vec!["--key", "search-1", "--key", "shop-1"], all),
        (vec!["--team", "shop"], costs[2]),
        (vec!["--model", SONNET], costs[1]),
        (vec!["--model", NOVA, "--team", "search"], costs[0]),
        (vec!["--tag", "project=atlas"], costs[0] + costs[1]),
        (vec!["--tag", "project=atlas", "--tag", "project=borg"], all),
        (vec!["--tag", "project=atlas", "--tag", "stage=prod"], costs[1]),
        (vec!["--policy", "nobody"], 0),
    ] {
        assert_eq!(charged(&show(&arguments)["total"]), expected, "{arguments:?}");
    }
    let by = |what: &str| show(&["--by", what])["groups"].as_array().unwrap().clone();
    let teams = by("team,model");
    assert_eq!(
        teams.iter().map(|group| group["team"].as_str().unwrap()).collect::<Vec<_>>(),
        ["search", "search", "shop"]
    );
    assert_eq!((&teams[0]["model"], charged(&teams[0]), &teams[0]["attempts"]), (&json!(NOVA), costs[0], &json!(1)));
    for (what, form) in [("hour", 13), ("day", 10), ("week", 8), ("month", 7)] {
        let groups = by(what);
        assert_eq!(groups.iter().map(charged).sum::<u128>(), all);
        assert_eq!(groups[0][what].as_str().unwrap().len(), form, "{groups:?}");
    }
    let tags: Vec<_> =
        by("tag:stage").iter().map(|group| (group["tag:stage"].as_str().unwrap().to_owned(), charged(group))).collect();
    assert_eq!(tags, [(String::new(), costs[2]), ("dev".to_owned(), costs[0]), ("prod".to_owned(), costs[1])]);
    let decided = by("policy");
    let name = decided[0]["policy"].as_str().unwrap();
    assert_eq!(charged(&show(&["--policy", name])["total"]), charged(&decided[0]));
    let cut = &name[..name.find('@').unwrap() + 9];
    assert_eq!(charged(&show(&["--policy", cut])["total"]), charged(&decided[0]));
    let (code, table) = ledger(&data(&pair), &["show", "--by", "team"]);
    assert_eq!(code, Some(0));
    assert!(table.starts_with("team    attempts") && table.contains("\nshop    "), "{table}");
    assert!(table.ends_with("attempts, 0 USD of it estimated\n"), "{table}");
}

#[tokio::test]
async fn what_cannot_be_asked_for_is_said() {
    let (pair, _) = spent().await;
    let mut report = String::new();
    for arguments in [
        &["show", "--by", "moon"][..],
        &["show", "--by", "day,day,day,day,day,day,day"],
        &["show", "--since", "yesterday"],
        &["show", "--since", "1h", "--until", "2h"],
        &["show", "--tag", "project"],
        &["export", "--format", "csv"],
        &["export", "--out", "/nonexistent/ledger.csv"],
        &["reconcile", "/nonexistent/bill.csv"],
        &["reconcile", "bill.csv", "--tolerance", "1 %"],
        &["forecast", "--period", "month"],
    ] {
        let (code, said) = ledger(&data(&pair), arguments);
        let said: Vec<_> =
            said.lines().filter(|line| line.starts_with("kairos: ") || line.starts_with("error: ")).collect();
        report.push_str(&format!("{}: exit {}\n{}\n", arguments.join(" "), code.unwrap(), said.join("\n")));
    }
    insta::assert_snapshot!(report, @r#"
    show --by moon: exit 2
    kairos: --by: "moon" is unknown; there are hour, day, week, month, key, team, model, policy, state and tag:NAME
    show --by day,day,day,day,day,day,day: exit 2
    kairos: --by: more than 6 are asked for
    show --since yesterday: exit 2
    kairos: --since: "yesterday" is not a time: a date as 2026-11-23, a time as 2026-11-23T14:00:00Z, or how long ago, as 90s, 30m, 24h or 7d
    show --since 1h --until 2h: exit 2
    kairos: --since is not before until: no line lies between them
    show --tag project: exit 2
    kairos: --tag: "project" is not a tag with its value, as project=search
    export --format csv: exit 2
    error: the following required arguments were not provided:
    export --out /nonexistent/ledger.csv: exit 1
    kairos: /nonexistent/ledger.csv: there is no folder /nonexistent
    reconcile /nonexistent/bill.csv: exit 1
    kairos: /nonexistent/bill.csv: No such file or directory (os error 2)
    reconcile bill.csv --tolerance 1 %: exit 2
    kairos: --tolerance: "1 %" is not a part as 0.01, from 0 to 1
    forecast --period month: exit 1
    kairos: no forecast: 0 whole days are known since the first request, and 7 are needed
    "#);
}

/// Days of a ledger are made by changing it: that is damage to `verify`, and no matter to a forecast.
#[tokio::test]
async fn a_forecast_needs_a_week_of_days() {
    let (pair, costs) = spent().await;
    let rows = rusqlite::Connection::open(data(&pair).join("ledger.sqlite")).unwrap();
    // Three requests, on the 8th of November and after.
    let first = jiff::civil::date(2026, 11, 8).to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_millisecond();
    let mut requests = rows.prepare("SELECT request FROM journal WHERE kind = 'reserved' ORDER BY seq").unwrap();
    let requests: Vec<Vec<u8>> = requests.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    for (at, request) in (0..).zip(&requests) {
        let at_ms = first + at * 86_400_000;
        let moved = [&at_ms.to_be_bytes()[2..], &request[6..]].concat();
        let change = "UPDATE journal SET request = ?1, at_ms = ?2 WHERE request = ?3";
        rows.execute(change, rusqlite::params![moved, at_ms, request]).unwrap();
    }
    let told = |at: &str| {
        let (code, said) = ledger(&data(&pair), &["forecast", "--period", "month", "--at", at, "--json"]);
        (code, serde_json::from_str::<Value>(&said).unwrap())
    };
    let (code, short) = told("2026-11-14T12:00:00Z");
    assert_eq!((code, &short["forecast_usd"]), (Some(1), &Value::Null), "{short}");
    assert!(short["message"].as_str().unwrap().starts_with("no forecast: "), "{short}");
    // What came later is not spent yet.
    let (_, before) = told("2026-11-09T12:00:00Z");
    assert_eq!(picodollars(&before["spent_usd"]), costs[..2].iter().sum::<u128>(), "{before}");
    let (code, made) = told("2026-11-18T12:00:00Z");
    assert_eq!(
        (code, &made["days_used"], &made["days_left"], &made["interval"]["share"]),
        (Some(0), &json!(7), &json!(12.5), &json!(0.95)),
        "{made}"
    );
    let spent = costs.iter().sum::<u128>();
    assert_eq!(
        (&made["since"], &made["until"], picodollars(&made["spent_usd"])),
        (&json!("2026-11-01"), &json!("2026-12-01"), spent)
    );
}

/// What a crash left names neither team nor tag: who asks by them is told how much that is.
#[tokio::test]
async fn what_a_crash_left_is_said_to_be_left_out() {
    let setup = Setup { policy: Some(policy("task.rhai")), ..Setup::default() };
    let mut pair = setup.start();
    let search = key(&pair, "search-1", "search");
    ask(&pair, &search, NOVA, "project=atlas").await;
    verified(&data(&pair), 1);
    pair.gateway.kill();
    pair.gateway = setup.gateway(&pair.simulator.url, pair.folder());
    pair.gateway.stop();
    let states = ledger_json(&data(&pair), &["show", "--by", "state"]);
    let left = states["groups"].as_array().unwrap().iter().find(|group| group["state"] == "unidentified").unwrap();
    let left_out = json!({"rows": 1, "charged_usd": left["charged_usd"]});
    assert_eq!(states["left_out"], Value::Null, "{states}");
    let says = format!("left out: 1 row, {} USD: what crashes left", left["charged_usd"].as_str().unwrap());
    for which in [&["--team", "search"][..], &["--tag", "project=atlas"], &["--policy", "task"]] {
        let shown = ledger_json(&data(&pair), &[&["show"], which].concat());
        assert_eq!((&shown["left_out"], &shown["total"]["attempts"]), (&left_out, &json!(1)), "{which:?}: {shown}");
        let (_, text) = ledger(&data(&pair), &[&["show"], which].concat());
        assert!(text.contains(&says), "{text}");
    }
    let (code, text) = ledger(&data(&pair), &["forecast", "--team", "search"]);
    assert!(code == Some(1) && text.contains(&says), "{text}");
    let (_, text) = ledger(&data(&pair), &["forecast", "--team", "search", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["left_out"], left_out, "{text}");

    let out = pair.folder().join("out.csv");
    let file = ["export", "--out", out.to_str().unwrap(), "--team", "search"];
    let (code, text) = ledger(&data(&pair), &file);
    assert!(code == Some(0) && text.contains("1 lines in ") && text.contains(&says), "{text}");
    let told = ledger_json(&data(&pair), &file);
    assert_eq!(told, json!({"file": out.to_str(), "lines": 1, "left_out": left_out}));
    let whole = ledger_json(&data(&pair), &file[..3]);
    assert_eq!((&whole["lines"], &whole["left_out"]["rows"]), (&json!(2), &json!(0)), "{whole}");
    // Beside the lines, where they go to standard output.
    let streamed =
        on_data(&pair, &["ledger", "export", "--format", "json", "--out", "-", "--team", "search", "--json"]);
    let lines: Value = serde_json::from_slice(&streamed.stdout).unwrap();
    let told: Value = serde_json::from_slice(&streamed.stderr).unwrap();
    assert_eq!((lines.as_array().unwrap().len(), &told["left_out"]), (1, &left_out), "{told}");
    let columns = ledger_json(&data(&pair), &["export", "--columns"]);
    assert_eq!(columns[0]["name"], "row", "{columns}");
}

/// The cells of a CSV that has no quotes in it.
fn table(text: &str) -> Vec<Vec<String>> {
    text.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

#[tokio::test]
async fn lines_are_exported_in_three_forms() {
    let (pair, costs) = spent().await;
    let export = |format: &str, more: &[&str]| {
        let out = pair.folder().join(format!("out.{format}"));
        let arguments = [&["export", "--format", format, "--out", out.to_str().unwrap()], more].concat();
        let (code, said) = ledger(&data(&pair), &arguments);
        assert!(code == Some(0) && said.contains(" lines in "), "{said}");
        std::fs::read(out).unwrap()
    };
    let rows: Value = serde_json::from_slice(&export("json", &[])).unwrap();
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.iter().map(charged).collect::<Vec<_>>(), costs);
    let row = &rows[1];
    for (column, expected) in [
        ("state", "settled"),
        ("key", "search-1"),
        ("team", "search"),
        ("model", SONNET),
        ("target", "us.anthropic.claude-sonnet-4-6"),
        ("region", "us-east-1"),
        ("tier", "standard"),
    ] {
        assert_eq!(row[column], expected, "{row}");
    }
    assert!(row["output_tokens"].as_u64().unwrap() > 0 && row["tags"].as_str().unwrap().contains("\"stage\":\"prod\""));
    assert!(picodollars(&row["reserved_usd"]) > charged(row));

    let csv = String::from_utf8(export("csv", &["--key", "shop-1"])).unwrap();
    let csv = table(&csv);
    assert_eq!(csv.len(), 2);
    let place = csv[0].iter().position(|name| name == "charged_usd").unwrap();
    assert_eq!(csv[1][place], rows[2]["charged_usd"].as_str().unwrap());
    let (_, columns) = ledger(&data(&pair), &["export", "--columns"]);
    let documented: Vec<_> = columns.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(csv[0], documented);
    same_in_parquet(&export("parquet", &[]), rows);
    let (code, piped) = ledger(&data(&pair), &["export", "--format", "json", "--out", "-", "--team", "nobody"]);
    assert_eq!((code, &*piped), (Some(0), "[\n]\n"));
}

/// Every cell of a Parquet file is the one of JSON.
fn same_in_parquet(bytes: &[u8], rows: &[Value]) {
    use parquet::file::reader::{FileReader as _, SerializedFileReader};
    use parquet::record::Field;
    let reader = SerializedFileReader::new(bytes::Bytes::copy_from_slice(bytes)).unwrap();
    let found: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
    assert_eq!(found.len(), rows.len());
    for (found, row) in found.iter().zip(rows) {
        for (name, field) in found.get_column_iter() {
            let known = &row[name.as_str()];
            match field {
                Field::Null => assert!(known.is_null(), "{name}: {known}"),
                Field::Str(text) => assert_eq!(known, text),
                Field::Long(number) => assert_eq!(known, number),
                Field::Bool(flag) => assert_eq!(known, flag),
                Field::TimestampMillis(at) => {
                    let known: jiff::Timestamp = known.as_str().unwrap().parse().unwrap();
                    assert_eq!(known.as_millisecond(), *at);
                }
                Field::Decimal(amount) => {
                    assert_eq!((amount.precision(), amount.scale()), (38, 12));
                    let units = i128::from_be_bytes(amount.data().try_into().unwrap());
                    assert_eq!(u128::try_from(units).unwrap(), picodollars(known), "{name}");
                }
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}

/// The admin's address says what the command says; who may not look is told nothing.
#[tokio::test]
async fn spending_is_shown_over_http() {
    let pair = Setup { policy: Some(policy("task.rhai")), ..Setup::default() }.start();
    let client = Client::default();
    for (url, body) in requests(&pair.gateway.url) {
        assert_eq!(client.post(&url, &[], &body).await.status, 200);
    }
    let url = |query: &str| format!("{}/admin/v1/spend{query}", pair.gateway.url);
    // Rows are on disk a moment after the answer.
    while client.get(&url("")).await.json()["total"]["attempts"] != 7 {}
    let billed = client.get(&format!("{}/sim/v1/bill", pair.simulator.url)).await.json()["totals"]["cost_usd"].clone();
    let shown = client.get(&url("?since=1h&key=local&by=day,model")).await.json();
    assert_eq!(shown["total"]["charged_usd"], billed, "{shown}");
    assert_eq!(shown, ledger_json(&data(&pair), &["show", "--since", "1h", "--by", "day,model"]));
    let sonnet = client.get(&url("?model=anthropic.claude-sonnet-4-6")).await.json();
    assert_eq!(sonnet["total"]["attempts"], 2);
    for query in ["?by=moon", "?since=yesterday", "?colour=red", "?since=1h&until=2h"] {
        let refused = client.get(&url(query)).await;
        assert_eq!((refused.status.as_u16(), &refused.json()["error"]["code"]), (400, &json!("malformed")), "{query}");
    }
    let stranger = key(&pair, "search-1", "search");
    let refused = client.send("GET", &url(""), &[("authorization", &format!("Bearer {stranger}"))], "").await;
    assert_eq!(refused.status, 403, "{}", refused.text());
}

/// The simulator's bill, reconciled: agreement, a gateway that is in the way, a bill that is no longer that of
/// the ledger.
#[tokio::test]
async fn a_bill_is_reconciled() {
    let mut pair = Setup { policy: Some(policy("task.rhai")), ..Setup::default() }.start();
    let client = Client::default();
    for (url, body) in requests(&pair.gateway.url) {
        assert_eq!(client.post(&url, &[], &body).await.status, 200);
    }
    let csv = client.get(&format!("{}/sim/v1/bill.csv", pair.simulator.url)).await;
    assert_eq!((csv.status.as_u16(), csv.header("content-type")), (200, "text/csv; charset=utf-8"));
    let file = pair.folder().join("bill.csv");
    std::fs::write(&file, &csv.body).unwrap();
    let file = file.to_str().unwrap().to_owned();
    let reconcile = |more: &[&str]| ledger(&data(&pair), &[&["reconcile", &*file], more].concat());
    while reconcile(&[]).1.contains("under way") || reconcile(&["--tolerance", "0"]).0 != Some(0) {}
    let (code, said) = reconcile(&["--settle"]);
    assert!(code == Some(1) && said.contains("a gateway that runs keeps its ledger here"), "{said}");
    let (code, said) = reconcile(&[&*file]);
    assert!(code == Some(2) && said.contains("the same file is given twice"), "{said}");
    pair.gateway.stop();
    beyond_tolerance(&data(&pair), &file, &csv.text());
}

fn beyond_tolerance(data: &Path, file: &str, csv: &str) {
    // A line that nobody knows of, at a price.
    let last = csv.lines().last().unwrap().to_owned();
    let (start, rest) = last.split_once(",AmazonBedrock").unwrap();
    let rest = rest.split_once("Inference").unwrap().1;
    let more = format!("{csv}{start},AmazonBedrock,USE1-NovaReel-T2V-frames,Inference{rest}\n");
    std::fs::write(file, more).unwrap();
    let (code, said) = ledger(data, &["reconcile", file, "--json"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &said["within_tolerance"]), (Some(1), &json!(false)), "{said}");
    let [difference] = &said["differences"].as_array().unwrap()[..] else { panic!("{said}") };
    assert_eq!(
        (&difference["of"], &difference["causes"]),
        (&json!("unknown usage type USE1-NovaReel-T2V-frames"), &json!(["unknown_usage_type"]))
    );
    let (code, said) = ledger(data, &["reconcile", file]);
    assert!(code == Some(1) && said.contains(" USD more on the bill, "), "{said}");
    // A line that it lacks.
    std::fs::write(file, csv.strip_suffix(&format!("{last}\n")).unwrap()).unwrap();
    let (code, said) = ledger(data, &["reconcile", file]);
    assert!(code == Some(1) && said.contains(" USD less on the bill, ") && !said.contains(" -"), "{said}");
    // One without an invoice may still grow.
    std::fs::write(file, csv.replace("SIMULATED,", ",")).unwrap();
    let (code, said) = ledger(data, &["reconcile", file, "--settle"]);
    assert!(code == Some(1) && said.contains("lines of the bill have no invoice yet"), "{said}");
    assert_eq!(ledger(data, &["reconcile", file, "--settle", "--final"]).0, Some(0));
}
