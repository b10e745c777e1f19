//! One SigV4 signature, checked in the order AWS checks.
//!
//! It must not know what is being called.

use hmac::Mac;
use http::request::Parts;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use super::{Authority, Caller, SERVICE, TERMINATOR, canonical, incomplete, same};
use crate::catalogue::Region;
use crate::error::ApiError;

/// How far a signature's clock may be from ours, either way.
const WINDOW: SignedDuration = SignedDuration::from_mins(5);

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> ApiError {
    ApiError::denied("InvalidSignatureException", message)
}

fn unrecognized() -> ApiError {
    ApiError::denied("UnrecognizedClientException", "The security token included in the request is invalid.")
}

/// The parts of the authorization header.
struct Fields<'a> {
    key_id: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    terminator: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
}

impl<'a> Fields<'a> {
    fn parse(text: &'a str) -> Result<Self, ApiError> {
        let find = |name: &str| text.split(',').find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='));
        let wanted = |name: &str| find(name).ok_or_else(|| incomplete(&format!("'{name}'")));
        let credential = wanted("Credential")?;
        let mut scope = credential.rsplitn(5, '/');
        let mut next = || scope.next().ok_or_else(|| incomplete("a credential of five parts"));
        let (terminator, service, region, date) = (next()?, next()?, next()?, next()?);
        Ok(Self {
            key_id: next()?,
            date,
            region,
            service,
            terminator,
            signed_headers: wanted("SignedHeaders")?,
            signature: wanted("Signature")?,
        })
    }
}

pub(super) fn verify(
    authority: &Authority,
    request: &Parts,
    fields: &str,
    body: &[u8],
    now: Timestamp,
) -> Result<Caller, ApiError> {
    let fields = Fields::parse(fields)?;
    let sent = header(request, "x-amz-date")
        .ok_or_else(|| incomplete("existence of either a 'X-Amz-Date' or a 'Date' header"))?;
    let (date, region) = check_scope(&fields, sent)?;
    let place = authority.keys.iter().position(|key| key.id == fields.key_id).ok_or_else(unrecognized)?;
    check_session(authority.keys[place].session_token.as_deref(), request)?;
    check_clock(sent, now)?;
    check_signed(&fields, request)?;

    let payload_hash = hex_digest(body);
    if header(request, "x-amz-content-sha256").is_some_and(|said| said.as_bytes() != payload_hash) {
        return Err(invalid("The x-amz-content-sha256 header does not match the body."));
    }
    let canonical = canonical::request(request, fields.signed_headers, &payload_hash)
        .ok_or_else(|| invalid("A header listed in SignedHeaders is not in the request."))?;
    let mut mac = authority.signing_key(place, date, region)?;
    for part in ["AWS4-HMAC-SHA256\n", sent, "\n", fields.date, "/", fields.region, "/bedrock/aws4_request\n"] {
        mac.update(part.as_bytes());
    }
    mac.update(&hex_digest(&canonical));
    let mut signature = [0; 32];
    // What is not hexadecimal matches no signature, and neither do zeros.
    let _ = hex::decode_to_slice(fields.signature, &mut signature);
    // Compares in constant time.
    mac.verify_slice(&signature).map_err(|_| {
        invalid(
            "The request signature we calculated does not match the signature you provided. Check \
             your AWS Secret Access Key and signing method. Consult the service documentation for \
             details.",
        )
    })?;
    Ok(Caller { region })
}

fn hex_digest(bytes: &[u8]) -> [u8; 64] {
    let mut out = [0; 64];
    // Two digits a byte always fit.
    let _ = hex::encode_to_slice(Sha256::digest(bytes), &mut out);
    out
}

fn header<'a>(request: &'a Parts, name: &str) -> Option<&'a str> {
    request.headers.get(name)?.to_str().ok()
}

fn check_scope(fields: &Fields<'_>, sent: &str) -> Result<([u8; 8], Region), ApiError> {
    if fields.terminator != TERMINATOR {
        return Err(invalid(format!(
            "Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{}'.",
            fields.terminator
        )));
    }
    if fields.service != SERVICE {
        return Err(invalid(format!("Credential should be scoped to correct service: '{SERVICE}'.")));
    }
    let region =
        Region::find(fields.region).ok_or_else(|| invalid("Credential should be scoped to a valid region."))?;
    let date: Option<[u8; 8]> = fields.date.as_bytes().try_into().ok();
    match date {
        Some(date) if sent.as_bytes().starts_with(&date) => Ok((date, region)),
        _ => Err(invalid(format!(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from \
             HTTP: '{}' != '{}', from '{sent}'.",
            fields.date,
            sent.get(..8).unwrap_or(sent)
        ))),
    }
}

/// Temporary keys come with their token, permanent ones without.
fn check_session(wanted: Option<&str>, request: &Parts) -> Result<(), ApiError> {
    let given = header(request, "x-amz-security-token");
    let matches = match (wanted, given) {
        (None, None) => true,
        (Some(wanted), Some(given)) => same(wanted, given),
        _ => false,
    };
    if matches { Ok(()) } else { Err(unrecognized()) }
}

fn check_clock(sent: &str, now: Timestamp) -> Result<(), ApiError> {
    let at = parse_time(sent).ok_or_else(|| incomplete("Date to be in ISO-8601 'basic format'"))?;
    let stamp = |t: Timestamp| t.strftime("%Y%m%dT%H%M%SZ").to_string();
    let oldest = now.saturating_sub(WINDOW).unwrap_or(Timestamp::MIN);
    if at < oldest {
        return Err(invalid(format!(
            "Signature expired: {sent} is now earlier than {} ({} - 5 min.)",
            stamp(oldest),
            stamp(now)
        )));
    }
    let newest = now.saturating_add(WINDOW).unwrap_or(Timestamp::MAX);
    if at > newest {
        return Err(invalid(format!(
            "Signature not yet current: {sent} is still later than {} ({} + 5 min.)",
            stamp(newest),
            stamp(now)
        )));
    }
    Ok(())
}

/// `20261123T013436Z`.
fn parse_time(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' {
        return None;
    }
    let number = |from: usize, to: usize| {
        bytes[from..to].iter().try_fold(0i16, |n, b| b.is_ascii_digit().then(|| n * 10 + i16::from(b - b'0')))
    };
    let small = |from: usize| number(from, from + 2).and_then(|n| i8::try_from(n).ok());
    let date_time = DateTime::new(number(0, 4)?, small(4)?, small(6)?, small(9)?, small(11)?, small(13)?, 0);
    TimeZone::UTC.to_timestamp(date_time.ok()?).ok()
}

/// What AWS insists on having signed.
fn check_signed(fields: &Fields<'_>, request: &Parts) -> Result<(), ApiError> {
    let signed = |name: &str| fields.signed_headers.split(';').any(|s| s == name);
    if !signed("host") {
        return Err(invalid("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."));
    }
    for name in ["x-amz-date", "x-amz-security-token"] {
        if request.headers.contains_key(name) && !signed(name) {
            return Err(invalid(format!("'{name}' must be a 'SignedHeader' in the AWS Authorization.")));
        }
    }
    Ok(())
}
