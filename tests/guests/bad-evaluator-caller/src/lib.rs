//! An evaluator that calls a service, without end.

use guest_kit::{HttpError, HttpRequest, Measure, Method, Score};

guest_kit::evaluator!("bad-evaluator-caller", |host, case, _| {
    let url = case.member("url").unwrap_or_default().trim_matches('"').to_owned();
    let request = HttpRequest { method: Method::Get, url, headers: vec![], body: vec![], settings: vec![] };
    let mut calls = 0u32;
    let why = loop {
        match host.send(&request) {
            Ok(response) => calls += u32::from(response.status == 200),
            Err(HttpError::Denied(why)) => break format!("denied: {why}"),
            Err(HttpError::Invalid(why)) => break format!("invalid: {why}"),
            Err(HttpError::OverLimit(why)) => break format!("over-limit: {why}"),
            Err(HttpError::Unavailable(why)) => break format!("unavailable: {why}"),
        }
    };
    Score::new().metric("calls", Measure::Count, f64::from(calls)).remark(&why)
});
