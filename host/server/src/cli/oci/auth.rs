//! Who asks: the credentials that `docker login` keeps, and what a registry makes of them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;
use kairos_pipeline::request::Secret;
use serde::Deserialize;

use super::super::Failed;

/// Bytes of Docker's configuration that are read.
const MOST_BYTES: u64 = 1 << 20;

/// What a registry asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    /// A token, which `realm` gives.
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

/// What a refusal asks for; a token rather than a password.
pub(super) fn challenge(headers: &HeaderMap) -> Option<Challenge> {
    let all = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let read: Vec<_> = all.filter_map(parse).collect();
    let bearer = read.iter().position(|one| matches!(one, Challenge::Bearer { .. })).unwrap_or(0);
    read.into_iter().nth(bearer)
}

fn parse(header: &str) -> Option<Challenge> {
    let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let mut said = parameters(rest);
    Some(Challenge::Bearer {
        realm: said.remove("realm")?,
        service: said.remove("service"),
        scope: said.remove("scope"),
    })
}

/// `name="value"`, again and again, with commas between; a value may hold commas.
fn parameters(mut text: &str) -> BTreeMap<String, String> {
    let mut read = BTreeMap::new();
    while let Some((name, rest)) = text.split_once('=') {
        let name = name.trim_matches([' ', ',']).to_ascii_lowercase();
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => rest.split_once(',').unwrap_or((rest, "")),
        };
        read.insert(name, value.trim().to_owned());
        text = rest;
    }
    read
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Docker {
    auths: BTreeMap<String, Entry>,
    creds_store: Option<String>,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
}

/// What is known of a registry's credentials.
pub(super) struct Credentials {
    /// User and password, with `:` between, in base64.
    pub(super) basic: Option<Secret>,
    /// Where they were looked for, and why they were not found.
    pub(super) about: String,
}

/// What `docker login` keeps of a registry, in `DOCKER_CONFIG`, else in the user's own folder.
pub(super) fn credentials(registry: &str) -> Result<Credentials, Failed> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = folder("DOCKER_CONFIG").or_else(|| folder("HOME").map(|home| home.join(".docker")));
    let none = |about: String| Ok(Credentials { basic: None, about });
    let Some(path) = folder.map(|folder| folder.join("config.json")) else {
        return none("no folder of Docker's is known: DOCKER_CONFIG names one".to_owned());
    };
    let shown = path.display();
    let text = match read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return none(format!("there is no {shown}")),
        Err(error) => return Err(Failed::usage(format!("{shown}: {error}"))),
    };
    // Not the parser's own words: they may hold what is secret.
    let read: Docker = serde_json::from_slice(&text)
        .map_err(|error| Failed::usage(format!("{shown}:{}: this is not Docker's configuration", error.line())))?;
    let entry = read.auths.iter().find(|(name, _)| host(name) == host(registry)).map(|(_, entry)| entry);
    if let Some(auth) = entry.and_then(|entry| entry.auth.as_deref()).filter(|auth| !auth.is_empty()) {
        if STANDARD.decode(auth).is_err() {
            return Err(Failed::usage(format!(
                "{shown}: what is kept of {registry} is no base64; `docker login` again"
            )));
        }
        return Ok(Credentials { basic: Some(Secret::new(auth)), about: format!("from {shown}") });
    }
    let helped = read.creds_store.is_some() || read.cred_helpers.keys().any(|name| host(name) == host(registry));
    let why = if helped { "; its helper programs are not asked" } else { "" };
    none(format!("{shown} has none of {registry}{why}"))
}

fn read(path: &std::path::Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut text = Vec::new();
    std::fs::File::open(path)?.take(MOST_BYTES).read_to_end(&mut text)?;
    Ok(text)
}

/// The host of an entry, which may be an address.
fn host(name: &str) -> &str {
    let name = name.strip_prefix("https://").or_else(|| name.strip_prefix("http://")).unwrap_or(name);
    name.split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_registries_ask_for() {
        let asked = |headers: &[&'static str]| {
            let mut map = HeaderMap::new();
            for value in headers {
                map.append(WWW_AUTHENTICATE, value.parse().unwrap());
            }
            challenge(&map)
        };
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| {
            let (service, scope) = (service.map(str::to_owned), scope.map(str::to_owned));
            Some(Challenge::Bearer { realm: realm.to_owned(), service, scope })
        };
        let token = "Bearer realm=\"https://auth/token\",service=\"registry\",scope=\"repository:a/b:pull,push\"";
        assert_eq!(asked(&[token]), bearer("https://auth/token", Some("registry"), Some("repository:a/b:pull,push")));
        assert_eq!(asked(&["basic realm=\"x\"", token]), asked(&[token]));
        assert_eq!(asked(&["bearer Realm=https://auth, service=x"]), bearer("https://auth", Some("x"), None));
        assert_eq!(asked(&["Basic realm=\"Registry\""]), Some(Challenge::Basic));
        assert_eq!(asked(&["Basic"]), Some(Challenge::Basic));
        for nothing in [&["Negotiate"][..], &["Bearer service=\"x\""], &["Bearer realm"], &[]] {
            assert_eq!(asked(nothing), None, "{nothing:?}");
        }
    }
}
