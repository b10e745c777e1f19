//! `kairos records forget`: what is kept of requests goes for good, by request, key or day; who asked for it, and
//! what the requests cost, stays.

use kairos_tests::http::Client;
use kairos_tests::process::{Setup, on_data, said};
use serde_json::Value;

use super::records::ask;

#[tokio::test]
async fn records_are_forgotten() {
    let config = "[records]\ncontent = \"full\"\n[auth]\nbearer_key = \"a-key-of-the-tests-own\"\n";
    let mut pair = Setup { config, ..Setup::default() }.start();
    let client = Client::default();
    let key = [("authorization", "Bearer a-key-of-the-tests-own")];
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(ask(&client, &pair, &key, &format!("the platypus number {n}")).await.0);
    }
    let shown = |id: &str| {
        let (client, url) = (&client, format!("{}/v1/requests/{id}", pair.gateway.url));
        async move { client.send("GET", &url, &key, String::new()).await.status.as_u16() }
    };
    assert_eq!(shown(&ids[0]).await, 200);
    let (code, text) = said(&pair, &["records", "forget", "--request", &ids[0], "--why", "asked by mail"]);
    assert!(code == 0 && text.contains("1 record gone; what the requests cost stays in the ledger"), "{text}");
    assert_eq!((shown(&ids[0]).await, shown(&ids[1]).await), (404, 200));
    let record: Value =
        client.send("GET", &format!("{}/v1/requests/{}", pair.gateway.url, ids[1]), &key, String::new()).await.json();
    let name = record["key"].as_str().unwrap().to_owned();
    // A day that has not been over keeps what is of today.
    assert_eq!(said(&pair, &["records", "forget", "--before", "2020-01-01"]).0, 0);
    assert_eq!(shown(&ids[1]).await, 200);
    let (code, text) = said(&pair, &["records", "forget", "--key", &name]);
    assert!(code == 0 && text.contains(&format!("key {name}: 2 records gone")), "{text}");
    assert_eq!((shown(&ids[1]).await, shown(&ids[2]).await), (404, 404));
    for (arguments, what) in [
        (&["--request", "nonsense"][..], "`request` is not the id of a request"),
        (&["--before", "yesterday"], "`before` is a day, as 2026-11-23 is"),
        (&[], "required"),
        (&["--key", "a", "--before", "2020-01-01"], "cannot be used with"),
    ] {
        let (code, text) = said(&pair, &[&["records", "forget"], arguments].concat());
        assert!(code != 0 && text.contains(what), "{code} {text}");
    }
    // What a start could not use it moved aside. That is told of.
    let aside = pair.folder().join("data/records.sqlite.aside");
    std::fs::write(&aside, "no database, but long enough to be taken for one".repeat(100)).unwrap();
    let (code, text) = said(&pair, &["records", "forget", "--key", &name]);
    assert!(code == 1 && text.contains(&format!("key {name}: 0 records gone")), "{code} {text}");
    let named = format!("{} is not in use and cannot be searched: file is not a database", aside.display());
    assert!(text.contains(&named) && text.contains("such records may be in it"), "{text}");
    let output = on_data(&pair, &["records", "forget", "--key", &name, "--json"]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), told["unsearched"][0]["file"].as_str()), (Some(1), aside.to_str()), "{told}");
    std::fs::remove_file(&aside).unwrap();
    assert_eq!(said(&pair, &["records", "forget", "--key", &name]).0, 0);
    let (code, text) = said(&pair, &["audit"]);
    assert!(code == 0 && text.contains("forget records") && text.contains("asked by mail"), "{text}");
    assert!(text.contains(&format!("request {}", ids[0])) && text.contains(&format!("key {name}")), "{text}");
    assert_eq!(said(&pair, &["audit", "--verify"]).0, 0);
    let metrics = client.send("GET", &format!("{}/metrics", pair.gateway.url), &key, String::new()).await.text();
    assert!(metrics.contains("kairos_records_forgotten_total 3\n"), "{metrics}");
    let (_, text) = said(&pair, &["ledger", "show", "--request", &ids[0]]);
    assert!(text.contains("nova"), "{text}");
    pair.gateway.stop();
    for file in std::fs::read_dir(pair.folder().join("data")).unwrap().flatten().filter(|file| file.path().is_file()) {
        let bytes = std::fs::read(file.path()).unwrap();
        assert!(!bytes.windows(8).any(|part| part == b"platypus"), "{:?}", file.path());
    }
    let output = on_data(&pair, &["records", "forget", "--key", &name]);
    assert!(!output.status.success(), "{output:?}");
}
