//! The log, on standard error: lines are gathered in memory and written by a thread of its own, many
//! at a time, so that a request neither waits for a slow reader nor wakes anybody.

use std::io::{self, IsTerminal as _, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use self::request::Ended;

pub(crate) mod request;

/// Bytes that may wait to be written; lines beyond are dropped and counted, rather than holding
/// requests up.
const MOST_WAITING: usize = 8 * 1024 * 1024;
/// How long lines are gathered before they are written.
const GATHER: Duration = Duration::from_millis(10);
/// Looks for lines, so far apart, before the thread waits to be woken: who writes a line now and then wakes nobody,
/// on the core of the request that the line is of.
const LOOKS: u32 = 50;
/// How long the end of the process waits for a reader to take the last lines.
const PATIENCE: Duration = Duration::from_secs(1);

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where lines of JSON go that are written without the help of `tracing`; none while lines are for people.
static JSON_LINES: OnceLock<Lines> = OnceLock::new();

/// Lines that were dropped since the start, as a process has one log.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Starts the log. Lines are written until the guard is dropped.
pub(crate) fn start(format: Option<LogFormat>) -> Guard {
    let lines = Lines::default();
    let guard = Guard::write_to(lines.clone(), PATIENCE, io::stderr());
    let filter = EnvFilter::try_from_env("KAIROS_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let terminal = io::stderr().is_terminal();
    let format = format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
    let log = tracing_subscriber::fmt().with_writer(lines.clone()).with_env_filter(filter).with_ansi(terminal);
    // Whoever has set a log up already keeps it.
    let _ = match format {
        LogFormat::Text => log.with_target(false).try_init(),
        LogFormat::Json => {
            let _ = JSON_LINES.set(lines);
            log.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
        }
    };
    guard
}

/// Lines that were dropped since the start.
pub(crate) fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Writes what waits when it is dropped, as long as somebody reads it.
pub(crate) struct Guard {
    lines: Lines,
    /// Closed once the last line is written; none where no thread could be started.
    written: Option<Receiver<()>>,
    patience: Duration,
}

impl Guard {
    /// Starts the thread that writes.
    fn write_to(lines: Lines, patience: Duration, to: impl Write + Send + 'static) -> Self {
        let writing = lines.clone();
        let (end, written) = mpsc::channel();
        let thread = std::thread::Builder::new().name("kairos-log".to_owned()).spawn(move || {
            writing.write_out(to);
            drop::<Sender<()>>(end);
        });
        Self { lines, written: thread.ok().map(|_| written), patience }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.lines.lock().ended = true;
        self.lines.0.wake.notify_one();
        // A reader that takes nothing must not keep the process from ending.
        if let Some(written) = &self.written {
            let _ = written.recv_timeout(self.patience);
        }
    }
}

/// Lines that wait to be written.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// Requests whose lines are still to be made, and after how many of the bytes each comes.
    requests: Vec<(usize, Ended)>,
    /// Lines that found no room since the last were written.
    dropped: u64,
    ended: bool,
    /// The thread that writes waits to be woken.
    rests: bool,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.requests.is_empty() && self.dropped == 0
    }
}

impl Lines {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line, its end included.
    fn push(&self, line: &[u8]) {
        self.add(line.len(), |waiting| waiting.bytes.extend_from_slice(line));
    }

    /// Adds the line of a request.
    fn push_request(&self, ended: Ended) {
        self.add(Ended::BYTES, |waiting| waiting.requests.push((waiting.bytes.len(), ended)));
    }

    fn add(&self, bytes: usize, add: impl FnOnce(&mut Waiting)) {
        let mut waiting = self.lock();
        if waiting.bytes.len() + waiting.requests.len() * Ended::BYTES + bytes > MOST_WAITING {
            waiting.dropped += 1;
            DROPPED.fetch_add(1, Ordering::Relaxed);
            return;
        }
        add(&mut waiting);
        let rests = std::mem::take(&mut waiting.rests);
        drop(waiting);
        if rests {
            self.0.wake.notify_one();
        }
    }

