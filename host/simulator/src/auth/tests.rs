use std::path::Path;

use http::Request;

use super::*;
use crate::config::AccessKey;

const NOW: &str = "2026-11-23T01:34:36Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn authority() -> Authority {
    let temporary =
        AccessKey { id: "ASIATEMPORARY".into(), secret: "secret".into(), session_token: Some("the token".into()) };
    let mut keys = AccessKey::documented();
    keys.push(temporary);
    Authority::new(keys, vec!["kairos-simulator-key".into()])
}

/// A raw request as a client sent it.
fn read(raw: &[u8]) -> (Parts, Vec<u8>) {
    let end = raw.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let head = std::str::from_utf8(&raw[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let mut start = lines.next().unwrap().split(' ');
    let mut request = Request::builder().method(start.next().unwrap()).uri(start.next().unwrap());
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        request = request.header(name, value);
    }
    (request.body(()).unwrap().into_parts().0, raw[end + 4..].to_vec())
}

fn fixture(name: &str) -> (Parts, Vec<u8>) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/requests");
    read(&std::fs::read(dir.join(name)).unwrap())
}

#[test]
fn every_request_that_boto3_signed_is_let_in_and_none_that_was_changed() {
    let authority = authority();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/requests");
    let mut seen = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let (parts, body) = read(&std::fs::read(&path).unwrap());
        let admitted = authority.admit(&parts, &body, at(NOW));
        assert_eq!(admitted.map(|c| c.region.name()), Ok("us-east-1"), "{path:?}");

        let mut changed = body.clone();
        changed.push(b' ');
        let refused = authority.admit(&parts, &changed, at(NOW)).unwrap_err();
        assert_eq!(refused.name, "InvalidSignatureException", "{path:?}");
        seen += 1;
    }
    assert!(seen > 50, "{seen} fixtures");
}

type Change = fn(&mut Parts);

fn set(parts: &mut Parts, name: &'static str, value: &str) {
    parts.headers.insert(name, value.parse().unwrap());
}

fn edit(parts: &mut Parts, from: &str, to: &str) {
    let old = parts.headers["authorization"].to_str().unwrap().to_owned();
    set(parts, "authorization", &old.replace(from, to));
}

