//! Signed policies: keys and signatures as other tools read them, and what a gateway that asks for signatures
//! lets serve: by the folder, by command, over HTTP and after a restart.

use std::path::Path;
use std::process::Command;

use kairos_tests::http::{Client, chat};
use kairos_tests::process::{Pair, Setup, ended, kairos, metrics, on_data, said};
use serde_json::{Value, json};

/// A policy that calls itself so.
fn named(name: &str) -> String {
    format!("fn describe() {{ #{{ name: \"{name}\" }} }}\nfn route(ctx, features, models) {{ plan([0], 1) }}\n")
}

/// Tests that a router passes.
const TESTS: &str = "as_of = \"2026-11-23\"\nregion = \"us-east-1\"\nmodels = [\"nova-lite\"]\n[[test]]\nname = \"any\"\nexpect = { first = \"nova-lite\" }\n";

/// A command in a folder, which is to succeed.
fn run(folder: &Path, arguments: &[&str]) -> String {
    let (code, said) = ended(&kairos().args(arguments).current_dir(folder).output().unwrap());
    assert_eq!(code, 0, "{arguments:?}: {said}");
    said
}

/// A pair of keys in a folder; gives the line to pin.
fn keygen(folder: &Path, file: &str) -> String {
    let said = run(folder, &["policy", "keygen", file]);
    said.rsplit_once("release = \"").unwrap().1.trim_end().trim_end_matches('"').to_owned()
}

/// A folder with two pairs of keys; the lines to pin.
fn keys() -> (tempfile::TempDir, [String; 2]) {
    let folder = tempfile::tempdir().unwrap();
    let lines = ["release.key", "build.key"].map(|file| keygen(folder.path(), file));
    (folder, lines)
}

fn config(required: bool, pinned: &[(&str, &str)]) -> String {
    let pinned: String = pinned.iter().map(|(name, key)| format!("{name} = \"{key}\"\n")).collect();
    format!("[policies]\nrequire_signature = {required}\n[policies.keys]\n{pinned}")
}

/// Signs a file with a key of another folder.
fn sign(keys: &Path, key: &str, file: &Path) {
    let (key, file) = (keys.join(key), file.display().to_string());
    run(keys, &["policy", "sign", "--key", &key.display().to_string(), &file]);
}

async fn serves(pair: &Pair) -> String {
    let url = format!("{}/v1/chat/completions", pair.gateway.url);
    let answer = Client::default().post(&url, &[], &chat("auto", "hello")).await;
    answer.header("x-kairos-policy").split('@').next().unwrap().to_owned()
}

