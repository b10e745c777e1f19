//! What an artifact consists of: an image manifest of OCI, whose layers are a policy and what goes with it.

use kairos_pipeline::policy::one_line;
use kairos_sandbox::limits::Limits;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::reference::Digest;

/// The manifest of one artifact.
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// A list of manifests.
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// A component, as CNCF's guidance for WebAssembly has it.
const COMPONENT: &str = "application/wasm";
const COMPONENT_CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// A script.
const SCRIPT: &str = "application/vnd.kairos.policy.rhai";
const TESTS: &str = "application/vnd.kairos.policy.tests+toml";
const SIGNATURE: &str = "application/vnd.kairos.policy.signature";
/// What has no configuration.
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// Bytes of a signature: base64 of 64 bytes, with room for line ends.
const SIGNATURE_BYTES: u64 = 256;

/// Some bytes in a registry.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", expecting = "an object")]
pub(super) struct Descriptor {
    media_type: String,
    digest: String,
    pub(super) size: u64,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    annotations: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "an object")]
struct Read {
    schema_version: u32,
    media_type: Option<String>,
    #[serde(default)]
    manifests: Vec<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
}

/// What a manifest says.
#[derive(Debug)]
pub(super) enum Found {
    Parts(Parts),
    /// It lists one other, where the policy is.
    Elsewhere(Part),
}

/// Some bytes to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) digest: Digest,
    pub(super) size: u64,
}

/// A policy, and what goes with it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parts {
    /// The ending of its file.
    pub(super) ending: &'static str,
    pub(super) policy: Part,
    pub(super) tests: Option<Part>,
    pub(super) signature: Option<Part>,
}

/// Reads a manifest, or says why it is none of a policy.
pub(super) fn read(bytes: &[u8], limits: &Limits) -> Result<Found, String> {
    let read: Read = serde_json::from_slice(bytes).map_err(|error| format!("this is no manifest of OCI: {error}"))?;
    let media_type = read.media_type.as_deref().unwrap_or(if read.manifests.is_empty() { MANIFEST } else { INDEX });
    match (read.schema_version, media_type) {
        (2, MANIFEST) => parts(&read.layers, limits).map(Found::Parts),
        (2, INDEX) => match &read.manifests[..] {
            [one] => part(one, super::MOST_MANIFEST_BYTES, "manifest").map(Found::Elsewhere),
            all => Err(format!(
                "this is a list of {} manifests; name the one that is the policy's, by its digest",
                all.len()
            )),
        },
        (version, other) => {
            let other = one_line(other.to_owned(), 100);
            Err(format!("this is no manifest of OCI (schema {version}, {other}); one of type {MANIFEST} is needed"))
        }
    }
}

fn part(descriptor: &Descriptor, most: u64, what: &str) -> Result<Part, String> {
    let digest = Digest::parse(&descriptor.digest).ok_or_else(|| format!("the digest of its {what} is no SHA-256"))?;
    if descriptor.size > most {
        return Err(format!("its {what} has {} bytes, more than the {most} that one may have", descriptor.size));
    }
    Ok(Part { digest, size: descriptor.size })
}

/// A part that there may be one of.
fn once(place: &mut Option<Part>, part: Part, what: &str) -> Result<(), String> {
    if place.replace(part).is_some() { Err(format!("it has two layers that are its {what}")) } else { Ok(()) }
}

fn parts(layers: &[Descriptor], limits: &Limits) -> Result<Parts, String> {
    let (mut policy, mut ending, mut tests, mut signature) = (None, "", None, None);
    for layer in layers {
        match layer.media_type.as_str() {
            COMPONENT => {
                ending = "wasm";
                once(&mut policy, part(layer, limits.component_bytes, "component")?, "policy")?;
            }
            SCRIPT => {
                ending = "rhai";
                once(&mut policy, part(layer, limits.script_bytes, "script")?, "policy")?;
            }
            TESTS => once(&mut tests, part(layer, limits.test_bytes, "tests")?, "tests")?,
            SIGNATURE => once(&mut signature, part(layer, SIGNATURE_BYTES, "signature")?, "signature")?,
            // Nothing that comes along is left out in silence.
            other => {
                let other = one_line(other.to_owned(), 100);
                return Err(format!(
                    "it has a layer of type {other}; a policy's layers are {COMPONENT} or {SCRIPT}, {TESTS} and {SIGNATURE}"
                ));
            }
        }
    }
    let policy =
        policy.ok_or_else(|| format!("it has no layer of type {COMPONENT} or {SCRIPT}: it holds no policy"))?;
    Ok(Parts { ending, policy, tests, signature })
}

/// What is pushed: blobs, and the manifest that lists them.
pub(super) struct Pushed<'a> {
    pub(super) blobs: Vec<(Digest, std::borrow::Cow<'a, [u8]>)>,
    pub(super) manifest: Vec<u8>,
}

