//! Calls of others: `http` and `model`, of evaluators and mutators.

use kairos_pipeline::policy::{Failing, HttpMethod, HttpRequest, ModelRequest, OutsideError};
use wasmtime::Result;

use super::super::bindings::kairos::plugin::{http, model};
use super::HostState;

/// What is said of settings of a request: none are defined yet.
fn no_settings(settings: &[(u32, u64)]) -> std::result::Result<(), String> {
    settings.first().map_or(Ok(()), |(code, _)| Err(format!("setting {code} is not known")))
}

impl http::Host for HostState {
    fn send(&mut self, request: http::Request) -> Result<std::result::Result<http::Response, http::Error>> {
        let http::Request { method, url, headers, body, settings } = request;
        if let Err(wrong) = no_settings(&settings) {
            return Ok(Err(http::Error::Invalid(wrong)));
        }
        let method = HttpMethod::ALL[method as usize];
        Ok(self
            .reach
            .get_or_insert_default()
            .send(&HttpRequest { method, url, headers, body })?
            .map_err(http_error)
            .map(|response| http::Response { status: response.status, headers: response.headers, body: response.body }))
    }
}

fn http_error(error: OutsideError) -> http::Error {
    match error.kind {
        Failing::Denied => http::Error::Denied(error.message),
        Failing::Invalid => http::Error::Invalid(error.message),
        Failing::OverLimit => http::Error::OverLimit(error.message),
        Failing::Unavailable | Failing::Unscripted => http::Error::Unavailable(error.message),
    }
}

impl model::Host for HostState {
    fn call(&mut self, request: model::Request) -> Result<std::result::Result<model::Response, model::Error>> {
        let model::Request { model, system, messages, max_output_tokens, temperature, settings } = request;
        if let Err(wrong) = no_settings(&settings) {
            return Ok(Err(model::Error::Invalid(wrong)));
        }
        let messages = messages.into_iter().map(|(role, text)| (role == model::Role::User, text)).collect();
        let request = ModelRequest { model, system, messages, max_output_tokens, temperature };
        let called = self.reach.get_or_insert_default().call(&request)?;
        Ok(called.map_err(model_error).map(|response| model::Response {
            text: response.text,
            model: response.model,
            cut: response.cut,
            input_tokens: response.input_tokens,
            output_tokens: response.output_tokens,
            cost: response.cost,
        }))
    }
}

fn model_error(error: OutsideError) -> model::Error {
    match error.kind {
        Failing::Denied => model::Error::Refused(error.message),
        Failing::Invalid => model::Error::Invalid(error.message),
        Failing::OverLimit => model::Error::OverLimit(error.message),
        Failing::Unavailable | Failing::Unscripted => model::Error::Unavailable(error.message),
    }
}
