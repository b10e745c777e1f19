//! The canonical request of SigV4, built from what arrived on the wire.
//!
//! It must not know keys.

use http::HeaderName;
use http::request::Parts;
use percent_encoding::percent_decode;

/// `METHOD \n path \n query \n headers \n names \n payload hash`; none if a signed header is absent.
pub(super) fn request(request: &Parts, signed_headers: &str, payload_hash: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(request.method.as_str().as_bytes());
    out.push(b'\n');
    path(request.uri.path(), &mut out);
    out.push(b'\n');
    if let Some(query) = request.uri.query() {
        out.extend_from_slice(&canonical_query(query));
    }
    out.push(b'\n');
    for name in signed_headers.split(';') {
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        header(request, name, &mut out)?;
        out.push(b'\n');
    }
    out.push(b'\n');
    out.extend_from_slice(signed_headers.as_bytes());
    out.push(b'\n');
    out.extend_from_slice(payload_hash);
    Some(out)
}

/// The path, encoded once more than it was sent, without empty and dot segments.
fn path(raw: &str, out: &mut Vec<u8>) {
    let segments = raw.split('/').skip(1);
    if raw.contains("//") || raw.contains("/.") {
        let mut kept: Vec<&str> = Vec::new();
        for segment in segments {
            match segment {
                "" | "." => {}
                ".." => {
                    kept.pop();
                }
                other => kept.push(other),
            }
        }
        for segment in &kept {
            out.push(b'/');
            encode(segment.as_bytes(), out);
        }
        if kept.is_empty() || raw.ends_with('/') {
            out.push(b'/');
        }
        return;
    }
    for segment in segments {
        out.push(b'/');
        encode(segment.as_bytes(), out);
    }
}

/// Parameters decoded, encoded again in the one canonical way, and sorted.
fn canonical_query(raw: &str) -> Vec<u8> {
    let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = raw
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let again = |text: &str| {
                let mut out = Vec::new();
                encode(&percent_decode(text.as_bytes()).collect::<Vec<u8>>(), &mut out);
                out
            };
            (again(name), again(value))
        })
        .collect();
    pairs.sort();
    let mut out = Vec::new();
    for (name, value) in pairs {
        if !out.is_empty() {
            out.push(b'&');
        }
        out.extend_from_slice(&name);
        out.push(b'=');
        out.extend_from_slice(&value);
    }
    out
}

/// The values of a header, each trimmed and with single spaces, joined by commas.
fn header(request: &Parts, name: &str, out: &mut Vec<u8>) -> Option<()> {
    // HTTP/2 has no host header; clients sign the authority in its place.
    if name == "host" && !request.headers.contains_key(http::header::HOST) {
        out.extend_from_slice(request.uri.authority()?.as_str().as_bytes());
        return Some(());
    }
    let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
    let mut values = request.headers.get_all(name).iter().peekable();
    values.peek()?;
    for (at, value) in values.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        let words = value.as_bytes().split(|b| *b == b' ').filter(|word| !word.is_empty());
        for (at, word) in words.enumerate() {
            if at > 0 {
                out.push(b' ');
            }
            out.extend_from_slice(word);
        }
    }
    Some(())
}

/// Percent-encodes everything but the unreserved characters.
fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(*byte),
            _ => out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let cases = [
            ("/", "/"),
            ("/model/a.b/converse", "/model/a.b/converse"),
            ("/model/a%3A0/converse", "/model/a%253A0/converse"),
            ("/model/a:0/converse", "/model/a%3A0/converse"),
            ("/model/arn%3Aaws%2Fx/invoke", "/model/arn%253Aaws%252Fx/invoke"),
            ("/a//b/./c/../d", "/a/b/d"),
            ("/a/", "/a/"),
        ];
        for (raw, expected) in cases {
            let mut out = Vec::new();
            path(raw, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{raw}");
        }
    }

    #[test]
    fn queries() {
        for (raw, expected) in
            [("b=2&a=1", "a=1&b=2"), ("a", "a="), ("a=%7e&a=%2F", "a=%2F&a=~"), ("&&", ""), ("a=b=c", "a=b%3Dc")]
        {
            assert_eq!(String::from_utf8(canonical_query(raw)).unwrap(), expected, "{raw}");
        }
    }
}
