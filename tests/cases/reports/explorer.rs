//! Cost Explorer, as moto serves it.

use kairos_tests::http::{Client, requests};
use kairos_tests::moto::Moto;
use kairos_tests::policy;
use kairos_tests::process::{Setup, kairos};
use serde_json::{Value, json};

use super::data;

/// The simulator's bill as Cost Explorer has it: a sum for each service and usage type of a day.
fn result(csv: &str, day: &str, next: &str) -> Value {
    let groups = csv.lines().skip(1).map(|line| {
        let cells: Vec<_> = line.split(',').collect();
        let product: String = line.rsplit_once(",\"{").unwrap().1.replace("\"\"", "\"");
        let product: Value = serde_json::from_str(&format!("{{{}", product.trim_end_matches('"'))).unwrap();
        json!({"Keys": [product["product_name"], cells[7]], "Metrics": {"UnblendedCost": {"Amount": cells[11], "Unit": "USD"}}})
    });
    let groups: Vec<_> = groups.collect();
    json!({
        "ResultsByTime": [{"TimePeriod": {"Start": day, "End": next}, "Total": {}, "Groups": groups, "Estimated": false}],
        "DimensionValueAttributes": [],
    })
}

#[tokio::test]
async fn cost_explorer_is_asked_and_reconciled() {
    let mut pair = Setup { policy: Some(policy("task.rhai")), ..Setup::default() }.start();
    let client = Client::default();
    for (url, body) in requests(&pair.gateway.url) {
        assert_eq!(client.post(&url, &[], &body).await.status, 200);
    }
    let csv = client.get(&format!("{}/sim/v1/bill.csv", pair.simulator.url)).await.text();
    pair.gateway.stop();
    // The day of the bill, which may no longer be today.
    let day: jiff::civil::Date = csv.lines().nth(1).unwrap().split(',').nth(4).unwrap()[..10].parse().unwrap();
    let moto = Moto::start();
    let seed = json!({"results": [result(&csv, &day.to_string(), &day.tomorrow().unwrap().to_string())]});
    let seeded = client.post(&format!("{}/moto-api/static/ce/cost-and-usage-results", moto.url), &[], &seed).await;
    assert!(seeded.status.is_success(), "{}", seeded.text());

    let ask = |endpoint: &str, key: &str| {
        let output = kairos()
            .args(["ledger", "reconcile", "--json", "--tolerance", "0", "--cost-explorer", "--since", &day.to_string()])
            .arg("--data")
            .arg(data(&pair))
            .env("AWS_ENDPOINT_URL_COST_EXPLORER", endpoint)
            .env("AWS_ACCESS_KEY_ID", key)
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .output()
            .unwrap();
        let said = [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said).into_owned());
        (output.status.code().unwrap(), said)
    };
    let (code, [said, _]) = ask(&moto.url, "AKIDEXAMPLE");
    let told: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}"));
    assert_eq!((code, &told["difference_usd"], &told["differences"]), (0, &json!("0"), &json!([])), "{said}");
    assert!(told["compared"].as_u64().unwrap() >= 2);
    let (code, [_, said]) = ask("http://127.0.0.1:1", "AKIDEXAMPLE");
    assert!(code == 1 && said.contains("kairos: Cost Explorer: http://127.0.0.1:1: "), "{said}");
}
