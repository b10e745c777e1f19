//! Policies in OCI registries: pushed, fetched by their digest, staged; and what comes of a registry that does
//! not do as it should.

mod registry;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use kairos_tests::process::{Pair, Setup, ended, kairos};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

use self::registry::{Access, BASIC, Fault, Registry, digest};

const POLICY: &str = "fn describe() { #{ name: \"cheaper\" } }\nfn route(ctx, features, models) { plan([0], 1) }\n";
const TESTS: &str = "as_of = \"2026-11-23\"\nregion = \"us-east-1\"\nmodels = [\"nova-lite\"]\n[[test]]\nname = \"any\"\nexpect = { first = \"nova-lite\" }\n";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A folder with a policy and its tests.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("router.rhai"), POLICY).unwrap();
    std::fs::write(folder.path().join("router.test.toml"), TESTS).unwrap();
    folder
}

/// A command in a folder, with the credentials that are kept there, and not with this machine's own.
async fn said(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let mut command = kairos();
    command.args(arguments).current_dir(folder).env("DOCKER_CONFIG", folder);
    // The registry is in this very process: it must go on meanwhile.
    ended(&tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap())
}

/// Pushes the policy of a folder; gives its address.
async fn push(folder: &Path, registry: &Registry) -> String {
    let repository = registry.repository("acme/router:1.2");
    let (code, text) = said(folder, &["policy", "push", "router.rhai", &repository]).await;
    assert_eq!(code, 0, "{text}");
    text.trim_end().to_owned()
}

