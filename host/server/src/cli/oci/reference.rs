//! Addresses of artifacts: `oci://REGISTRY/REPOSITORY@sha256:DIGEST`.

use std::fmt;
use std::net::IpAddr;

use super::super::Failed;

/// What an address of a registry begins with.
pub(super) const SCHEME: &str = "oci://";
/// Bytes of an address.
const MOST_BYTES: usize = 512;

/// Where an artifact is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    /// The registry's host, with a port where one is named.
    pub(super) registry: String,
    pub(super) repository: String,
    pub(super) version: Option<Version>,
}

/// Which of a repository's artifacts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Digest(Digest),
    Tag(String),
}

/// A SHA-256, in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Digest(String);

impl Digest {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_prefix("sha256:")?;
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (hex.len() == 64 && hex.bytes().all(is_hex)).then(|| Self(hex.to_owned()))
    }

    pub(super) fn of(bytes: &[u8]) -> Self {
        use sha2::{Digest as _, Sha256};
        Self(hex::encode(Sha256::digest(bytes)))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "sha256:{}", self.0)
    }
}

impl Reference {
    /// Reads an address.
    pub(super) fn parse(address: &str) -> Result<Self, Failed> {
        let form = "oci://REGISTRY/REPOSITORY@sha256:DIGEST";
        let wrong = |what: &str| Failed::usage(format!("{address:.80}: {what}; an address is {form}"));
        let rest = address.strip_prefix(SCHEME).ok_or_else(|| wrong("it does not begin with oci://"))?;
        if rest.len() > MOST_BYTES {
            return Err(wrong("it is too long"));
        }
        let (registry, path) = rest.split_once('/').ok_or_else(|| wrong("it names no repository"))?;
        let (repository, version) = match path.split_once('@') {
            Some((repository, digest)) => {
                let digest = Digest::parse(digest);
                let digest =
                    digest.ok_or_else(|| wrong("what follows @ is not sha256: and 64 digits of 0-9 and a-f"))?;
                // A tag beside a digest says nothing.
                let repository = repository.split_once(':').map_or(repository, |(repository, _)| repository);
                (repository, Some(Version::Digest(digest)))
            }
            None => match path.split_once(':') {
                Some((_, tag)) if !is_tag(tag) => return Err(wrong("what follows : is no tag")),
                Some((repository, tag)) => (repository, Some(Version::Tag(tag.to_owned()))),
                None => (path, None),
            },
        };
        if !is_host(registry) {
            return Err(wrong("it names no registry's host"));
        }
        if !repository.split('/').all(is_segment) {
            return Err(wrong("a repository is of a-z, 0-9 and, within, `.`, `_` and `-`, in parts between `/`"));
        }
        Ok(Self { registry: registry.to_owned(), repository: repository.to_owned(), version })
    }

    /// The digest of an address that is to be fetched.
    pub(super) fn digest(&self) -> Result<&Digest, Failed> {
        match &self.version {
            Some(Version::Digest(digest)) => Ok(digest),
            Some(Version::Tag(_)) | None => {
                let Self { registry, repository, .. } = self;
                let named = match &self.version {
                    Some(Version::Tag(tag)) => format!(":{tag} is a tag, which can be moved"),
                    _ => "it names no version".to_owned(),
                };
                let tag = if let Some(Version::Tag(tag)) = &self.version { tag } else { "TAG" };
                Err(Failed::usage(format!(
                    "{SCHEME}{registry}/{repository}: {named}: what is to decide is fetched by its digest only\n  \
                     hint: `kairos policy push` prints it; of what is there, `oras resolve {registry}/{repository}:{tag}` \
                     or `crane digest {registry}/{repository}:{tag}`"
                )))
            }
        }
    }

    /// The file's name that what is fetched goes by: the repository's last part.
    pub(super) fn file(&self, ending: &str) -> String {
        format!("{}.{ending}", self.repository.rsplit('/').next().unwrap_or_default())
    }

    /// The address of one artifact of the repository.
    pub(super) fn at(&self, digest: &Digest) -> String {
        format!("{SCHEME}{}/{}@{digest}", self.registry, self.repository)
    }
}

/// Whether a host, with or without a port, is this machine: a registry here need have no certificate.
pub(super) fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn is_host(registry: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
    let parsed = registry.parse::<http::uri::Authority>();
    !registry.is_empty() && registry.chars().all(is_plain) && parsed.is_ok_and(|parsed| !parsed.host().is_empty())
}

fn is_segment(segment: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    let outer = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let bytes = segment.as_bytes();
    bytes.iter().copied().all(inner) && outer(bytes.first()) && outer(bytes.last())
}

fn is_tag(tag: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=128).contains(&tag.len()) && tag.bytes().all(inner) && !tag.starts_with(['.', '-'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let digest = "0".repeat(64);
        for (address, registry, repository) in [
            (format!("oci://ghcr.io/acme/router@sha256:{digest}"), "ghcr.io", "acme/router"),
            (format!("oci://[::1]:5000/r@sha256:{digest}"), "[::1]:5000", "r"),
            (format!("oci://localhost:5000/a/b_c/d-e.f:v1@sha256:{digest}"), "localhost:5000", "a/b_c/d-e.f"),
        ] {
            let read = Reference::parse(&address).unwrap();
            assert_eq!((read.registry.as_str(), read.repository.as_str()), (registry, repository), "{address}");
            assert_eq!(read.digest().unwrap().to_string(), format!("sha256:{digest}"));
        }
        for (address, says) in [
            ("oci://ghcr.io", "it names no repository"),
            ("oci:///router", "it names no registry's host"),
            ("oci://user@host/router", "it names no registry's host"),
            ("oci://host/../etc", "a repository is of"),
            ("oci://host/Router", "a repository is of"),
            ("oci://host/a//b", "a repository is of"),
            ("oci://host/router@sha256:abc", "what follows @ is not"),
            ("oci://host/router@md5:abc", "what follows @ is not"),
            ("oci://host/router:-x", "what follows : is no tag"),
        ] {
            let failed = Reference::parse(address).unwrap_err();
            assert!(failed.message.contains(says), "{address}: {}", failed.message);
        }
    }

    #[test]
    fn this_machine() {
        for (authority, here) in [
            ("localhost", true),
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("[::1]:5000", true),
            ("localhost.example.com", false),
            ("10.0.0.1:5000", false),
            ("127.0.0.1.example.com:5000", false),
        ] {
            assert_eq!(is_loopback(authority), here, "{authority}");
        }
    }
}