fn json_of(pair: &Pair, arguments: &[&str]) -> Value {
    let output = on_data(pair, &[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// OpenSSL, as Node.js has it, reads what is made here, and what it makes is read here.
#[test]
fn keys_and_signatures_are_those_of_openssl() {
    let (folder, _) = keys();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("router.rhai"), named("first")).unwrap();
    std::fs::write(at("router.test.toml"), TESTS).unwrap();
    sign(folder.path(), "release.key", &at("router.rhai"));
    let statement = run(folder.path(), &["policy", "sign", "--statement", "router.rhai"]);
    std::fs::write(at("statement"), &statement).unwrap();
    let lines: Vec<_> = statement.lines().collect();
    assert_eq!((lines.len(), lines[0], lines[1]), (4, "kairos policy v1", "router"));
    let node = |script: &str| {
        let output = Command::new("node").args(["-e", script]).current_dir(folder.path()).output().unwrap();
        let (code, said) = ended(&output);
        assert_eq!(code, 0, "{said}");
        said
    };
    let verify = "const c = require('crypto'), f = require('fs');\
        const signature = Buffer.from(f.readFileSync('router.rhai.sig', 'utf8'), 'base64');\
        console.log(c.verify(null, f.readFileSync('statement'), f.readFileSync('release.key.pub'), signature))";
    assert_eq!(node(verify), "true\n");
    // A pair that is made there, and a signature by it.
    node(
        "const c = require('crypto'), f = require('fs'); const pair = c.generateKeyPairSync('ed25519');\
        f.writeFileSync('other.key', pair.privateKey.export({type: 'pkcs8', format: 'pem'}));\
        f.writeFileSync('other.pub', pair.publicKey.export({type: 'spki', format: 'pem'}));\
        f.writeFileSync('router.rhai.sig', c.sign(null, f.readFileSync('statement'), pair.privateKey).toString('base64'))",
    );
    std::fs::write(at("kairos.toml"), config(true, &[("other", "other.pub")])).unwrap();
    let checked = run(folder.path(), &["policy", "check", "router.rhai"]);
    assert!(checked.starts_with("router.rhai: would serve as first@"), "{checked}");
    std::fs::remove_file(at("router.rhai.sig")).unwrap();
    sign(folder.path(), "other.key", &at("router.rhai"));
    run(folder.path(), &["policy", "check", "router.rhai"]);
}

#[test]
fn no_key_is_written_over_and_what_is_none_is_told() {
    use std::os::unix::fs::PermissionsExt as _;
    let (folder, _) = keys();
    let at = |name: &str| folder.path().join(name);
    assert_eq!(at("release.key").metadata().unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::write(at("half.pub"), "").unwrap();
    std::fs::write(at("router.rhai"), named("first")).unwrap();
    let before = std::fs::read(at("release.key")).unwrap();
    for (arguments, code, says) in [
        (&["keygen", "release.key"][..], 2, "release.key: the file is there, and no key is written over"),
        (&["keygen", "half"], 2, "half.pub: the file is there"),
        (&["keygen", "nowhere/key"], 1, "nowhere/key: No such file"),
        (&["sign", "router.rhai"], 2, "--key <KEYFILE>"),
        (&["sign", "--key", "router.rhai", "router.rhai"], 2, "there is no private key of PKCS#8 in PEM in it"),
        (&["sign", "--key", "release.key.pub", "router.rhai"], 2, "there is no private key of PKCS#8 in PEM in it"),
        (&["sign", "--key", "release.key", "nowhere.rhai"], 2, "nowhere.rhai: No such file"),
        (&["sign", "--key", "release.key", "--slot", "rooter", "router.rhai"], 2, "there is no slot \"rooter\""),
    ] {
        let output = kairos().arg("policy").args(arguments).current_dir(folder.path()).output().unwrap();
        let (ended, said) = ended(&output);
        assert!(ended == code && said.contains(says), "{arguments:?}: {ended} {said}");
    }
    assert!(!at("half").exists() && !at("router.rhai.sig").exists());
    assert_eq!(std::fs::read(at("release.key")).unwrap(), before);
}

/// A file of the folder serves once it is signed, whichever of the two comes first; what served goes on.
#[tokio::test]
async fn the_folder_needs_signatures() {
    let (keys, [release, build]) = keys();
    let config = config(true, &[("release", &release)]);
    let setup = Setup { config: &config, ..Setup::default() };
    let pair = setup.start();
    assert_eq!(serves(&pair).await, "native-task");
    pair.put("router.rhai", named("first").as_bytes());
    let line = pair.gateway.wait_for_log("policy refused");
    assert!(line.contains("\"reason\":\"not_signed\"") && line.contains("(pinned: release)"), "{line}");
    sign(keys.path(), "release.key", &pair.policies.join("router.rhai"));
    pair.gateway.wait_for_log("a policy serves");
    assert_eq!(serves(&pair).await, "first");
    // By another key, and of other bytes.
    sign(keys.path(), "build.key", &pair.policies.join("router.rhai"));
    let line = pair.gateway.wait_for_log("policy refused");
    assert!(line.contains("\"reason\":\"bad_signature\"") && line.contains("router.rhai.sig"), "{line}");
    pair.put("router.rhai", named("second").as_bytes());
    pair.gateway.wait_for_log("policy refused");
    assert_eq!(serves(&pair).await, "first");
    // With its signature there first. The tests are signed along.
    let next = pair.folder().join("router.rhai");
    std::fs::write(&next, named("third")).unwrap();
    std::fs::write(pair.folder().join("router.test.toml"), TESTS).unwrap();
    sign(keys.path(), "release.key", &next);
    for file in ["router.rhai.sig", "router.test.toml", "router.rhai"] {
        std::fs::rename(pair.folder().join(file), pair.policies.join(file)).unwrap();
    }
    pair.gateway.wait_for_log("third@");
    assert_eq!(serves(&pair).await, "third");
    std::fs::remove_file(pair.policies.join("router.test.toml")).unwrap();
    let line = pair.gateway.wait_for_log("policy refused");
    assert!(line.contains("for the slot `router` with no tests"), "{line}");
    let counted = metrics(&pair).await;
    for reason in ["not_signed", "bad_signature"] {
        let line = format!("kairos_policy_refusals_total{{slot=\"router\",reason=\"{reason}\"");
        assert!(counted.lines().any(|found| found.starts_with(&line) && !found.ends_with(" 0")), "{counted}");
    }
    let acts = json_of(&pair, &["audit"]);
    assert_eq!(acts[0]["detail"], "signed by release", "{acts}");
    assert_ne!(release, build);
}

#[tokio::test]
async fn what_is_staged_needs_a_signature() {
    let (keys, [release, build]) = keys();
    let config = config(true, &[("release", &release), ("build", &build)]);
    let setup = Setup { config: &config, ..Setup::default() };
    let pair = setup.start();
    let file = pair.folder().join("cheaper.rhai");
    std::fs::write(&file, named("cheaper")).unwrap();
    let (code, text) = said(&pair, &["policy", "stage", "cheaper.rhai"]);
    assert_eq!(code, 3);
    insta::assert_snapshot!(text, @r"
    kairos: cheaper.rhai: it has no signature, and policies.require_signature asks for one (pinned: build, release)
      hint: kairos policy sign --key KEYFILE cheaper.rhai makes cheaper.rhai.sig, which belongs beside it
    ");
    sign(keys.path(), "build.key", &file);
    // For another slot it is no signature.
    let (code, text) = said(&pair, &["policy", "stage", "cheaper.rhai", "--slot", "healer"]);
    assert!(code == 3 && text.contains("build has signed the file for the slot `router`, not `healer`"), "{text}");
    let digest = json_of(&pair, &["policy", "stage", "cheaper.rhai"])["digest"].as_str().unwrap().to_owned();
    json_of(&pair, &["policy", "canary", &digest]);
    json_of(&pair, &["policy", "activate", &digest]);
    assert_eq!(serves(&pair).await, "cheaper");
    // Who signed is told wherever a version is.
    let (_, list) = said(&pair, &["policy", "list"]);
    assert!(list.contains("  active    cheaper@") && list.contains(", signed by build\n"), "{list}");
    let (_, shown) = said(&pair, &["policy", "show", &digest]);
    assert!(shown.contains(", signed by build\n"), "{shown}");
    let acts = json_of(&pair, &["audit"]);
    let told: Vec<_> = acts.as_array().unwrap().iter().map(|act| act["act"].as_str().unwrap()).collect();
    assert_eq!(told, ["activate", "canary", "stage", "refuse", "refuse"]);
    assert_eq!([&acts[0]["detail"], &acts[2]["detail"]], ["signed by build"; 2]);
    assert!(acts[4]["detail"].as_str().unwrap().contains("has no signature"), "{acts}");
    // Over HTTP.
    let token = std::fs::read_to_string(pair.folder().join("data/admin-token")).unwrap();
    let put = async |signature: Value| {
        let url = format!("{}/admin/v1/policies/router/versions", pair.gateway.url);
        let body = json!({"file": "x.rhai", "text": named("cheaper"), "signature": signature});
        let bearer = format!("Bearer {}", token.trim());
        Client::default().send("PUT", &url, &[("authorization", &bearer)], body.to_string()).await
    };
    let refused = put(Value::Null).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["error"]["reason"]), (422, &json!("not_signed")));
    let refused = put("AAAA".into()).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["error"]["reason"]), (422, &json!("bad_signature")));
    assert_eq!(refused.json()["error"]["file"], "x.rhai.sig");
    let signature = std::fs::read_to_string(pair.folder().join("cheaper.rhai.sig")).unwrap();
    assert_eq!(put(signature.into()).await.status.as_u16(), 200);
}

