//! Without keys, only this machine is served: a browser's page from elsewhere must not get in by
//! the back door (a foreign `Origin`, or a name that was made to point here).

use std::net::{IpAddr, SocketAddr};

use http::header::{HOST, ORIGIN};
use http::request::Parts;
use kairos_dialects::{Failure, Kind};

/// Checks where a request comes from and where it thinks it goes.
pub(super) fn local_only(parts: &Parts, peer: SocketAddr) -> Result<(), Failure> {
    let forbidden = |message: &str| Err(Failure::new(Kind::Forbidden, message));
    if !peer.ip().to_canonical().is_loopback() {
        return forbidden("without a key, only this machine is served; set one under [auth] in kairos.toml");
    }
    let hosts = parts.headers.get_all(HOST).iter().map(|host| host.to_str().unwrap_or_default());
    let named = parts.uri.authority().map(http::uri::Authority::as_str);
    if hosts.chain(named).any(|host| !is_loopback(host)) {
        return forbidden("without a key, the Host must be this machine's loopback: localhost, 127.0.0.1 or [::1]");
    }
    for origin in parts.headers.get_all(ORIGIN) {
        let host = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
        if !host.is_some_and(is_loopback) {
            return forbidden("without a key, pages of other origins are not served");
        }
    }
    Ok(())
}

/// Whether an authority names this machine's loopback.
fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(host, _)| host),
        None => authority.split_once(':').map_or(authority, |(host, _)| host),
    };
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_are_loopback() {
        for yes in ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.9.9.9:1", "[::1]:8000", "[::ffff:127.0.0.1]"] {
            assert!(is_loopback(yes), "{yes}");
        }
        for no in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "[::2]",
            "[::1",
            "0.0.0.0",
            "null",
        ] {
            assert!(!is_loopback(no), "{no}");
        }
    }

    #[test]
    fn pages_of_other_origins_are_refused() {
        let check = |headers: &[(&str, &str)], peer: &str| {
            let mut request = http::Request::post("/v1/chat/completions");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let (parts, ()) = request.body(()).unwrap().into_parts();
            local_only(&parts, peer.parse().unwrap()).is_ok()
        };
        let here = "127.0.0.1:5000";
        assert!(check(&[("host", "localhost:8000")], here));
        assert!(check(&[("host", "127.0.0.1:8000"), ("origin", "http://localhost:3000")], here));
        assert!(!check(&[("host", "127.0.0.1:8000"), ("origin", "https://evil.example")], here));
        assert!(!check(&[("host", "127.0.0.1:8000"), ("origin", "null")], here));
        assert!(!check(&[("host", "rebound.example:8000")], here));
        assert!(!check(&[("host", "127.0.0.1:8000")], "192.168.1.5:5000"));
    }
}
