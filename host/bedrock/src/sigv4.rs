//! AWS Signature Version 4, both ways: signing what goes to Bedrock, verifying what callers signed.
//!
//! Source: "Create a signed AWS API request", AWS IAM User Guide, and the requests in
//! `fixtures/bedrock`, which botocore signed. Bedrock's canonical path is the encoded path encoded
//! once more, as for every service but S3.

use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// The service's name in signatures.
pub const SERVICE: &str = "bedrock";
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// How far a signature's time may be from ours.
pub const CLOCK_WINDOW_S: i64 = 300;

/// All but RFC 3986's unreserved characters.
const STRICT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// The same, with the separators of a path kept.
const PATH: &AsciiSet = &STRICT.remove(b'/');

/// Encodes one segment of a path: what a model id is.
pub fn encode_segment(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, STRICT)
}

/// A moment as signatures write it: `20261123T013436Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment([u8; 16]);

impl Moment {
    /// The machine's time.
    pub fn now() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Self::from_unix(i64::try_from(now).unwrap_or_default())
    }

    /// The moment so many seconds after 1970.
    pub fn from_unix(seconds: i64) -> Self {
        let time = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let time = jiff::tz::Offset::UTC.to_datetime(time);
        let mut stamp = *b"00000000T000000Z";
        let mut write = |from: usize, digits: usize, value: i16| {
            let mut left = value.unsigned_abs();
            for place in stamp[from..from + digits].iter_mut().rev() {
                *place += (left % 10) as u8;
                left /= 10;
            }
        };
        write(0, 4, time.year());
        write(4, 2, time.month().into());
        write(6, 2, time.day().into());
        write(9, 2, time.hour().into());
        write(11, 2, time.minute().into());
        write(13, 2, time.second().into());
        Self(stamp)
    }

    /// The whole of it.
    pub fn stamp(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    fn date(&self) -> &str {
        &self.stamp()[..8]
    }

    /// Seconds after 1970, for a stamp of the exact form.
    fn parse(stamp: &str) -> Option<i64> {
        let form = stamp.len() == 16 && stamp.is_ascii();
        let time = form.then(|| jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", stamp).ok()).flatten()?;
        Some(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second())
    }
}

/// A digest in hexadecimal digits.
struct Hex([u8; 64]);

impl Hex {
    fn of(digest: impl AsRef<[u8]>) -> Self {
        let mut digits = [0; 64];
        // SHA-256 has 32 bytes.
        let _ = hex::encode_to_slice(digest, &mut digits);
        Self(digits)
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// HMAC takes keys of any length.
fn hmac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).unwrap_or_else(|_| Hmac::new(&Default::default()))
}

fn finish(mut mac: Hmac<Sha256>, message: &[u8]) -> [u8; 32] {
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// The day's signing key, ready to sign.
fn signing_key(secret: &str, date: &str, region: &str, service: &str) -> Hmac<Sha256> {
    let key = finish(hmac(format!("AWS4{secret}").as_bytes()), date.as_bytes());
    let key = finish(hmac(&key), region.as_bytes());
    let key = finish(hmac(&key), service.as_bytes());
    hmac(&finish(hmac(&key), b"aws4_request"))
}

/// What is signed, apart from the time.
struct Canonical<'a> {
    method: &'a str,
    /// The path as it is sent: encoded once.
    path: &'a str,
    /// The query, canonical.
    query: &'a str,
    /// Names in lower case and values, sorted by name.
    headers: &'a [(&'a str, &'a str)],
    payload_hash: &'a str,
}

impl Canonical<'_> {
    fn write_signed_headers(&self, text: &mut String) {
        for (place, (name, _)) in self.headers.iter().enumerate() {
            if place > 0 {
                text.push(';');
            }
            text.push_str(name);
        }
    }

    /// What `Authorization` says.
    fn authorization(&self, access_key_id: &str, scope: &str, signature: &Hex) -> String {
        let mut authorization = String::with_capacity(256);
        for part in [ALGORITHM, " Credential=", access_key_id, "/", scope, ", SignedHeaders="] {
            authorization.push_str(part);
        }
        self.write_signed_headers(&mut authorization);
        authorization.push_str(", Signature=");
        authorization.push_str(signature.as_str());
        authorization
    }

    /// The signature of this at a time, by a key for the scope.
    fn signature(&self, key: Hmac<Sha256>, stamp: &str, scope: &str) -> Hex {
        let mut text = String::with_capacity(512);
        text.push_str(self.method);
        text.push('\n');
        text.extend(utf8_percent_encode(self.path, PATH));
        text.push('\n');
        text.push_str(self.query);
        text.push('\n');
        for (name, value) in self.headers {
            text.push_str(name);
            text.push(':');
            if value.as_bytes().contains(&b' ') {
                // Runs of them count as one.
                for (place, word) in value.split(' ').filter(|word| !word.is_empty()).enumerate() {
                    if place > 0 {
                        text.push(' ');
                    }
                    text.push_str(word);
                }
            } else {
                text.push_str(value);
            }
            text.push('\n');
        }
        text.push('\n');
        self.write_signed_headers(&mut text);
        text.push('\n');
        text.push_str(self.payload_hash);
        let canonical = Hex::of(Sha256::digest(&text));
        text.clear();
        for part in [ALGORITHM, "\n", stamp, "\n", scope, "\n", canonical.as_str()] {
            text.push_str(part);
        }
        Hex::of(finish(key, text.as_bytes()))
    }
}