async fn check(folder: &Path, address: &str) -> (i32, String) {
    said(folder, &["policy", "check", address]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_is_staged_with_its_tests_and_its_signature() {
    let (folder, registry) = (folder(), Registry::start(Access::Open).await);
    let run = async |arguments: &[&str]| {
        let (code, text) = said(folder.path(), arguments).await;
        assert_eq!(code, 0, "{arguments:?}: {text}");
        text
    };
    run(&["policy", "keygen", "release.key"]).await;
    run(&["policy", "sign", "--key", "release.key", "router.rhai"]).await;
    let address = push(folder.path(), &registry).await;
    let manifest = registry.manifest("1.2");
    assert_eq!(address, format!("oci://{}/acme/router@{}", registry.address, digest(manifest.as_bytes())));
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    let layers = manifest["layers"].as_array().unwrap();
    let types: Vec<_> = layers.iter().map(|layer| layer["mediaType"].as_str().unwrap()).collect();
    let ours = "application/vnd.kairos.policy";
    assert_eq!(types, [format!("{ours}.rhai"), format!("{ours}.tests+toml"), format!("{ours}.signature")]);
    // Again it is the same artifact, and nothing is sent twice.
    registry.asked();
    assert_eq!(push(folder.path(), &registry).await, address);
    let asked = registry.asked();
    assert!(!asked.iter().any(|(what, _)| what.starts_with("POST")), "{asked:?}");

    let config = "[policies]\nrequire_signature = true\n[policies.keys]\nrelease = \"release.key.pub\"\n";
    let key = std::fs::read(folder.path().join("release.key.pub")).unwrap();
    let start = || {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("release.key.pub"), &key).unwrap();
        let config = config.replace("release.key.pub", &folder.path().join("release.key.pub").display().to_string());
        (Setup { config: &config, ..Setup::default() }.start(), folder)
    };
    let (pair, _keys) = tokio::task::block_in_place(start);
    let text = staged(&pair, folder.path(), &address, 0).await;
    assert!(text.contains("cheaper@") && text.contains(" is staged; 1 test passed"), "{text}");
    let (_, list) = kairos_tests::process::said(&pair, &["policy", "list"]);
    assert!(list.contains("router.rhai  0 calls, signed by release"), "{list}");
    // Without the signature it is refused as a file is.
    std::fs::remove_file(folder.path().join("router.rhai.sig")).unwrap();
    let unsigned = push(folder.path(), &registry).await;
    assert!(staged(&pair, folder.path(), &unsigned, 3).await.contains("it has no signature"));
}

/// Stages what is at an address.
async fn staged(pair: &Pair, folder: &Path, address: &str, expected: i32) -> String {
    let data = pair.folder().join("data").display().to_string();
    let (code, text) = said(folder, &["policy", "stage", address, "--data", &data]).await;
    assert_eq!(code, expected, "{text}");
    text
}

/// A certificate of a name, by an authority that is made for the test: what serves with it, and what to trust it by.
fn certified(name: &str) -> (TlsAcceptor, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let make = |line: &str| {
        let line = format!("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 {line}");
        let made = Command::new("openssl").args(line.split(' ')).current_dir(folder.path()).output().unwrap();
        assert!(made.status.success(), "{made:?}");
    };
    make("-subj /CN=tests -keyout authority.key -out authority.pem");
    make(&format!(
        "-subj /CN={name} -CA authority.pem -CAkey authority.key -keyout own.key -out own.pem \
         -addext subjectAltName=DNS:{name} -addext basicConstraints=critical,CA:FALSE"
    ));
    let own = |file: &str| folder.path().join(file);
    let certificates = CertificateDer::pem_file_iter(own("own.pem")).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(own("own.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(certificates, key).unwrap();
    (TlsAcceptor::from(Arc::new(config)), std::fs::read(own("authority.pem")).unwrap())
}

/// By https, which is any registry that is not on this machine: by who is trusted, and by nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn a_registry_is_asked_by_https() {
    let name = "registry.test";
    let (tls, trusted) = certified(name);
    let (folder, registry) = (folder(), Registry::secure(name, tls).await);
    std::fs::write(folder.path().join("trusted.pem"), trusted).unwrap();
    std::fs::write(folder.path().join("others.pem"), certified(name).1).unwrap();
    let run = async |arguments: &[&str], trusts: &str| {
        let mut command = kairos();
        command.args(arguments).current_dir(folder.path()).env("DOCKER_CONFIG", folder.path());
        command.env("SSL_CERT_FILE", folder.path().join(trusts)).env_remove("SSL_CERT_DIR");
        command.env("HTTPS_PROXY", format!("http://{}", registry.address));
        ended(&tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap())
    };
    let repository = registry.repository("acme/router:1.2");
    let (code, address) = run(&["policy", "push", "router.rhai", &repository], "trusted.pem").await;
    let address = address.trim_end();
    assert!(code == 0 && address.starts_with("oci://registry.test/acme/router@sha256:"), "{address}");
    let (code, text) = run(&["policy", "check", address], "trusted.pem").await;
    assert!(code == 0 && text.contains("would serve as cheaper@"), "{text}");
    registry.asked();
    let (code, text) = run(&["policy", "check", address], "others.pem").await;
    assert!(code == 1 && text.contains("the registry registry.test: https://registry.test/v2/"), "{code} {text}");
    assert!(text.contains("invalid peer certificate"), "{text}");
    assert!(registry.asked().is_empty(), "who is not trusted is asked nothing");
}

/// A component, alone, as other tools push one.
#[tokio::test(flavor = "multi_thread")]
async fn a_component_alone() {
    let (folder, registry) = (folder(), Registry::start(Access::Open).await);
    std::fs::copy(kairos_tests::guest("fixed-first"), folder.path().join("my-router.wasm")).unwrap();
    let repository = registry.repository("acme/my-router");
    let (code, text) = said(folder.path(), &["policy", "push", "my-router.wasm", &repository]).await;
    assert_eq!(code, 0, "{text}");
    let address = text.trim_end();
    let manifest: Value = serde_json::from_str(&registry.manifest(address.rsplit_once('@').unwrap().1)).unwrap();
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.wasm.config.v0+json");
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 1);
    assert_eq!(manifest["layers"][0]["mediaType"], "application/wasm");
    let (code, text) = check(folder.path(), address).await;
    assert!(code == 0 && text.contains("would serve as fixed-first@") && text.contains("(wasm)"), "{text}");
    // A list that names it alone leads there; of two it is not known which is meant.
    let one = json!({"mediaType": MANIFEST, "digest": address.rsplit_once('@').unwrap().1, "size": manifest.to_string().len()});
    let index = |manifests: Value| json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).to_string();
    let list = |text: &str| format!("{repository}@{}", registry.keep_manifest(INDEX, text));
    let (code, text) = check(folder.path(), &list(&index(json!([one])))).await;
    assert_eq!(code, 0, "{text}");
    let (code, text) = check(folder.path(), &list(&index(json!([one, one])))).await;
    assert!(code == 3 && text.contains("this is a list of 2 manifests"), "{code} {text}");
    let inner = json!({"mediaType": INDEX, "digest": digest(index(json!([one])).as_bytes()), "size": 1000});
    let (code, text) = check(folder.path(), &list(&index(json!([inner])))).await;
    assert!(code == 3 && text.contains("this is a list of lists"), "{code} {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_named_by_its_digest() {
    let (folder, registry) = (folder(), Registry::start(Access::Open).await);
    let address = push(folder.path(), &registry).await;
    let repository = registry.repository("acme/router");
    for (address, says) in [
        (format!("{repository}:1.2"), ":1.2 is a tag, which can be moved"),
        (repository.clone(), "it names no version"),
        (format!("{repository}@sha256:abc"), "what follows @ is not sha256:"),
    ] {
        let (code, text) = check(folder.path(), &address).await;
        assert!(code == 2 && text.contains(says), "{address}: {code} {text}");
    }
    let (code, text) = said(folder.path(), &["policy", "push", "router.rhai", &address]).await;
    assert!(code == 2 && text.contains("the digest comes of what is pushed"), "{text}");
    let unknown = format!("{repository}@{}", digest(b"nothing"));
    let (code, text) = check(folder.path(), &unknown).await;
    assert!(code == 1 && text.contains("404 Not Found: it is not there, or not for everybody"), "{code} {text}");
    // What a registry says goes to no terminal as it is.
    assert!(text.contains("MANIFEST_UNKNOWN: manifest unknown [31m"), "{text:?}");
}

/// Whatever a registry sends instead of what it should, nothing is done with it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_as_it_should_be_is_refused() {
    let (folder, registry) = (folder(), Registry::start(Access::Open).await);
    let address = push(folder.path(), &registry).await;
    for (fault, code, says) in [
        (Fault::OtherManifest, 3, "what it sends are other bytes (sha256:"),
        (Fault::OtherBytes, 3, "what it sends are other bytes (sha256:"),
        (Fault::Short, 3, "what it sends are other bytes (sha256:"),
        (Fault::Long, 1, "it sends more than the"),
        (Fault::BrokenOff, 1, "it broke off: "),
        (Fault::Redirect("/again".to_owned()), 1, "it redirects more than 5 times"),
        (
            Fault::Redirect("http://192.0.2.1/x".to_owned()),
            1,
            "elsewhere than to an address of https: http://192.0.2.1/x",
        ),
        (Fault::Redirect("ftp://x".to_owned()), 1, "it redirects to what is no address"),
        (Fault::Redirect("//192.0.2.1/x".to_owned()), 1, "it redirects to what is no address"),
    ] {
        registry.fault(fault.clone());
        let (ended, text) = check(folder.path(), &address).await;
        assert!(ended == code && text.contains(says), "{fault:?}: {ended} {text}");
    }
    registry.fault(Fault::None);
    assert_eq!(check(folder.path(), &address).await.0, 0);
    // A layer that is too large is not asked for; one of another kind is named.
    let layers = |layers: Value| json!({"schemaVersion": 2, "mediaType": MANIFEST, "layers": layers}).to_string();
    let layer = |kind: &str, size: u64| json!({"mediaType": kind, "digest": digest(b""), "size": size});
    for (text, says) in [
        (layers(json!([layer("application/wasm", 1 << 30)])), "its component has 1073741824 bytes, more than"),
        (
            layers(json!([layer("application/vnd.oci.image.layer.v1.tar+gzip", 5)])),
            "it has a layer of type application/vnd.oci",
        ),
        ("nothing".to_owned(), "this is no manifest of OCI"),
    ] {
        let address = format!("{}@{}", registry.repository("acme/router"), registry.keep_manifest(MANIFEST, &text));
        registry.asked();
        let (code, said) = check(folder.path(), &address).await;
        assert!(code == 3 && said.contains(says), "{code} {said}");
        assert_eq!(registry.asked().len(), 1);
    }
}