    /// Writes lines as they come, until the end is wanted and nothing waits.
    fn write_out(&self, mut to: impl Write) {
        let (mut bytes, mut requests, mut writing) = (Vec::new(), Vec::new(), Vec::new());
        let mut looks = LOOKS;
        loop {
            let mut waiting = self.lock();
            while waiting.is_empty() && !waiting.ended {
                waiting.rests = looks >= LOOKS;
                looks += 1;
                waiting = match waiting.rests {
                    true => self.0.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                    false => self.0.wake.wait_timeout(waiting, GATHER).unwrap_or_else(PoisonError::into_inner).0,
                };
            }
            (waiting.rests, looks) = (false, 0);
            if !waiting.ended {
                waiting = self.0.wake.wait_timeout(waiting, GATHER).unwrap_or_else(PoisonError::into_inner).0;
            }
            std::mem::swap(&mut waiting.bytes, &mut bytes);
            std::mem::swap(&mut waiting.requests, &mut requests);
            let (dropped, ended) = (std::mem::take(&mut waiting.dropped), waiting.ended);
            drop(waiting);
            let mut from = 0;
            for (after, request) in requests.drain(..) {
                writing.extend_from_slice(&bytes[from..after]);
                request.write(&mut writing);
                from = after;
            }
            writing.extend_from_slice(&bytes[from..]);
            // Nobody to tell that nobody can be told.
            let _ = to.write_all(&writing);
            if dropped > 0 {
                let _ = writeln!(
                    to,
                    "{{\"level\":\"WARN\",\"message\":\"{dropped} lines of the log were dropped: whoever reads it is too slow\"}}"
                );
            }
            let _ = to.flush();
            bytes.clear();
            writing.clear();
            if ended {
                return;
            }
        }
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// A formatter writes each line in one piece.
impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps what is written; holds every write up until it may go on.
    struct Slow(Receiver<()>, Arc<Mutex<Vec<u8>>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            self.1.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_finds_no_room_is_dropped_and_counted_and_the_rest_is_written() {
        let before = dropped();
        let lines = Lines::default();
        let line = [b'x'; 1_000];
        for _ in 0..MOST_WAITING / line.len() + 5 {
            lines.push(&line);
        }
        let written = Arc::new(Mutex::new(Vec::new()));
        let (go, wait) = mpsc::channel();
        // As long as it takes: the drop waits for the last line.
        let guard = Guard::write_to(lines, Duration::MAX, Slow(wait, Arc::clone(&written)));
        drop(go);
        drop(guard);
        let written = written.lock().unwrap();
        assert_eq!(written.iter().filter(|byte| **byte == b'x').count(), MOST_WAITING / line.len() * line.len());
        assert!(String::from_utf8_lossy(&written[written.len() - 200..]).contains("5 lines of the log were dropped"));
        assert_eq!(dropped() - before, 5);

        let requests = Lines::default();
        for _ in 0..MOST_WAITING / Ended::BYTES + 3 {
            requests.push_request(Ended::of([0; 16]));
        }
        requests.push(b"no room for this either\n");
        assert_eq!((requests.lock().requests.len(), dropped() - before), (MOST_WAITING / Ended::BYTES, 5 + 4));
    }

    #[test]
    fn lines_of_requests_stand_where_they_came() {
        let lines = Lines::default();
        lines.push(b"first\n");
        lines.push_request(Ended::of([0; 16]));
        lines.push(b"between\n");
        lines.push_request(Ended::of([0x11; 16]));
        lines.push_request(Ended::of([0x22; 16]));
        let written = Arc::new(Mutex::new(Vec::new()));
        let (go, wait) = mpsc::channel();
        drop(go);
        drop(Guard::write_to(lines, Duration::MAX, Slow(wait, Arc::clone(&written))));
        let line = |id: &str| {
            format!(
                "{{\"timestamp\":\"1970-01-01T00:00:00Z\",\"level\":\"INFO\",\"message\":\"request\",\
                 \"request_id\":\"{id}\",\"operation\":\"converse\",\"asked_model\":\"auto\",\"attempts\":0,\
                 \"status\":\"ok\",\"http_status\":200,\"cost_usd\":\"0.000000000012\",\"cost_estimated\":false,\
                 \"duration_ms\":3.5,\"warnings\":\"one; two\",\"target\":\"kairos::request\"}}"
            )
        };
        let expected = [
            "first",
            &line("00000000-0000-0000-0000-000000000000"),
            "between",
            &line("11111111-1111-1111-1111-111111111111"),
            &line("22222222-2222-2222-2222-222222222222"),
        ];
        assert_eq!(String::from_utf8_lossy(&written.lock().unwrap()).lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn lines_are_written_by_a_thread_that_rests_and_by_one_that_looks() {
        let (lines, written) = (Lines::default(), Arc::new(Mutex::new(Vec::new())));
        let (go, wait) = mpsc::channel();
        drop(go);
        let _guard = Guard::write_to(lines.clone(), Duration::MAX, Slow(wait, Arc::clone(&written)));
        for round in 1..=3 {
            while !lines.lock().rests && round == 1 {
                std::thread::yield_now();
            }
            lines.push(b"line\n");
            while written.lock().unwrap().len() < 5 * round {
                std::thread::yield_now();
            }
        }
        while !lines.lock().rests {
            std::thread::yield_now();
        }
        assert_eq!(written.lock().unwrap().len(), 15);
    }

    #[test]
    fn a_reader_that_takes_nothing_does_not_hold_the_end_up() {
        let lines = Lines::default();
        lines.push(b"nobody reads this\n");
        let (go, wait) = mpsc::channel();
        let guard = Guard::write_to(lines, Duration::ZERO, Slow(wait, Arc::default()));
        // Without patience's end this would never return: the reader is let go only afterwards.
        drop(guard);
        drop(go);
    }
}