/// Credentials to sign with.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningCredentials {
    /// The access key's id.
    pub access_key_id: String,
    /// The access key's secret.
    pub secret: String,
    /// The token of temporary credentials.
    pub session_token: Option<String>,
}

/// Signs requests to one region. Keeps the day's signing key: deriving it costs four HMACs.
pub struct Signer {
    region: String,
    cached: Mutex<Option<CachedKey>>,
}

struct CachedKey {
    date: String,
    secret: String,
    key: Hmac<Sha256>,
}

impl Signer {
    /// A signer for a region.
    pub fn new(region: impl Into<String>) -> Self {
        Self { region: region.into(), cached: Mutex::new(None) }
    }

    /// Signs a request with `moment` as its `X-Amz-Date`. Path and query are as they are sent, the query's
    /// parameters sorted by name. Gives what `Authorization` says.
    pub fn sign(
        &self,
        credentials: &SigningCredentials,
        moment: &Moment,
        host: &str,
        (method, path, query): (&str, &str, &str),
        content_type: &str,
        body: &[u8],
    ) -> String {
        let stamp = moment.stamp();
        let token = credentials.session_token.as_deref();
        let headers = [
            ("content-type", content_type),
            ("host", host),
            ("x-amz-date", stamp),
            ("x-amz-security-token", token.unwrap_or_default()),
        ];
        let headers = if token.is_some() { &headers[..] } else { &headers[..3] };
        let payload_hash = Hex::of(Sha256::digest(body));
        let canonical = Canonical { method, path, query, headers, payload_hash: payload_hash.as_str() };
        let mut scope = String::with_capacity(64);
        for part in [moment.date(), "/", &self.region, "/", SERVICE, "/aws4_request"] {
            scope.push_str(part);
        }
        let signature = canonical.signature(self.key(&credentials.secret, moment.date()), stamp, &scope);
        canonical.authorization(&credentials.access_key_id, &scope, &signature)
    }

    fn key(&self, secret: &str, date: &str) -> Hmac<Sha256> {
        let mut cached = self.cached.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match &*cached {
            Some(known) if known.date == date && known.secret == secret => known.key.clone(),
            _ => {
                let key = signing_key(secret, date, &self.region, SERVICE);
                *cached = Some(CachedKey { date: date.to_owned(), secret: secret.to_owned(), key: key.clone() });
                key
            }
        }
    }
}

/// Signs a request without a query to any service of AWS's, now and then: the key is made anew. `path` is as it is
/// sent, `headers` are sorted by name, `host` and `x-amz-date` among them. Gives what `Authorization` says.
pub fn sign_once(
    credentials: &SigningCredentials,
    moment: &Moment,
    (region, service): (&str, &str),
    (method, path): (&str, &str),
    headers: &[(&str, &str)],
    body: &[u8],
) -> String {
    let payload_hash = Hex::of(Sha256::digest(body));
    let canonical = Canonical { method, path, query: "", headers, payload_hash: payload_hash.as_str() };
    let scope = format!("{}/{region}/{service}/aws4_request", moment.date());
    let key = signing_key(&credentials.secret, moment.date(), region, service);
    let signature = canonical.signature(key, moment.stamp(), &scope);
    canonical.authorization(&credentials.access_key_id, &scope, &signature)
}

/// A signed request that came in: what is needed to verify it.
#[derive(Clone, Debug)]
pub struct SignedRequest {
    /// The method.
    pub method: String,
    /// The path as it was sent.
    pub path: String,
    /// The query as it was sent, without the question mark.
    pub query: String,
    /// All headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// What `Authorization` says.
    pub authorization: Authorization,
}

/// The parts of an `Authorization` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// The access key's id.
    pub access_key_id: String,
    date: String,
    region: String,
    service: String,
    signed_headers: Vec<String>,
    signature: String,
}

