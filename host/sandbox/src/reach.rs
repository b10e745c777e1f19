//! What one call of an evaluator or a mutator asks of others, within bounds that components and scripts share.

use std::sync::Arc;
use std::time::Instant;

use kairos_pipeline::policy::{
    Failing, HttpRequest, HttpResponse, MOST_MESSAGES, MOST_REQUEST_HEADERS, ModelRequest, ModelResponse, NOWHERE,
    Outside, OutsideError, Question,
};

/// Bytes of an address.
const URL_BYTES: usize = 8_192;

/// Calls of others that one call of a policy may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReachBounds {
    /// Calls of services.
    pub http_calls: u32,
    /// Bytes of what is sent to them, and of what comes, each.
    pub http_bytes: usize,
    /// Calls of models.
    pub model_calls: u32,
    /// Bytes of all texts of such a call.
    pub model_bytes: usize,
}

impl Default for ReachBounds {
    fn default() -> Self {
        Self { http_calls: 8, http_bytes: 1 << 20, model_calls: 8, model_bytes: 1 << 20 }
    }
}

/// Whom a call may call, and what it has used of its share.
#[derive(Debug)]
pub(crate) struct Reach {
    outside: Arc<dyn Outside>,
    bounds: ReachBounds,
    until: Instant,
    http_calls: u32,
    sent_bytes: usize,
    /// Bytes of answers that may still come.
    room: usize,
    model_calls: u32,
}

/// A test says nothing of a call: the policy's call is at fault.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unscripted(pub(crate) String);

/// What a call of others comes to, within one that goes on.
type Asked<T> = Result<Result<T, OutsideError>, Unscripted>;

fn over<T>(what: String) -> Result<T, OutsideError> {
    Err(OutsideError::new(Failing::OverLimit, what))
}

fn invalid<T>(what: String) -> Result<T, OutsideError> {
    Err(OutsideError::new(Failing::Invalid, what))
}

impl Default for Reach {
    /// Nobody is called.
    fn default() -> Self {
        Self::new(Arc::clone(&NOWHERE), ReachBounds::default(), Instant::now())
    }
}

impl Reach {
    fn new(outside: Arc<dyn Outside>, bounds: ReachBounds, until: Instant) -> Self {
        Self { outside, bounds, until, http_calls: 0, sent_bytes: 0, room: bounds.http_bytes, model_calls: 0 }
    }

    /// What a question brings along; none: nothing, and it costs nothing. Each call ends with the policy's own, at
    /// the latest.
    pub(crate) fn of(question: &Question<'_>, bounds: ReachBounds, until: Instant) -> Option<Self> {
        let outside = match question {
            Question::Score(input) => input.outside,
            Question::Propose(input) => input.outside,
            _ => return None,
        };
        Some(Self::new(Arc::clone(outside), bounds, until))
    }

    /// Sends a request to another service.
    pub(crate) fn send(&mut self, request: &HttpRequest) -> Asked<HttpResponse> {
        let sent = self.may_send(request).and_then(|()| {
            let before = self.room;
            let response = self.outside.send(request, &mut self.room, self.until)?;
            // Who answers from memory need not have counted.
            let came = response.body.len();
            self.room = self.room.min(before.saturating_sub(came));
            if came > before {
                let most = self.bounds.http_bytes;
                return over(format!("more than {most} bytes came in one call ([policies.http] bytes)"));
            }
            Ok(response)
        });
        scripted(sent)
    }

    fn may_send(&mut self, request: &HttpRequest) -> Result<(), OutsideError> {
        let ReachBounds { http_calls, http_bytes, .. } = self.bounds;
        if self.http_calls >= http_calls {
            return over(format!("more than {http_calls} requests in one call ([policies.http] calls)"));
        }
        self.http_calls += 1;
        if request.url.len() > URL_BYTES {
            return invalid(format!("the address has {} bytes; {URL_BYTES} are allowed", request.url.len()));
        }
        if request.headers.len() > MOST_REQUEST_HEADERS {
            return invalid(format!("{} headers; {MOST_REQUEST_HEADERS} are allowed", request.headers.len()));
        }
        let headers = request.headers.iter().map(|(name, value)| name.len() + value.len());
        let bytes = headers.fold(request.body.len(), usize::saturating_add);
        self.sent_bytes = self.sent_bytes.saturating_add(bytes);
        match self.sent_bytes > http_bytes {
            true => over(format!("more than {http_bytes} bytes sent in one call ([policies.http] bytes)")),
            false => Ok(()),
        }
    }

    /// Calls a model.
    pub(crate) fn call(&mut self, request: &ModelRequest) -> Asked<ModelResponse> {
        let called = self.may_call(request).and_then(|()| self.outside.call(request, self.until));
        scripted(called)
    }

