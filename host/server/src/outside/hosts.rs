//! Hosts that the operator lists, and the addresses of requests.

use http::Uri;

/// Hosts that may be listed.
pub(crate) const MOST_HOSTS: usize = 64;

/// A service: how it is reached, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    pub(super) is_tls: bool,
    /// In lower case; of IPv6 without brackets.
    pub(super) name: String,
    pub(super) port: u16,
}

impl Host {
    /// Reads a setting: `api.example.com`, `api.example.com:8443`, `https://…` or `http://…`, without a path.
    pub(crate) fn read(listed: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{listed:?} is no host: \"api.example.com\" is one, or \"http://host:8080\" where it is to be in the clear"
            )
        };
        let whole = if listed.contains("://") { listed.to_owned() } else { format!("https://{listed}") };
        let uri: Uri = whole.parse().map_err(|_| wrong())?;
        let has_path = whole.matches('/').count() > 2 || uri.query().is_some();
        if has_path || whole.contains(['#', '*', ' ']) {
            return Err(wrong());
        }
        Self::of(&uri).ok_or_else(wrong)
    }

    /// The host that an address names; none: it names none, or a user.
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        let is_tls = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        let name = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        if name.is_empty() || authority.as_str().contains('@') || authority.as_str().ends_with(':') {
            return None;
        }
        let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        Some(Self { is_tls, name, port })
    }

    /// As it is to be listed.
    pub(super) fn listed(&self) -> String {
        let Self { is_tls, name, port } = self;
        let name = if name.contains(':') { format!("[{name}]") } else { name.clone() };
        let (scheme, usual) = if *is_tls { ("", 443) } else { ("http://", 80) };
        if *port == usual { format!("{scheme}{name}") } else { format!("{scheme}{name}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_as_they_are_listed() {
        for (listed, again) in [
            ("api.example.com", "api.example.com"),
            ("API.Example.com:443", "api.example.com"),
            ("https://api.example.com:8443", "api.example.com:8443"),
            ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
            ("http://[::1]", "http://[::1]"),
        ] {
            assert_eq!(Host::read(listed).unwrap().listed(), again);
        }
        for wrong in [
            "",
            "*.example.com",
            "ftp://x",
            "user@x",
            "https://u:p@x",
            "x/path",
            "x?q",
            "x#f",
            "a b",
            "http://",
            "x:99999",
            "x:",
        ] {
            assert!(Host::read(wrong).is_err(), "{wrong}");
        }
    }
}
