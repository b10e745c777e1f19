//! Who vouches for a policy: Ed25519 signatures by keys that the operator pins.
//!
//! What is signed is a statement, not the file: it names the slot and the tests too, so that a signature
//! for one slot is none for another, and tests that were changed or taken away are noticed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kairos_pipeline::policy::World;
use ring::signature::{ED25519, UnparsedPublicKey};
use sha2::{Digest as _, Sha256};

use crate::cases::TestFile;
use crate::refusal::{Reason, Refusal};
use crate::versions::Version;

/// Keys that may be pinned.
pub const MOST_KEYS: usize = 16;
/// Bytes of a signature's file that are read: base64 of 64 bytes, with room for line ends.
const MOST_BYTES: u64 = 256;

/// The encodings of points of small order, without the sign of x: whoever has such a "key" has signatures
/// of anything.
const SMALL_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

/// What is signed: a line each for the version of this form, the slot, the SHA-256 of the policy's file, and
/// that of its tests, or `none`.
pub fn statement(world: World, digest: &str, tests: Option<&[u8]>) -> String {
    let tests = tests.map_or_else(|| "none".to_owned(), |bytes| hex::encode(Sha256::digest(bytes)));
    format!("kairos policy v1\n{}\n{digest}\n{tests}\n", world.name())
}

/// Where a policy's signature is: its whole name with `.sig` behind.
pub fn beside(policy: &Path) -> PathBuf {
    let mut name = policy.as_os_str().to_owned();
    name.push(".sig");
    name.into()
}

/// The signature in a file, as text. Where there is no file, there is none. One that is too long is cut, and
/// so is no signature.
pub(crate) fn read(path: &Path) -> Result<Option<String>, Refusal> {
    use std::io::Read as _;
    let cannot = |error: std::io::Error| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Refusal::new(Reason::BadSignature, format!("the signature cannot be read: {error}")).beside(&name)
    };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot(error)),
    };
    let mut bytes = Vec::new();
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(cannot)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// A signature that came otherwise than by a file, cut likewise.
pub(crate) fn bounded(mut signature: String) -> String {
    signature.truncate(signature.floor_char_boundary(MOST_BYTES as usize + 1));
    signature
}

/// A public key of Ed25519.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// A key; none where it is of small order.
    pub fn new(bytes: [u8; 32]) -> Option<Self> {
        let mut y = bytes;
        y[31] &= 0x7f;
        (!SMALL_ORDER.contains(&hex::encode(y).as_str())).then_some(Self(bytes))
    }

    /// Ring takes no signature whose S is not reduced, and compares R's bytes: there is one form of each.
    fn vouches(&self, statement: &str, signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(statement.as_bytes(), signature).is_ok()
    }
}

/// The keys that are pinned, by name, and whether a policy needs a signature by one of them.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    keys: Arc<[(Arc<str>, PublicKey)]>,
    required: bool,
}

impl Trust {
    /// Pins keys. Without any, signatures are not looked at.
    pub fn new(keys: Vec<(Arc<str>, PublicKey)>, required: bool) -> Self {
        Self { keys: keys.into(), required }
    }

    /// The name of the key that vouches for a version, whose digest is that of its bytes. None: it has no
    /// signature, and needs none; or no keys are pinned. A signature that is not right is refused in any case.
    pub fn signer(&self, version: &Version) -> Result<Option<Arc<str>>, Refusal> {
        if self.keys.is_empty() && !self.required {
            return Ok(None);
        }
        let Some(signature) = &version.signature else {
            return if self.required { Err(self.unsigned(version)) } else { Ok(None) };
        };
        let Some(signature) = decoded(signature) else {
            return Err(bad(version, "this is no signature: 64 bytes in base64 are expected".to_owned()));
        };
        let tests = version.tests.as_ref().map(|TestFile { bytes, .. }| bytes.as_slice());
        let by = |statement: &str| {
            let found = self.keys.iter().find(|(_, key)| key.vouches(statement, &signature));
            found.map(|(name, _)| name)
        };
        let signer = by(&statement(version.world, &version.digest, tests)).map(Arc::clone);
        signer.map(Some).ok_or_else(|| bad(version, self.what_instead(version, by)))
    }

    fn pinned(&self) -> String {
        let names: Vec<_> = self.keys.iter().map(|(name, _)| &**name).collect();
        if names.is_empty() { "no key is pinned".to_owned() } else { format!("pinned: {}", names.join(", ")) }
    }

    fn unsigned(&self, version: &Version) -> Refusal {
        let message = format!("it has no signature, and policies.require_signature asks for one ({})", self.pinned());
        let file = &version.file;
        Refusal::new(Reason::NotSigned, message)
            .hint(format!("kairos policy sign --key KEYFILE {file} makes {file}.sig, which belongs beside it"))
    }

    /// What a signature is of that is not of this version, as far as that can be known.
    fn what_instead<'a>(&self, version: &Version, by: impl Fn(&str) -> Option<&'a Arc<str>>) -> String {
        let tests = version.tests.as_ref().map(|TestFile { bytes, .. }| bytes.as_slice());
        if let Some(name) = by(&statement(version.world, &version.digest, None)) {
            return format!("{name} has signed the file without tests, and there are some beside it now");
        }
        for world in World::ALL {
            if let Some(name) = by(&statement(world, &version.digest, tests)) {
                let slot = world.name();
                return format!("{name} has signed the file for the slot `{slot}`, not `{}`", version.world.name());
            }
        }
        let with = if tests.is_some() { "these tests" } else { "no tests" };
        let slot = version.world.name();
        format!("no key that is trusted has signed this file, for the slot `{slot}` with {with} ({})", self.pinned())
    }
}

fn bad(version: &Version, message: String) -> Refusal {
    let file = &version.file;
    let hint = format!("kairos policy sign --key KEYFILE {file} signs what is there now; or put back what was signed");
    Refusal::new(Reason::BadSignature, message).beside(&format!("{file}.sig")).hint(hint)
}

fn decoded(text: &str) -> Option<[u8; 64]> {
    use base64::Engine as _;
    let text: String = text.split_ascii_whitespace().collect();
    base64::engine::general_purpose::STANDARD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests;