/// An artifact of a policy. `interfaces` are what a component imports and exports.
pub(super) fn write<'a>(
    file: &str,
    policy: &'a [u8],
    tests: Option<&'a [u8]>,
    signature: Option<&'a [u8]>,
    interfaces: Option<(Vec<String>, Vec<String>)>,
) -> Pushed<'a> {
    let titled = |media_type: &str, bytes: &[u8], title: Option<String>| Descriptor {
        media_type: media_type.to_owned(),
        digest: Digest::of(bytes).to_string(),
        size: bytes.len() as u64,
        // As other tools name the files that they make of layers.
        annotations: title.map_or(Value::Null, |title| json!({"org.opencontainers.image.title": title})),
    };
    let kind = if interfaces.is_some() { COMPONENT } else { SCRIPT };
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    let parts = [
        (kind, Some(policy), file.to_owned()),
        (TESTS, tests, format!("{stem}.test.toml")),
        (SIGNATURE, signature, format!("{file}.sig")),
    ];
    let parts: Vec<_> = parts.into_iter().filter_map(|(kind, bytes, title)| Some((kind, bytes?, title))).collect();
    let layers: Vec<_> = parts.iter().map(|(kind, bytes, title)| titled(kind, bytes, Some(title.clone()))).collect();
    let (config_type, config) = match interfaces {
        // No time of making: the same policy is the same artifact.
        Some((imports, exports)) => {
            let digests: Vec<_> = layers.iter().map(|layer| &layer.digest).collect();
            let component = json!({"exports": exports, "imports": imports});
            let config = json!({"created": "1970-01-01T00:00:00Z", "architecture": "wasm", "os": "wasip2", "layerDigests": digests, "component": component});
            (COMPONENT_CONFIG, config.to_string().into_bytes())
        }
        None => (EMPTY, b"{}".to_vec()),
    };
    let mut manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": titled(config_type, &config, None), "layers": layers});
    if config_type == EMPTY {
        manifest["artifactType"] = SCRIPT.into();
    }
    let mut blobs = vec![(Digest::of(&config), config.into())];
    blobs.extend(parts.into_iter().map(|(_, bytes, _)| (Digest::of(bytes), bytes.into())));
    Pushed { blobs, manifest: manifest.to_string().into_bytes() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(media_type: &str, size: u64) -> Value {
        json!({"mediaType": media_type, "digest": Digest::of(media_type.as_bytes()).to_string(), "size": size})
    }

    fn says(manifest: &Value) -> String {
        read(manifest.to_string().as_bytes(), &Limits::default()).map_or_else(|why| why, |found| format!("{found:?}"))
    }

    fn of(layers: &[Value]) -> String {
        says(&json!({"schemaVersion": 2, "mediaType": MANIFEST, "layers": layers}))
    }

    #[test]
    fn what_is_written_is_read() {
        let pushed = write("x.rhai", b"fn route", Some(b"[[test]]"), Some(b"c2ln"), None);
        let Found::Parts(parts) = read(&pushed.manifest, &Limits::default()).unwrap() else { panic!("a list") };
        let part = |bytes: &[u8]| Part { digest: Digest::of(bytes), size: bytes.len() as u64 };
        let (tests, signature) = (Some(part(b"[[test]]")), Some(part(b"c2ln")));
        assert_eq!(parts, Parts { ending: "rhai", policy: part(b"fn route"), tests, signature });
        assert_eq!(pushed.blobs.len(), 4);
    }

    #[test]
    fn what_is_no_policy_is_told() {
        insta::assert_snapshot!(says(&json!([])), @"this is no manifest of OCI: invalid length 0, expected an object at line 1 column 2");
        insta::assert_snapshot!(says(&json!({"schemaVersion": 1})), @"this is no manifest of OCI (schema 1, application/vnd.oci.image.manifest.v1+json); one of type application/vnd.oci.image.manifest.v1+json is needed");
        insta::assert_snapshot!(of(&[]), @"it has no layer of type application/wasm or application/vnd.kairos.policy.rhai: it holds no policy");
        insta::assert_snapshot!(of(&[layer(COMPONENT, 5), layer(SCRIPT, 5)]), @"it has two layers that are its policy");
        insta::assert_snapshot!(of(&[layer(COMPONENT, 5), layer(TESTS, 5), layer(TESTS, 5)]), @"it has two layers that are its tests");
        insta::assert_snapshot!(of(&[layer(COMPONENT, 67_108_865)]), @"its component has 67108865 bytes, more than the 67108864 that one may have");
        insta::assert_snapshot!(of(&[layer("application/vnd.oci.image.layer.v1.tar+gzip", 5)]), @"it has a layer of type application/vnd.oci.image.layer.v1.tar+gzip; a policy's layers are application/wasm or application/vnd.kairos.policy.rhai, application/vnd.kairos.policy.tests+toml and application/vnd.kairos.policy.signature");
        let one = layer(MANIFEST, 300);
        assert!(says(&json!({"schemaVersion": 2, "manifests": [one]})).starts_with("Elsewhere("));
        insta::assert_snapshot!(says(&json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [one, one]})), @"this is a list of 2 manifests; name the one that is the policy's, by its digest");
    }
}
