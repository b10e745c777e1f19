//! A guard at work.