    fn may_call(&mut self, request: &ModelRequest) -> Result<(), OutsideError> {
        let ReachBounds { model_calls, model_bytes, .. } = self.bounds;
        if self.model_calls >= model_calls {
            return over(format!("more than {model_calls} calls of models in one call ([policies.model] calls)"));
        }
        self.model_calls += 1;
        let ModelRequest { model, system, messages, max_output_tokens, temperature } = request;
        if model.is_empty() || model == "auto" || model.len() > 2_048 {
            return invalid("a model is named by its id or alias; `auto` is none: what it costs is not known".into());
        }
        if !(1..=MOST_MESSAGES).contains(&messages.len()) {
            return invalid(format!("{} messages; 1 to {MOST_MESSAGES} are allowed", messages.len()));
        }
        if messages.last().is_some_and(|(is_users, _)| !is_users) {
            return invalid("the last message is the assistant's; a user's is answered".into());
        }
        if *max_output_tokens == 0 {
            return invalid("max-output-tokens is 0".into());
        }
        if temperature.is_some_and(|temperature| !(0.0..=1.0).contains(&temperature)) {
            return invalid("the temperature is not between 0 and 1".into());
        }
        let texts = messages.iter().map(|(_, text)| text).chain(system).map(String::len);
        match texts.fold(0, usize::saturating_add) > model_bytes {
            true => over(format!("more than {model_bytes} bytes of text for a model ([policies.model] bytes)")),
            false => Ok(()),
        }
    }
}

fn scripted<T>(came: Result<T, OutsideError>) -> Asked<T> {
    match came {
        Err(OutsideError { kind: Failing::Unscripted, message }) => Err(Unscripted(message)),
        came => Ok(came),
    }
}

#[cfg(test)]
mod tests {
    use kairos_pipeline::policy::HttpMethod;

    use super::*;

    /// Whoever is called answers with as many bytes as the address has.
    #[derive(Debug)]
    struct Echo;

    impl Outside for Echo {
        fn send(&self, request: &HttpRequest, room: &mut usize, _: Instant) -> Result<HttpResponse, OutsideError> {
            if request.url == "broken" {
                *room = room.saturating_sub(15);
                return Err(OutsideError::new(Failing::Unavailable, "the answer broke off"));
            }
            Ok(HttpResponse { status: 200, headers: Vec::new(), body: request.url.as_bytes().to_vec() })
        }

        fn call(&self, _: &ModelRequest, _: Instant) -> Result<ModelResponse, OutsideError> {
            Ok(ModelResponse::default())
        }
    }

    fn reach() -> Reach {
        let bounds = ReachBounds { http_calls: 3, http_bytes: 20, model_calls: 2, model_bytes: 10 };
        Reach::new(Arc::new(Echo), bounds, Instant::now())
    }

    fn request(url: &str, body: usize) -> HttpRequest {
        HttpRequest { method: HttpMethod::Post, url: url.to_owned(), headers: Vec::new(), body: vec![0; body] }
    }

    fn kind<T: std::fmt::Debug>(asked: Asked<T>) -> Failing {
        asked.unwrap().unwrap_err().kind
    }

    #[test]
    fn requests_are_bounded_in_number_and_bytes() {
        let mut calls = reach();
        for _ in 0..3 {
            assert!(calls.send(&request("a", 1)).unwrap().is_ok());
        }
        assert_eq!(kind(calls.send(&request("a", 1))), Failing::OverLimit);
        let mut sent = reach();
        assert!(sent.send(&request("a", 20)).unwrap().is_ok());
        assert_eq!(kind(sent.send(&request("a", 1))), Failing::OverLimit);
        let mut came = reach();
        assert!(came.send(&request(&"a".repeat(20), 0)).unwrap().is_ok());
        assert_eq!(kind(came.send(&request("a", 0))), Failing::OverLimit);
        // What came counts, whether or not it was an answer.
        let mut broken = reach();
        assert_eq!(kind(broken.send(&request("broken", 0))), Failing::Unavailable);
        assert_eq!(kind(broken.send(&request(&"a".repeat(6), 0))), Failing::OverLimit);
        assert_eq!(kind(reach().send(&request(&"a".repeat(8_193), 0))), Failing::Invalid);
        let headers = vec![("a".to_owned(), String::new()); 33];
        assert_eq!(kind(reach().send(&HttpRequest { headers, ..request("a", 0) })), Failing::Invalid);
        let headers = vec![("a".to_owned(), "x".repeat(20))];
        assert_eq!(kind(reach().send(&HttpRequest { headers, ..request("a", 0) })), Failing::OverLimit);
    }

    #[test]
    fn calls_of_models_are_bounded_and_looked_at() {
        let good = || ModelRequest {
            model: "nova-lite".to_owned(),
            messages: vec![(true, "hello".to_owned())],
            max_output_tokens: 1,
            ..ModelRequest::default()
        };
        let mut calls = reach();
        assert!(calls.call(&good()).unwrap().is_ok() && calls.call(&good()).unwrap().is_ok());
        assert_eq!(kind(calls.call(&good())), Failing::OverLimit);
        for bad in [
            ModelRequest { model: "auto".to_owned(), ..good() },
            ModelRequest { model: String::new(), ..good() },
            ModelRequest { messages: Vec::new(), ..good() },
            ModelRequest { messages: vec![(true, String::new()); 65], ..good() },
            ModelRequest { messages: vec![(false, "x".to_owned())], ..good() },
            ModelRequest { max_output_tokens: 0, ..good() },
            ModelRequest { temperature: Some(f64::NAN), ..good() },
        ] {
            assert_eq!(kind(reach().call(&bad)), Failing::Invalid, "{bad:?}");
        }
        let long = ModelRequest { system: Some("x".repeat(6)), ..good() };
        assert_eq!(kind(reach().call(&long)), Failing::OverLimit);
    }
}
