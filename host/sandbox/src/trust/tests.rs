//! Which signatures count, and what is said of those that do not.

use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::*;
use crate::limits::Limits;

/// A key pair of a name, and the key that is pinned of it.
fn pair(seed: u8) -> (Ed25519KeyPair, PublicKey) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let public = PublicKey::new(pair.public_key().as_ref().try_into().unwrap()).unwrap();
    (pair, public)
}

fn version(world: World, tests: Option<&str>, signature: Option<String>) -> Version {
    let bytes = b"fn route".to_vec();
    let digest = hex::encode(Sha256::digest(&bytes));
    let limits = Limits::default();
    let file = |text: &str| TestFile::bounded("x.test.toml".to_owned(), text.into(), &limits).unwrap();
    Version { world, file: "x.rhai".to_owned(), digest, bytes, tests: tests.map(file), signature }
}

/// What a pair signs of this policy, for a slot and with tests.
fn signed(pair: &Ed25519KeyPair, world: World, tests: Option<&str>) -> Option<String> {
    use base64::Engine as _;
    let statement = statement(world, &version(world, None, None).digest, tests.map(str::as_bytes));
    Some(base64::engine::general_purpose::STANDARD.encode(pair.sign(statement.as_bytes())))
}

fn trust(required: bool) -> Trust {
    Trust::new(vec![("build".into(), pair(1).1), ("release".into(), pair(2).1)], required)
}

#[test]
fn what_is_signed_is_written_down() {
    let digest = "a".repeat(64);
    let tests = hex::encode(Sha256::digest(b"[[test]]"));
    let expected = format!("kairos policy v1\nguard\n{digest}\n{tests}\n");
    assert_eq!(statement(World::Guard, &digest, Some(b"[[test]]")), expected);
    assert_eq!(statement(World::Guard, &digest, None), expected.replace(&tests, "none"));
}

#[test]
fn who_vouches() {
    let (build, _) = pair(1);
    let (stranger, _) = pair(3);
    for tests in [None, Some("[[test]]")] {
        let good = version(World::Router, tests, signed(&build, World::Router, tests));
        assert_eq!(trust(true).signer(&good).unwrap().as_deref(), Some("build"));
    }
    let bare = version(World::Router, None, None);
    assert_eq!(trust(false).signer(&bare), Ok(None));
    assert_eq!(trust(true).signer(&bare).unwrap_err().reason, Reason::NotSigned);
    // Without keys nothing is looked at; where a signature is needed, nobody could vouch.
    let nonsense = version(World::Router, None, Some("nonsense".to_owned()));
    assert_eq!(Trust::default().signer(&nonsense), Ok(None));
    assert_eq!(Trust::new(Vec::new(), true).signer(&bare).unwrap_err().reason, Reason::NotSigned);
    // Needed or not, one that is not right is refused.
    let foreign = version(World::Router, None, signed(&stranger, World::Router, None));
    for required in [false, true] {
        for wrong in [&nonsense, &foreign] {
            assert_eq!(trust(required).signer(wrong).unwrap_err().reason, Reason::BadSignature);
        }
    }
}

#[test]
fn what_is_wrong_is_said() {
    let (build, _) = pair(1);
    let says = |version: &Version| trust(true).signer(version).unwrap_err().explain("x.rhai");
    insta::assert_snapshot!(says(&version(World::Router, None, None)), @r"
    x.rhai: it has no signature, and policies.require_signature asks for one (pinned: build, release)
      hint: kairos policy sign --key KEYFILE x.rhai makes x.rhai.sig, which belongs beside it
    ");
    insta::assert_snapshot!(says(&version(World::Router, None, Some("nonsense".to_owned()))), @r"
    x.rhai.sig: this is no signature: 64 bytes in base64 are expected
      hint: kairos policy sign --key KEYFILE x.rhai signs what is there now; or put back what was signed
    ");
    insta::assert_snapshot!(says(&version(World::Router, Some("[[test]]"), signed(&build, World::Router, None))), @r"
    x.rhai.sig: build has signed the file without tests, and there are some beside it now
      hint: kairos policy sign --key KEYFILE x.rhai signs what is there now; or put back what was signed
    ");
    insta::assert_snapshot!(says(&version(World::Router, None, signed(&build, World::Healer, None))), @r"
    x.rhai.sig: build has signed the file for the slot `healer`, not `router`
      hint: kairos policy sign --key KEYFILE x.rhai signs what is there now; or put back what was signed
    ");
    insta::assert_snapshot!(says(&version(World::Router, Some("[[test]]"), signed(&build, World::Router, Some("other")))), @r"
    x.rhai.sig: no key that is trusted has signed this file, for the slot `router` with these tests (pinned: build, release)
      hint: kairos policy sign --key KEYFILE x.rhai signs what is there now; or put back what was signed
    ");
}

/// Each bit of a signature matters, and there is no second form of one.
#[test]
fn a_signature_has_one_form() {
    use base64::Engine as _;
    let engine = base64::engine::general_purpose::STANDARD;
    let text = signed(&pair(1).0, World::Router, None).unwrap();
    let good = engine.decode(&text).unwrap();
    let of = |bytes: &[u8]| trust(true).signer(&version(World::Router, None, Some(engine.encode(bytes))));
    assert!(of(&good).is_ok());
    for bit in 0..good.len() * 8 {
        let mut other = good.clone();
        other[bit / 8] ^= 1 << (bit % 8);
        assert!(of(&other).is_err(), "bit {bit}");
    }
    // S plus the order of the group, which a lax check would take.
    let order = hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
    let (mut other, mut carry) = (good, 0u16);
    for (byte, add) in other[32..].iter_mut().zip(order) {
        carry += u16::from(*byte) + u16::from(add);
        *byte = (carry & 0xff) as u8;
        carry >>= 8;
    }
    assert_eq!(carry, 0);
    assert!(of(&other).is_err());
    // Lines may be broken, as `base64` breaks them.
    let broken = format!("{}\r\n{}\n", &text[..76], &text[76..]);
    assert!(trust(true).signer(&version(World::Router, None, Some(broken))).is_ok());
    for length in [0, 63, 65] {
        assert!(of(&vec![0; length]).unwrap_err().message.starts_with("this is no signature"), "{length}");
    }
}

#[test]
fn a_key_of_small_order_is_none() {
    for key in SMALL_ORDER {
        let mut bytes: [u8; 32] = hex::decode(key).unwrap().try_into().unwrap();
        assert_eq!(PublicKey::new(bytes), None, "{key}");
        bytes[31] |= 0x80;
        assert_eq!(PublicKey::new(bytes), None, "{key}");
    }
}
