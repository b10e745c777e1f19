//! Deadlines in CPU time, at no cost to calls that keep them.
//!
//! A call that takes 1 µs is not at fault when its thread is not scheduled for 20 ms. So when half
//! of a deadline has gone by on the clock, the thread's CPU time is read for the first time, and the
//! call has failed once it has used the other half on the CPU. A call that does not get there on
//! the clock never reads it.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// However little CPU a call gets, it is stopped after so many deadlines on the clock.
const WALL_FACTOR: u32 = 10;
/// The same where no request waits: a busy machine is no reason to refuse a policy.
const TRIAL_WALL_FACTOR: u32 = 1_000;

/// How far a call has come.
#[derive(Debug)]
pub struct Meter {
    deadline: Duration,
    /// The most on the clock.
    wall: Duration,
    started: Instant,
    /// CPU time of the thread, once half of the deadline was over.
    halfway: Option<Duration>,
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

impl Meter {
    /// A call that begins now.
    pub fn start(deadline: Duration) -> Self {
        Self { deadline, wall: deadline * WALL_FACTOR, started: Instant::now(), halfway: None }
    }

    /// A call that begins now, and that no request waits for.
    pub fn start_on_trial(deadline: Duration) -> Self {
        Self { wall: deadline * TRIAL_WALL_FACTOR, ..Self::start(deadline) }
    }

    /// A call that begins now, and may take so long on the clock.
    pub fn start_within(deadline: Duration, wall: Duration) -> Self {
        Self { wall, ..Self::start(deadline) }
    }

    /// When the call is over on the clock, however little CPU it used.
    pub fn until(&self) -> Instant {
        self.started + self.wall
    }

    /// Whether the call is over its deadline. To be asked from the thread that makes the call,
    /// now and then.
    pub fn is_over(&mut self) -> bool {
        let wall = self.started.elapsed();
        if wall < self.deadline / 2 {
            return false;
        }
        match self.halfway {
            None => {
                self.halfway = Some(cpu_time());
                // A call that waited for somebody else may be looked at for the first time when it is over.
                wall >= self.wall
            }
            Some(halfway) => cpu_time().saturating_sub(halfway) >= self.deadline / 2 || wall >= self.wall,
        }
    }

    /// Whether the call that has just ended was over its deadline, as far as it was looked at; in any
    /// case, whether it was so by far.
    pub fn was_over(&mut self) -> bool {
        self.started.elapsed() >= self.wall || (self.halfway.is_some() && self.is_over())
    }

    /// What a call that is over is over, for people.
    pub fn over_what(&self) -> String {
        match self.started.elapsed() >= self.wall {
            true => format!("over its {:?} on the clock", self.wall),
            false => format!("over its deadline of {:?}", self.deadline),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_over_in_time_and_waiting_is_not_work() {
        let mut meter = Meter::start(Duration::from_millis(4));
        let before = cpu_time();
        while !meter.is_over() {}
        assert!(cpu_time() - before >= Duration::from_millis(2));
        let mut fresh = Meter::start(Duration::from_secs(3600));
        assert!(!fresh.is_over());
        // A deadline that was over on the clock before any CPU was used: the wall decides.
        let mut late = Meter { wall: Duration::from_nanos(1), ..Meter::start(Duration::ZERO) };
        while !late.is_over() {}
    }

    /// A call that is held up is over when a request waits for it, and not on trial.
    #[test]
    fn a_trial_is_patient() {
        let long_ago = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
        let held_up = |meter: Meter| Meter { started: long_ago, halfway: Some(cpu_time()), ..meter };
        assert!(held_up(Meter::start(Duration::from_millis(20))).is_over());
        assert!(!held_up(Meter::start_on_trial(Duration::from_millis(20))).is_over());
    }
}
