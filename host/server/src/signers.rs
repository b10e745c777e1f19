//! The keys that sign policies, as the configuration pins them, and as files hold them: PEM, as OpenSSL
//! reads and writes it.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kairos_sandbox::trust::{PublicKey, Trust};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};

use crate::assemble::AssemblyError;
use crate::config::{Config, shortened};

/// What a public key of Ed25519 begins with in DER; its 32 bytes follow.
pub(crate) const PUBLIC: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// Bytes of a file that may hold a key.
const MOST_BYTES: u64 = 16 * 1024;

/// The keys that the configuration pins.
pub(crate) fn pinned(config: &Config) -> Result<Trust, AssemblyError> {
    let mut keys: Vec<(Arc<str>, PublicKey)> = Vec::new();
    for (name, value) in &config.policies.keys {
        let wrong = |why: String| AssemblyError(format!("policies.keys.{name}: {why}"));
        let key = key(value).map_err(wrong)?;
        if let Some((twin, _)) = keys.iter().find(|(_, known)| *known == key) {
            return Err(wrong(format!("this is the key {twin} too; pin it once")));
        }
        keys.push((name.as_str().into(), key));
    }
    Ok(Trust::new(keys, config.policies.require_signature))
}

/// A public key: the line of base64 of a PEM file, or the path of one.
fn key(value: &str) -> Result<PublicKey, String> {
    if let Some(key) = STANDARD.decode(value).ok().and_then(|der| public(&der)) {
        return key;
    }
    let path = Path::new(value);
    let shown = shortened(value);
    let bytes = read(path).map_err(|error| {
        format!("{shown:?} is neither an Ed25519 key in base64 nor a file that can be read: {error}")
    })?;
    if PrivatePkcs8KeyDer::from_pem_slice(&bytes).is_ok() {
        return Err(format!("{shown} holds a private key, which no gateway should have: pin the public one"));
    }
    let pem = SubjectPublicKeyInfoDer::from_pem_slice(&bytes);
    let pem = pem.map_err(|_| format!("{shown} holds no public key in PEM (-----BEGIN PUBLIC KEY-----)"))?;
    public(&pem).unwrap_or_else(|| Err(format!("{shown} holds a key that is not of Ed25519")))
}

/// An Ed25519 key in DER, if it is one.
fn public(der: &[u8]) -> Option<Result<PublicKey, String>> {
    let bytes = der.strip_prefix(&PUBLIC[..])?.try_into().ok()?;
    Some(PublicKey::new(bytes).ok_or_else(|| "the key is of small order: anybody has signatures by it".to_owned()))
}

/// Reads a file that may hold a key.
pub(crate) fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MOST_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}