/// Why a signature is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not the form of a Signature Version 4.
    #[error(
        "the Authorization header is not AWS Signature Version 4: \
         \"AWS4-HMAC-SHA256 Credential=…/date/region/service/aws4_request, SignedHeaders=…, Signature=…\" is expected"
    )]
    Form,
    /// The headers that must be signed are not, or are missing.
    #[error("the signature must cover the headers host and x-amz-date")]
    Coverage,
    /// A header that is signed was sent twice or not at all.
    #[error("a header named in SignedHeaders is missing, or was sent twice")]
    Headers,
    /// The time is too far from ours.
    #[error("the signature's time is more than five minutes from the gateway's clock")]
    Expired,
    /// The date of the scope is not the date of the time.
    #[error("the credential scope's date is not that of x-amz-date")]
    Scope,
    /// The body was not signed.
    #[error("the body must be signed; UNSIGNED-PAYLOAD and streaming signatures are not accepted")]
    UnsignedPayload,
    /// It does not match.
    #[error("the signature does not match; check the secret key, and that nothing on the way changes the request")]
    Mismatch,
}

impl Authorization {
    /// Reads the header's value.
    pub fn parse(header: &str) -> Result<Self, SignatureError> {
        let parameters = header.strip_prefix(ALGORITHM).ok_or(SignatureError::Form)?;
        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        for parameter in parameters.split(',') {
            let (name, value) = parameter.trim().split_once('=').ok_or(SignatureError::Form)?;
            let slot = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut signed_headers,
                "Signature" => &mut signature,
                _ => return Err(SignatureError::Form),
            };
            if slot.replace(value).is_some() {
                return Err(SignatureError::Form);
            }
        }
        let (Some(credential), Some(signed_headers), Some(signature)) = (credential, signed_headers, signature) else {
            return Err(SignatureError::Form);
        };
        let parts: Vec<&str> = credential.split('/').collect();
        let [access_key_id, date, region, service, "aws4_request"] = parts[..] else {
            return Err(SignatureError::Form);
        };
        if access_key_id.is_empty() || date.len() != 8 || signature.len() != 64 {
            return Err(SignatureError::Form);
        }
        Ok(Self {
            access_key_id: access_key_id.to_owned(),
            date: date.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
            signed_headers: signed_headers.split(';').map(str::to_owned).collect(),
            signature: signature.to_owned(),
        })
    }
}

impl SignedRequest {
    fn header(&self, name: &str) -> Result<&str, SignatureError> {
        let mut found = self.headers.iter().filter(|(known, _)| known == name);
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Ok(value),
            _ => Err(SignatureError::Headers),
        }
    }

    /// Checks the signature with the secret of the key that it names, at `now` (seconds since 1970).
    pub fn verify(&self, secret: &str, body: &[u8], now: i64) -> Result<(), SignatureError> {
        let authorization = &self.authorization;
        let covered = |name: &str| authorization.signed_headers.iter().any(|signed| signed == name);
        if !covered("host") || !covered("x-amz-date") {
            return Err(SignatureError::Coverage);
        }
        let stamp = self.header("x-amz-date")?;
        let at = Moment::parse(stamp).ok_or(SignatureError::Form)?;
        if (now - at).abs() > CLOCK_WINDOW_S {
            return Err(SignatureError::Expired);
        }
        if stamp[..8] != authorization.date {
            return Err(SignatureError::Scope);
        }
        let payload_hash = Hex::of(Sha256::digest(body));
        if let Ok(stated) = self.header("x-amz-content-sha256")
            && !stated.eq_ignore_ascii_case(payload_hash.as_str())
        {
            return Err(SignatureError::UnsignedPayload);
        }
        let headers = authorization.signed_headers.iter().map(|name| Ok((name.as_str(), self.header(name)?)));
        let headers = headers.collect::<Result<Vec<_>, SignatureError>>()?;
        let query = canonical_query(&self.query);
        let canonical = Canonical {
            method: &self.method,
            path: &self.path,
            query: &query,
            headers: &headers,
            payload_hash: payload_hash.as_str(),
        };
        let Authorization { date, region, service, .. } = authorization;
        let scope = format!("{date}/{region}/{service}/aws4_request");
        let expected = canonical.signature(signing_key(secret, date, region, service), stamp, &scope);
        let matches = bool::from(expected.0.ct_eq(authorization.signature.as_bytes()));
        if matches { Ok(()) } else { Err(SignatureError::Mismatch) }
    }
}

