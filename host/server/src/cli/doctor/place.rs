//! This machine: the data folder and its ledger, the disk, the address, file descriptors.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use kairos_pipeline::money::dollars;
use kairos_store::ledger::{FILE, LOCK_FILE, Reader};
use kairos_store::{policies, records};
use rustix::process::{Resource, getrlimit};

use super::report::Check;
use crate::admin::{TOKEN, TOKEN_FILE, moment};
use crate::config::Config;
use crate::secret_file;

/// Free space below which the ledger may soon not be written any more: nothing is served then.
const SCARCE_BYTES: u64 = 1 << 30;
const TOO_SCARCE_BYTES: u64 = 64 << 20;
/// Attempts up to which the whole ledger is verified here: about a second's work.
const QUICKLY_VERIFIED: u64 = 100_000;
/// File descriptors besides those of callers' connections and of requests under way: listeners, the
/// ledger, policies, the log.
const OTHER_DESCRIPTORS: u64 = 64;

pub(super) fn checks(config: &Config) -> Vec<Check> {
    let user = user_of(&config.data.join(LOCK_FILE));
    let mut checks = vec![folder(&config.data)];
    checks.extend(in_use(&config.data, &user));
    checks.extend(ledger(&config.data.join(FILE)));
    checks.extend(audit(&config.data.join(policies::FILE)));
    checks.extend(kept(&config.data.join(records::FILE)));
    checks.extend(token(config));
    checks.extend(space(&config.data));
    checks.push(address(config, !matches!(user, User::Nobody)));
    checks.push(descriptors(config));
    checks
}

/// The folder, or the nearest above it that there is.
fn existing(folder: &Path) -> PathBuf {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    absolute.ancestors().find(|path| path.exists()).map_or(absolute.clone(), Path::to_owned)
}

fn folder(data: &Path) -> Check {
    let shown = data.display();
    let at = existing(data);
    if !at.is_dir() {
        let found = format!("{} is not a folder", at.display());
        return Check::problem("data folder", found, "choose another with --data, or `data` in kairos.toml");
    }
    match tempfile::tempfile_in(&at) {
        Ok(_) if data.exists() => Check::ok("data folder", format!("{shown} can be written to")),
        Ok(_) => Check::ok("data folder", format!("{shown} is made when the gateway starts")),
        Err(error) => Check::problem(
            "data folder",
            format!("{} cannot be written to: {error}", at.display()),
            "give it to the user that runs the gateway, or choose another with --data",
        ),
    }
}

/// Who keeps a ledger in the data folder.
enum User {
    Nobody,
    Somebody(Option<u32>),
    Unknown(std::io::Error),
}

fn user_of(lock: &Path) -> User {
    let file = match File::open(lock) {
        Ok(file) => file,
        // That there is no such folder has been said.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return User::Nobody,
        Err(error) => return User::Unknown(error),
    };
    // Shared, so that two doctors do not take each other for a gateway; given back at once.
    match file.try_lock_shared() {
        Ok(()) => User::Nobody,
        Err(TryLockError::WouldBlock) => User::Somebody(holder(&file)),
        Err(TryLockError::Error(error)) => User::Unknown(error),
    }
}

/// The process that holds a lock on a file, as Linux tells it.
fn holder(file: &File) -> Option<u32> {
    let inode = file.metadata().ok()?.ino().to_string();
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (kind, pid) = (words.next()?, words.nth(2)?);
        let of_file = words.next()?.rsplit(':').next()? == inode;
        (kind == "FLOCK" && of_file).then(|| pid.parse().ok())?
    })
}

fn in_use(data: &Path, user: &User) -> Option<Check> {
    let shown = data.display();
    match user {
        User::Nobody => None,
        User::Somebody(pid) => {
            let who = pid.map_or("a gateway".to_owned(), |pid| format!("the gateway with process id {pid}"));
            let todo = "stop it before you start another, or give that one a folder of its own with --data";
            Some(Check::warning("data folder", format!("{who} keeps its ledger in {shown}"), todo))
        }
        User::Unknown(error) => Some(Check::problem(
            "data folder",
            format!("{}: {error}", data.join(LOCK_FILE).display()),
            "give it to the user that runs the gateway",
        )),
    }
}

