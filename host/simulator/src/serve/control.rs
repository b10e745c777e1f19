//! `/sim/v1/`: faults and the bill, over HTTP.
//!
//! It must not know models or wires.

use http::request::Parts;
use http::{Method, Response};
use percent_encoding::percent_decode_str;
use serde_json::json;

use super::jobs;
use super::respond;
use super::service::Service;
use super::stream::Payload;
use crate::error::ApiError;
use crate::faults;

/// What a list of faults may weigh.
pub(super) const MOST: usize = 1024 * 1024;
/// Rows given when nobody says how many.
const USUAL_ROWS: usize = 1_000;

fn bad(message: String) -> ApiError {
    ApiError::validation(message)
}

fn nothing_here() -> ApiError {
    ApiError {
        status: 404,
        name: "ResourceNotFoundException",
        message:
            "There are /sim/v1/faults, /sim/v1/jobs, /sim/v1/bill, /sim/v1/bill/{invocation-id} and /sim/v1/bill.csv."
                .into(),
    }
}

pub(super) fn wrong_method(allowed: &str) -> ApiError {
    let message = format!("Only {allowed} is taken here.").into();
    ApiError { status: 405, name: "MethodNotAllowedException", message }
}

pub(super) fn answer(service: &Service, head: &Parts, body: &[u8]) -> Response<Payload> {
    let path = head.uri.path().trim_start_matches("/sim/v1/");
    // Jobs whose time is over have ended, and are on the bill.
    service.jobs.end_due(service.generator.clock.now());
    let answered = match path.split_once('/') {
        None if path == "faults" => answer_faults(service, &head.method, body),
        None if path == "jobs" => jobs::control(service, &head.method, body),
        None if path == "bill" => answer_bill(service, head),
        None if path == "bill.csv" => answer_cur(service, &head.method),
        Some(("bill", id)) if !id.is_empty() => answer_row(service, &head.method, id),
        _ => Err(nothing_here()),
    };
    answered.unwrap_or_else(|error| respond::error(&error))
}

fn answer_faults(service: &Service, method: &Method, body: &[u8]) -> Result<Response<Payload>, ApiError> {
    match *method {
        Method::GET => {}
        Method::PUT => {
            service.faults.set(faults::read(body).map_err(|error| bad(error.to_string()))?);
        }
        Method::DELETE => service.faults.clear(),
        _ => return Err(wrong_method("GET, PUT or DELETE")),
    }
    Ok(respond::json(faults::write(&service.faults.counted()).to_string()))
}

fn answer_bill(service: &Service, head: &Parts) -> Result<Response<Payload>, ApiError> {
    if head.method != Method::GET {
        return Err(wrong_method("GET"));
    }
    let (mut after, mut limit) = (0u64, USUAL_ROWS);
    for pair in head.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let wrong = || bad(format!("`{name}` is {value:?}, which is not a whole number"));
        match name {
            "after" => after = value.parse().map_err(|_| wrong())?,
            "limit" => limit = value.parse().map_err(|_| wrong())?,
            _ => {
                return Err(bad(format!("`{name}` is unknown; there are `after` and `limit`")));
            }
        }
    }
    let rows = service.bill.rows(after, limit);
    let next = rows.last().map_or(after, |row| row.seq);
    let body = json!({
        "rows": rows,
        "next_after": next,
        "first_kept": service.bill.first_kept(),
        "totals": service.bill.totals(),
    });
    Ok(respond::json(body.to_string()))
}

/// The bill as an export of CUR 2.0.
fn answer_cur(service: &Service, method: &Method) -> Result<Response<Payload>, ApiError> {
    if *method != Method::GET {
        return Err(wrong_method("GET"));
    }
    let message = "The first rows of the bill are no longer kept: an export without them would be wrong.";
    let gone = ApiError { status: 410, name: "ResourceNotFoundException", message: message.into() };
    service.bill.cur().map(respond::csv).ok_or(gone)
}

fn answer_row(service: &Service, method: &Method, id: &str) -> Result<Response<Payload>, ApiError> {
    if *method != Method::GET {
        return Err(wrong_method("GET"));
    }
    let id = percent_decode_str(id).decode_utf8().map_err(|_| bad("the invocation id is not UTF-8".into()))?;
    let rows = service.bill.find(&id);
    if rows.is_empty() {
        return Err(ApiError {
            status: 404,
            name: "ResourceNotFoundException",
            message: "Nothing was billed under that invocation id, or its row is no longer kept.".into(),
        });
    }
    let sum = rows.iter().fold(0u128, |sum, row| sum.saturating_add(row.cost_usd.picodollars()));
    let cost = crate::money::Usd::from_picodollars(sum);
    Ok(respond::json(json!({"invocation_id": id, "rows": rows, "cost_usd": cost}).to_string()))
}
