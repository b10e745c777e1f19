//! `kairos policy keygen` and `sign`.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kairos_sandbox::trust;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};

use super::super::Failed;
use super::given::Given;
use crate::signers::{PUBLIC, read};

/// What a private key of Ed25519 begins with in PKCS#8; its 32 bytes follow.
const PRIVATE: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

#[derive(Debug, clap::Args)]
pub(crate) struct Keygen {
    /// The file for the private key; the public key is written into KEYFILE.pub
    #[arg(value_name = "KEYFILE")]
    file: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Sign {
    /// A script (.rhai) or a component (.wasm)
    file: PathBuf,
    /// The private key: PKCS#8 in PEM
    #[arg(long, value_name = "KEYFILE", required_unless_present = "statement")]
    key: Option<PathBuf>,
    /// The slot that it is for [default: that of its name, else of what it judges]
    #[arg(long, value_name = "SLOT")]
    slot: Option<String>,
    /// The file of its tests [default: STEM.test.toml beside it, where there is one]
    #[arg(long, value_name = "FILE")]
    tests: Option<PathBuf>,
    /// Print what is to be signed, and sign nothing: for a key that is elsewhere
    #[arg(long, conflicts_with = "key")]
    statement: bool,
}

fn with_pub(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

impl Keygen {
    pub(super) fn run(self) -> Result<(), Failed> {
        let (private, public) = (self.file.clone(), with_pub(&self.file));
        if let Some(there) = [&private, &public].into_iter().find(|path| path.exists()) {
            return Err(Failed::usage(format!("{}: the file is there, and no key is written over", there.display())));
        }
        let mut seed = [0; 32];
        let failed = |_| Failed::new("the system gives no random bytes for a key");
        SystemRandom::new().fill(&mut seed).map_err(failed)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|error| Failed::new(error.to_string()))?;
        let line = STANDARD.encode([&PUBLIC[..], pair.public_key().as_ref()].concat());
        write_new(&private, 0o600, &pem("PRIVATE KEY", &STANDARD.encode([&PRIVATE[..], &seed].concat())))?;
        write_new(&public, 0o644, &pem("PUBLIC KEY", &line))?;
        println!("{}: the private key, which signs: keep it away from gateways", private.display());
        println!("{}: the public key, to be pinned in kairos.toml; the name is yours to choose:", public.display());
        println!("\n[policies.keys]\nrelease = \"{line}\"");
        Ok(())
    }
}

fn pem(what: &str, line: &str) -> String {
    format!("-----BEGIN {what}-----\n{line}\n-----END {what}-----\n")
}

fn write_new(path: &Path, mode: u32, text: &str) -> Result<(), Failed> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|error| Failed::new(format!("{}: {error}", path.display())))
}

impl Sign {
    pub(super) fn run(self) -> Result<(), Failed> {
        let given = Given::read(&self.file, self.tests.as_deref(), None)?;
        let world = given.world(self.slot.as_deref())?;
        let digest = hex::encode(Sha256::digest(&given.bytes));
        let statement = trust::statement(world, &digest, given.tests.as_deref());
        let Some(key) = &self.key else {
            print!("{statement}");
            return Ok(());
        };
        let signature = pair(key)?.sign(statement.as_bytes());
        let path = trust::beside(&self.file);
        let written = std::fs::write(&path, format!("{}\n", STANDARD.encode(signature)));
        written.map_err(|error| Failed::new(format!("{}: {error}", path.display())))?;
        let with = if given.tests.is_some() { "with its tests" } else { "without tests" };
        println!("{}: signed for the slot {}, {with}", path.display(), world.name());
        Ok(())
    }
}

/// The pair of a private key's file.
fn pair(path: &Path) -> Result<Ed25519KeyPair, Failed> {
    let shown = path.display();
    let bytes = read(path).map_err(|error| Failed::usage(format!("{shown}: {error}")))?;
    let pem = PrivatePkcs8KeyDer::from_pem_slice(&bytes).map_err(|_| {
        let message = "there is no private key of PKCS#8 in PEM in it (-----BEGIN PRIVATE KEY-----)";
        Failed::usage(format!("{shown}: {message}\n  hint: kairos policy keygen KEYFILE makes one"))
    })?;
    // What ring says of it does not hold the key.
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(pem.secret_pkcs8_der())
        .map_err(|error| Failed::usage(format!("{shown}: this is no Ed25519 key: {error}")))
}
