//! What `cargo test` asks a policy with: a context that is made by hand, and plain features and models.
//!
//! ```
//! use kairos_plugin::testing::{Context, features, models};
//!
//! let ctx = Context::default().tag("team", "search").prompted("Why is the sky blue?");
//! assert_eq!(ctx.tags(), [("team".to_owned(), "search".to_owned())]);
//! assert_eq!((features().turns, models(3).len()), (1, 3));
//! ```

mod evolving;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::marker::PhantomData;

use crate::{
    Abilities, Attempt, Capabilities, Complexity, Direction, Ending, EventKind, Failure, FailureKind, Family, Features,
    Guard, Level, Message, Model, Origin, Outcome, Parameters, Passage, Piece, Priority, Rating, Refusal, Role, Route,
    SeenAttempt, Shown, Stop, Strengths, Task, Template,
};

pub use self::evolving::{Case, CaseOutcome, Evidence, Genome, Host, answered, value};

/// The request at hand, and what else a host could be asked; here it is what a test says.
#[derive(Clone, Debug, Default)]
pub struct Context<'a> {
    tags: Vec<(String, String)>,
    task_label: Option<String>,
    asked_model: Option<String>,
    model_ids: Vec<String>,
    regions: Vec<String>,
    found: BTreeMap<String, u32>,
    prompt: String,
    system: String,
    learned: RefCell<BTreeMap<String, Vec<u8>>>,
    is_full: bool,
    reported: RefCell<Reported>,
    /// In a component a context lasts as long as its call.
    call: PhantomData<&'a ()>,
}

/// What a policy reported.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reported {
    /// Lines of the log.
    pub lines: Vec<String>,
    /// Counters.
    pub counters: BTreeMap<String, u64>,
    /// Gauges.
    pub gauges: BTreeMap<String, f64>,
}

impl Reported {
    fn log(&mut self, line: &str) {
        self.lines.push(line.to_owned());
    }

    fn count(&mut self, name: &str, by: u64) {
        let count = self.counters.entry(name.to_owned()).or_default();
        *count = count.saturating_add(by);
    }

    fn gauge(&mut self, name: &str, value: f64) {
        self.gauges.insert(name.to_owned(), value);
    }
}

/// What a test says.
impl Context<'_> {
    /// With a tag.
    pub fn tag(mut self, name: &str, value: &str) -> Self {
        self.tags.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With a task label.
    pub fn labelled(mut self, label: &str) -> Self {
        self.task_label = Some(label.to_owned());
        self
    }

    /// Of a caller who asked for this model.
    pub fn asked(mut self, model: &str) -> Self {
        self.asked_model = Some(model.to_owned());
        self
    }

    /// With these ids of models.
    pub fn ids(mut self, ids: &[&str]) -> Self {
        self.model_ids = ids.iter().map(|id| (*id).to_owned()).collect();
        self
    }

    /// Served in these regions.
    pub fn served_in(mut self, regions: &[&str]) -> Self {
        self.regions = regions.iter().map(|region| (*region).to_owned()).collect();
        self
    }

    /// With a model that answers for a name.
    pub fn answering(mut self, name: &str, model: u32) -> Self {
        self.found.insert(name.to_owned(), model);
        self
    }

    /// With this prompt.
    pub fn prompted(mut self, prompt: &str) -> Self {
        self.prompt = prompt.to_owned();
        self
    }

    /// With this system prompt.
    pub fn instructed(mut self, system: &str) -> Self {
        self.system = system.to_owned();
        self
    }

    /// With something that was learned.
    pub fn having_learned(mut self, key: &str, value: &[u8]) -> Self {
        self.learned.get_mut().insert(key.to_owned(), value.to_vec());
        self
    }

    /// In a space that has no room.
    pub fn full(mut self) -> Self {
        self.is_full = true;
        self
    }

    /// What the policy has reported so far.
    pub fn reported(&self) -> Reported {
        self.reported.borrow().clone()
    }
}