/// What is refused, how a good request becomes that, and how the complaint begins.
const REFUSED: &[(&str, Change, &str)] = &[
    (
        "MissingAuthenticationTokenException",
        |p| {
            p.headers.remove("authorization");
        },
        "Missing Authentication Token",
    ),
    (
        "UnrecognizedClientException",
        |p| edit(p, "AKIDEXAMPLE", "AKIDOTHER"),
        "The security token included in the request is invalid.",
    ),
    (
        "UnrecognizedClientException",
        |p| set(p, "x-amz-security-token", "x"),
        "The security token included in the request is invalid.",
    ),
    (
        "UnrecognizedClientException",
        |p| edit(p, "AKIDEXAMPLE", "ASIATEMPORARY"),
        "The security token included in the request is invalid.",
    ),
    (
        "InvalidSignatureException",
        |p| edit(p, "Signature=", "Signature=00"),
        "The request signature we calculated does not match",
    ),
    (
        "InvalidSignatureException",
        |p| edit(p, "Signature=", "Signature=zz"),
        "The request signature we calculated does not match",
    ),
    (
        "InvalidSignatureException",
        |p| edit(p, "AKIDEXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
        "The request signature we calculated does not match",
    ),
    (
        "InvalidSignatureException",
        |p| edit(p, "/bedrock/", "/s3/"),
        "Credential should be scoped to correct service: 'bedrock'.",
    ),
    (
        "InvalidSignatureException",
        |p| edit(p, "us-east-1", "us-moon-1"),
        "Credential should be scoped to a valid region.",
    ),
    (
        "InvalidSignatureException",
        |p| edit(p, "us-east-1", "us-east-2"),
        "The request signature we calculated does not match",
    ),
    (
        "InvalidSignatureException",
        |p| edit(p, "aws4_request", "aws5_request"),
        "Credential should be scoped with a valid terminator",
    ),
    (
        "InvalidSignatureException",
        |p| edit(p, "20261123/", "20261122/"),
        "Date in Credential scope does not match YYYYMMDD",
    ),
    ("InvalidSignatureException", |p| edit(p, "host;", ""), "'Host' or ':authority' must be a 'SignedHeader'"),
    (
        "InvalidSignatureException",
        |p| edit(p, "host;", "host;x-none;"),
        "A header listed in SignedHeaders is not in the request.",
    ),
    (
        "InvalidSignatureException",
        |p| set(p, "x-amz-content-sha256", "00"),
        "The x-amz-content-sha256 header does not match the body.",
    ),
    (
        "InvalidSignatureException",
        |p| p.uri = "/model/other/converse".parse().unwrap(),
        "The request signature we calculated does not match",
    ),
    (
        "IncompleteSignatureException",
        |p| {
            p.headers.remove("x-amz-date");
        },
        "Authorization header requires existence of either",
    ),
    ("IncompleteSignatureException", |p| edit(p, "Signature=", "Sig="), "Authorization header requires 'Signature'."),
    ("IncompleteSignatureException", |p| edit(p, "/aws4_request", ""), "Authorization header requires"),
    (
        "IncompleteSignatureException",
        |p| set(p, "authorization", "Basic abc"),
        "Authorization header requires a scheme",
    ),
    ("AccessDeniedException", |p| set(p, "authorization", "Bearer wrong"), "Authentication failed"),
];

#[test]
fn what_is_wrong_is_said_as_aws_says_it() {
    let authority = authority();
    for (at_case, (name, change, message)) in REFUSED.iter().enumerate() {
        let (mut parts, body) = fixture("converse_min.http");
        change(&mut parts);
        let refused = authority.admit(&parts, &body, at(NOW)).unwrap_err();
        assert_eq!((refused.name, refused.status), (*name, 403), "case {at_case}: {refused:?}");
        assert!(refused.message.starts_with(message), "case {at_case}: {}", refused.message);
    }
}

#[test]
fn a_signature_holds_for_five_minutes_either_way() {
    let (parts, body) = fixture("converse_min.http");
    for (now, expected) in [
        ("2026-11-23T01:39:36Z", None),
        (
            "2026-11-23T01:39:37Z",
            Some(
                "Signature expired: 20261123T013436Z is now earlier than 20261123T013437Z \
             (20261123T013937Z - 5 min.)",
            ),
        ),
        ("2026-11-23T01:29:36Z", None),
        (
            "2026-11-23T01:29:35Z",
            Some(
                "Signature not yet current: 20261123T013436Z is still later than 20261123T013435Z \
             (20261123T012935Z + 5 min.)",
            ),
        ),
    ] {
        let refused = authority().admit(&parts, &body, at(now)).err();
        assert_eq!(refused.map(|r| r.message.into_owned()).as_deref(), expected, "{now}");
    }
}

#[test]
fn an_api_key_takes_its_region_from_the_host() {
    let ask = |host: &str| {
        let request = Request::builder()
            .header("host", host)
            .header("authorization", "Bearer kairos-simulator-key")
            .body(())
            .unwrap();
        authority().admit(&request.into_parts().0, b"", at(NOW)).unwrap().region.name()
    };
    assert_eq!(ask("127.0.0.1:8080"), "us-east-1");
    assert_eq!(ask("bedrock-runtime.eu-west-3.amazonaws.com"), "eu-west-3");
    assert_eq!(ask("bedrock-runtime.nowhere.amazonaws.com"), "us-east-1");
}

#[test]
fn a_session_token_is_part_of_what_is_signed() {
    let raw = include_bytes!("../../tests/fixtures/session_token.http");
    let (mut parts, body) = read(raw);
    assert!(authority().admit(&parts, &body, at(NOW)).is_ok());
    parts.headers.insert("x-amz-security-token", "another".parse().unwrap());
    assert_eq!(authority().admit(&parts, &body, at(NOW)).unwrap_err().name, "UnrecognizedClientException");
}
