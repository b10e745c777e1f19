//! How the last attempts of each model went, by kind of task: the performance history that routers
//! see.

use std::sync::{Mutex, PoisonError};

use crate::policy::Task;

/// Attempts that are remembered, per model and task.
const WINDOW: u32 = 64;

/// The last outcomes of one model for one task: a bit each, newest lowest.
#[derive(Clone, Copy, Default)]
struct Window {
    successes: u64,
    length: u32,
}

/// Outcomes of all models.
pub struct History {
    windows: Vec<Mutex<[Window; Task::ALL.len()]>>,
}

impl History {
    /// No outcomes yet, for so many models.
    pub fn new(models: usize) -> Self {
        Self { windows: (0..models).map(|_| Mutex::default()).collect() }
    }

    /// Takes an outcome down.
    pub fn record(&self, model: usize, task: Task, success: bool) {
        let mut windows = self.windows[model].lock().unwrap_or_else(PoisonError::into_inner);
        let window = &mut windows[task as usize];
        window.successes = window.successes << 1 | u64::from(success);
        window.length = (window.length + 1).min(WINDOW);
    }

    /// Successes and failures among the last attempts.
    pub fn counts(&self, model: usize, task: Task) -> (u32, u32) {
        let window = self.windows[model].lock().unwrap_or_else(PoisonError::into_inner)[task as usize];
        let successes = window.successes.count_ones();
        (successes, window.length - successes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_64_count_and_tasks_are_apart() {
        let history = History::new(2);
        assert_eq!(history.counts(1, Task::Code), (0, 0));
        for outcome in 0..100 {
            history.record(1, Task::Code, outcome >= 50);
        }
        assert_eq!(history.counts(1, Task::Code), (50, 14));
        assert_eq!(history.counts(1, Task::General), (0, 0));
        assert_eq!(history.counts(0, Task::Code), (0, 0));
    }
}