/// What a policy asks, as in a component.
impl Context<'_> {
    /// The tags of `x-kairos-tags`.
    pub fn tags(&self) -> Vec<(String, String)> {
        self.tags.clone()
    }

    /// The label of `x-kairos-task`, as sent.
    pub fn task_label(&self) -> Option<String> {
        self.task_label.clone()
    }

    /// The model as the caller wrote it: an id, an alias, or `auto`.
    pub fn asked_model(&self) -> String {
        self.asked_model.clone().unwrap_or_else(|| "auto".to_owned())
    }

    /// Ids of the models on offer, in their order.
    pub fn model_ids(&self) -> Vec<String> {
        self.model_ids.clone()
    }

    /// Names of the regions that models are offered in: `model.region` is an index of them.
    pub fn regions(&self) -> Vec<String> {
        self.regions.clone()
    }

    /// For each name the index of the model on offer that answers for it.
    pub fn find(&self, names: &[String]) -> Vec<Option<u32>> {
        names.iter().map(|name| self.found.get(name).copied()).collect()
    }

    /// The last user message's text.
    pub fn prompt(&self) -> String {
        self.prompt.clone()
    }

    /// The system prompt's text.
    pub fn system(&self) -> String {
        self.system.clone()
    }

    /// What was learned under a key.
    pub fn learned(&self, key: &str) -> Option<Vec<u8>> {
        self.learned.borrow().get(key).cloned()
    }

    /// The same of many keys at once.
    pub fn learned_many(&self, keys: &[String]) -> Vec<Option<Vec<u8>>> {
        keys.iter().map(|key| self.learned(key)).collect()
    }

    /// Writes what was learned.
    pub fn learn(&self, key: &str, value: &[u8]) -> Result<(), Refusal> {
        if self.is_full {
            return Err(Refusal::Full);
        }
        self.learned.borrow_mut().insert(key.to_owned(), value.to_vec());
        Ok(())
    }

    /// Deletes what was learned under a key.
    pub fn forget(&self, key: &str) {
        self.learned.borrow_mut().remove(key);
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

/// The features of a plain, short question: `general`, `low`, 8 tokens.
pub fn features() -> Features {
    Features {
        task: Task::General,
        task_hinted: false,
        complexity: Complexity::Low,
        complexity_hinted: false,
        estimated_tokens: 8,
        max_output_tokens: None,
        max_latency_ms: None,
        accuracy: 0.5,
        cost_sensitivity: 0.5,
        priority: Priority::Normal,
        needs: Capabilities::empty(),
        streaming: false,
        turns: 1,
        text_bytes: 30,
        named: None,
        budget_remaining: None,
        budget_used: 0.0,
        budget_level: 0,
    }
}

/// So many models on offer, each slower and dearer than the one before.
pub fn models(count: u32) -> Vec<Model> {
    let model = |place: u32| Model {
        names: 0,
        family: Family::Other,
        route: Route::InRegion,
        region: 0,
        legacy: false,
        strengths: Strengths::empty(),
        capabilities: Capabilities::SYSTEM_PROMPT | Capabilities::TOOLS | Capabilities::STREAMING,
        max_input_tokens: 100_000,
        max_output_tokens: 4_096,
        input_price: 60_000 * (u64::from(place) + 1),
        output_price: 240_000 * (u64::from(place) + 1),
        cache_read_price: None,
        cache_write_5m_price: None,
        cache_write_1h_price: None,
        worst_case_cost: 1_000_000_000,
        latency_ms: 400 + 150 * place,
        successes: 0,
        failures: 0,
        cached_tokens: 0,
        cooldown_ms: 0,
        in_flight: 0,
        quota_left: None,
    };
    (0..count).map(model).collect()
}

/// An attempt on a model that failed at once, and cost nothing.
pub fn attempt(model: u32, kind: FailureKind) -> Attempt {
    Attempt {
        model,
        kind,
        status: None,
        retry_after_ms: None,
        may_be_billed: false,
        cost: 0,
        duration_ms: 0,
        waited_ms: 0,
        refreshed: false,
        text_tokens: 8,
    }
}

/// What is left after it: these models, five attempts and half a minute. Nothing special is possible.
pub fn failure(attempt: Attempt, left: &[u32]) -> Failure {
    Failure {
        attempt,
        left: left.to_vec(),
        max_cost: None,
        attempts_left: 5,
        time_left_ms: 30_000,
        can: Abilities::empty(),
    }
}

/// A request, as it would go to a model; here it is what a test says.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    system: Vec<String>,
    messages: Vec<(bool, Vec<String>)>,
    tools: Vec<String>,
    limit: Option<u32>,
    template: Option<(String, String)>,
}

