//! `kairos` on a disk that loses power, and by a clock that jumps: `kairos_disk` says how, the variable
//! `KAIROS_TEST_DISK` when; the file that `KAIROS_TEST_CLOCK` names holds how many milliseconds the clock is ahead.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

static AHEAD: LazyLock<Option<PathBuf>> = LazyLock::new(|| std::env::var_os("KAIROS_TEST_CLOCK").map(PathBuf::from));

fn clock() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    let ahead = AHEAD.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
    now.saturating_add_signed(ahead.and_then(|ahead| ahead.trim().parse().ok()).unwrap_or(0))
}

fn main() -> std::process::ExitCode {
    kairos_disk::from_environment();
    kairos_server::run_by(clock)
}