/// Stops the gateway of a pair, and starts it with another configuration.
fn restart(pair: &mut Pair, config: &str) {
    pair.gateway.stop();
    let folder = pair.folder().to_owned();
    pair.gateway = Setup { config, ..Setup::default() }.gateway(&pair.simulator.url, &folder);
}

/// What is kept is vouched for again whenever it is loaded, by the keys of today.
#[tokio::test]
async fn a_restart_goes_by_the_keys_of_today() {
    let (keys, [release, build]) = keys();
    let both = config(true, &[("release", &release), ("build", &build)]);
    let mut pair = Setup { config: &both, ..Setup::default() }.start();
    let mut digests = Vec::new();
    for (name, key) in [("old", "release.key"), ("new", "build.key"), ("ready", "build.key")] {
        let file = pair.folder().join(format!("{name}.rhai"));
        std::fs::write(&file, named(name)).unwrap();
        sign(keys.path(), key, &file);
        let staged = json_of(&pair, &["policy", "stage", &format!("{name}.rhai")]);
        digests.push(staged["digest"].as_str().unwrap().to_owned());
    }
    json_of(&pair, &["policy", "activate", &digests[0]]);
    json_of(&pair, &["policy", "activate", &digests[1]]);
    restart(&mut pair, &both);
    assert_eq!(serves(&pair).await, "new");
    // `build` vouches no more: what it signed neither serves, nor is ready, nor can be activated.
    let one = config(true, &[("release", &release)]);
    restart(&mut pair, &one);
    assert_eq!(serves(&pair).await, "old");
    let (_, list) = said(&pair, &["policy", "list"]);
    assert!(list.contains("old@") && !list.contains("ready@") && list.contains("last refused: new.rhai.sig"), "{list}");
    let (code, text) = said(&pair, &["policy", "activate", &digests[1]]);
    assert!(code == 3 && text.contains("no key that is trusted has signed this file"), "{text}");
    // What is kept was changed behind the gateway's back: to what nobody signed, under the digest of what
    // somebody did; and with tests that are not those that were signed.
    let database = pair.folder().join("data/policies.sqlite");
    let change = |what: &str| {
        let database = rusqlite::Connection::open(&database).unwrap();
        assert_eq!(database.execute(what, [&digests[0]]).unwrap(), 1);
    };
    pair.gateway.stop();
    change("UPDATE version SET tests = CAST('[[test]]' AS BLOB) WHERE digest = ?1");
    restart_stopped(&mut pair, &one);
    assert_eq!(serves(&pair).await, "native-task");
    let (code, text) = said(&pair, &["policy", "activate", &digests[0]]);
    let says = "release has signed the file without tests, and there are some beside it now";
    assert!(code == 3 && text.contains(says), "{text}");
    change(
        "UPDATE version SET tests = NULL, bytes = CAST('fn route(c, f, m) { plan([0], 1) }' AS BLOB) WHERE digest = ?1",
    );
    let (code, text) = said(&pair, &["policy", "activate", &digests[0]]);
    assert!(code == 3 && text.contains("its bytes are not those that its digest is of"), "{text}");
}