/// What a test says.
impl Draft {
    /// With a text of the system prompt.
    pub fn instructed(mut self, text: &str) -> Self {
        self.system.push(text.to_owned());
        self
    }

    /// With a message of one text, of the user's or of the assistant's.
    pub fn said(mut self, by_user: bool, text: &str) -> Self {
        self.messages.push((by_user, vec![text.to_owned()]));
        self
    }

    /// With a tool that the model may call.
    pub fn tool(mut self, name: &str) -> Self {
        self.tools.push(name.to_owned());
        self
    }

    /// With an output limit.
    pub fn limited(mut self, max_output_tokens: u32) -> Self {
        self.limit = Some(max_output_tokens);
        self
    }

    /// Of a template.
    pub fn templated(mut self, name: &str, version: &str) -> Self {
        self.template = Some((name.to_owned(), version.to_owned()));
        self
    }
}

fn whole(text: &str) -> Shown {
    Shown { text: text.to_owned(), bytes: text.len() as u32 }
}

/// What a policy reads, as in a component.
impl Draft {
    /// The texts of the system prompt.
    pub fn system(&self) -> Vec<Shown> {
        self.system.iter().map(|text| whole(text)).collect()
    }

    /// Messages of the conversation.
    pub fn messages(&self) -> u32 {
        self.messages.len() as u32
    }

    /// The message with this index.
    pub fn message(&self, index: u32) -> Option<Message> {
        let (by_user, texts) = self.messages.get(index as usize)?;
        let role = if *by_user { Role::User } else { Role::Assistant };
        Some(Message { role, pieces: texts.iter().map(|text| Piece::Text(whole(text))).collect() })
    }

    /// Names of the tools that the model may call.
    pub fn tools(&self) -> Vec<String> {
        self.tools.clone()
    }

    /// How the answer is drawn.
    pub fn parameters(&self) -> Parameters {
        Parameters { max_output_tokens: self.limit, temperature: None, top_p: None, stop: Vec::new() }
    }

    /// The template that the caller named.
    pub fn template(&self) -> Option<Template> {
        let (name, version) = self.template.clone()?;
        Some(Template { name, version })
    }
}

/// An event, which a test makes by hand; in a component it is the host's.
#[derive(Clone, Debug)]
pub struct Event {
    /// What [`Event::kind`] gives.
    pub kind: EventKind,
    /// What [`Event::features`] gives.
    pub features: Features,
    /// What [`Event::models`] gives.
    pub models: Vec<Model>,
    /// What [`Event::policy`] gives.
    pub policy: String,
    /// What [`Event::reason`] gives.
    pub reason: Option<u32>,
    /// What [`Event::first`] gives.
    pub first: Option<(u32, f64)>,
    /// What [`Event::attempts`] gives.
    pub attempts: Vec<SeenAttempt>,
    /// What [`Event::ending`] gives.
    pub ending: Ending,
    /// What [`Event::stop`] gives.
    pub stop: Option<Stop>,
    /// What [`Event::duration_ms`] gives.
    pub duration_ms: u32,
    /// What [`Event::began_at`] gives.
    pub began_at: u64,
    /// What [`Event::rating`] gives.
    pub rating: Option<Rating>,
}

/// What an observer asks, as in a component.
impl Event {
    /// What it tells of.
    pub fn kind(&self) -> EventKind {
        self.kind
    }

    /// What the host knew of the request when the router was asked.
    pub fn features(&self) -> Features {
        self.features
    }

    /// The models that the router was given, then the operator's fallbacks.
    pub fn models(&self) -> Vec<Model> {
        self.models.clone()
    }

