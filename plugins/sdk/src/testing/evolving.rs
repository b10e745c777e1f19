//! What evaluators and mutators are asked with.

use std::cell::RefCell;
use std::collections::VecDeque;

use crate::{
    CaseEnding, HttpError, HttpRequest, HttpResponse, Level, Metric, ModelError, ModelRequest, ModelResponse, Number,
    Summary, Weakness,
};

/// Whom a policy may call; here it is what a test says, one answer after another.
#[derive(Debug, Default)]
pub struct Host {
    responses: RefCell<VecDeque<Result<HttpResponse, HttpError>>>,
    answers: RefCell<VecDeque<Result<ModelResponse, ModelError>>>,
    sent: RefCell<Vec<HttpRequest>>,
    called: RefCell<Vec<ModelRequest>>,
    reported: RefCell<super::Reported>,
}

/// What a test says.
impl Host {
    /// With what comes of the next request.
    pub fn responding(self, response: Result<HttpResponse, HttpError>) -> Self {
        self.responses.borrow_mut().push_back(response);
        self
    }

    /// With what comes of the next call of a model.
    pub fn answering(self, answer: Result<ModelResponse, ModelError>) -> Self {
        self.answers.borrow_mut().push_back(answer);
        self
    }

    /// What was sent so far.
    pub fn sent(&self) -> Vec<HttpRequest> {
        self.sent.borrow().clone()
    }

    /// The calls of models so far.
    pub fn called(&self) -> Vec<ModelRequest> {
        self.called.borrow().clone()
    }

    /// What the policy has reported so far.
    pub fn reported(&self) -> super::Reported {
        self.reported.borrow().clone()
    }
}

/// What a policy asks, as in a component.
impl Host {
    /// Sends a request to a service.
    pub fn send(&self, request: &HttpRequest) -> Result<HttpResponse, HttpError> {
        self.sent.borrow_mut().push(request.clone());
        let nobody = || Err(HttpError::Unavailable("the test says nothing of it".to_owned()));
        self.responses.borrow_mut().pop_front().unwrap_or_else(nobody)
    }

    /// Calls a model.
    pub fn call(&self, request: &ModelRequest) -> Result<ModelResponse, ModelError> {
        self.called.borrow_mut().push(request.clone());
        let nobody = || Err(ModelError::Unavailable("the test says nothing of it".to_owned()));
        self.answers.borrow_mut().pop_front().unwrap_or_else(nobody)
    }

    /// Writes a line into the log.
    pub fn log(&self, _level: Level, line: &str) {
        self.reported.borrow_mut().log(line);
    }

    /// Adds to a counter.
    pub fn count(&self, name: &str, by: u64) {
        self.reported.borrow_mut().count(name, by);
    }

    /// Sets a gauge.
    pub fn gauge(&self, name: &str, value: f64) {
        self.reported.borrow_mut().gauge(name, value);
    }
}

fn from(text: &str, start: u32) -> String {
    let mut start = (start as usize).min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    text[start..].to_owned()
}

/// A case, which a test makes by hand; in a component it is the host's.
#[derive(Clone, Debug, Default)]
pub struct Case {
    /// What [`Case::id`] gives.
    pub id: String,
    /// What [`Case::task`] gives.
    pub task: Option<String>,
    /// What [`Case::prompt`] gives.
    pub prompt: String,
    /// What [`Case::expected`] gives.
    pub expected: Option<String>,
    /// What [`Case::member`] gives, by name.
    pub members: Vec<(String, String)>,
    /// What [`Case::qualities`] gives.
    pub qualities: Vec<(String, f64)>,
}

/// What an evaluator asks, as in a component.
impl Case {
    /// What the data set calls it.
    pub fn id(&self) -> String {
        self.id.clone()
    }

    /// What it is about.
    pub fn task(&self) -> Option<String> {
        self.task.clone()
    }

    /// Bytes of what was asked.
    pub fn prompt_bytes(&self) -> u32 {
        self.prompt.len() as u32
    }

    /// What was asked, from this byte.
    pub fn prompt(&self, start: u32) -> String {
        from(&self.prompt, start)
    }

    /// What a good answer is.
    pub fn expected(&self) -> Option<String> {
        self.expected.clone()
    }

    /// Another member, as JSON.
    pub fn member(&self, name: &str) -> Option<String> {
        self.members.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }

    /// What the data set says of each model.
    pub fn qualities(&self) -> Vec<(String, f64)> {
        self.qualities.clone()
    }
}