/// Who asks is told to the registry, by what `docker login` keeps, and to nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn credentials_go_to_the_registry_alone() {
    for (access, who) in [
        (Access::Password, format!("Basic {BASIC}")),
        (Access::Token, "Bearer a-token".to_owned()),
        (Access::TokenForPassword, "Bearer a-token".to_owned()),
    ] {
        let (folder, registry) = (folder(), Registry::start(access).await);
        let docker = folder.path().join("config.json");
        let keep = |entry: &str| {
            let auths = json!({"auths": {format!("http://{}/v2/", registry.address): {"auth": entry}}});
            std::fs::write(&docker, auths.to_string()).unwrap();
        };
        if access != Access::Token {
            let repository = registry.repository("acme/router");
            let (code, text) = said(folder.path(), &["policy", "push", "router.rhai", &repository]).await;
            assert!(code == 1 && text.contains("there is no ") && text.contains("config.json"), "{code} {text}");
            keep("d3Jvbmc6d3Jvbmc=");
            let (code, text) = said(folder.path(), &["policy", "push", "router.rhai", &repository]).await;
            assert!(code == 1 && text.contains("credentials: from "), "{code} {text}");
            assert!(!text.contains("d3Jvbmc6") && !text.contains("wrong"), "{text}");
            keep(BASIC);
        }
        let address = push(folder.path(), &registry).await;
        // Blobs are elsewhere, as those of most registries are: there nobody is told who asks.
        let storage = Registry::start(Access::Open).await;
        storage.with_blobs_of(&registry);
        storage.fault(Fault::Onward);
        registry.fault(Fault::BlobsAt(format!("http://{}", storage.address)));
        registry.asked();
        let (code, text) = check(folder.path(), &address).await;
        assert_eq!(code, 0, "{text}");
        assert!(registry.asked().iter().any(|(_, authorization)| authorization.as_ref() == Some(&who)));
        let asked = storage.asked();
        assert!(asked.len() == 4 && asked.iter().all(|(_, authorization)| authorization.is_none()), "{asked:?}");
    }
}

/// Docker's configuration is not shown, whatever is wrong with it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_dockers_configuration_is_told() {
    let (folder, registry) = (folder(), Registry::start(Access::Password).await);
    let repository = registry.repository("acme/router");
    let host = registry.address.to_string();
    for (config, code, says) in [
        ("{\"auths\": {\"x\": {\"auth\": SECRET}}}".to_owned(), 2, "config.json:1: this is not Docker's configuration"),
        (json!({"auths": {&host: {"auth": "SECRET!"}}}).to_string(), 2, "is no base64"),
        (json!({"credsStore": "desktop"}).to_string(), 1, "its helper programs are not asked"),
        (json!({"auths": {"elsewhere": {"auth": BASIC}}}).to_string(), 1, "config.json has none of 127.0.0.1"),
    ] {
        std::fs::write(folder.path().join("config.json"), &config).unwrap();
        let (ended, text) = said(folder.path(), &["policy", "push", "router.rhai", &repository]).await;
        assert!(ended == code && text.contains(says) && !text.contains("SECRET"), "{config}: {ended} {text}");
    }
}
