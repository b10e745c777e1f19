//! Secrets that the gateway makes itself and keeps in its data folder, for its owner's eyes only.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use kairos_pipeline::request::Secret;

use crate::assemble::AssemblyError;

/// The secret of a file, made where there is none. `what` is what people call it.
pub(crate) fn open(path: &Path, what: &'static str) -> Result<Secret, AssemblyError> {
    let cannot = |error: std::io::Error| AssemblyError(format!("{what}: {}: {error}", path.display()));
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => make(file).map_err(cannot)?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(cannot(error)),
    }
    read(path, what).map_err(|wrong| AssemblyError(format!("{}: {wrong}", path.display())))
}

fn make(mut file: File) -> std::io::Result<()> {
    let secret: [u8; 32] = rand::random();
    writeln!(file, "{}", hex::encode(secret))?;
    file.sync_all()
}

/// Reads the secret of a file, or says what is wrong with it.
pub(crate) fn read(path: &Path, what: &'static str) -> Result<Secret, String> {
    let mode = path.metadata().map_err(|error| error.to_string())?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(format!("others than its owner can read {what}: chmod 600 it, or remove it for a new one"));
    }
    let secret = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    match secret.trim() {
        secret if secret.len() >= 16 => Ok(Secret::new(secret)),
        _ => Err(format!(
            "this is not {what}: put the file back from a copy, or remove it, and the next start makes another; what was \
             made with the one before ends with it"
        )),
    }
}