/// What came of a case; likewise.
#[derive(Clone, Debug)]
pub struct CaseOutcome {
    /// What [`CaseOutcome::ending`] gives.
    pub ending: CaseEnding,
    /// What [`CaseOutcome::model`] gives.
    pub model: Option<String>,
    /// What [`CaseOutcome::text`] gives.
    pub text: String,
    /// What [`CaseOutcome::quality`] gives.
    pub quality: Option<f64>,
    /// What [`CaseOutcome::cost`] gives.
    pub cost: Option<u64>,
    /// What [`CaseOutcome::input_tokens`] gives.
    pub input_tokens: Option<u32>,
    /// What [`CaseOutcome::output_tokens`] gives.
    pub output_tokens: Option<u32>,
    /// What [`CaseOutcome::latency_ms`] gives.
    pub latency_ms: Option<u32>,
}

/// An answer of which nothing else is known.
pub fn answered(text: &str) -> CaseOutcome {
    CaseOutcome {
        ending: CaseEnding::Answered,
        model: None,
        text: text.to_owned(),
        quality: None,
        cost: None,
        input_tokens: None,
        output_tokens: None,
        latency_ms: None,
    }
}

/// What an evaluator asks, as in a component.
impl CaseOutcome {
    /// How it ended.
    pub fn ending(&self) -> CaseEnding {
        self.ending
    }

    /// The model that answered, or was to.
    pub fn model(&self) -> Option<String> {
        self.model.clone()
    }

    /// Bytes of the answer.
    pub fn text_bytes(&self) -> u32 {
        self.text.len() as u32
    }

    /// The answer, from this byte.
    pub fn text(&self, start: u32) -> String {
        from(&self.text, start)
    }

    /// What the data set says of its quality.
    pub fn quality(&self) -> Option<f64> {
        self.quality
    }

    /// In picodollars.
    pub fn cost(&self) -> Option<u64> {
        self.cost
    }

    /// Tokens of what was asked.
    pub fn input_tokens(&self) -> Option<u32> {
        self.input_tokens
    }

    /// Tokens of the answer.
    pub fn output_tokens(&self) -> Option<u32> {
        self.output_tokens
    }

    /// How long it took.
    pub fn latency_ms(&self) -> Option<u32> {
        self.latency_ms
    }
}

/// What a mutator begins with, which a test makes by hand; in a component it is the host's.
#[derive(Clone, Debug, Default)]
pub struct Genome {
    /// Texts by slot.
    pub texts: Vec<(String, String)>,
    /// The numbers of each slot: a test says which there are.
    pub known: Vec<(String, Vec<Number>)>,
}

impl Genome {
    /// With a slot's text, and the numbers in it.
    pub fn slot(mut self, slot: &str, text: &str, numbers: Vec<Number>) -> Self {
        self.texts.push((slot.to_owned(), text.to_owned()));
        self.known.push((slot.to_owned(), numbers));
        self
    }

    /// Names and bytes.
    pub fn slots(&self) -> Vec<(String, u32)> {
        self.texts.iter().map(|(slot, text)| (slot.clone(), text.len() as u32)).collect()
    }

    /// A slot's text, from this byte.
    pub fn text(&self, slot: &str, start: u32) -> Option<String> {
        self.texts.iter().find(|(known, _)| known == slot).map(|(_, text)| from(text, start))
    }

    /// The numbers of a slot's text.
    pub fn numbers(&self, slot: &str) -> Vec<Number> {
        self.known.iter().find(|(known, _)| known == slot).map(|(_, numbers)| numbers.clone()).unwrap_or_default()
    }
}

/// What is known of a genome; likewise.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// What [`Evidence::summary`] gives.
    pub summaries: Vec<Summary>,
    /// Cases that went badly, with what was asked and answered.
    pub bad: Vec<(Weakness, String, String)>,
    /// What [`Evidence::notes`] gives.
    pub notes: Vec<String>,
}

impl Evidence {
    /// Each metric over all cases.
    pub fn summary(&self) -> Vec<Summary> {
        self.summaries.clone()
    }

    /// How many cases are told of that went badly.
    pub fn weaknesses(&self) -> u32 {
        self.bad.len() as u32
    }

    /// Such a case.
    pub fn weakness(&self, index: u32) -> Option<Weakness> {
        self.bad.get(index as usize).map(|(weakness, ..)| weakness.clone())
    }

    /// What was asked in it.
    pub fn prompt(&self, index: u32, start: u32) -> String {
        self.bad.get(index as usize).map(|(_, prompt, _)| from(prompt, start)).unwrap_or_default()
    }

    /// What was answered.
    pub fn answer(&self, index: u32, start: u32) -> String {
        self.bad.get(index as usize).map(|(.., answer)| from(answer, start)).unwrap_or_default()
    }

    /// What else is to be considered.
    pub fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }
}

/// The value of a metric of this name.
pub fn value(metrics: &[Metric], name: &str) -> Option<f64> {
    metrics.iter().find(|metric| metric.name == name).map(|metric| metric.value)
}
