//! Versions on disk are bounded: what goes is told by `policy list`, the audit log and metrics.

use kairos_tests::http::Client;
use kairos_tests::process::Setup;

use super::{json, named, said, write};

#[tokio::test]
async fn versions_are_kept_within_bounds() {
    let pair = Setup { config: "[policies]\nkept_versions = 2\n", ..Setup::default() }.start();
    let digests = ["first", "second", "third"].map(|name| {
        write(&pair, &format!("{name}.rhai"), &named(name));
        let staged = json(&pair, &["policy", "stage", &format!("{name}.rhai")]);
        let digest = staged["digest"].as_str().unwrap().to_owned();
        let (code, text) = said(&pair, &["policy", "retire", &digest[..12]]);
        assert_eq!(code, 0, "{text}");
        digest
    });
    let (code, text) = said(&pair, &["policy", "list"]);
    assert!(code == 0 && text.contains("kept: 2 versions of at most 2, "), "{text}");
    let (code, text) = said(&pair, &["audit"]);
    assert!(code == 0 && text.contains("drop router"), "{text}");
    assert!(text.contains("no record refers to it") && text.contains("more than kept_versions"), "{text}");
    assert_eq!(said(&pair, &["audit", "--verify"]).0, 0);
    let (code, text) = said(&pair, &["policy", "activate", &digests[0][..12]]);
    assert!(code != 0 && text.contains("no version's digest begins with"), "{code} {text}");
    assert_eq!(said(&pair, &["policy", "activate", &digests[1][..12]]).0, 0);
    let metrics = Client::default().get(&format!("{}/metrics", pair.gateway.url)).await.text();
    for line in [
        "kairos_bound_limit{bound=\"policies.kept_versions\"} 2\n",
        "kairos_bound_used{bound=\"policies.kept_versions\"} 2\n",
        "kairos_policy_versions_dropped_total 1\n",
    ] {
        assert!(metrics.contains(line), "{line} {metrics}");
    }
}