    /// Who decided: `name@digest`.
    pub fn policy(&self) -> String {
        self.policy.clone()
    }

    /// The reason that was given.
    pub fn reason(&self) -> Option<u32> {
        self.reason
    }

    /// The model that was drawn to be tried first, and the chance that it had.
    pub fn first(&self) -> Option<(u32, f64)> {
        self.first
    }

    /// The attempts, the oldest first.
    pub fn attempts(&self) -> Vec<SeenAttempt> {
        self.attempts.clone()
    }

    /// How the request ended.
    pub fn ending(&self) -> Ending {
        self.ending
    }

    /// Why the model stopped.
    pub fn stop(&self) -> Option<Stop> {
        self.stop
    }

    /// From the request's arrival to its end.
    pub fn duration_ms(&self) -> u32 {
        self.duration_ms
    }

    /// When the request arrived, in milliseconds since 1970.
    pub fn began_at(&self) -> u64 {
        self.began_at
    }

    /// What a caller thinks of the answer.
    pub fn rating(&self) -> Option<Rating> {
        self.rating.clone()
    }
}

/// A request about these models that has ended after these attempts: `answered` where the last one was, else
/// `failed`.
pub fn ended(models: Vec<Model>, attempts: Vec<SeenAttempt>) -> Event {
    let is_answered = attempts.last().is_some_and(|last| matches!(last.outcome, Outcome::Answered));
    Event {
        kind: EventKind::Ended,
        features: features(),
        models,
        policy: "test@0".to_owned(),
        reason: None,
        first: attempts.first().map(|first| (first.model, 1.0)),
        ending: if is_answered { Ending::Answered } else { Ending::Failed },
        stop: is_answered.then_some(Stop::End),
        duration_ms: attempts.iter().map(|attempt| attempt.duration_ms).sum(),
        attempts,
        began_at: 0,
        rating: None,
    }
}

/// An attempt on a model that went so, in so many milliseconds.
pub fn seen(model: u32, outcome: Outcome, duration_ms: u32) -> SeenAttempt {
    SeenAttempt {
        model,
        outcome,
        status: None,
        retry_after_ms: None,
        may_be_billed: matches!(outcome, Outcome::Answered),
        cost: 0,
        settled: true,
        duration_ms,
        waited_ms: 0,
        first_content_ms: None,
        input_tokens: None,
        output_tokens: None,
        cache_read_tokens: None,
        cache_write_tokens: None,
        text_tokens: 8,
        numbers: Vec::new(),
    }
}

/// What a guard lets pass of a text of a model that comes so many bytes at a time, or as near as characters
/// allow; up to where it blocks.
///
/// # Panics
///
/// Where it fails, decides what is no beginning of the text, or leaves more than it holds back.
pub fn released<G: Guard>(guard: &G, text: &str, bytes: usize) -> String {
    let passage = Passage { direction: Direction::Output, origin: Origin::Assistant, index: 0 };
    let (mut held, mut state, mut passed) = (String::new(), Vec::new(), String::new());
    let mut rest = text;
    loop {
        let mut end = bytes.clamp(1, rest.len().max(1)).min(rest.len());
        while !rest.is_char_boundary(end) {
            end += 1;
        }
        held.push_str(&rest[..end]);
        rest = &rest[end..];
        let last = rest.is_empty();
        let verdict = match guard.inspect(&Context::default(), passage, &state, &held, last) {
            Ok(verdict) => verdict,
            Err(error) => panic!("the guard fails: {error:?}"),
        };
        let (decided, mut from) = (verdict.decided as usize, 0);
        for replacement in &verdict.replacements {
            passed.push_str(&held[from..replacement.start as usize]);
            passed.push_str(&replacement.text);
            from = replacement.end as usize;
        }
        passed.push_str(&held[from..decided]);
        if verdict.blocked.is_some() {
            return passed;
        }
        let left = held.len() - decided;
        assert!(left <= if last { 0 } else { G::HOLD_BACK as usize }, "{left} bytes are undecided");
        held.drain(..decided);
        state = verdict.state;
        if last {
            return passed;
        }
    }
}
