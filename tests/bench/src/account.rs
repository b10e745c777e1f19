//! What a process has used: CPU time and memory, as the kernel accounts for it.

use std::time::Duration;

use nix::time::ClockId;
use nix::unistd::Pid;

/// CPU time of all threads of a process so far, to the nanosecond.
pub(crate) fn cpu(process: u32) -> Duration {
    let process = Pid::from_raw(i32::try_from(process).unwrap());
    ClockId::pid_cpu_clock_id(process).and_then(ClockId::now).unwrap().into()
}

/// Memory of a process that is resident, in bytes.
pub(crate) fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() * 1024
}
