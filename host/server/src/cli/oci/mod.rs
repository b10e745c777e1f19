//! Policies in OCI registries: fetched by digest, and pushed. The command line does it, so that a gateway
//! calls nobody but Bedrock.
//!
//! `reference` reads addresses, `manifest` says what an artifact consists of, `registry` asks, `auth` is who
//! asks.

mod auth;
mod manifest;
mod reference;
mod registry;

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use kairos_sandbox::limits::Limits;
use kairos_sandbox::wasm::interfaces;

use self::manifest::{Found, MANIFEST, Part, Parts};
use self::reference::{Digest, Reference, SCHEME, Version};
use self::registry::{Asked, Registry};
use super::policy::Given;
use super::{Failed, on_runtime};

/// Bytes of a manifest.
const MOST_MANIFEST_BYTES: u64 = 256 * 1024;
/// For everything that one command asks of a registry.
const PATIENCE: Duration = Duration::from_secs(600);
/// What a manifest may be.
const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json";

/// Whether this is the address of an artifact rather than a file.
pub(super) fn is_address(source: &str) -> bool {
    source.starts_with(SCHEME)
}

/// Fetches a policy, and what goes with it.
pub(super) fn fetch(address: &str, limits: &Limits) -> Result<Given, Failed> {
    let reference = Reference::parse(address)?;
    let digest = reference.digest()?.clone();
    within(async {
        let mut registry = Registry::new(&reference, auth::credentials(&reference.registry)?)?;
        let manifest = Part { digest, size: MOST_MANIFEST_BYTES };
        let Parts { ending, policy, tests, signature } = parts(&mut registry, &reference, manifest, limits).await?;
        let bytes = blob(&mut registry, &reference, &policy).await?;
        let mut more = Vec::new();
        for part in [tests, signature] {
            more.push(match part {
                Some(part) => Some(blob(&mut registry, &reference, &part).await?),
                None => None,
            });
        }
        let signature = more.pop().flatten().map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Ok(Given { file: reference.file(ending), bytes, tests: more.pop().flatten(), signature })
    })
}

/// What an artifact consists of. A list of one leads to that one.
async fn parts(
    registry: &mut Registry,
    reference: &Reference,
    mut manifest: Part,
    limits: &Limits,
) -> Result<Parts, Failed> {
    for _ in 0..2 {
        let digest = &manifest.digest;
        let url = registry.url(&format!("/v2/{}/manifests/{digest}", reference.repository));
        let what = reference.at(digest);
        let answer = registry.expect(&Asked::get(url, Some(MANIFESTS)), StatusCode::OK, &what).await?;
        let bytes = registry.body(answer, manifest.size).await?;
        is_whole(registry, &bytes, digest, &what)?;
        match manifest::read(&bytes, limits).map_err(|why| Failed::refused(format!("{what}: {why}")))? {
            Found::Parts(parts) => return Ok(parts),
            Found::Elsewhere(other) => manifest = other,
        }
    }
    Err(Failed::refused(format!("{}: this is a list of lists", reference.at(&manifest.digest))))
}

/// The bytes of a part: those that its digest is of, or none.
async fn blob(registry: &mut Registry, reference: &Reference, part: &Part) -> Result<Vec<u8>, Failed> {
    let what = format!("the blob {}", part.digest);
    let url = registry.url(&format!("/v2/{}/blobs/{}", reference.repository, part.digest));
    let answer = registry.expect(&Asked::get(url, None), StatusCode::OK, &what).await?;
    let bytes = registry.body(answer, part.size).await?;
    is_whole(registry, &bytes, &part.digest, &what)?;
    Ok(bytes)
}

fn is_whole(registry: &Registry, bytes: &[u8], digest: &Digest, what: &str) -> Result<(), Failed> {
    let found = Digest::of(bytes);
    if found == *digest {
        return Ok(());
    }
    let error = registry.failed(&format!("{what}: what it sends are other bytes ({found}): nothing is done with them"));
    Err(Failed::refused(error.message))
}

/// Pushes a policy, and what goes with it. The address by digest of what was pushed.
pub(super) fn push(address: &str, given: &Given) -> Result<String, Failed> {
    let reference = Reference::parse(address)?;
    if let Some(Version::Digest(_)) = reference.version {
        return Err(Failed::usage(format!(
            "{address}: the digest comes of what is pushed; a tag may be named, or nothing"
        )));
    }
    let interfaces =
        if given.file.ends_with(".wasm") { Some(interfaces(&given.bytes).unwrap_or_default()) } else { None };
    let signature = given.signature.as_ref().map(|text| text.as_bytes());
    let pushed = manifest::write(&given.file, &given.bytes, given.tests.as_deref(), signature, interfaces);
    within(async {
        let mut registry = Registry::new(&reference, auth::credentials(&reference.registry)?)?;
        for (digest, bytes) in &pushed.blobs {
            push_blob(&mut registry, &reference, digest, bytes).await?;
        }
        let digest = Digest::of(&pushed.manifest);
        let name = match &reference.version {
            Some(Version::Tag(tag)) => tag.clone(),
            _ => digest.to_string(),
        };
        let url = registry.url(&format!("/v2/{}/manifests/{name}", reference.repository));
        let body = Some((MANIFEST, Bytes::from(pushed.manifest)));
        let asked = Asked { method: Method::PUT, url, accept: None, body };
        registry.expect(&asked, StatusCode::CREATED, "the manifest").await?;
        Ok(reference.at(&digest))
    })
}

async fn push_blob(
    registry: &mut Registry,
    reference: &Reference,
    digest: &Digest,
    bytes: &[u8],
) -> Result<(), Failed> {
    let what = format!("the blob {digest}");
    let url = registry.url(&format!("/v2/{}/blobs/{digest}", reference.repository));
    let asked = Asked { method: Method::HEAD, url, accept: None, body: None };
    if registry.ask(&asked).await?.status() == StatusCode::OK {
        return Ok(());
    }
    let url = registry.url(&format!("/v2/{}/blobs/uploads/", reference.repository));
    let body = |bytes| Some(("application/octet-stream", bytes));
    let asked = Asked { method: Method::POST, url, accept: None, body: body(Bytes::new()) };
    let answer = registry.expect(&asked, StatusCode::ACCEPTED, &what).await?;
    let mut url = registry.location(&asked.url, &answer)?;
    url.push_str(&format!("{}digest={digest}", if url.contains('?') { '&' } else { '?' }));
    let asked = Asked { method: Method::PUT, url, accept: None, body: body(Bytes::copy_from_slice(bytes)) };
    registry.expect(&asked, StatusCode::CREATED, &what).await.map(drop)
}

/// Bounds the time that all of it takes.
fn within<T>(work: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
    on_runtime(async {
        let late = |_| Failed::new(format!("the registry was not done after {} s", PATIENCE.as_secs()));
        tokio::time::timeout(PATIENCE, work).await.map_err(late)?
    })
}
