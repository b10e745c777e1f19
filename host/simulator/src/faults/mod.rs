//! Faults: what goes wrong, for which model, and how often.
//!
//! It must not know how a fault is acted out.

mod spec;

use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Exception;

pub use spec::BadFault;
pub(crate) use spec::{read, write};

/// One thing that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The model id exactly as callers write it (after percent-decoding), or `*` for every one.
    pub model: String,
    /// What happens.
    pub kind: FaultKind,
    /// How often.
    pub rate: Rate,
    /// After how many times it stops; never, if none.
    pub times: Option<u64>,
}

impl Fault {
    /// Reads a list of faults from JSON, as `PUT /sim/v1/faults` takes it.
    pub fn read_list(json: &[u8]) -> Result<Vec<Self>, BadFault> {
        read(json)
    }

    /// A fault that hits every call of a model.
    pub fn always(model: impl Into<String>, kind: FaultKind) -> Self {
        Self { model: model.into(), kind, rate: Rate::ALWAYS, times: None }
    }
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// An error in place of an answer.
    Error {
        /// Which.
        exception: Exception,
        /// Its message, if not the usual one.
        message: Option<String>,
        /// Seconds to say in `Retry-After`.
        retry_after: Option<u32>,
    },
    /// 429 with nothing in it: no type, no body.
    Empty429,
    /// The connection is reset before any answer.
    ConnectionReset,
    /// The request is taken and never answered.
    Stall,
    /// A stream falls silent after so many content events.
    StallAfter {
        /// Content events before the silence.
        after: u32,
    },
    /// A stream ends inside a frame.
    CutFrame {
        /// Whole content events before the frame that is cut.
        after: u32,
    },
    /// A frame of a stream has a message checksum that does not match.
    BadChecksum {
        /// Content events before that frame.
        after: u32,
    },
    /// A stream ends, well-formed, without its terminal events.
    CleanEof {
        /// Content events before the end.
        after: u32,
    },
    /// A stream lacks its metadata (native streams: their invocation metrics).
    NoMetadata,
    /// An exception inside a stream.
    StreamException {
        /// Which.
        exception: StreamException,
        /// Content events before it; 0 makes it the first event of all.
        after: u32,
        /// Its message, if not the usual one.
        message: Option<String>,
    },
}

/// Exceptions that can come inside a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamException {
    /// `internalServerException`.
    InternalServer,
    /// `modelStreamErrorException`.
    ModelStreamError,
    /// `validationException`.
    Validation,
    /// `throttlingException`.
    Throttling,
    /// `serviceUnavailableException`.
    ServiceUnavailable,
    /// `modelTimeoutException`, which only native streams have.
    ModelTimeout,
}

impl StreamException {
    /// As the frame names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::InternalServer => "internalServerException",
            Self::ModelStreamError => "modelStreamErrorException",
            Self::Validation => "validationException",
            Self::Throttling => "throttlingException",
            Self::ServiceUnavailable => "serviceUnavailableException",
            Self::ModelTimeout => "modelTimeoutException",
        }
    }

    pub(crate) const ALL: [Self; 6] = [
        Self::InternalServer,
        Self::ModelStreamError,
        Self::Validation,
        Self::Throttling,
        Self::ServiceUnavailable,
        Self::ModelTimeout,
    ];

    /// The same before a stream begins.
    pub(crate) fn exception(self) -> Exception {
        match self {
            Self::InternalServer => Exception::InternalServer,
            Self::ModelStreamError => Exception::ModelStreamError,
            Self::Validation => Exception::Validation,
            Self::Throttling => Exception::Throttling,
            Self::ServiceUnavailable => Exception::ServiceUnavailable,
            Self::ModelTimeout => Exception::ModelTimeout,
        }
    }
}

/// How often a fault strikes, in billionths: exact, unlike a float.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(u32);

impl Rate {
    const WHOLE: u32 = 1_000_000_000;

    /// Every call.
    pub const ALWAYS: Self = Self(Self::WHOLE);

    /// A fraction of all calls, to nine decimals; none outside [0, 1].
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn new(fraction: f64) -> Option<Self> {
        (0.0..=1.0).contains(&fraction).then(|| Self((fraction * f64::from(Self::WHOLE)).round() as u32))
    }

    /// The fraction of calls.
    #[must_use]
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / f64::from(Self::WHOLE)
    }

    /// Whether the k-th call (from 1) is one that the fault strikes.
    fn strikes(self, k: u64) -> bool {
        let share = |n: u64| u128::from(n) * u128::from(self.0) / u128::from(Self::WHOLE);
        share(k) > share(k - 1)
    }
}

/// What a call can suffer from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    Buffered,
    ConverseStream,
    NativeStream,
}