/// Sorts the parameters of a query that is encoded already.
fn canonical_query(query: &str) -> String {
    let parameters = query.split('&').filter(|parameter| !parameter.is_empty());
    let mut parameters: Vec<String> = parameters
        .map(|parameter| if parameter.contains('=') { parameter.to_owned() } else { format!("{parameter}=") })
        .collect();
    parameters.sort_unstable();
    parameters.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The request of `fixtures/bedrock/requests/converse_arn_model.http`, as botocore signed it
    /// with the documentation's example key.
    fn fixture() -> (SignedRequest, &'static [u8]) {
        let authorization = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261123/us-east-1/bedrock/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=4b1e001a7c389520fa495a9b2b362eee4b025011d80a43734be090aa27bf2dfc";
        let request = SignedRequest {
            method: "POST".into(),
            path: "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Aapplication-inference-profile%2Ffx0converse_arn_model/converse".into(),
            query: String::new(),
            headers: vec![
                ("host".into(), "127.0.0.1:42609".into()),
                ("content-type".into(), "application/json".into()),
                ("x-amz-date".into(), "20261123T013436Z".into()),
            ],
            authorization: Authorization::parse(authorization).unwrap(),
        };
        (request, br#"{"messages": [{"role": "user", "content": [{"text": "hi"}]}]}"#)
    }

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    const NOW: i64 = 1_795_397_676;

    #[test]
    fn a_request_that_botocore_signed_verifies_and_no_other() {
        let (request, body) = fixture();
        assert_eq!(Moment::from_unix(NOW).stamp(), "20261123T013436Z");
        assert_eq!(request.verify(SECRET, body, NOW), Ok(()));
        assert_eq!(request.verify(SECRET, body, NOW + CLOCK_WINDOW_S), Ok(()));
        assert_eq!(request.verify(SECRET, body, NOW + CLOCK_WINDOW_S + 1), Err(SignatureError::Expired));
        assert_eq!(request.verify(SECRET, body, NOW - CLOCK_WINDOW_S - 1), Err(SignatureError::Expired));
        assert_eq!(request.verify("other", body, NOW), Err(SignatureError::Mismatch));
        assert_eq!(request.verify(SECRET, b"{}", NOW), Err(SignatureError::Mismatch));
        let path = SignedRequest { path: "/model/x/converse".into(), ..request.clone() };
        assert_eq!(path.verify(SECRET, body, NOW), Err(SignatureError::Mismatch));
        let mut twice = request.clone();
        twice.headers.push(("host".into(), "evil".into()));
        assert_eq!(twice.verify(SECRET, body, NOW), Err(SignatureError::Headers));
        let mut unsigned = request.clone();
        unsigned.headers.push(("x-amz-content-sha256".into(), "UNSIGNED-PAYLOAD".into()));
        assert_eq!(unsigned.verify(SECRET, body, NOW), Err(SignatureError::UnsignedPayload));
        let mut uncovered = request;
        uncovered.authorization.signed_headers.retain(|name| name != "host");
        assert_eq!(uncovered.verify(SECRET, body, NOW), Err(SignatureError::Coverage));
    }

    #[test]
    fn what_is_signed_here_is_what_botocore_signs() {
        let (request, body) = fixture();
        let signer = Signer::new("us-east-1");
        let credentials =
            SigningCredentials { access_key_id: "AKIDEXAMPLE".into(), secret: SECRET.into(), session_token: None };
        for _ in 0..2 {
            let authorization = signer.sign(
                &credentials,
                &Moment::from_unix(NOW),
                "127.0.0.1:42609",
                ("POST", &request.path, ""),
                "application/json",
                body,
            );
            assert_eq!(Authorization::parse(&authorization).unwrap(), request.authorization);
        }
        let model = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/fx0converse_arn_model";
        assert_eq!(request.path, format!("/model/{}/converse", encode_segment(model)));
    }

    #[test]
    fn rubbish_is_refused() {
        for header in [
            "",
            "AWS4-HMAC-SHA256",
            "Bearer x",
            "AWS4-HMAC-SHA256 Credential=a/b/c, SignedHeaders=host, Signature=x",
            "AWS4-HMAC-SHA256 Credential=a/20261123/r/s/aws4_request, SignedHeaders=host, Signature=short",
            "AWS4-HMAC-SHA256 Credential=a/20261123/r/s/aws4_request, Credential=a/20261123/r/s/aws4_request, SignedHeaders=host, Signature=0000000000000000000000000000000000000000000000000000000000000000",
        ] {
            assert_eq!(Authorization::parse(header), Err(SignatureError::Form), "{header}");
        }
        for stamp in ["20261123T013436", "20261123T993436Z", "2026-11-23T01:34Z", "２０２６１１２３Ｔ０"] {
            assert_eq!(Moment::parse(stamp), None, "{stamp}");
        }
        assert_eq!(canonical_query("b=2&a&a=1"), "a=&a=1&b=2");
    }
}
