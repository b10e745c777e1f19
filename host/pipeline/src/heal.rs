//! What follows a failed attempt: the next candidate of the plan, or the end.
//!
//! The plan is the policy's word on what a request may cost: where it names further models, they
//! are tried. A failure that is the caller's mistake, or that every model would meet alike, ends
//! the request.

use kairos_dialects::Failure;

/// Whether the next candidate is tried.
pub(crate) fn tries_next(failure: &Failure) -> bool {
    failure.kind.may_succeed_elsewhere()
}
