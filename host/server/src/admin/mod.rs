//! What changing a running gateway needs: the token, and the note that lets the command line find the
//! gateway. The addresses are in `edge/admin.rs`.

mod kept;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kairos_store::jobs::SqliteJobs;
use kairos_store::policies::{Entry, PolicyStore};
use serde_json::{Value, json};
use subtle::ConstantTimeEq as _;

pub(crate) use self::kept::{Kept, version};
use crate::assemble::AssemblyError;
use crate::config::Config;
use crate::keys::hash;
use crate::secret_file;

/// The file in the data folder that holds the token, where the gateway made it.
pub(crate) const TOKEN_FILE: &str = "admin-token";
/// What people call it.
pub(crate) const TOKEN: &str = "the admin token";
/// The file in the data folder that says where the gateway listens.
pub(crate) const NOTE_FILE: &str = "gateway.json";

/// What the addresses under `/admin` share.
pub(crate) struct Admin {
    pub(crate) token: Token,
    pub(crate) store: Arc<PolicyStore>,
    /// Jobs, to be taken out where somebody asks for it.
    pub(crate) jobs: Arc<SqliteJobs>,
    /// Held while a version is compiled and tested: one at a time.
    pub(crate) staging: Arc<tokio::sync::Mutex<()>>,
    /// Held while lines of the ledger are summed up: one at a time.
    pub(crate) summing: std::sync::Mutex<()>,
}

/// The token that every change needs.
pub(crate) struct Token {
    hash: [u8; 32],
    /// Where it is, if the configuration does not say it.
    pub(crate) file: Option<PathBuf>,
}

impl Token {
    /// The configuration's token; else that of the data folder, made where there is none.
    pub(crate) fn open(config: &Config) -> Result<Self, AssemblyError> {
        if let Some(token) = &config.auth.admin_token {
            return Ok(Self { hash: hash(token.0.expose()), file: None });
        }
        let path = config.data.join(TOKEN_FILE);
        let token = secret_file::open(&path, TOKEN)?;
        Ok(Self { hash: hash(token.expose()), file: Some(path) })
    }

    /// Whether this is the token. Takes as long for a wrong one, however near.
    pub(crate) fn is(&self, given: &str) -> bool {
        self.hash.ct_eq(&hash(given)).into()
    }
}

/// Where the gateway listens, written into its data folder for as long as it does.
pub(crate) struct Note(PathBuf);

impl Note {
    /// Leaves the note.
    pub(crate) fn leave(data: &Path, address: SocketAddr) -> std::io::Result<Self> {
        let path = data.join(NOTE_FILE);
        let note = json!({"url": format!("http://{}", reachable(address)), "pid": std::process::id()});
        // Whoever reads it finds all of it.
        let beside = data.join(format!("{NOTE_FILE}.new"));
        std::fs::write(&beside, format!("{note}\n"))?;
        std::fs::rename(&beside, &path)?;
        Ok(Self(path))
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        // One that stays behind is found out when nobody answers there.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The address by which this machine reaches a listener.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        let v4 = address.is_ipv4();
        address.set_ip(if v4 { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { IpAddr::V6(Ipv6Addr::LOCALHOST) });
    }
    address
}

/// A moment, given in milliseconds since 1970.
pub(crate) fn moment(ms: u64) -> String {
    let at = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.map_or_else(|| ms.to_string(), |at| at.to_string())
}

/// A row of the audit log, for programs.
pub(crate) fn act_json(seq: i64, entry: &Entry) -> Value {
    json!({
        "row": seq,
        "at": moment(entry.at_ms.unsigned_abs()),
        "actor": entry.actor,
        "claimed": entry.claimed,
        "act": entry.act,
        "slot": entry.slot,
        "digest": entry.digest,
        "why": entry.why,
        "detail": entry.detail,
    })
}