fn restart_stopped(pair: &mut Pair, config: &str) {
    let folder = pair.folder().to_owned();
    pair.gateway = Setup { config, ..Setup::default() }.gateway(&pair.simulator.url, &folder);
}

/// A gateway that begins to ask for signatures takes the folder's file as it is signed now, though it was
/// kept without.
#[tokio::test]
async fn signatures_can_be_asked_for_later() {
    let (keys, [release, _]) = keys();
    let policy = pair_policy(&keys);
    let mut pair = Setup { policy: Some(policy), ..Setup::default() }.start();
    assert_eq!(serves(&pair).await, "first");
    let asks = config(true, &[("release", &release)]);
    restart(&mut pair, &asks);
    assert_eq!(serves(&pair).await, "native-task");
    pair.gateway.stop();
    sign(keys.path(), "release.key", &pair.policies.join("router.rhai"));
    restart_stopped(&mut pair, &asks);
    assert_eq!(serves(&pair).await, "first");
    // Kept with the signature from now on.
    restart(&mut pair, &asks);
    assert_eq!(serves(&pair).await, "first");
    assert_eq!(json_of(&pair, &["audit"])[0]["detail"], "signed by release");
}

fn pair_policy(keys: &tempfile::TempDir) -> std::path::PathBuf {
    let path = keys.path().join("first.rhai");
    std::fs::write(&path, named("first")).unwrap();
    path
}