fn ledger(path: &Path) -> Option<Check> {
    if !path.exists() {
        return None;
    }
    let damaged = |error: &dyn std::fmt::Display| {
        let todo = "keep the file; `kairos ledger verify` says what is wrong with it";
        Some(Check::problem("ledger", format!("{}: {error}", path.display()), todo))
    };
    let totals = match Reader::open(path).and_then(|reader| reader.totals()) {
        Ok(totals) => totals,
        Err(error) => return damaged(&error),
    };
    let spent = format!("{} attempts, {} USD charged", totals.ended_rows, dollars(totals.charged));
    if totals.ended_rows > QUICKLY_VERIFIED {
        return Some(Check::ok("ledger", format!("{spent}; `kairos ledger verify` checks every row of so many")));
    }
    match Reader::open(path).and_then(|mut reader| reader.verify()) {
        Ok(_) => Some(Check::ok("ledger", format!("{spent}; every row is as it was written"))),
        Err(error) => damaged(&error),
    }
}

fn audit(path: &Path) -> Option<Check> {
    if !path.exists() {
        return None;
    }
    Some(match policies::Reader::open(path).and_then(|mut reader| reader.verify()) {
        Ok(rows) => Check::ok("audit log", format!("acts written: {rows}; every row is as it was written")),
        Err(error) => {
            let todo = "keep the file; `kairos audit` shows its rows";
            Check::problem("audit log", format!("{}: {error}", path.display()), todo)
        }
    })
}

/// What is recorded of requests.
fn kept(path: &Path) -> Option<Check> {
    if !path.exists() {
        return None;
    }
    let read = records::Reader::open(path).and_then(|reader| reader.extent(0));
    Some(match read {
        Ok((0, _) | (_, None)) => Check::ok("records", "no request is recorded yet"),
        Ok((count, Some(oldest))) => {
            Check::ok("records", format!("requests: {count}; the oldest is of {}", moment(oldest)))
        }
        Err(error) => {
            let todo = "the next start moves it aside and begins anew";
            Check::warning("records", format!("{}: {error}", path.display()), todo)
        }
    })
}

/// The token that changes of policies need, where the gateway keeps it itself.
fn token(config: &Config) -> Option<Check> {
    let path = config.data.join(TOKEN_FILE);
    if config.auth.admin_token.is_some() || !path.exists() {
        return None;
    }
    let shown = path.display();
    Some(match secret_file::read(&path, TOKEN) {
        Ok(_) => Check::ok("admin token", format!("{shown} holds it, and only its owner can read it")),
        Err(what) => {
            Check::problem("admin token", format!("{shown}: {what}"), "`kairos serve` does not start like this")
        }
    })
}

fn space(data: &Path) -> Option<Check> {
    let at = existing(data);
    let disk = rustix::fs::statvfs(&at).ok()?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let found = format!("{} MiB are free at {}", free >> 20, at.display());
    let todo = "make room, or choose a folder on another disk: without room for the ledger nothing is served";
    Some(match free {
        ..TOO_SCARCE_BYTES => Check::problem("disk", found, todo),
        TOO_SCARCE_BYTES..SCARCE_BYTES => Check::warning("disk", found, todo),
        SCARCE_BYTES.. => Check::ok("disk", "more than 1 GiB is free for the ledger"),
    })
}

fn address(config: &Config, gateway_runs: bool) -> Check {
    let address = config.listen;
    match TcpListener::bind(address) {
        Ok(_) => Check::ok("address", format!("{address} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse && gateway_runs => Check::warning(
            "address",
            format!("{address} is taken, perhaps by the gateway that runs"),
            "stop it before you start another, or choose another address with --listen",
        ),
        Err(error) if error.kind() == ErrorKind::AddrInUse => Check::problem(
            "address",
            format!("{address} is taken by another program"),
            "choose another with --listen, or port 0 for a free one",
        ),
        Err(error) => Check::problem(
            "address",
            format!("{address} cannot be listened on: {error}"),
            "choose an address of this machine with --listen; ports below 1024 need a privilege",
        ),
    }
}

fn descriptors(config: &Config) -> Check {
    let connections = config.limits.connections as u64;
    // Each request under way can hold a connection to Bedrock.
    let wanted = connections.saturating_add(config.limits.in_flight as u64).saturating_add(OTHER_DESCRIPTORS);
    match getrlimit(Resource::Nofile).current {
        Some(most) if most < wanted => Check::warning(
            "file descriptors",
            format!("this process may open {most}, fewer than limits.connections and limits.in_flight can need"),
            format!("raise it (`ulimit -n {wanted}`, LimitNOFILE= of systemd), or lower limits.connections"),
        ),
        _ => Check::ok("file descriptors", "as many as limits.connections and limits.in_flight need"),
    }
}