impl FaultKind {
    fn fits(&self, sort: Sort) -> bool {
        match self {
            Self::Error { .. } | Self::Empty429 | Self::ConnectionReset | Self::Stall => true,
            Self::StreamException { exception: StreamException::ModelTimeout, .. } => sort == Sort::NativeStream,
            _ => sort != Sort::Buffered,
        }
    }
}

/// The faults in force, and how often each was met. Clones share them.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<Vec<Counted>>>);

#[derive(Clone, Debug)]
pub(crate) struct Counted {
    pub(crate) fault: Fault,
    pub(crate) seen: u64,
    pub(crate) struck: u64,
}

impl Faults {
    pub(crate) fn new(faults: Vec<Fault>) -> Self {
        let all = Self::default();
        all.set(faults);
        all
    }

    /// Puts these in force in place of all others, with fresh counts.
    pub fn set(&self, faults: Vec<Fault>) {
        *self.lock() = faults.into_iter().map(|fault| Counted { fault, seen: 0, struck: 0 }).collect();
    }

    /// Ends all faults.
    pub fn clear(&self) {
        self.set(Vec::new());
    }

    /// The faults in force, those that are spent included.
    #[must_use]
    pub fn list(&self) -> Vec<Fault> {
        self.lock().iter().map(|counted| counted.fault.clone()).collect()
    }

    pub(crate) fn counted(&self) -> Vec<Counted> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Counted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fault that strikes a call, if any.
    ///
    /// Faults are asked in order. The k-th call that one is asked about is struck when
    /// ⌊k·rate⌋ > ⌊(k−1)·rate⌋, so that of any n calls exactly ⌊n·rate⌋ are. A call that is struck is
    /// not shown to the faults behind.
    pub(crate) fn strike(&self, model: &str, sort: Sort) -> Option<FaultKind> {
        let mut all = self.lock();
        for counted in all.iter_mut() {
            let Fault { model: wanted, kind, rate, times } = &counted.fault;
            let spent = times.is_some_and(|times| counted.struck >= times);
            if spent || !(wanted == "*" || wanted == model) || !kind.fits(sort) {
                continue;
            }
            counted.seen += 1;
            if rate.strikes(counted.seen) {
                counted.struck += 1;
                return Some(kind.clone());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fault(model: &str, rate: f64, times: Option<u64>) -> Fault {
        let rate = Rate::new(rate).unwrap();
        Fault { model: model.into(), kind: FaultKind::Empty429, rate, times }
    }

    fn struck(faults: &Faults, calls: usize) -> usize {
        (0..calls).filter(|_| faults.strike("m", Sort::Buffered).is_some()).count()
    }

    #[test]
    fn strikes_exactly_its_share() {
        for (rate, calls, expected) in
            [(0.0, 100, 0), (1.0, 7, 7), (0.1, 30, 3), (0.29, 100, 29), (0.5, 3, 1), (1e-9, 9, 0)]
        {
            let faults = Faults::new(vec![fault("*", rate, None)]);
            assert_eq!(struck(&faults, calls), expected, "{rate}");
        }
    }

    #[test]
    fn stops_after_its_times_and_only_hits_its_model() {
        let faults = Faults::new(vec![fault("m", 1.0, Some(2)), fault("other", 1.0, None)]);
        assert_eq!(struck(&faults, 5), 2);
        assert!(faults.strike("other", Sort::Buffered).is_some());
        faults.clear();
        assert!(faults.strike("other", Sort::Buffered).is_none() && faults.list().is_empty());
    }

    #[test]
    fn stream_faults_leave_buffered_calls_alone() {
        let timeout = FaultKind::StreamException { exception: StreamException::ModelTimeout, after: 0, message: None };
        for (kind, buffered, converse, native) in [
            (FaultKind::NoMetadata, false, true, true),
            (FaultKind::CutFrame { after: 1 }, false, true, true),
            (FaultKind::Stall, true, true, true),
            (timeout, false, false, true),
        ] {
            let faults = Faults::new(vec![Fault::always("*", kind.clone())]);
            let hit = [Sort::Buffered, Sort::ConverseStream, Sort::NativeStream]
                .map(|sort| faults.strike("m", sort).is_some());
            assert_eq!(hit, [buffered, converse, native], "{kind:?}");
        }
    }

    proptest! {
        #[test]
        fn of_n_calls_the_floor_of_n_times_rate(millis in 0u32..=1_000, calls in 0usize..300) {
            let faults = Faults::new(vec![fault("*", f64::from(millis) / 1_000.0, None)]);
            prop_assert_eq!(struck(&faults, calls), calls * millis as usize / 1_000);
        }
    }
}