/// Where no signature is asked for, one that is wrong is refused all the same, as soon as keys are pinned;
/// one that comes later is kept.
#[tokio::test]
async fn a_wrong_signature_is_never_overlooked() {
    let (keys, [release, _]) = keys();
    let config = config(false, &[("release", &release)]);
    let pair = Setup { config: &config, policy: Some(pair_policy(&keys)), ..Setup::default() }.start();
    assert_eq!(serves(&pair).await, "first");
    sign(keys.path(), "release.key", &pair.policies.join("router.rhai"));
    pair.gateway.wait_for_log("serves already");
    let (_, list) = said(&pair, &["policy", "list"]);
    assert!(list.contains(", signed by release\n"), "{list}");
    pair.put("router.rhai", named("other").as_bytes());
    let line = pair.gateway.wait_for_log("policy refused");
    assert!(line.contains("bad_signature"), "{line}");
    std::fs::remove_file(pair.policies.join("router.rhai.sig")).unwrap();
    pair.gateway.wait_for_log("other@");
    assert_eq!(serves(&pair).await, "other");
    // Authors need none: they sign what they are done with.
    let (code, text) = said(&pair, &["policy", "stage", "nowhere.rhai"]);
    assert_eq!(code, 2, "{text}");
}

/// What is wrong with pinned keys is told, and nothing is served like that.
#[test]
fn keys_that_are_none_are_told() {
    let (folder, [release, _]) = keys();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("text.pub"), "nothing").unwrap();
    // RSA's identifier, where Ed25519's would be.
    let other = "-----BEGIN PUBLIC KEY-----\nMBMwDQYJKoZIhvcNAQEBBQADAgAA\n-----END PUBLIC KEY-----\n";
    std::fs::write(at("rsa.pub"), other).unwrap();
    let small = "MCowBQYDK2VwAyEAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let twice = format!("{release}\"\nsecond = \"release.key.pub");
    for (key, says) in [
        ("nowhere.pub", "policies.keys.it: \"nowhere.pub\" is neither an Ed25519 key in base64 nor a file"),
        ("text.pub", "policies.keys.it: text.pub holds no public key in PEM"),
        ("rsa.pub", "policies.keys.it: rsa.pub holds a key that is not of Ed25519"),
        ("release.key", "policies.keys.it: release.key holds a private key, which no gateway should have"),
        (small, "policies.keys.it: the key is of small order"),
        (&twice, "policies.keys.second: this is the key it too; pin it once"),
    ] {
        std::fs::write(at("kairos.toml"), config(true, &[("it", key)])).unwrap();
        let doctor = kairos().args(["doctor", "--offline"]).current_dir(folder.path()).output().unwrap();
        let (code, said) = ended(&doctor);
        assert!(code == 1 && said.contains(&format!("problem  signatures: {says}")), "{key}: {said}");
        let check = kairos().args(["policy", "check", "release.key"]).current_dir(folder.path()).output().unwrap();
        let (code, said) = ended(&check);
        assert!(code == 1 && said.contains(says), "{key}: {said}");
    }
    std::fs::write(at("kairos.toml"), config(true, &[("it", &release)])).unwrap();
    let (_, said) = ended(&kairos().args(["doctor", "--offline"]).current_dir(folder.path()).output().unwrap());
    assert!(said.contains("ok       signatures: by it count; every policy needs one"), "{said}");
}
