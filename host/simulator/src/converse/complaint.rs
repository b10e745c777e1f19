//! How AWS words what is wrong with a request.

use crate::error::ApiError;

/// `1 validation error detected: …`
pub(crate) fn constraint(value: &str, place: &str, what: &str) -> ApiError {
    ApiError::validation(format!(
        "1 validation error detected: Value {value} at '{place}' failed to satisfy constraint: {what}"
    ))
}

/// Something required is missing.
pub(crate) fn absent(place: &str) -> ApiError {
    constraint("null", place, "Member must not be null")
}

/// A word that is none of those allowed.
pub(crate) fn one_of(value: &str, place: &str, allowed: &[&str]) -> ApiError {
    let what = format!("Member must satisfy enum value set: [{}]", allowed.join(", "));
    constraint(&format!("'{value}'"), place, &what)
}

/// A document that has to be an object.
pub(crate) fn not_an_object(place: &str) -> ApiError {
    ApiError::validation(format!(
        "The format of the value at {place} is invalid. Provide a json object for the field and \
         try again."
    ))
}
